"""Detection of ids that passed through a 64-bit float, as some programs keep numbers.

Doubles of 17 digits and more are 2 to 2,048 apart, so such a program changes most ids: to
the value of the nearest double, or to the shortest decimal that reads back as this double. Few
unaltered ids are such numbers. A single id proves nothing; a column does.

Unaltered ids are not random digits, though: they come in steps, share endings and end in zeros. A
column is therefore compared with the ids that come closest without being such numbers. Of the
multiples of half a spacing, every second is a double, whatever the step is; of the multiples of
100, one in ten is a shortest decimal where doubles are 1,024 apart.
"""

# ruff: noqa: S608

from __future__ import annotations

from collections import defaultdict
from math import exp, gcd, log
from typing import TYPE_CHECKING, NamedTuple

from bulklink.binomial import binomial_tail
from bulklink.duckdb_sql import literal
from bulklink.mapping.chance import REFUSED_BELOW, WARNED_BELOW
from bulklink.mapping.load import GOOD, TRAILING_ZEROS
from bulklink.mapping.schema import GUARD, NUMERIC_ID_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from bulklink.mapping.database import Database

#: Binary logarithm of the steps that are common in part of an unaltered column.
_COMMON_STEPS = 4
#: Chance that ids of an unaltered column look like floats because of its steps.
_OWN_STEPS = 1e-4
#: Largest step that may remain where a float changed part of a column.
_LEAST_STEP = 8
#: Chance that all ids of an unaltered column end in n zeros; four are left to `round_ids`.
_SHARED_ZEROS = (1, 1, 1e-3, 1e-6, 1)
#: Minimum number of distinct ids that can prove a change.
_LEAST_IDS = 3
_FIRST_NUMBER = 10**16
#: Bits of the numbers whose doubles are 2 apart; the spacing doubles with each further bit.
_FIRST_BITS, _LAST_BITS = 54, 64
_MAX_ZEROS = 4
#: Maximum number of ids whose steps are measured.
_STEP_IDS = 1000


class FloatIds(NamedTuple):
    """Ids of one column and length that a 64-bit float may have changed.

    Args:
        column: the column.
        length: digits of an id.
        ids: number of distinct ids of that length.
        floats: number of those that look like floats.
        chance: upper bound of the chance that an unaltered column has as many.
    """

    column: str
    length: int
    ids: int
    floats: int
    chance: float

    @property
    def exceeds_chance(self) -> bool:
        """Whether chance cannot explain them; the column is then refused."""
        return self.ids >= _LEAST_IDS and self.chance < REFUSED_BELOW

    def warning(self, header: str) -> str:
        """Build the sentence about the column."""
        looks = "looks" if self.ids == 1 else "look"
        text = (
            f"{self.floats:,} of {self.ids:,} distinct {self.length}-digit ids in {header} {looks}"
            " as if a program had read them as numbers"
        )
        return text if self.exceeds_chance else f"{text}; so few may be chance"


class IdPattern(NamedTuple):
    """Distinct ids of a column with the same pattern.

    Args:
        length: digits of an id.
        spacing: binary logarithm of the distance of doubles at these ids.
        twos: how many times an id can be halved.
        zeros: trailing zeros, at most `_MAX_ZEROS`.
        is_shortest: whether it is the shortest decimal of its double.
        ids: number of distinct ids.
    """

    length: int
    spacing: int
    twos: int
    zeros: int
    is_shortest: bool
    ids: int

    @property
    def is_double(self) -> bool:
        """Whether a double has exactly the value of such an id."""
        return self.twos >= self.spacing


class _Kind(NamedTuple):
    """One way in which a float changes ids.

    Args:
        hits: returns whether an id looks like a float.
        near: returns the chance that an id of a level is a hit; None for an id outside the level.
            Level 0 is the closest to hits.
        levels: number of levels.
    """

    hits: Callable[[IdPattern], bool]
    near: Callable[[IdPattern, int], float | None]
    levels: int


def _near_double(pattern: IdPattern, level: int) -> float | None:
    halvings = min(level + 1, pattern.spacing)
    return 0.5**halvings if pattern.twos >= pattern.spacing - halvings else None


