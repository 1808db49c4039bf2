"""Loading of input files into one table, with flags for each row. SQL.

0 says of a row that its record is whole, that each id is a good one just as it stands in the file,
and that each name has nothing around it. Nearly all rows of most mappings are so, and each pass
tells by this one comparison that a row needs no further look.

From the lowest bit: a grade of three bits for each id, then single bits.

Its rowid + 1 is the row number over all files: a fresh table that is filled in insertion order
has no gaps. Each id is looked at here, once, and what was found is noted in `marks`. An id that a
number of 64 bits writes in the same way, digit for digit, is kept as that number (`n_…`), a third
of its size; the user's cell (`c…`) is kept where it says something else.
"""

# ruff: noqa: S608

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import msgspec

from bulklink.duckdb_sql import literal
from bulklink.mapping.input.jsonl_reader import FLOAT_CELL, OTHER_CELL
from bulklink.mapping.input.scan import MAX_RECORD_BYTES
from bulklink.mapping.input.staging import (
    CELL_SEPARATOR,
    ESCAPE_CHAR,
    ESCAPES,
    LEADING_COLUMNS,
    NULL_CELL,
)
from bulklink.mapping.schema import ID_COLUMNS, NAME_COLUMNS, NUMERIC_ID_COLUMNS
from bulklink.models import GUARD_SEPARATOR, Op

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from bulklink.mapping.database import Database
    from bulklink.mapping.headers import MappingColumn
    from bulklink.mapping.schema import MappingOptions

#: What a cell of an id column is found to be; FILLED comes in when defaults are applied.
GOOD, MISSING, BAD, ROUNDED, TRAILING_ZEROS, DEFAULTED = range(6)

_GRADE_BITS = 3
_SINGLE = _GRADE_BITS * len(ID_COLUMNS)

#: The id, as it is sent, is not what stands in the user's cell.
CHANGED_ID = {column: 1 << _SINGLE + place for place, column in enumerate(ID_COLUMNS)}
#: The id is no number that 64 bits write in the same way.
TEXT_ID = {column: 1 << _SINGLE + 4 + place for place, column in enumerate(NUMERIC_ID_COLUMNS)}
#: The name, as it is sent, is not what stands in the user's cell: there may be none.
CHANGED_NAME = {column: 1 << _SINGLE + 7 + place for place, column in enumerate(NAME_COLUMNS)}
#: The record is broken, or its operation must be looked at.
NEEDS_CHECK = 1 << _SINGLE + 9


def grade_bits(column: str, grade: int) -> int:
    """Return the bits that give an id a grade."""
    return grade << _GRADE_BITS * ID_COLUMNS.index(column)


def id_grade_sql(column: str) -> str:
    """Build what reads the grade of an id from `marks`."""
    return f"(marks >> {_GRADE_BITS * ID_COLUMNS.index(column)} & {(1 << _GRADE_BITS) - 1})"


#: White space that spreadsheets and web pages leave around a cell.
_SPACE = " \t\r\n\v\f\u00a0\u200b\ufeff"
#: A number that went through a spreadsheet or a float: with a point or an exponent.
SPREADSHEET_NUMBER = r"[+-]?[0-9]+([.,][0-9]*([eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+)"


def macro_statements() -> list[str]:
    """Build the statements that make them."""
    restored_sql = "cell"
    for kind in (FLOAT_CELL, OTHER_CELL):
        restored_sql = f"replace({restored_sql}, {literal(ESCAPE_CHAR + kind)}, '')"
    for letter, character in ESCAPES.items():
        restored_sql = (
            f"replace({restored_sql}, {literal(ESCAPE_CHAR + letter)}, chr({ord(character)}))"
        )
    return [
        f"CREATE MACRO restored(cell) AS "
        f"CASE WHEN contains(cell, {literal(ESCAPE_CHAR)}) THEN {restored_sql} ELSE cell END",
        f"CREATE MACRO trimmed(cell) AS trim(cell, {literal(_SPACE)})",
        # Few cells have something to trim, and trimming looks at every character.
        "CREATE MACRO is_tidy(cell) AS cell BETWEEN '!' AND '~' AND cell[-1] BETWEEN '!' AND '~'",
        "CREATE MACRO tidy(cell) AS CASE WHEN is_tidy(cell) THEN cell ELSE trimmed(cell) END",
        "CREATE MACRO number(id) AS "
        "CASE WHEN TRY_CAST(id AS UBIGINT)::VARCHAR = id THEN TRY_CAST(id AS UBIGINT) END",
        f"CREATE MACRO unwrapped(cell) AS {_unwrap_sql()}",
        f"CREATE MACRO odd_grade(cell, id, allowed) AS {_odd_grade()}",
        f"CREATE MACRO guard(cell) AS nullif(array_to_string(list_transform(string_split(cell, "
        f"{literal(GUARD_SEPARATOR)}), lambda one: lower(unwrapped(one))),"
        f" {literal(GUARD_SEPARATOR)}), '')",
    ]


