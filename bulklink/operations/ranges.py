"""Which values the options of a job may have: the same for programs as for commands."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bulklink.errors import UsageError
from bulklink.zoho.requests import MOST_ITEMS

_MOST_CREDITS = 10**12
_RANGES: Mapping[str, tuple[float, float]] = {
    "batch_size": (1, MOST_ITEMS),
    "concurrency": (1, 1000),
    "read_pages": (1, 100_000),
    "settle_after": (0, 3600),
    "max_credits": (1, _MOST_CREDITS),
    "credits_per_day": (1, _MOST_CREDITS),
    "reserve_credits": (0, _MOST_CREDITS),
    "canary": (0, 10_000),
}
MOST_A_SECOND = 100_000
_UNITS = {"MB": 1, "MIB": 1, "GB": 1000, "GIB": 1024}
_LEAST_MEMORY = 64


def check_ranges(options: Mapping[str, Any]) -> None:
    """Refuse numbers that no job can have.

    Args:
        options: values by the names of `Job`; None is no value.

    Raises:
        UsageError: if there is one.
    """
    for name, (least, most) in _RANGES.items():
        value = options.get(name)
        if value is not None and not least <= value <= most:
            raise _wrong(name, value, f"Give a number from {least:,} to {most:,}.")
    rate = options.get("rate")
    if rate is not None and not 0 < rate <= MOST_A_SECOND:
        raise _wrong("rate", rate, f"Give a number above 0, {MOST_A_SECOND:,} at most.")
    day, reserve = options.get("credits_per_day"), options.get("reserve_credits") or 0
    if day is not None and reserve >= day:
        raise UsageError(
            f"Of {day:,} credits a day {reserve:,} are to be left to others: none can be spent.",
            where="--credits-per-day, --reserve-credits",
            advice="Reserve less, or leave one of them out.",
        )


def memory_of(text: str) -> str:
    """Return an amount of memory as DuckDB takes it.

    Args:
        text: such as 512MB or 2 GiB, at least 64MB.

    Raises:
        UsageError: if it is none.
    """
    found = re.fullmatch(r"(\d{1,6})\s*(MB|MIB|GB|GIB)", text.strip().upper())
    if found is None or int(found[1]) * _UNITS[found[2]] < _LEAST_MEMORY:
        raise UsageError(
            f"{text!r} is no size such as 512MB, of at least {_LEAST_MEMORY}MB.",
            where="memory",
            advice="Write it as 512MB or 2GiB.",
        )
    return f"{found[1]}{found[2].replace('I', 'i')}"


def _wrong(name: str, value: object, advice: str) -> UsageError:
    return UsageError(f"{value!r} is no value of {name}.", where=name, advice=advice)
