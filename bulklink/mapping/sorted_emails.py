"""Fetched emails sorted by contact: a file that a fetch wrote, perhaps edited, as one Parquet file.

An audit passes over the emails several times, contact by contact. So the user's file is read once,
in any format, and its emails are kept sorted, with times as seconds and nothing that is not needed.
"""
# ruff: noqa: S608

from __future__ import annotations

import tempfile
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bulklink.errors import BadFileError
from bulklink.mapping.database import PLANNING_MEMORY, Database, open_database, spill_folder
from bulklink.mapping.email_files import (
    EmailFile,
    EmailRows,
    id_or_null_sql,
    zoned_seconds_sql,
)
from bulklink.mapping.headers import find_header, suggest_headers
from bulklink.mapping.input.files import find_sources
from bulklink.mapping.load import macro_statements
from bulklink.mapping.schema import HiddenRows, MappingOptions
from bulklink.models import NO_DEAL, Op

if TYPE_CHECKING:
    from bulklink.mapping.input.prepare import FileHeaders
    from bulklink.mapping.interrupt import PlanningStop

SORTING_EMAILS = "Sorting the emails by contact"
REQUIRED_COLUMNS = (
    *("contact_id", "owner_id", "message_id", "from_deal_id", "subject", "time", "direction"),
)
"""Columns without which a file is not one of fetched emails."""
OPTIONAL_COLUMNS = (
    *("from_address", "from_name", "to_addresses", "cc_addresses", "source", "intent"),
    *("summary", "owner_name", "candidates"),
)
_READ_MEMORY = "256MB"
_ROW_GROUP_ROWS = 16_384
_OPTIONS = MappingOptions(
    op=Op.UNLINK, user_columns=("op",), hidden_rows=HiddenRows.INCLUDE, allow_round_ids=True
)
_MAX_SUBJECT_CHARACTERS = 2_000
_MAX_SUMMARY_CHARACTERS = 1_000
_MAX_NAME_CHARACTERS = 400
_MAX_PEOPLE = 100
"""Recipients of an email that are kept of each list."""


class EmailCounts(msgspec.Struct, frozen=True):
    """Counts of the emails of a file.

    Args:
        rows: rows of the file.
        refused: rows that name no contact or no email, or cannot be read.
        emails: rows that are left.
        contacts: their contacts.
        undated: emails without a time that has an offset.
        link_unknown: emails for which the file does not show the deal.
        on_deals: emails on a deal.
        digest: digest of the emails, whatever their order.
    """

    rows: int
    refused: int
    emails: int
    contacts: int
    undated: int
    link_unknown: int
    on_deals: int
    digest: str


def write_sorted_emails(
    name: str, path: Path, *, stop: PlanningStop, memory: str = PLANNING_MEMORY
) -> EmailCounts:
    """Write the emails of a file sorted by contact; blocks.

    Args:
        name: the file, in any format that a fetch writes.
        path: Parquet file to write; its folder holds temporary files.
        stop: interrupts the work.
        memory: DuckDB's memory limit, such as `512MB`; it spills the rest to disk.

    Raises:
        BadFileError: if the file cannot be read, or does not hold fetched emails.
        InterruptedPlanningError: if `stop` stopped it.
    """
    source = find_sources([name])[0]
    with tempfile.TemporaryDirectory(prefix="bulklink-", dir=path.parent) as scratch:
        folder = Path(scratch)
        file = EmailFile(source, _OPTIONS, _find_columns, folder, stop, memory)
        with closing(Database(folder / "spill", stop, threads=1, memory=memory)) as database:
            for macro in macro_statements():
                database.execute(macro)
            rows, written = file.read(database, partial(_write, database, path, stop))
    with open_database(spill_folder(path), memory=_READ_MEMORY, stop=stop) as database:
        counts = database.fetch_one(_COUNTS.format(emails=database.files.read_parquet(path)))
    return EmailCounts(rows, rows - written, *counts)


_COUNTS = f"""
SELECT count(*), count(DISTINCT contact_id), count(*) FILTER (time IS NULL),
    count(*) FILTER (deal_id IS NULL), count(*) FILTER (deal_id <> '{NO_DEAL}'),
    coalesce(bit_xor(hash(contact_id, message_id, owner_id, time, deal_id)), 0)::VARCHAR
FROM {{emails}}
"""


