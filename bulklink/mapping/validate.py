"""SQL for the faults of each row.

Relations, built on the table `staged`:

- `base`: the rows of the run with defaults filled in, ids and guards as they are sent;
- `checked_rows`: the same with `reason` and `fault_column`, the first fault of a row on its own.

Conflicts and duplicates, which concern several rows, are found by `duplicates`.
"""

# ruff: noqa: S608

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from bulklink.advice import Advice, Keyword
from bulklink.duckdb_sql import literal
from bulklink.errors import BadFileError
from bulklink.mapping import faults
from bulklink.mapping.headers import find_header, suggest_headers
from bulklink.mapping.input.staging import NO_LINE
from bulklink.mapping.load import (
    BAD,
    CHANGED_ID,
    DEFAULTED,
    GOOD,
    MAY_BE_FAULTY,
    MISSING,
    ROUNDED,
    SPREADSHEET_NUMBER,
    TEXT_ID,
    filled_sql,
    id_grade_sql,
)
from bulklink.mapping.name_cells import filled_name_sql
from bulklink.mapping.schema import (
    GUARD,
    ID_COLUMNS,
    NAME_COLUMNS,
    NUMERIC_ID_COLUMNS,
    ORIGIN_ROW,
    id_pattern,
)
from bulklink.models import GUARD_SEPARATOR, NO_DEAL, Op

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bulklink.mapping.database import Database
    from bulklink.mapping.headers import MappingColumn
    from bulklink.mapping.schema import MappingOptions
    from bulklink.mapping.suspect_ids import SuspectIds


#: Maximum number of rows that are stored once more after their cells were read as ids.
MAX_STORED_ROWS = 1000


class RowPlaces(NamedTuple):
    """SQL of where the rows of the table `staged` stand.

    Args:
        row: number of the row.
        file: number of its file.
        others: further columns: `line`, `fault`, `message`, `raw`, and `origin_row`, the number
            over the whole mapping, of which the rows may be a shard.
    """

    row: str
    file: str
    others: tuple[str, ...]


def loaded_places(line_offsets: Sequence[int], *, any_staged: bool) -> RowPlaces:
    """Return the places of rows in the order in which they were loaded.

    Args:
        line_offsets: for each file, the physical line of a row minus its number.
        any_staged: whether an exact reader filled columns of the table.
    """
    origin = f"rowid + 1 AS {ORIGIN_ROW}"
    file = "file" if len(line_offsets) > 1 else "0::USMALLINT"
    line = (
        f"rowid + 1 + {list(line_offsets)}[file + 1]"
        if len(line_offsets) > 1
        else f"rowid + 1 + {line_offsets[0]}"
    )
    if any_staged:
        staged_line = f"nullif(coalesce(line, {line}), {NO_LINE}) AS line"
        return RowPlaces("rowid + 1", file, (staged_line, "fault", "message", "raw", origin))
    missing = [f"NULL::VARCHAR AS {column}" for column in ("fault", "message", "raw")]
    return RowPlaces("rowid + 1", file, (f"{line} AS line", *missing, origin))


def base_rows_sql(
    options: MappingOptions, columns: Sequence[MappingColumn], places: RowPlaces, *, stored: bool
) -> str:
    """Build the statement that creates `base`.

    Args:
        options: options for reading the mapping.
        columns: the user's columns.
        places: where the rows stand.
        stored: whether to store the rows in a table rather than create a view. DuckDB takes 10 ms
            to prepare a query of the view, which is most of the time that a short mapping takes.
    """
    known_places = _places(columns)
    parts = [
        f"{places.row} AS row, {places.file} AS file",
        *places.others,
        _op_columns_sql(options, _filled_text_sql("op", known_places, options)),
        *(f"c{place}" for place in range(len(columns))),
        *(
            expression
            for column in ID_COLUMNS
            for expression in _id_columns_sql(column, known_places.get(column))
        ),
        *(f"{_filled_text_sql(name, known_places, options)} AS {name}" for name in NAME_COLUMNS),
    ]
    only = _only_conditions_sql(options, columns)
    where = f" WHERE {_unfilterable_sql()} OR ({' AND '.join(only)})" if only else ""
    ids = ", ".join(part for column in ID_COLUMNS for part in _id_with_default_sql(column, options))
    guard = f"{_guard_sql(options, known_places)} AS {GUARD}"
    outer = f"SELECT *, {ids}, {guard} FROM (SELECT flags, {', '.join(parts)} FROM staged)"
    return f"CREATE {'TABLE' if stored else 'VIEW'} base AS SELECT * FROM ({outer}){where}"


def has_guards(options: MappingOptions, columns: Sequence[MappingColumn]) -> bool:
    """Return whether rows of the mapping may have a guard."""
    known = {column.known for column in columns}
    return GUARD in options.active_columns and GUARD in known | dict(options.defaults).keys()


