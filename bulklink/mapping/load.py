"""SQL that loads input files into the table `staged`, with flags for each row.

The rowid of a row + 1 is its number over all files: a new table that is filled in insertion order
has no gaps. Each id is examined here, once, and the result is stored in the column `flags`:

- from the lowest bit, a grade of three bits for each id, then single bits;
- 0 if the record is complete, each id is valid as written in the file, and no name has spaces
  around it. Most rows of most mappings have 0, and each later pass skips them by this comparison.

An id whose digits a 64-bit integer preserves is stored as that integer (`n_…`), in a third of the
space; the user's cell (`c…`) is then stored only if it differs.
"""

# ruff: noqa: S608

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bulklink.duckdb_sql import literal
from bulklink.errors import InterruptedPlanningError
from bulklink.mapping.database import DamagedTableError
from bulklink.mapping.ignorable import IGNORABLE
from bulklink.mapping.input.jsonl_reader import FLOAT_CELL, OTHER_CELL
from bulklink.mapping.input.scan import MAX_RECORD_BYTES
from bulklink.mapping.input.sheet_staging import MERGED_KIND
from bulklink.mapping.input.staging import (
    CELL_SEPARATOR,
    ESCAPE_CHAR,
    ESCAPES,
    LEADING_COLUMNS,
    NULL_CELL,
)
from bulklink.mapping.input.xlsx_reader import UNCOMPUTED_CELL
from bulklink.mapping.name_cells import name_macro_statements
from bulklink.mapping.schema import ID_COLUMNS, NAME_COLUMNS, NUMERIC_ID_COLUMNS, is_id_sql
from bulklink.mapping.sheet_faults import sheet_faults_sql
from bulklink.models import GUARD_SEPARATOR, Op

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from bulklink.mapping.database import Database
    from bulklink.mapping.headers import MappingColumn
    from bulklink.mapping.input.frames import Frame
    from bulklink.mapping.input.prepare import CsvInput
    from bulklink.mapping.input.typed_columns import TypedColumn
    from bulklink.mapping.schema import MappingOptions

    RecordCount = AbstractContextManager[Callable[[], int | None]]

#: Grades of the cell of an id column; DEFAULTED is added when defaults are applied.
GOOD, MISSING, BAD, ROUNDED, TRAILING_ZEROS, DEFAULTED = range(6)

_GRADE_BITS = 3
_FIRST_SINGLE_BIT = _GRADE_BITS * len(ID_COLUMNS)

#: The id that is sent differs from the user's cell.
CHANGED_ID = {column: 1 << _FIRST_SINGLE_BIT + place for place, column in enumerate(ID_COLUMNS)}
#: The id cannot be stored as a 64-bit integer without a change of its digits.
TEXT_ID = {
    column: 1 << _FIRST_SINGLE_BIT + 4 + place for place, column in enumerate(NUMERIC_ID_COLUMNS)
}
#: The name that is sent differs from the user's cell, or is missing.
CHANGED_NAME = {
    column: 1 << _FIRST_SINGLE_BIT + 7 + place for place, column in enumerate(NAME_COLUMNS)
}
#: The record is broken, or its operation must be checked.
NEEDS_CHECK = 1 << _FIRST_SINGLE_BIT + 9
#: Macro of the condition, on the flags and the guard of a row, that it may have a fault of its own.
MAY_BE_FAULTY = "may_be_faulty"
#: A number that went through a spreadsheet or a float: it has a point or an exponent.
SPREADSHEET_NUMBER = r"[+-]?[0-9]+([.,][0-9]*([eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+)"
#: Columns that only an exact reader fills; missing if DuckDB reads all files itself.
_EXACT_READER_COLUMNS = ("line BIGINT", "fault VARCHAR", "message VARCHAR", "raw VARCHAR")
#: An escaped character takes two bytes, and the leading columns of a line are short.
_LINE_BYTES = 3 * MAX_RECORD_BYTES