def _unwrap_sql() -> str:
    """Strip what stands around an id: spaces, an apostrophe, `="…"`, Zoho's prefix."""
    inside = "trimmed(regexp_replace(trimmed(cell), '^''', ''))"
    inside = f"""regexp_replace({inside}, '^="(.*)"$', '\\1', 's')"""
    inside = f"trimmed(regexp_replace(trimmed({inside}), '^''', ''))"
    inside = f"trimmed(regexp_replace({inside}, '^zcrm_', ''))"
    return f"CASE WHEN regexp_full_match(cell, '[0-9A-Za-z]*') THEN cell ELSE {inside} END"


def _odd_grade() -> str:
    """Grade a cell that is not simply an id as it stands."""
    return (
        f"CASE WHEN id IS NULL OR id = '' THEN {MISSING} "
        f"WHEN starts_with(cell, {literal(ESCAPE_CHAR + FLOAT_CELL)}) THEN {ROUNDED} "
        f"WHEN starts_with(cell, {literal(ESCAPE_CHAR + OTHER_CELL)}) THEN {BAD} "
        f"WHEN allowed THEN {GOOD} "
        f"WHEN regexp_full_match(id, {literal(SPREADSHEET_NUMBER)}) THEN {ROUNDED} ELSE {BAD} END"
    )


def filled_sql(cell: str, default: str | None) -> str:
    """Build a text without what stands around it, or else its default; NULL if it is empty."""
    text = f"nullif(tidy({cell}), '')"
    return f"coalesce({text}, {literal(default)})" if default else text


def is_plain_id_sql(column: str) -> str:
    """Build what says that a cell is an id as it stands."""
    return f"p_{column}" if column == "message_id" else f"(p_{column} IS NOT NULL)"


def user_cell_sql(cell: str, *, staged: bool) -> str:
    """Build the cell as it stands in the user's file."""
    return f"restored({cell})" if staged else cell


def id_pattern(column: str) -> str:
    """Return the regular expression of a clean id."""
    return "[0-9A-Za-z]{1,500}" if column == "message_id" else "[0-9]{1,100}"


def flags_sql(cells: Mapping[str, str], options: MappingOptions, *, staged: bool) -> Iterator[str]:
    """Build the parts of which the marks of a row are the sum.

    Args:
        cells: the cells of the columns that there are.
        options: how the mapping is to be read.
        staged: whether the cells are those of a staging file.
    """
    if staged:
        yield f"CASE WHEN reason IS NULL THEN 0 ELSE {NEEDS_CHECK} END"
    defaults = dict(options.defaults)
    op = filled_sql(
        user_cell_sql(cells.get("op", "NULL::VARCHAR"), staged=staged), defaults.get("op")
    )
    yield f"CASE WHEN {_op_is_known(op, options)} THEN 0 ELSE {NEEDS_CHECK} END"
    for column in ID_COLUMNS:
        if column in cells:
            yield _id_flags_sql(column, cells[column], staged=staged)
        elif column not in defaults and (column != "deal_id" or options.op is not Op.UNLINK):
            yield str(grade_bits(column, MISSING))
    for column in NAME_COLUMNS:
        if column in cells:
            yield _name_flag_sql(column, user_cell_sql(cells[column], staged=staged))