def _find_columns(headers: FileHeaders) -> dict[str, int]:
    """Return the place of each column that the file has.

    Raises:
        BadFileError: if a required column is missing, or a header occurs twice.
    """
    places = {
        name: place
        for name in (*REQUIRED_COLUMNS, *OPTIONAL_COLUMNS)
        if (place := find_header(headers.headers, name, headers.where)) is not None
    }
    for name in REQUIRED_COLUMNS:
        if name not in places:
            raise BadFileError(
                f"There is no column {name}: fetch did not write this file.",
                where=headers.where,
                advice=suggest_headers(name, headers.headers),
            )
    return places


def _write(database: Database, path: Path, stop: PlanningStop, email_rows: EmailRows) -> int:
    """Write the sorted emails; return their number."""
    stop.begin_stage(SORTING_EMAILS, single_query=True)
    cells, relation = email_rows.cells, email_rows.relation
    names = ", ".join(f"{cell} AS {name}" for name, cell in cells.items())
    missing = "".join(
        f", NULL::VARCHAR AS {name}" for name in OPTIONAL_COLUMNS if name not in cells
    )
    cleaned = f"(SELECT {', '.join(_COLUMNS)} FROM (SELECT {names}{missing} FROM {relation}))"
    query = (
        f"SELECT contact_id, message_id, owner_id, time, deal_id, candidates, {_LINE} AS line"
        f" FROM {cleaned} WHERE contact_id IS NOT NULL AND message_id IS NOT NULL"
        " ORDER BY contact_id, time, message_id, owner_id, deal_id"
    )
    options = ("FORMAT parquet", f"ROW_GROUP_SIZE {_ROW_GROUP_ROWS}", "COMPRESSION snappy")
    return database.execute(database.files.copy(query, path, *options))


def _text_sql(name: str, characters: int = _MAX_NAME_CHARACTERS) -> str:
    return f"nullif(left({name}, {characters}), '')"


def _people_sql(name: str) -> str:
    """Build the list of the people whose addresses are in a cell, without their names."""
    addresses = f"list_slice(string_split(lower({name}), '; '), 1, {_MAX_PEOPLE})"
    found = f"list_filter({addresses}, lambda address: address <> '')"
    people = f"list_transform({found}, lambda address: {{'address': address}})"
    return f"CASE WHEN {name} IS NULL THEN [] ELSE {people} END"


_COLUMNS = (
    f"{id_or_null_sql('contact_id', 'contact_id')} AS contact_id",
    f"{id_or_null_sql('message_id', 'message_id')} AS message_id",
    f"{id_or_null_sql('owner_id', 'owner_id')} AS owner_id",
    f"{_text_sql('subject', _MAX_SUBJECT_CHARACTERS)} AS subject",
    f"{zoned_seconds_sql('time')} AS time",
    "CASE WHEN direction IN ('received', 'sent') THEN direction END AS direction",
    f"CASE WHEN from_deal_id = '{NO_DEAL}' THEN from_deal_id"
    f" ELSE {id_or_null_sql('deal_id', 'from_deal_id')} END AS deal_id",
    f"lower({_text_sql('from_address')}) AS from_address",
    f"{_text_sql('from_name')} AS from_name",
    f"{_people_sql('to_addresses')} AS recipients",
    f"{_people_sql('cc_addresses')} AS copied",
    f"{_text_sql('source')} AS source",
    f"{_text_sql('intent')} AS intent",
    f"{_text_sql('summary', _MAX_SUMMARY_CHARACTERS)} AS summary",
    f"{_text_sql('owner_name')} AS owner_name",
    "nullif(candidates, '') AS candidates",
)
#: The email as a line of JSON, whose object has the fields of `finding.values.EmailFacts`.
_LINE = f"""
concat('{{"contact_id":"', contact_id, '","email":', to_json({{
    'message_id': message_id, 'owner_id': owner_id, 'subject': subject, 'time': time,
    'direction': direction, 'link_known': deal_id IS NOT NULL,
    'deal_id': nullif(deal_id, '{NO_DEAL}'),
    'sender': CASE WHEN from_address IS NOT NULL
        THEN {{'address': from_address, 'name': from_name}} END,
    'to': recipients, 'cc': copied, 'source': source, 'intent': intent, 'summary': summary,
    'owner_name': owner_name
}}), '}}', chr(10))
"""