def grade_bits(column: str, grade: int) -> int:
    """Return a grade shifted to the bits of its id."""
    return grade << _GRADE_BITS * ID_COLUMNS.index(column)


def id_grade_sql(column: str) -> str:
    """Build the expression of the grade of an id."""
    return f"(flags >> {_GRADE_BITS * ID_COLUMNS.index(column)} & {(1 << _GRADE_BITS) - 1})"


def macro_statements() -> list[str]:
    """Build the statements that create the macros that clean cells."""
    restored_sql = "cell"
    for kind in (FLOAT_CELL, OTHER_CELL, UNCOMPUTED_CELL, MERGED_KIND):
        restored_sql = f"replace({restored_sql}, {literal(ESCAPE_CHAR + kind)}, '')"
    for letter, character in ESCAPES.items():
        restored_sql = (
            f"replace({restored_sql}, {literal(ESCAPE_CHAR + letter)}, chr({ord(character)}))"
        )
    return [
        f"CREATE MACRO unescaped(cell) AS "
        f"CASE WHEN contains(cell, {literal(ESCAPE_CHAR)}) THEN {restored_sql} ELSE cell END",
        f"CREATE MACRO trim_spaces(cell) AS trim(cell, {literal(IGNORABLE)})",
        # Few cells need trimming, and trimming looks at every character.
        "CREATE MACRO is_trimmed(cell) AS "
        "cell BETWEEN '!' AND '~' AND cell[-1] BETWEEN '!' AND '~'",
        "CREATE MACRO trimmed(cell) AS "
        "CASE WHEN is_trimmed(cell) THEN cell ELSE trim_spaces(cell) END",
        "CREATE MACRO number(id) AS "
        "CASE WHEN id = '' THEN NULL WHEN TRY_CAST(id AS UBIGINT)::VARCHAR = id "
        "THEN TRY_CAST(id AS UBIGINT) END",
        f"CREATE MACRO clean_id(cell) AS {_clean_id_sql()}",
        f"CREATE MACRO unclean_id_grade(cell, id, is_allowed, good) AS {_unclean_id_grade_sql()}",
        f"CREATE MACRO guard(cell) AS {_clean_guard_sql()}",
    ]


def _clean_id_sql() -> str:
    """Build the expression that strips spaces, an apostrophe, `="…"` and Zoho's prefix."""
    inside = "trim_spaces(regexp_replace(trim_spaces(cell), '^''', ''))"
    inside = f"""regexp_replace({inside}, '^="(.*)"$', '\\1', 's')"""
    inside = f"trim_spaces(regexp_replace(trim_spaces({inside}), '^''', ''))"
    inside = f"trim_spaces(regexp_replace({inside}, '^zcrm_', ''))"
    return f"CASE WHEN regexp_full_match(cell, '[0-9A-Za-z]*') THEN cell ELSE {inside} END"


def _clean_guard_sql() -> str:
    """Build the expression that cleans a guard; nearly all guards name a single deal."""
    separator = literal(GUARD_SEPARATOR)
    parts = f"list_transform(string_split(cell, {separator}), lambda part: lower(clean_id(part)))"
    several = f"nullif(array_to_string({parts}, {separator}), '')"
    one = "nullif(lower(clean_id(cell)), '')"
    return (
        "CASE WHEN number(cell) IS NOT NULL THEN cell "
        f"WHEN contains(cell, {separator}) THEN {several} ELSE {one} END"
    )


def _unclean_id_grade_sql() -> str:
    """Build the grade of a cell that is not an id as written; `good` is that of a valid id."""
    return (
        f"CASE WHEN id IS NULL OR id = '' THEN {MISSING} "
        f"WHEN starts_with(cell, {literal(ESCAPE_CHAR + FLOAT_CELL)}) THEN {ROUNDED} "
        f"WHEN starts_with(cell, {literal(ESCAPE_CHAR + OTHER_CELL)}) THEN {BAD} "
        "WHEN is_allowed THEN good "
        f"WHEN regexp_full_match(id, {literal(SPREADSHEET_NUMBER)}) THEN {ROUNDED} ELSE {BAD} END"
    )


