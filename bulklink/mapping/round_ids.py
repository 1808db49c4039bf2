"""Detection of ids that a spreadsheet rounded to 15 digits."""

# ruff: noqa: S608

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bulklink.binomial import binomial_tail
from bulklink.duckdb_sql import literal
from bulklink.mapping.chance import REFUSED_BELOW, WARNED_BELOW
from bulklink.mapping.load import GOOD, TRAILING_ZEROS
from bulklink.mapping.schema import GUARD, NUMERIC_ID_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bulklink.mapping.database import Database

_KEPT_DIGITS = 15
#: Upper bound of the relative error of an estimated number of distinct ids.
_ESTIMATE_ERROR = 0.3


class TrailingZeroCount(NamedTuple):
    """Count of the distinct ids of one column and length with only zeros after digit 15.

    Args:
        column: the column.
        length: digits of an id.
        ids: number of distinct ids of that length.
        rounded: number of those that end in zeros.
    """

    column: str
    length: int
    ids: int
    rounded: int

    @property
    def chance(self) -> float:
        """Chance that at least as many ids end in zeros."""
        return _chance(self.length, self.ids, self.rounded)

    @property
    def exceeds_chance(self) -> bool:
        """Whether there are more than chance explains; a column of one id proves nothing."""
        return self.ids > 1 and self.chance < REFUSED_BELOW

    def warning(self, header: str) -> str:
        """Build the sentence about the column."""
        end = "ends" if self.ids == 1 else "end"
        text = (
            f"{self.rounded:,} of {self.ids:,} distinct {self.length}-digit ids in {header} {end}"
            " in zeros after the 15th digit, as a spreadsheet leaves them"
        )
        return text if self.exceeds_chance else f"{text}; so few may be chance"


def _chance(length: int, ids: int, rounded: int) -> float:
    return binomial_tail(ids, rounded, 0.1 ** (length - _KEPT_DIGITS))


def count_trailing_zeros(database: Database, *, guards: bool) -> tuple[TrailingZeroCount, ...]:
    """Count long ids that end in zeros, by column and length, unless chance explains them.

    In most large columns chance explains them; a cheap estimate of the number of distinct ids is
    enough to tell.

    Args:
        database: holds the view `base`.
        guards: whether rows may have a guard.
    """
    counts = []
    rounded_ids = list(database.rows(_ROUND_IDS))
    lengths = [(column, length) for column, length, _ in rounded_ids]
    estimates = _count_ids(database, lengths, "approx_count_distinct({})")
    for (column, length, rounded), estimate in zip(rounded_ids, estimates, strict=True):
        fewest = max(rounded, int((1 - _ESTIMATE_ERROR) * estimate))
        if _chance(length, fewest, rounded) < WARNED_BELOW:
            (ids,) = _count_ids(database, [(column, length)], "count(DISTINCT {})")
            counts.append(TrailingZeroCount(column, length, ids, rounded))
    if guards:
        counts += [TrailingZeroCount(*row) for row in database.rows(_ROUND_GUARDS)]
    return tuple(count for count in counts if count.ids == 1 or count.chance < WARNED_BELOW)


_ROUND_GUARDS = f"""
SELECT '{GUARD}', length({GUARD}) AS digits, count(DISTINCT {GUARD}),
    count(DISTINCT {GUARD}) FILTER (regexp_full_match({GUARD}, '[0-9]{{15}}0+')) AS rounded
FROM base WHERE length({GUARD}) >= 16 AND regexp_full_match({GUARD}, '[0-9]+')
GROUP BY digits HAVING rounded > 0
"""


def _round_id_sql(column: str) -> str:
    return f"CASE WHEN {column}_grade = {TRAILING_ZEROS} THEN {column} END"


_ROUND_IDS = f"""
SELECT name, strlen(id) AS digits, count(DISTINCT id) FROM (
    SELECT unnest([{", ".join(map(literal, NUMERIC_ID_COLUMNS))}]) AS name,
        unnest([{", ".join(_round_id_sql(column) for column in NUMERIC_ID_COLUMNS)}]) AS id
    FROM base WHERE flags <> 0 AND {TRAILING_ZEROS} IN (
        {", ".join(f"{column}_grade" for column in NUMERIC_ID_COLUMNS)}
    )
) WHERE id IS NOT NULL GROUP BY ALL ORDER BY ALL
"""


def _count_ids(database: Database, lengths: Sequence[tuple[str, int]], count: str) -> Sequence[int]:
    """Count the distinct ids of columns and lengths in one pass.

    Args:
        database: holds the view `base`.
        lengths: pairs of a column and a number of digits.
        count: SQL of the aggregate.
    """
    counts = [_id_count_sql(column, digits, count) for column, digits in lengths]
    return database.fetch_one(f"SELECT {', '.join(counts)} FROM base") if counts else ()


def _id_count_sql(column: str, digits: int, count: str) -> str:
    """Build the count of the ids of a length; numbers are counted faster than texts."""
    first, last = 10 ** (digits - 1), min(10**digits, 1 << 64) - 1
    is_good = f"{column}_grade IN ({GOOD}, {TRAILING_ZEROS})"
    text, number = f"{column}_text", f"{column}_number"
    texts = f"{count.format(text)} FILTER ({is_good} AND strlen({text}) = {digits})"
    numbers = f"{count.format(number)} FILTER ({is_good} AND {number} BETWEEN {first} AND {last})"
    return f"{numbers} + {texts}" if first <= last else texts
