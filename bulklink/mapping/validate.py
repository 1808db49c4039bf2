"""Validation of rows, set by set: the faults of a row, and rounded ids. SQL.

Everything here builds SQL over the table `staged`. The relations, from the bottom:

- `base`: the rows of the run, with defaults filled in, ids and guards as they will be sent;
- `run`: the same with `reason` and `blame`, the column that is at fault.

Which ids are rounded is found by `rounding`, which rows contradict or repeat others by `twins`.
"""

# ruff: noqa: S608

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from bulklink.duckdb_sql import literal
from bulklink.errors import BadFileError
from bulklink.mapping import faults
from bulklink.mapping.headers import find_header, suggest_headers
from bulklink.mapping.load import (
    BAD,
    CHANGED_ID,
    DEFAULTED,
    GOOD,
    MISSING,
    ROUNDED,
    SPREADSHEET_NUMBER,
    TEXT_ID,
    TRAILING_ZEROS,
    filled_sql,
    id_grade_sql,
)
from bulklink.mapping.schema import GUARD, ID_COLUMNS, NAME_COLUMNS, NUMERIC_ID_COLUMNS
from bulklink.models import GUARD_SEPARATOR, NO_DEAL, Op

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bulklink.mapping.database import Database
    from bulklink.mapping.headers import MappingColumn
    from bulklink.mapping.schema import MappingOptions

#: Chance makes 0.01 % of ids of 19 digits end so; above this share a spreadsheet did.
MAX_TRAILING_ZERO_SHARE = 0.01


class TrailingZeroCount(NamedTuple):
    """How many ids of one column and length end in zeros behind their 15th digit."""

    column: str
    length: int
    ids: int
    rounded: int

    @property
    def exceeds_chance(self) -> bool:
        """Whether more are so than chance explains."""
        return self.rounded > MAX_TRAILING_ZERO_SHARE * self.ids

    def warning(self, header: str) -> str:
        """Say it to a person, where the ids are not refused."""
        return (
            f"{self.rounded:,} of {self.ids:,} {self.length}-digit ids in {header} end in zeros "
            "after the 15th digit, as a spreadsheet leaves them; so few may be chance"
        )


def count_trailing_zeros(database: Database, *, guards: bool) -> tuple[TrailingZeroCount, ...]:
    """Count, by column and length, the long ids that end in zeros and those of that length.

    Args:
        database: where the rows are.
        guards: whether rows may have one.
    """
    guard_counts = (
        [TrailingZeroCount(*row) for row in database.rows(_ROUND_GUARDS)] if guards else []
    )
    row = list(database.rows(_round_ids_query()))
    if not row:
        return tuple(guard_counts)
    ids = database.fetch_one(_long_ids_query(row))
    return (
        *(
            TrailingZeroCount(column, digits, int(count), round_count)
            for (column, digits, round_count), count in zip(row, ids, strict=True)
        ),
        *guard_counts,
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
        f"WHERE marks <> 0 AND {column}_grade = {TRAILING_ZEROS} GROUP BY digits"
        for column in NUMERIC_ID_COLUMNS
    ]
    return " UNION ALL ".join(parts) + " ORDER BY ALL"