def filled_sql(cell: str, default: str | None) -> str:
    """Build a trimmed text, or its default if it is empty; NULL without one."""
    text = f"nullif(trimmed({cell}), '')"
    return f"coalesce({text}, {literal(default)})" if default else text


def is_plain_id_sql(column: str) -> str:
    """Build the condition that a cell is an id as written."""
    return f"p_{column}" if column == "message_id" else f"(p_{column} IS NOT NULL)"


def user_cell_sql(cell: str, *, staged: bool) -> str:
    """Build the cell as it is in the user's file."""
    return f"unescaped({cell})" if staged else cell


def flags_sql(cells: Mapping[str, str], options: MappingOptions, *, staged: bool) -> Iterator[str]:
    """Build the terms that add up to the flags of a row.

    Args:
        cells: SQL of the cells by known column.
        options: options for reading the mapping.
        staged: whether the cells are those of a staging file.
    """
    if staged:
        yield f"CASE WHEN reason IS NULL THEN 0 ELSE {NEEDS_CHECK} END"
    defaults = dict(options.defaults)
    op = filled_sql(
        user_cell_sql(cells.get("op", "NULL::VARCHAR"), staged=staged), defaults.get("op")
    )
    is_wanted = _is_wanted_op_sql(op, options, is_needed=options.op is None or "op" in cells)
    yield f"CASE WHEN {is_wanted} THEN 0 ELSE {NEEDS_CHECK} END"
    for column in ID_COLUMNS:
        if column in cells:
            yield _id_flags_sql(column, cells[column], staged=staged)
        elif column not in defaults and (column != "deal_id" or options.op is not Op.UNLINK):
            yield str(grade_bits(column, MISSING))
    for column in NAME_COLUMNS:
        if column in cells:
            yield _name_flag_sql(column, user_cell_sql(cells[column], staged=staged))


def _is_wanted_op_sql(stated_op: str, options: MappingOptions, *, is_needed: bool) -> str:
    """Build the condition that a row names a requested operation, or needs none and names none."""
    ops = list(Op) if options.op is None else [options.op]
    among = f"lower({stated_op}) IN ({', '.join(literal(op.value) for op in ops)})"
    return f"coalesce({among}, {'false' if is_needed else 'true'})"


def _id_flags_sql(column: str, cell: str, *, staged: bool) -> str:
    """Build the flags of one cell; numbers of 16 or more digits that end in zeros are suspect.

    CASE evaluates a branch only for the rows that reach it; AND evaluates both sides for all rows.
    """
    plain_grade = good_grade = str(GOOD)
    if column in NUMERIC_ID_COLUMNS:
        zeros = _trailing_zeros_sql(f"p_{column}::VARCHAR")
        plain_grade = f"CASE WHEN {_may_be_rounded_sql(column)} THEN {zeros} ELSE {GOOD} END"
        good_grade = _trailing_zeros_sql(f"k_{column}")
    is_allowed = is_id_sql(f"k_{column}", column)
    other_grade = f"unclean_id_grade({cell}, k_{column}, {is_allowed}, {good_grade})"
    step = grade_bits(column, 1)
    is_unchanged = f"k_{column} IS NOT DISTINCT FROM {user_cell_sql(cell, staged=staged)}"
    bits = f"CASE WHEN {is_unchanged} THEN 0 ELSE {CHANGED_ID[column]} END"
    if column in NUMERIC_ID_COLUMNS:
        bits += f" + CASE WHEN n_{column} IS NULL THEN {TEXT_ID[column]} ELSE 0 END"
    other_flags = f"({other_grade}) * {step} + {bits}"
    is_plain = is_plain_id_sql(column)
    return f"CASE WHEN {is_plain} THEN ({plain_grade}) * {step} ELSE {other_flags} END"


def _may_be_rounded_sql(column: str) -> str:
    """Build a cheap condition that hardly any unrounded number meets.

    A number of 19 digits, rounded to 15, ends in 4 zeros.
    """
    number = f"p_{column}"
    return (
        f"{number} % 10 = 0 AND {number} >= {10**15} "
        f"AND ({number} < {10**18} OR {number} % 10000 = 0)"
    )