def _guard_sql(options: MappingOptions, places: Mapping[str, int]) -> str:
    """Build the guard of a row, NULL if it has none."""
    cells = [f"guard(c{places[GUARD]})"] if GUARD in places else []
    default = options.default_values.get(GUARD)
    if default and GUARD in options.active_columns:
        cells.append(literal(default.lower()))
    guard = f"coalesce({', '.join(cells)})" if cells else "NULL::VARCHAR"
    if options.op is not None or not cells:
        return guard
    guarded = ", ".join(literal(op) for op in options.guarded_ops)
    return f"CASE WHEN op IN ({guarded}) THEN {guard} END"


def _id_columns_sql(column: str, place: int | None) -> list[str]:
    """Build the columns of an id before defaults: its number and other text, or text; its grade.

    Each is built once: DuckDB takes longer to prepare `clean_id` than most other expressions.
    """
    grade = f"{MISSING if place is None else id_grade_sql(column)} AS g_{column}"
    if column not in NUMERIC_ID_COLUMNS:
        is_changed = f"flags & {CHANGED_ID[column]} <> 0"
        text = f"CASE WHEN {is_changed} THEN clean_id(c{place}) ELSE c{place} END"
        return [f"({'NULL' if place is None else text})::VARCHAR AS k_{column}", grade]
    number = "NULL" if place is None else f"n_{column}"
    text = "NULL" if place is None else f"CASE WHEN {number} IS NULL THEN clean_id(c{place}) END"
    return [f"{number}::UBIGINT AS n_{column}", f"({text})::VARCHAR AS t_{column}", grade]


def name_sql(name: str, options: MappingOptions, columns: Sequence[MappingColumn]) -> str:
    """Build the name that is sent, from the user's columns `c0`, `c1` and so on."""
    return _filled_text_sql(name, _places(columns), options)


def _places(columns: Sequence[MappingColumn]) -> dict[str, int]:
    return {column.known: place for place, column in enumerate(columns) if column.known}


def _filled_text_sql(column: str, places: Mapping[str, int], options: MappingOptions) -> str:
    cell = f"c{places[column]}" if column in places else "NULL::VARCHAR"
    fill = filled_name_sql if column in NAME_COLUMNS else filled_sql
    return fill(cell, options.default_values.get(column))


def _op_columns_sql(options: MappingOptions, stated_op: str) -> str:
    if options.op is not None:
        return f"{literal(options.op.value)} AS op, lower({stated_op}) AS stated_op"
    ops = ", ".join(literal(op.value) for op in Op)
    op = f"CASE WHEN lower({stated_op}) IN ({ops}) THEN lower({stated_op}) END"
    return f"{op} AS op, lower({stated_op}) AS stated_op"


def _id_with_default_sql(column: str, options: MappingOptions) -> list[str]:
    """Build the columns of an id with its default; an unlink has no deal id."""
    expressions = {
        column: (f"k_{column}", "{}"),
        f"{column}_grade": (f"g_{column}", str(DEFAULTED)),
    }
    if column in NUMERIC_ID_COLUMNS:
        text = "CASE WHEN number({0}) IS NULL THEN {0} END"
        expressions |= {
            column: (f"coalesce(n_{column}::VARCHAR, t_{column})", "{}"),
            f"{column}_number": (f"n_{column}", "number({})"),
            f"{column}_text": (f"t_{column}", text),
        }
    columns = {name: expression for name, (expression, _) in expressions.items()}
    default = options.default_values.get(column)
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


def _unfilterable_sql() -> str:
    """Build the condition of records that are too broken for `only` to leave out."""
    return (
        f"(fault IS NOT NULL AND fault NOT IN ({literal(faults.MERGED_CELL)},"
        f" {literal(faults.UNCOMPUTED_FORMULA)}))"
    )


def _only_conditions_sql(options: MappingOptions, columns: Sequence[MappingColumn]) -> list[str]:
    return [_condition(header, value, options, columns) for header, value in options.only]


def _condition(
    header: str, value: str | None, options: MappingOptions, columns: Sequence[MappingColumn]
) -> str:
    place = _place_of(header, columns)
    if place is None:
        raise BadFileError(
            f"There is no header {header!r} to select rows by.",
            where=Advice("{} {}", Keyword("only"), header),
            advice=suggest_headers(header, [column.header for column in columns]),
        )
    known = columns[place].known
    cell = known if known in ID_COLUMNS else f"trimmed(c{place})"
    if known in ("op", "owner_name", "deal_name"):
        cell = "stated_op" if known == "op" else known
    if value is None:
        return f"coalesce({cell}, '') <> ''"
    expected = value.strip().lower() if known == "op" else value.strip()
    return f"coalesce({cell}, '') = {literal(expected)}"


def _place_of(header: str, columns: Sequence[MappingColumn]) -> int | None:
    for place, column in enumerate(columns):
        if column.known == header:
            return place
    return find_header([column.header for column in columns], header)


class _FaultRule(NamedTuple):
    """SQL of a condition, of the fault code of a row that meets it, and of the column at fault."""

    condition: str
    reason: str
    column: str