def _long_ids_query(rounded_counts: Sequence[tuple[Any, ...]]) -> str:
    counts = [
        f"count(*) FILTER ({column}_grade IN ({GOOD}, {TRAILING_ZEROS}) AND"
        f" {_is_long(column, digits)})"
        for column, digits, _ in rounded_counts
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


def base_view_sql(
    options: MappingOptions,
    columns: Sequence[MappingColumn],
    line_offsets: Sequence[int],
    *,
    any_staged: bool,
) -> str:
    """Build the view `base`.

    Args:
        options: how the mapping is to be read.
        columns: the user's columns.
        line_offsets: for each file, the physical line of row 0, were there one.
        any_staged: whether the table has what an exact reader tells of a record.
    """
    places = {column.known: place for place, column in enumerate(columns) if column.known}
    defaults = {column: value.strip() for column, value in options.defaults}
    file = "file" if len(line_offsets) > 1 else "0::USMALLINT"
    line = (
        f"rowid + 1 + {list(line_offsets)}[file + 1]"
        if len(line_offsets) > 1
        else f"rowid + 1 + {line_offsets[0]}"
    )
    front = "coalesce(line, {line}) AS line, fault, why, raw"
    if not any_staged:
        front = "{line} AS line, NULL::VARCHAR AS fault, NULL::VARCHAR AS why, NULL::VARCHAR AS raw"
    parts = [
        f"rowid + 1 AS row, {file} AS file",
        front.format(line=line),
        _op(options, _filled_text("op", places, defaults)),
        *(f"c{place}" for place in range(len(columns))),
        *(
            expression
            for column in ID_COLUMNS
            for expression in _id_columns_sql(column, places.get(column))
        ),
        *(f"{name_sql(name, options, columns)} AS {name}" for name in NAME_COLUMNS),
    ]
    only = _only_conditions_sql(options, columns)
    where = f" WHERE fault IS NOT NULL OR ({' AND '.join(only)})" if only else ""
    ids = ", ".join(
        part for column in ID_COLUMNS for part in _id_with_default_sql(column, options, defaults)
    )
    guard = f"{_guard(options, places, defaults)} AS {GUARD}"
    outer = f"SELECT *, {ids}, {guard} FROM (SELECT marks, {', '.join(parts)} FROM staged)"
    return f"CREATE VIEW base AS SELECT * FROM ({outer}){where}"


def has_guards(options: MappingOptions, columns: Sequence[MappingColumn]) -> bool:
    """Tell whether rows of the mapping may have a guard."""
    known = {column.known for column in columns}
    return GUARD in options.active_columns and GUARD in known | dict(options.defaults).keys()


def _guard(options: MappingOptions, places: Mapping[str, int], defaults: Mapping[str, str]) -> str:
    """Build the guard of a row, NULL where it has none."""
    cells = [f"guard(c{places[GUARD]})"] if GUARD in places else []
    if defaults.get(GUARD) and GUARD in options.active_columns:
        cells.append(literal(defaults[GUARD].lower()))
    guard = f"coalesce({', '.join(cells)})" if cells else "NULL::VARCHAR"
    if options.op is not None or not cells:
        return guard
    guarded = ", ".join(literal(op) for op in options.guarded_ops)
    return f"CASE WHEN op IN ({guarded}) THEN {guard} END"


def _id_columns_sql(column: str, place: int | None) -> list[str]:
    """Build the forms of a clean id, before defaults: number, text, what is sent; its grade."""
    number = text = sent_id = "NULL"
    if place is not None and column in NUMERIC_ID_COLUMNS:
        number = f"n_{column}"
        text = f"CASE WHEN {number} IS NULL THEN unwrapped(c{place}) END"
        sent_id = f"CASE WHEN {number} IS NULL THEN unwrapped(c{place}) ELSE {number}::VARCHAR END"
    elif place is not None:
        odd = f"marks & {CHANGED_ID[column]} <> 0"
        sent_id = f"CASE WHEN {odd} THEN unwrapped(c{place}) ELSE c{place} END"
    columns = [f"({sent_id})::VARCHAR AS k_{column}"]
    if column in NUMERIC_ID_COLUMNS:
        columns += [f"{number}::UBIGINT AS n_{column}", f"({text})::VARCHAR AS t_{column}"]
    return [*columns, f"{MISSING if place is None else id_grade_sql(column)} AS g_{column}"]


def name_sql(name: str, options: MappingOptions, columns: Sequence[MappingColumn]) -> str:
    """Build the name that is sent, from the user's columns `c0`, `c1` and so on."""
    places = {column.known: place for place, column in enumerate(columns) if column.known}
    defaults = {column: value.strip() for column, value in options.defaults}
    return _filled_text(name, places, defaults)


def _filled_text(column: str, places: Mapping[str, int], defaults: Mapping[str, str]) -> str:
    place = places.get(column)
    return filled_sql("NULL::VARCHAR" if place is None else f"c{place}", defaults.get(column))


def _op(options: MappingOptions, stated_op: str) -> str:
    if options.op is not None:
        return f"{literal(options.op.value)} AS op, lower({stated_op}) AS stated"
    known = ", ".join(literal(op.value) for op in Op)
    op = f"CASE WHEN lower({stated_op}) IN ({known}) THEN lower({stated_op}) END"
    return f"{op} AS op, lower({stated_op}) AS stated"


def _id_with_default_sql(
    column: str, options: MappingOptions, defaults: Mapping[str, str]
) -> list[str]:
    """Fill one id by its default; the deal of an unlink is the user's own and no id here."""
    expressions = {
        column: (f"k_{column}", "{}"),
        f"{column}_grade": (f"g_{column}", str(DEFAULTED)),
    }
    if column in NUMERIC_ID_COLUMNS:
        text = "CASE WHEN number({0}) IS NULL THEN {0} END"
        expressions |= {
            f"{column}_number": (f"n_{column}", "number({})"),
            f"{column}_text": (f"t_{column}", text),
        }
    columns = {name: expression for name, (expression, _) in expressions.items()}
    default = defaults.get(column)
    if default:
        columns = {
            name: f"CASE WHEN g_{column} = {MISSING} THEN {fill.format(literal(default))} "
            f"ELSE {expression} END"
            for name, (expression, fill) in expressions.items()
        }
    if column == "deal_id" and options.op in (None, Op.UNLINK):
        unlink, unsent = "op IS NOT DISTINCT FROM 'unlink'", {f"{column}_grade": str(GOOD)}
        columns = {
            name: f"CASE WHEN {unlink} THEN {unsent.get(name, 'NULL')} ELSE {expression} END"
            for name, expression in columns.items()
        }
    return [f"{expression} AS {name}" for name, expression in columns.items()]


def _only_conditions_sql(options: MappingOptions, columns: Sequence[MappingColumn]) -> list[str]:
    return [_condition(header, value, options, columns) for header, value in options.only]


def _condition(
    header: str, value: str | None, options: MappingOptions, columns: Sequence[MappingColumn]
) -> str:
    place = _place_of(header, columns)
    if place is None:
        raise BadFileError(
            f"No header is called {header!r}, as --only says.",
            where=f"--only {header}",
            advice=suggest_headers(header, [column.header for column in columns]),
        )
    known = columns[place].known
    cell = known if known in ID_COLUMNS else f"tidy(c{place})"
    if known in ("op", "owner_name", "deal_name"):
        cell = "stated" if known == "op" else known
    if value is None:
        return f"coalesce({cell}, '') <> ''"
    expected = value.strip().lower() if known == "op" else value.strip()
    return f"coalesce({cell}, '') = {literal(expected)}"


def _place_of(header: str, columns: Sequence[MappingColumn]) -> int | None:
    for place, column in enumerate(columns):
        if column.known == header:
            return place
    return find_header([column.header for column in columns], header)


def run_view_sql(
    options: MappingOptions, rounded_ids: Iterable[TrailingZeroCount], *, guards: bool
) -> str:
    """Build the view `run`: the first thing that is wrong with each row, and where.

    Args:
        options: how the mapping is to be read.
        rounded_ids: the ids that a spreadsheet has rounded.
        guards: whether rows may have one.
    """
    lengths: dict[str, list[int]] = {column: [] for column in (*ID_COLUMNS, GUARD)}
    for rounded in rounded_ids:
        lengths[rounded.column].append(rounded.length)
    flaws = [("fault IS NOT NULL", "fault", "NULL"), *_op_flaws(options)]
    for column in ID_COLUMNS:
        flaws += _id_flaws(column, lengths[column])
    flaws += _guard_flaws(lengths[GUARD]) if guards else []
    good = f"marks = 0 AND {GUARD} IS NULL" if guards else "marks = 0"
    reasons = " ".join(f"WHEN {when} THEN {reason}" for when, reason, _ in flaws)
    blames = " ".join(f"WHEN {when} THEN {blame}" for when, _, blame in flaws)
    return (
        f"CREATE VIEW run AS SELECT *, CASE WHEN {good} THEN NULL {reasons} END AS reason, "
        f"CASE WHEN {good} THEN NULL {blames} END AS blame FROM base"
    )


def _op_flaws(options: MappingOptions) -> list[tuple[str, str, str]]:
    bad = literal(faults.BAD_OP)
    if options.op is not None:
        return [(f"stated <> {literal(options.op.value)}", bad, "'op'")]
    missing = literal(faults.MISSING_VALUE)
    return [("stated IS NULL", missing, "'op'"), ("op IS NULL", bad, "'op'")]


def _id_flaws(column: str, lengths: list[int]) -> list[tuple[str, str, str]]:
    grade, blame = f"{column}_grade", literal(column)
    flaws = [
        (f"{grade} = {MISSING}", literal(faults.MISSING_VALUE), blame),
        (f"{grade} = {BAD}", literal(faults.BAD_ID), blame),
        (f"{grade} = {ROUNDED}", literal(faults.ROUNDED_ID), blame),
    ]
    if lengths:
        among = ", ".join(map(str, lengths))
        when = f"{grade} = {TRAILING_ZEROS} AND length({column}) IN ({among})"
        flaws.append((when, literal(faults.ROUNDED_ID), blame))
    return flaws


def _guard_flaws(lengths: list[int]) -> list[tuple[str, str, str]]:
    deal_pattern = f"[0-9]{{1,100}}|{NO_DEAL}"
    allowed = f"({deal_pattern})([{GUARD_SEPARATOR}]({deal_pattern}))*"
    blame = literal(GUARD)
    flaws = [
        (
            f"regexp_full_match({GUARD}, {literal(SPREADSHEET_NUMBER)})",
            literal(faults.ROUNDED_ID),
            blame,
        ),
        (f"NOT regexp_full_match({GUARD}, {literal(allowed)})", literal(faults.BAD_ID), blame),
    ]
    if lengths:
        among = ", ".join(map(str, lengths))
        when = f"regexp_full_match({GUARD}, '[0-9]{{15}}0+') AND length({GUARD}) IN ({among})"
        flaws.append((when, literal(faults.ROUNDED_ID), blame))
    return flaws


class RowStatistics(NamedTuple):
    """What one look at all rows of the run says.

    `flags` are those of any row that nothing is wrong with by itself, together; `guarded_ops`
    counts such rows that have a guard.
    """

    rows: int
    faulty: int
    flags: int
    guarded: int

    def group_key_columns(self) -> tuple[str, ...]:
        """Name what tells contact and owner apart, as it is stored: cheaper than their texts."""
        return tuple(
            name
            for column in ("contact_id", "owner_id")
            for name in (f"{column}_number", f"{column}_text")
            if name.endswith("number") or self.flags & TEXT_ID[column]
        )


def collect_row_statistics(database: Database, options: MappingOptions) -> RowStatistics:
    """Look at all rows of the run; an id that is filled in may be anything."""
    rows, faulty, flags, guarded = database.fetch_one(
        "SELECT count(*), count(*) FILTER (reason IS NOT NULL), "
        "coalesce(bit_or(marks) FILTER (reason IS NULL), 0), "
        f"count({GUARD}) FILTER (reason IS NULL) FROM run"
    )
    for column, _ in options.defaults:
        flags |= CHANGED_ID.get(column, 0) | TEXT_ID.get(column, 0)
    return RowStatistics(int(rows), int(faulty), int(flags), int(guarded))