def _trailing_zeros_sql(text: str) -> str:
    ends = f"regexp_full_match({text}, '[0-9]{{15}}0+')"
    return f"CASE WHEN {ends} THEN {TRAILING_ZEROS} ELSE {GOOD} END"


def _name_flag_sql(column: str, cell: str) -> str:
    is_unchanged = f"coalesce(clean_name({cell}) = {cell}, false)"
    flag = f"CASE WHEN {is_unchanged} THEN 0 ELSE {CHANGED_NAME[column]} END"
    return f"CASE WHEN is_plain_name({cell}) THEN 0 ELSE {flag} END"


@dataclass(slots=True, frozen=True)
class StagedTable:
    """The table `staged`, into which the files of a mapping are loaded.

    Args:
        database: holds the table.
        columns: the user's columns.
        files: number of files.
        options: options for reading the mapping.
    """

    database: Database
    columns: tuple[MappingColumn, ...]
    files: int
    options: MappingOptions

    def create(self) -> None:
        """Create the empty table and the macros that clean its cells.

        The columns `line`, `fault`, `message` and `raw` are added with the first staging file.
        """
        for macro in (*macro_statements(), *name_macro_statements()):
            self.database.execute(macro)
        user_columns = [f"c{place} VARCHAR" for place in range(len(self.columns))]
        known = [column.known for column in self.columns]
        numbers = [f"n_{column} UBIGINT" for column in known if column in NUMERIC_ID_COLUMNS]
        file = ["file USMALLINT"] if self.files > 1 else []
        self.database.execute(
            f"CREATE TABLE staged ({', '.join([*file, *user_columns, *numbers, 'flags INTEGER'])})"
        )

    def load_frame(self, frame: Frame, number: int) -> int:
        """Append the rows of a frame and return their number.

        Args:
            frame: the frame.
            number: its position among the inputs of the mapping, from 0.

        Raises:
            BadFileError: if it cannot be read, or an id column has a type that is inexact.
        """
        self._add_reader_columns()
        columns = {
            place: column for column in self.columns if (place := column.places[number]) is not None
        }

        def insert(relation: str, typed_columns: list[TypedColumn]) -> int:
            for place, column in columns.items():
                frame.check_id_type(typed_columns[place], column.known)
            return self.database.execute(self._insert_sql(relation, number, staged=True))

        return frame.load(self.database, columns.keys(), insert)

    def load_file(self, csv_input: CsvInput, number: int, counting: RecordCount) -> bool:
        """Append the records of one file.

        Args:
            csv_input: the file.
            number: its position among the files of the mapping, from 0.
            counting: entered while DuckDB reads the file; the function then returns the number of
                its records, or None if it is not regular.

        Returns:
            Whether the records were loaded; False if DuckDB reads a different number of them
            because the file is not regular.
        """
        if csv_input.staged:
            self._add_reader_columns()
        self.database.execute("BEGIN")
        with counting as records:
            count = self._insert(csv_input, number)
            expected = records()
        loaded = count is not None and count == expected
        self.database.execute("COMMIT" if loaded else "ROLLBACK")
        return loaded

    def _add_reader_columns(self) -> None:
        for column in _EXACT_READER_COLUMNS:
            self.database.execute(f"ALTER TABLE staged ADD COLUMN IF NOT EXISTS {column}")

    def _insert(self, csv_input: CsvInput, number: int) -> int | None:
        """Insert the records of one file and return their number; None if DuckDB cannot."""
        source = file_relation(self.database, csv_input)
        if csv_input.sheet_columns is not None:
            source = sheet_faults_sql(
                source, self.columns, self.options, number, csv_input.sheet_columns
            )
        try:
            return self.database.execute(self._insert_sql(source, number, staged=csv_input.staged))
        except DamagedTableError:
            if csv_input.staged:
                raise
        except InterruptedPlanningError:
            self.database.check_stop()  # else the scan of the file interrupted it
        return None

    def _insert_sql(self, source: str, number: int, *, staged: bool) -> str:
        """Build the INSERT; values that several columns need are computed in nested subqueries."""
        columns = self.columns
        cells = {column.known: _cell_sql(column, number) for column in columns if column.known}
        ids = {column: cells[column] for column in ID_COLUMNS if column in cells}
        values = {
            f"c{place}": _stored_cell_sql(column, number, staged=staged)
            for place, column in enumerate(columns)
        }
        values |= {f"n_{column}": f"n_{column}" for column in ids if column in NUMERIC_ID_COLUMNS}
        values["flags"] = " + ".join(flags_sql(cells, self.options, staged=staged))
        if self.files > 1:
            values["file"] = str(number)
        if staged:
            values |= {"line": "line::BIGINT", "fault": "unescaped(reason)"}
            values |= {column: f"unescaped({column})" for column in ("message", "raw")}
        for layer in (_plain_id_sql, _cleaned_id_sql, _id_number_sql):
            parts = ", ".join(
                layer(column, cell, user_cell_sql(cell, staged=staged))
                for column, cell in ids.items()
            )
            source = f"(SELECT *, {parts} FROM {source})" if parts else source
        selected = f"SELECT {', '.join(values.values())} FROM {source}"
        return f"INSERT INTO staged ({', '.join(values)}) {selected}"