def _op_is_known(stated_op: str, options: MappingOptions) -> str:
    """Say whether a row names an operation that is wanted, or none where none is needed."""
    ops = list(Op) if options.op is None else [options.op]
    among = f"lower({stated_op}) IN ({', '.join(literal(op.value) for op in ops)})"
    return f"coalesce({among}, {'false' if options.op is None else 'true'})"


def _id_flags_sql(column: str, cell: str, *, staged: bool) -> str:
    """Mark one cell; numbers of 16 and more digits that end in zeros are suspected.

    CASE looks only at the rows that come to it, AND at all of them.
    """
    matches = f"regexp_full_match(k_{column}, '{id_pattern(column)}')"
    odd = f"odd_grade({cell}, k_{column}, {matches})"
    plain = "0"
    if column in NUMERIC_ID_COLUMNS:
        zeros = _trailing_zeros_sql(f"p_{column}::VARCHAR")
        plain = f"CASE WHEN {_may_be_rounded_sql(column)} THEN {zeros} ELSE 0 END"
        odd_zeros = _trailing_zeros_sql(f"k_{column}")
        odd = f"CASE WHEN ({odd}) = {GOOD} THEN {odd_zeros} ELSE {odd} END"
    step = grade_bits(column, 1)
    same = f"k_{column} IS NOT DISTINCT FROM {user_cell_sql(cell, staged=staged)}"
    single = f"CASE WHEN {same} THEN 0 ELSE {CHANGED_ID[column]} END"
    if column in NUMERIC_ID_COLUMNS:
        single += f" + CASE WHEN n_{column} IS NULL THEN {TEXT_ID[column]} ELSE 0 END"
    odd = f"({odd}) * {step} + {single}"
    return f"CASE WHEN {is_plain_id_sql(column)} THEN ({plain}) * {step} ELSE {odd} END"


def _may_be_rounded_sql(column: str) -> str:
    """Pass over nearly all numbers that cannot be rounded; one of 19 digits ends in four zeros."""
    number = f"p_{column}"
    return (
        f"{number} % 10 = 0 AND {number} >= {10**15} "
        f"AND ({number} < {10**18} OR {number} % 10000 = 0)"
    )


def _trailing_zeros_sql(text: str) -> str:
    ends = f"regexp_full_match({text}, '[0-9]{{15}}0+')"
    return f"CASE WHEN {ends} THEN {TRAILING_ZEROS} ELSE {GOOD} END"


def _name_flag_sql(column: str, cell: str) -> str:
    same = f"coalesce(trimmed({cell}) = {cell} AND {cell} <> '', false)"
    odd = f"CASE WHEN {same} THEN 0 ELSE {CHANGED_NAME[column]} END"
    return f"CASE WHEN is_tidy({cell}) THEN 0 ELSE {odd} END"


#: What only an exact reader tells of a record; not there where DuckDB reads all files itself.
_EXACT_READER_COLUMNS = ("line BIGINT", "fault VARCHAR", "why VARCHAR", "raw VARCHAR")
#: An escaped character takes two, and the front of a line holds little.
_LINE_BYTES = 3 * MAX_RECORD_BYTES


class CsvInput(msgspec.Struct, frozen=True):
    """A file that DuckDB reads: the user's own where it is regular, else a staging file.

    `delimiter` parts the cells of the user's own, and `skip_lines` lines stand before its records.
    """

    path: Path
    staged: bool
    cells: int
    crlf: bool = False
    delimiter: str = ","
    skip_lines: int = 1


class StagedTable(msgspec.Struct, frozen=True):
    """What the table holds: the user's columns of so many files, and how they are read."""

    columns: tuple[MappingColumn, ...]
    files: int
    options: MappingOptions


def create_staged_table(database: Database, table: StagedTable) -> None:
    """Make the empty table, and what cleans its cells.

    The columns `line`, `fault`, `why` and `raw` are added with the first file that is staged.
    """
    for macro in macro_statements():
        database.execute(macro)
    user_columns = [f"c{place} VARCHAR" for place in range(len(table.columns))]
    known = [column.known for column in table.columns]
    numbers = [f"n_{column} UBIGINT" for column in known if column in NUMERIC_ID_COLUMNS]
    file = ["file USMALLINT"] if table.files > 1 else []
    database.execute(
        f"CREATE TABLE staged ({', '.join([*file, *user_columns, *numbers, 'marks INTEGER'])})"
    )