def checked_rows_view_sql(
    options: MappingOptions,
    columns: Sequence[MappingColumn],
    suspects: SuspectIds,
    *,
    guards: bool,
) -> str:
    """Build the statement that creates the view `checked_rows`: the first fault of each row.

    Args:
        options: options for reading the mapping.
        columns: the user's columns.
        suspects: ids that look rounded, judged by their column.
        guards: whether rows may have a guard.
    """
    rules = [_FaultRule("fault IS NOT NULL", "fault", "NULL"), *_op_rules(options, columns)]
    for column in ID_COLUMNS:
        rules += [*_id_rules(column), *_suspect_rules(column, suspects)]
    rules += [*_guard_rules(), *_suspect_rules(GUARD, suspects)] if guards else []
    reasons = " ".join(f"WHEN {rule.condition} THEN {rule.reason}" for rule in rules)
    fault_columns = " ".join(f"WHEN {rule.condition} THEN {rule.column}" for rule in rules)
    may_be_faulty = f"{MAY_BE_FAULTY}(flags, {GUARD})"
    return (
        "CREATE VIEW checked_rows AS SELECT *, "
        f"CASE WHEN NOT {may_be_faulty} THEN NULL {reasons} END AS reason, "
        f"CASE WHEN NOT {may_be_faulty} THEN NULL {fault_columns} END AS fault_column FROM base"
    )


def may_be_faulty_macro_sql(suspects: SuspectIds) -> str:
    """Build the statement that creates the macro `MAY_BE_FAULTY`.

    A row that does not meet it has no fault of its own. DuckDB skips such rows early, where it
    would compute `reason` first.
    """
    # An id that passed through a float looks valid on its own.
    condition = "true" if suspects.floats else "flags <> 0 OR guard IS NOT NULL"
    return f"CREATE MACRO {MAY_BE_FAULTY}(flags, guard) AS ({condition})"


def _op_rules(options: MappingOptions, columns: Sequence[MappingColumn]) -> list[_FaultRule]:
    """Build the rules for the operation; an empty cell never takes the operation of the command."""
    bad, missing, column = literal(faults.BAD_OP), literal(faults.MISSING_VALUE), literal("op")
    empty = _FaultRule("stated_op IS NULL", missing, column)
    if options.op is None:
        return [empty, _FaultRule("op IS NULL", bad, column)]
    other = _FaultRule(f"stated_op <> {literal(options.op.value)}", bad, column)
    return [empty, other] if "op" in _places(columns) else [other]


def _id_rules(column: str) -> list[_FaultRule]:
    grade = f"{column}_grade"
    reasons = ((MISSING, faults.MISSING_VALUE), (BAD, faults.BAD_ID), (ROUNDED, faults.ROUNDED_ID))
    return [
        _FaultRule(f"{grade} = {value}", literal(reason), literal(column))
        for value, reason in reasons
    ]


def _suspect_rules(column: str, suspects: SuspectIds) -> list[_FaultRule]:
    """Build the rules for ids that look rounded, judged by their column."""
    return [
        _FaultRule(condition, literal(faults.ROUNDED_ID), literal(column))
        for condition in suspects.conditions_sql(column)
    ]


def _guard_rules() -> list[_FaultRule]:
    deal_pattern = f"{id_pattern('deal_id')}|{NO_DEAL}"
    allowed = f"({deal_pattern})([{GUARD_SEPARATOR}]({deal_pattern}))*"
    number = f"regexp_full_match({GUARD}, {literal(SPREADSHEET_NUMBER)})"
    other = f"NOT regexp_full_match({GUARD}, {literal(allowed)})"
    # Nearly all guards are a plain number; a cast is cheaper than a regular expression.
    unless_plain = f"CASE WHEN number({GUARD}) IS NOT NULL THEN false ELSE {{}} END"
    return [
        _FaultRule(unless_plain.format(number), literal(faults.ROUNDED_ID), literal(GUARD)),
        _FaultRule(unless_plain.format(other), literal(faults.BAD_ID), literal(GUARD)),
    ]


class RowStatistics(NamedTuple):
    """Totals over the rows of a checked mapping.

    Args:
        rows: rows of the run.
        faulty: rows with a fault of their own.
        flags: union of the flags of rows without such a fault.
        guarded: rows without such a fault that have a guard.
    """

    rows: int
    faulty: int
    flags: int
    guarded: int

    def group_key_columns(self) -> tuple[str, ...]:
        """Return the stored columns that identify contact and owner, cheaper than their texts."""
        return tuple(
            name
            for column in ("contact_id", "owner_id")
            for name in (f"{column}_number", f"{column}_text")
            if name.endswith("number") or self.flags & TEXT_ID[column]
        )


def collect_row_statistics(database: Database, options: MappingOptions) -> RowStatistics:
    """Count the rows of the run in one pass; a default may set any flag of its id."""
    rows, faulty, flags, guarded = database.fetch_one(
        "SELECT count(*), count(*) FILTER (reason IS NOT NULL), "
        "coalesce(bit_or(flags) FILTER (reason IS NULL), 0), "
        f"count({GUARD}) FILTER (reason IS NULL) FROM checked_rows"
    )
    for column, _ in options.defaults:
        flags |= CHANGED_ID.get(column, 0) | TEXT_ID.get(column, 0)
    return RowStatistics(int(rows), int(faulty), int(flags), int(guarded))