def _plain_id_sql(column: str, cell: str, _user_cell: str) -> str:
    """Build the test for a plain id; a cast is cheaper than a regular expression."""
    if column == "message_id":
        return f"coalesce({is_id_sql(cell, column)}, false) AS p_{column}"
    return f"number({cell}) AS p_{column}"


def _cleaned_id_sql(column: str, _cell: str, user_cell: str) -> str:
    return f"CASE WHEN NOT {is_plain_id_sql(column)} THEN clean_id({user_cell}) END AS k_{column}"


def _id_number_sql(column: str, _cell: str, _user_cell: str) -> str:
    expression = "NULL" if column == "message_id" else f"coalesce(p_{column}, number(k_{column}))"
    return f"{expression} AS n_{column}"


def _cell_sql(column: MappingColumn, number: int) -> str:
    place = column.places[number]
    return "NULL::VARCHAR" if place is None else f"f{place}"


def _stored_cell_sql(column: MappingColumn, number: int, *, staged: bool) -> str:
    """Build the user's cell; NULL for a number, which has its own column."""
    cell = user_cell_sql(_cell_sql(column, number), staged=staged)
    if column.known in NUMERIC_ID_COLUMNS:
        return f"CASE WHEN NOT {is_plain_id_sql(column.known)} THEN {cell} END"
    return cell


def file_relation(database: Database, csv_input: CsvInput) -> str:
    """Return the SQL relation of a file."""
    return database.files.read_csv(csv_input.path, _csv_reader_options(csv_input))


def _csv_reader_options(csv_input: CsvInput) -> dict[str, str]:
    """Return the options to read a file as text, with nothing left for DuckDB to detect."""
    cells = [f"f{place}" for place in range(csv_input.cells)]
    names = [*LEADING_COLUMNS, *cells] if csv_input.staged else cells
    types = ", ".join(f"'{name}': 'VARCHAR'" for name in names)
    return {
        "auto_detect": "false",
        "header": "false",
        "quote": "''",
        "escape": "''",
        "comment": "''",
        "nullstr": literal(NULL_CELL),
        "max_line_size": str(_LINE_BYTES),
        "buffer_size": str(4 * _LINE_BYTES),
        "columns": f"{{{types}}}",
        "delim": literal(CELL_SEPARATOR if csv_input.staged else csv_input.delimiter),
        "skip": "0" if csv_input.staged else str(csv_input.skip_lines),
        "null_padding": "true" if csv_input.staged else "false",
        "new_line": literal("\\r\\n" if csv_input.crlf else "\\n"),
    }