def load_file(
    database: Database, table: StagedTable, csv_input: CsvInput, number: int, records: int
) -> bool:
    """Put the records of one file behind those that are there.

    Args:
        database: where the table is.
        table: what the table holds.
        csv_input: what to read.
        number: which file of the mapping it is, from 0.
        records: how many records there are.

    Returns:
        Whether they are there now; False if DuckDB reads the file differently than it was
        counted, so that it is no regular one.
    """
    if csv_input.staged:
        for column in _EXACT_READER_COLUMNS:
            database.execute(f"ALTER TABLE staged ADD COLUMN IF NOT EXISTS {column}")
    database.execute("BEGIN")
    try:
        count = database.execute(_insert(csv_input, number, table))
    except duckdb.InvalidInputException:
        if csv_input.staged:
            raise
        count = None
    if count == records:
        database.execute("COMMIT")
        return True
    database.execute("ROLLBACK")
    return False


def _insert(csv_input: CsvInput, number: int, table: StagedTable) -> str:
    """Build the statement; what more than one column is made of is a layer of its own."""
    columns = table.columns
    cells = {column.known: _cell(column, number) for column in columns if column.known}
    ids = {column: cells[column] for column in ID_COLUMNS if column in cells}
    made = {
        f"c{place}": _stored_cell_sql(column, number, csv_input)
        for place, column in enumerate(columns)
    }
    made |= {f"n_{column}": f"n_{column}" for column in ids if column in NUMERIC_ID_COLUMNS}
    made["marks"] = " + ".join(flags_sql(cells, table.options, staged=csv_input.staged))
    if table.files > 1:
        made["file"] = str(number)
    if csv_input.staged:
        made["line"] = "line::BIGINT"
        made |= {"fault": "restored(reason)", "why": "restored(why)", "raw": "restored(raw)"}
    source = _reader(csv_input)
    for layer in (_plain, _cleaned_id_sql, _number):
        parts = ", ".join(layer(column, cell, csv_input) for column, cell in ids.items())
        source = f"(SELECT *, {parts} FROM {source})" if parts else source
    return f"INSERT INTO staged ({', '.join(made)}) SELECT {', '.join(made.values())} FROM {source}"


def _plain(column: str, cell: str, _csv_input: CsvInput) -> str:
    """See whether a cell is an id as it stands; a cast is cheaper than a regular expression."""
    if column == "message_id":
        return f"coalesce(regexp_full_match({cell}, '{id_pattern(column)}'), false) AS p_{column}"
    return f"number({cell}) AS p_{column}"


def _cleaned_id_sql(column: str, cell: str, csv_input: CsvInput) -> str:
    users = user_cell_sql(cell, staged=csv_input.staged)
    return f"CASE WHEN NOT {is_plain_id_sql(column)} THEN unwrapped({users}) END AS k_{column}"


def _number(column: str, _cell: str, _csv_input: CsvInput) -> str:
    expression = "NULL" if column == "message_id" else f"coalesce(p_{column}, number(k_{column}))"
    return f"{expression} AS n_{column}"


def _cell(column: MappingColumn, number: int) -> str:
    place = column.places[number]
    return "NULL::VARCHAR" if place is None else f"f{place}"


def _stored_cell_sql(column: MappingColumn, number: int, csv_input: CsvInput) -> str:
    """Keep the user's cell, unless it is the number and nothing else."""
    cell = user_cell_sql(_cell(column, number), staged=csv_input.staged)
    if column.known in NUMERIC_ID_COLUMNS:
        return f"CASE WHEN NOT {is_plain_id_sql(column.known)} THEN {cell} END"
    return cell


def _reader(csv_input: CsvInput) -> str:
    """Read a file as text alone, without DuckDB guessing anything."""
    cells = [f"f{place}" for place in range(csv_input.cells)]
    names = [*LEADING_COLUMNS, *cells] if csv_input.staged else cells
    types = ", ".join(f"'{name}': 'VARCHAR'" for name in names)
    options = {
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
    arguments = ", ".join(f"{option} = {value}" for option, value in options.items())
    return f"read_csv({literal(str(csv_input.path))}, {arguments})"
