"""Detection of ids that a spreadsheet rounded to 15 digits."""

# ruff: noqa: S608

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bulklink.mapping.load import GOOD, TRAILING_ZEROS
from bulklink.mapping.schema import GUARD, NUMERIC_ID_COLUMNS

if TYPE_CHECKING:
    from bulklink.mapping.database import Database

#: By chance 0.01 % of ids of 19 digits end so; a larger share than this was rounded.
MAX_TRAILING_ZERO_SHARE = 0.01


class TrailingZeroCount(NamedTuple):
    """Number of different ids of one column and length that end in zeros after digit 15.

    Args:
        column: the column.
        length: digits of an id.
        ids: number of different ids of that length.
        rounded: number of those that end in zeros.
    """

    column: str
    length: int
    ids: int
    rounded: int

    @property
    def exceeds_chance(self) -> bool:
        """Whether there are more than chance explains; a column of one id shows nothing."""
        return self.ids > 1 and self.rounded > MAX_TRAILING_ZERO_SHARE * self.ids

    def warning(self, header: str) -> str:
        """Build the sentence about the column."""
        end = "ends" if self.ids == 1 else "end"
        text = (
            f"{self.rounded:,} of {self.ids:,} different {self.length}-digit ids in {header} {end}"
            " in zeros after the 15th digit, as a spreadsheet leaves them"
        )
        return text if self.exceeds_chance else f"{text}; so few may be chance"


def count_trailing_zeros(database: Database, *, guards: bool) -> tuple[TrailingZeroCount, ...]:
    """Count, by column and length, the long ids that end in zeros and all of that length.

    Args:
        database: holds the view `base`.
        guards: whether rows may have a guard.
    """
    rounded_counts = list(database.rows(_round_ids_query()))
    counts = [
        TrailingZeroCount(
            column, digits, database.fetch_one(_different_ids_query(column, digits))[0], rounded
        )
        for column, digits, rounded in rounded_counts
    ]
    if guards:
        counts += [TrailingZeroCount(*row) for row in database.rows(_ROUND_GUARDS)]
    return tuple(counts)


_ROUND_GUARDS = f"""
SELECT '{GUARD}', length({GUARD}) AS digits, count(DISTINCT {GUARD}),
    count(DISTINCT {GUARD}) FILTER (regexp_full_match({GUARD}, '[0-9]{{15}}0+')) AS rounded
FROM base WHERE length({GUARD}) >= 16 AND regexp_full_match({GUARD}, '[0-9]+')
GROUP BY digits HAVING rounded > 0
"""


def _round_ids_query() -> str:
    parts = [
        f"SELECT '{column}', strlen({column}) AS digits, count(DISTINCT {column}) FROM base "
        f"WHERE flags <> 0 AND {column}_grade = {TRAILING_ZEROS} GROUP BY digits"
        for column in NUMERIC_ID_COLUMNS
    ]
    return " UNION ALL ".join(parts) + " ORDER BY ALL"


def _different_ids_query(column: str, digits: int) -> str:
    """Build the query that counts the ids of a length; numbers are counted faster than texts."""
    first, last = 10 ** (digits - 1), min(10**digits, 1 << 64) - 1
    texts = (
        f"SELECT count(DISTINCT {column}_text) FROM base "
        f"WHERE {{}} AND strlen({column}_text) = {digits}"
    )
    numbers = (
        f"SELECT count(DISTINCT {column}_number) FROM base "
        f"WHERE {{}} AND {column}_number BETWEEN {first} AND {last}"
    )
    is_good = f"{column}_grade IN ({GOOD}, {TRAILING_ZEROS})"
    parts = [numbers] if first <= last else []
    return "SELECT " + " + ".join(f"({part.format(is_good)})" for part in (*parts, texts))
