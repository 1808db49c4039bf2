"""Ids that a spreadsheet has rounded: it keeps 15 digits and writes zeros for the rest."""
# ruff: noqa: S608

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from bulklink.mapping.marks import GOOD, ROUND
from bulklink.mapping.schema import GUARD, NUMBER_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bulklink.mapping.database import Database

#: Chance makes 0.01 % of ids of 19 digits end so; above this share a spreadsheet did.
MOST_ROUND = 0.01


class RoundIds(NamedTuple):
    """How many ids of one column and length end in zeros behind their 15th digit."""

    column: str
    length: int
    ids: int
    round: int

    @property
    def refused(self) -> bool:
        """Whether more are so than chance explains."""
        return self.round > MOST_ROUND * self.ids

    def warning(self, header: str) -> str:
        """Say it to a person, where the ids are not refused."""
        return (
            f"{self.round:,} of {self.ids:,} {self.length}-digit ids in {header} end in zeros "
            "after the 15th digit, as a spreadsheet leaves them; so few may be chance"
        )


def round_ids(database: Database, *, guards: bool) -> tuple[RoundIds, ...]:
    """Count, by column and length, the long ids that end in zeros and those of that length.

    Args:
        database: where the rows are.
        guards: whether rows may have one.
    """
    rounded = [RoundIds(*found) for found in database.rows(_ROUND_GUARDS)] if guards else []
    found = list(database.rows(_round_ids_query()))
    if not found:
        return tuple(rounded)
    ids = database.one(_long_ids_query(found))
    return (
        *(
            RoundIds(column, digits, int(count), ending)
            for (column, digits, ending), count in zip(found, ids, strict=True)
        ),
        *rounded,
    )


_ROUND_GUARDS = f"""
SELECT '{GUARD}', length({GUARD}) AS digits, count(*),
    count(*) FILTER (regexp_full_match({GUARD}, '[0-9]{{15}}0+')) AS rounded
FROM base WHERE length({GUARD}) >= 16 AND regexp_full_match({GUARD}, '[0-9]+')
GROUP BY digits HAVING rounded > 0
"""


def _round_ids_query() -> str:
    parts = [
        f"SELECT '{column}', strlen({column}) AS digits, count(*) FROM base "
        f"WHERE marks <> 0 AND {column}_grade = {ROUND} GROUP BY digits"
        for column in NUMBER_COLUMNS
    ]
    return " UNION ALL ".join(parts) + " ORDER BY ALL"


def _long_ids_query(found: Sequence[tuple[Any, ...]]) -> str:
    counts = [
        f"count(*) FILTER ({column}_grade IN ({GOOD}, {ROUND}) AND {_is_long(column, digits)})"
        for column, digits, _ in found
    ]
    return f"SELECT {', '.join(counts)} FROM base"


def _is_long(column: str, digits: int) -> str:
    """Say whether an id has so many digits; its number tells it sooner than its text."""
    first, last = 10 ** (digits - 1), min(10**digits, 1 << 64) - 1
    as_text = f"coalesce(strlen({column}_text) = {digits}, false)"
    if first > last:
        return as_text
    number = f"coalesce({column}_number BETWEEN {first} AND {last}, false)"
    return f"({number} OR {as_text})"
