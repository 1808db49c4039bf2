"""SQL of the cells of the lists that are matched: times, addresses, ids."""

from __future__ import annotations

import re

from bulklink.duckdb_sql import literal

_MAX_CHARACTERS = 2_000
"""Characters that are kept of a subject or a name."""
LOCAL_TIME = "[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}(:[0-9]{2}([.][0-9]+)?)?"
_ZONE = " ?(Z|UTC|GMT|[+-][0-9]{2}(:?[0-9]{2})?)"
_MILLISECONDS = "[0-9]{13}"
"""Digits of the milliseconds since 1970, from 2001 to 2286."""
ZONE_OFFSET = re.compile("([+-])(0?[0-9]|1[0-4]):?([0-5][0-9])?")
_ADDRESS = r"""[^\s<>"'(),;:\[\]{}|\\]+@[^\s<>"'(),;:\[\]{}|\\]+"""
_AROUND_ADDRESSES = ' ,;:<"'
"""Characters of which one is in each cell that has more than an address."""
_RECEIVED_WORDS = "('received', 'incoming', 'inbound', 'incoming_email')"
_SENT_WORDS = "('sent', 'outgoing', 'outbound', 'email')"


def kept_text_sql(cell: str) -> str:
    """Build a text without what is beyond the characters that are kept; NULL if it is empty."""
    shortened = f"left({cell}, {_MAX_CHARACTERS})"
    is_long = f"strlen({cell}) > {_MAX_CHARACTERS}"
    return f"nullif(CASE WHEN {is_long} THEN {shortened} ELSE {cell} END, '')"


def plain_id_sql(cell: str) -> str:
    """Build an id of digits without the characters that exports add, which come before it."""
    is_plain = f"{cell} >= '0' AND {cell} < ':'"  # a comparison of the first characters
    return f"CASE WHEN {is_plain} THEN {cell} ELSE nullif(clean_id({cell}), '') END"


def seconds_sql(cell: str, zone: str | None) -> str:
    """Build the seconds since 1970 of a time; NULL for anything else."""
    text = f"trimmed({cell})"
    moment = f"TRY_CAST({text} AS TIMESTAMP)"
    cases = [
        f"WHEN regexp_full_match({text}, '{LOCAL_TIME}{_ZONE}')"
        f" THEN epoch(TRY_CAST(regexp_replace({text}, ' ([+-])', '\\1') AS TIMESTAMPTZ))",
        f"WHEN regexp_full_match({text}, '{_MILLISECONDS}') THEN {text}::BIGINT / 1000",
    ]
    if zone is not None:
        offset = ZONE_OFFSET.fullmatch(zone)
        local = (
            f"epoch({moment}) - {_offset_seconds(offset)}"
            if offset
            else f"epoch(timezone({literal(zone)}, {moment}))"
        )
        cases.append(f"WHEN regexp_full_match({text}, '{LOCAL_TIME}') THEN {local}")
    return f"floor(CASE {' '.join(cases)} END)::BIGINT"


def _offset_seconds(offset: re.Match[str]) -> int:
    sign, hours, minutes = offset.groups()
    return int(f"{sign}1") * (int(hours) * 3600 + int(minutes or 0) * 60)


def direction_sql(cell: str) -> str:
    """Build `received` or `sent` from the words of several systems; NULL for anything else."""
    word = f"lower(trimmed({cell}))"
    return (
        f"CASE WHEN {word} IN {_RECEIVED_WORDS} THEN 'received'"
        f" WHEN {word} IN {_SENT_WORDS} THEN 'sent' END"
    )


def addresses_sql(cell: str) -> str:
    """Build the addresses in a cell, whatever stands around them."""
    more = " OR ".join(f"contains({cell}, {literal(sign)})" for sign in _AROUND_ADDRESSES)
    several = f"regexp_extract_all(lower({cell}), {literal(_ADDRESS)})"
    return f"CASE WHEN {more} THEN {several} WHEN {cell} <> '' THEN [lower({cell})] END"


def header_id_sql(cell: str) -> str:
    """Build the id in the header of an email, without the brackets around it."""
    return f"nullif(trim({cell}, ' <>'), '')"