def near_zeros(spacing: int) -> int:
    """Return the trailing zeros at which at most half of the numbers are shortest decimals."""
    return len(str((1 << spacing) // 2)) - 1


def _near_shortest(pattern: IdPattern, level: int) -> float | None:
    return _shortest_share(pattern, max(0, near_zeros(pattern.spacing) - level))


def _shortest_share(pattern: IdPattern, zeros: int) -> float | None:
    """Return the share of shortest decimals among numbers with this many trailing zeros.

    Numbers with more zeros than the spacing of doubles are all shortest decimals: no evidence.
    """
    spacing = 1 << pattern.spacing
    enough = len(str(spacing - 1))
    if not zeros <= pattern.zeros < enough:
        return None
    share: float = 10.0**zeros / spacing
    more: float = 10.0 ** (zeros - enough)
    return (share - more) / (1 - more)


_DOUBLES = _Kind(lambda pattern: pattern.is_double, _near_double, _LAST_BITS - 53)
_SHORTEST = _Kind(lambda pattern: pattern.is_shortest, _near_shortest, _MAX_ZEROS)


def _level_chance(patterns: Sequence[IdPattern], kind: _Kind, level: int) -> float:
    """Return the chance of as many hits among the ids of a level."""
    return _tail(patterns, kind, lambda pattern: kind.near(pattern, level))


def _tail(
    patterns: Sequence[IdPattern], kind: _Kind, share_of: Callable[[IdPattern], float | None]
) -> float:
    near = [(p, share) for p in patterns if (share := share_of(p)) is not None]
    ids = sum(pattern.ids for pattern, _ in near)
    hits = sum(pattern.ids for pattern, _ in near if kind.hits(pattern))
    expected = sum(pattern.ids * share for pattern, share in near)
    return binomial_tail(ids, hits, expected / ids) if ids else 1.0


def _chance_of_a_part(patterns: Sequence[IdPattern], kind: _Kind, step: int) -> float:
    """Return the chance of the hits in a column that a float may have changed in part.

    Changing part of a column breaks its steps, so a column with intact steps is not mixed.
    """
    spacing = min(pattern.spacing for pattern in patterns)
    steps = 0.25**spacing if spacing <= _COMMON_STEPS else 0
    steps = max(steps, _OWN_STEPS) if step > _LEAST_STEP else steps
    return max(steps, *(_level_chance(patterns, kind, level) for level in range(kind.levels)))


def chance_of_doubles(patterns: Sequence[IdPattern], step: int = 0) -> float:
    """Return the chance of as many doubles in an unaltered column.

    Args:
        patterns: all distinct ids of a column and length.
        step: greatest common divisor of their distances; 0 if unknown.
    """
    if not all(pattern.is_double for pattern in patterns):
        return _chance_of_a_part(patterns, _DOUBLES, step)
    plain = _chance_of_all(patterns)
    # Two independent accidents: the column's own steps are a multiple of the spacing, and so is the
    # first id.
    spacing = min(pattern.spacing for pattern in patterns)
    return max(plain, 0.25**spacing) if _is_own_step(step, patterns) else plain


def chance_of_shortest(patterns: Sequence[IdPattern], step: int = 0) -> float:
    """Return the chance of as many shortest decimals in an unaltered column, as for doubles."""
    zeros = min(pattern.zeros for pattern in patterns)
    if all(pattern.is_shortest for pattern in patterns):
        shares = [(min(1.0, 10**zeros / (1 << p.spacing)), p.ids) for p in patterns]
        ending = _SHARED_ZEROS[zeros] * exp(sum(log(share) * ids for share, ids in shares))
        own_step = _is_own_step(step // 10**zeros, patterns)
        return max(_chance_of_all(patterns), ending, _OWN_STEPS if own_step else 0)
    shared = _tail(patterns, _SHORTEST, lambda pattern: _shortest_share(pattern, zeros))
    return max(shared, _chance_of_a_part(patterns, _SHORTEST, step))


def _chance_of_all(patterns: Sequence[IdPattern]) -> float:
    return 0.5 ** sum(pattern.spacing * pattern.ids for pattern in patterns)


def _is_own_step(step: int, patterns: Sequence[IdPattern]) -> bool:
    """Return whether a step is the column's own; a float leaves its spacing or twice that."""
    return bool(step & (step - 1)) or step > 2 << max(pattern.spacing for pattern in patterns)


def judge_column(
    column: str, length: int, patterns: Sequence[IdPattern], step: int = 0
) -> FloatIds:
    """Judge the ids of a column and length by the kind of change that explains them better.

    Args:
        column: the column.
        length: digits of an id.
        patterns: all distinct ids.
        step: greatest common divisor of their distances; 0 if unknown.
    """
    doubles, shortest = chance_of_doubles(patterns, step), chance_of_shortest(patterns, step)
    kind = _DOUBLES if doubles < shortest else _SHORTEST
    ids = sum(pattern.ids for pattern in patterns)
    floats = sum(pattern.ids for pattern in patterns if kind.hits(pattern))
    return FloatIds(column, length, ids, floats, min(doubles, shortest))


def needs_judgement(near: Sequence[IdPattern]) -> bool:
    """Return whether the ids that come close to floats make a column suspect.

    Args:
        near: those ids; if all are hits, the column may have no other ids.
    """
    kinds = (_DOUBLES, _SHORTEST)
    return any(
        all(map(kind.hits, near)) or _level_chance(near, kind, 0) < WARNED_BELOW for kind in kinds
    )


def find_float_ids(database: Database, *, guards: bool) -> tuple[FloatIds, ...]:
    """Find the columns and lengths with more float-like ids than chance may explain.

    Few ids come close to such numbers, and these few settle most columns.

    Args:
        database: holds the view `base`.
        guards: whether rows may have a guard.
    """
    findings: list[FloatIds] = []
    columns = (*NUMERIC_ID_COLUMNS, *((GUARD,) if guards else ()))
    near = read_patterns(database, columns, near_only=True)
    for column in columns:
        by_length = sorted(near[column].items())
        suspect = [length for length, patterns in by_length if needs_judgement(patterns)]
        findings += _examine(database, column, suspect) if suspect else []
    return tuple(findings)


def _examine(database: Database, column: str, lengths: Sequence[int]) -> Iterator[FloatIds]:
    patterns = read_patterns(database, [column], near_only=False)[column]
    for length in lengths:
        float_ids = judge_column(column, length, patterns[length], _step(database, column, length))
        if float_ids.chance < WARNED_BELOW:
            yield float_ids


def _step(database: Database, column: str, length: int) -> int:
    """Return the greatest common divisor of the distances of ids; 0 for fewer than three."""
    first, last = 10 ** (length - 1), 10**length - 1
    query = (
        f"SELECT DISTINCT id FROM ({_ids_sql(column)}) WHERE id BETWEEN {first} AND {last}"
        f" LIMIT {_STEP_IDS}"
    )
    ids = [int(row[0]) for row in database.rows(query)]
    return gcd(*(number - ids[0] for number in ids)) if len(ids) > 2 else 0


def _number_sql(column: str) -> str:
    return f"number({GUARD})" if column == GUARD else f"{column}_number"


def _is_own_id_sql(column: str) -> str:
    """Build the condition that an id is valid and comes from the user's cell, not a default."""
    return "true" if column == GUARD else f"{column}_grade IN ({GOOD}, {TRAILING_ZEROS})"


def _ids_sql(column: str) -> str:
    return f"SELECT {_number_sql(column)} AS id FROM base WHERE {_is_own_id_sql(column)}"


def read_patterns(
    database: Database, columns: Sequence[str], *, near_only: bool
) -> dict[str, dict[int, list[IdPattern]]]:
    """Return the patterns of the distinct ids of each column, by length.

    Args:
        database: holds the view `base`.
        columns: the columns; one pass reads them all.
        near_only: whether to leave out ids that do not come close to floats.
    """
    ids = ", ".join(
        f"{_long_id_sql(column, near_only=near_only)} AS {column}" for column in columns
    )
    names = ", ".join(map(literal, columns))
    has_any = " OR ".join(f"{column} IS NOT NULL" for column in columns)
    query = (
        f"SELECT name, strlen(id::VARCHAR) AS length, {_SPACING_SQL} AS spacing, "
        f"least(bit_count(xor(id, id - 1)) - 1, {_LAST_BITS}) AS twos, {_ZEROS_SQL} AS zeros, "
        f"{_IS_SHORTEST_SQL} AS is_shortest, count(*) FROM (SELECT DISTINCT name, id FROM ("
        f"SELECT unnest([{names}]) AS name, unnest([{', '.join(columns)}]) AS id "
        f"FROM (SELECT {ids} FROM base) WHERE {has_any}) WHERE id IS NOT NULL) GROUP BY ALL"
    )
    by_column: dict[str, dict[int, list[IdPattern]]] = defaultdict(lambda: defaultdict(list))
    for name, *row in database.rows(query):
        pattern = IdPattern(*row)
        by_column[name][pattern.length].append(pattern)
    return by_column


def _long_id_sql(column: str, *, near_only: bool) -> str:
    """Build the number of an id that is long enough to have been changed; NULL for any other."""
    number = _number_sql(column)
    near = _near_sql(number) if near_only else "true"
    is_long = f"{_is_own_id_sql(column)} AND {number} >= {_FIRST_NUMBER}"
    return f"CASE WHEN CASE WHEN {is_long} THEN {near} ELSE false END THEN {number} END"


_SPACING_SQL = " + ".join(
    f"(id >= {1 << bits - 1})::INTEGER" for bits in range(_FIRST_BITS, _LAST_BITS + 1)
)
_ZEROS_SQL = " + ".join(f"(id % {10**zeros} = 0)::INTEGER" for zeros in range(1, _MAX_ZEROS + 1))


def _near_sql(number: str) -> str:
    """Build the condition that an id comes close to a float.

    Half a spacing divides the id, or it has nearly as many zeros as shortest decimals have. Where
    doubles are 16 apart or closer, this misses a few shortest decimals.
    """
    return f"(xor({number}, {number} - 1) >= ({number} >> 53) OR {_ends_near_sql(number)})"


def _ends_near_sql(number: str) -> str:
    return (
        f"CASE WHEN {number} >= {1 << 60} THEN {number} % 100 = 0 "
        f"WHEN {number} >= {1 << 57} THEN {number} % 10 = 0 ELSE true END"
    )


_IS_SHORTEST_SQL = (
    f"CASE WHEN {_ends_near_sql('id')} "
    "THEN coalesce(TRY_CAST(id::DOUBLE::VARCHAR AS DECIMAL(38, 0)) = id, false) ELSE false END"
)
