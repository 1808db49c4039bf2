"""Both ways into one relation: the table `staged`, one row a record, in the order of the input.

Its rowid + 1 is the row number over all files: a fresh table that is filled in insertion order
has no gaps. Each id is looked at here, once, and what was found is noted in `marks`. An id that a
number of 64 bits writes in the same way, digit for digit, is kept as that number (`n_…`), a third
of its size; the user's cell (`c…`) is kept where it says something else.
"""
# Names and texts in SQL go through `identifier` and `literal`.
# ruff: noqa: S608

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import msgspec

from bulklink.mapping.database import literal
from bulklink.mapping.jsonl_records import FLOAT, OTHER
from bulklink.mapping.marks import (
    BAD,
    CLEANED,
    DOUBTFUL,
    GOOD,
    MISSING,
    ROUND,
    ROUNDED,
    TEXT,
    UNTIDY,
    graded,
)
from bulklink.mapping.staging import ESCAPES, FRONT, MARK, NULL, SEPARATOR
from bulklink.mapping.survey import RECORD_BYTES
from bulklink.mapping.values import ID_COLUMNS, NAME_COLUMNS, NUMBER_COLUMNS
from bulklink.models import EITHER, Op

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bulklink.mapping.database import Database
    from bulklink.mapping.headers import Column
    from bulklink.mapping.values import Reading

#: What only an exact reader tells of a record; not there where DuckDB reads all files itself.
_TOLD = ("line BIGINT", "fault VARCHAR", "why VARCHAR", "raw VARCHAR")
#: White space that spreadsheets and web pages leave around a cell.
_SPACE = " \t\r\n\v\f\u00a0\u200b\ufeff"
#: A number that went through a spreadsheet or a float: with a point or an exponent.
NUMBER = r"[+-]?[0-9]+([.,][0-9]*([eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+)"
#: An escaped character takes two, and the front of a line holds little.
_LINE_BYTES = 3 * RECORD_BYTES


class Feed(msgspec.Struct, frozen=True):
    """A file that DuckDB reads: the user's own where it is regular, else a staging file.

    `delimiter` parts the cells of the user's own, and `skipped` lines stand before its records.
    """

    path: Path
    staged: bool
    cells: int
    crlf: bool = False
    delimiter: str = ","
    skipped: int = 1


class Target(msgspec.Struct, frozen=True):
    """What the table holds: the user's columns of so many files, and how they are read."""

    columns: tuple[Column, ...]
    files: int
    reading: Reading


def create(database: Database, target: Target) -> None:
    """Make the empty table, and what cleans its cells.

    The columns `line`, `fault`, `why` and `raw` are added with the first file that is staged.
    """
    for macro in _macros():
        database.run(macro)
    own = [f"c{place} VARCHAR" for place in range(len(target.columns))]
    known = [column.known for column in target.columns]
    numbers = [f"n_{column} UBIGINT" for column in known if column in NUMBER_COLUMNS]
    file = ["file USMALLINT"] if target.files > 1 else []
    database.run(f"CREATE TABLE staged ({', '.join([*file, *own, *numbers, 'marks INTEGER'])})")


def load(database: Database, target: Target, feed: Feed, number: int, records: int) -> bool:
    """Put the records of one file behind those that are there.

    Args:
        database: where the table is.
        target: what the table holds.
        feed: what to read.
        number: which file of the mapping it is, from 0.
        records: how many records there are.

    Returns:
        Whether they are there now; False if DuckDB reads the file differently than it was
        counted, so that it is no regular one.
    """
    if feed.staged:
        for column in _TOLD:
            database.run(f"ALTER TABLE staged ADD COLUMN IF NOT EXISTS {column}")
    database.run("BEGIN")
    try:
        count = database.run(_insert(feed, number, target))
    except duckdb.InvalidInputException:
        if feed.staged:
            raise
        count = None
    if count == records:
        database.run("COMMIT")
        return True
    database.run("ROLLBACK")
    return False


def _macros() -> list[str]:
    restored = "cell"
    for kind in (FLOAT, OTHER):
        restored = f"replace({restored}, {literal(MARK + kind)}, '')"
    for letter, character in ESCAPES.items():
        restored = f"replace({restored}, {literal(MARK + letter)}, chr({ord(character)}))"
    return [
        f"CREATE MACRO restored(cell) AS "
        f"CASE WHEN contains(cell, {literal(MARK)}) THEN {restored} ELSE cell END",
        f"CREATE MACRO trimmed(cell) AS trim(cell, {literal(_SPACE)})",
        # Few cells have something to trim, and trimming looks at every character.
        "CREATE MACRO is_tidy(cell) AS cell BETWEEN '!' AND '~' AND cell[-1] BETWEEN '!' AND '~'",
        "CREATE MACRO tidy(cell) AS CASE WHEN is_tidy(cell) THEN cell ELSE trimmed(cell) END",
        "CREATE MACRO number(id) AS "
        "CASE WHEN TRY_CAST(id AS UBIGINT)::VARCHAR = id THEN TRY_CAST(id AS UBIGINT) END",
        f"CREATE MACRO unwrapped(cell) AS {_unwrapped()}",
        f"CREATE MACRO odd_grade(cell, id, allowed) AS {_odd_grade()}",
        f"CREATE MACRO guard(cell) AS nullif(array_to_string(list_transform(string_split(cell, "
        f"{literal(EITHER)}), lambda one: lower(unwrapped(one))), {literal(EITHER)}), '')",
    ]


def _unwrapped() -> str:
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
        f"WHEN starts_with(cell, {literal(MARK + FLOAT)}) THEN {ROUNDED} "
        f"WHEN starts_with(cell, {literal(MARK + OTHER)}) THEN {BAD} "
        f"WHEN allowed THEN {GOOD} "
        f"WHEN regexp_full_match(id, {literal(NUMBER)}) THEN {ROUNDED} ELSE {BAD} END"
    )


def filled(cell: str, default: str | None) -> str:
    """Build a text without what stands around it, or else its default; NULL if it is empty."""
    text = f"nullif(tidy({cell}), '')"
    return f"coalesce({text}, {literal(default)})" if default else text


def _insert(feed: Feed, number: int, target: Target) -> str:
    """Build the statement; what more than one column is made of is a layer of its own."""
    columns = target.columns
    cells = {column.known: _cell(column, number) for column in columns if column.known}
    ids = {column: cells[column] for column in ID_COLUMNS if column in cells}
    made = {f"c{place}": _kept(column, number, feed) for place, column in enumerate(columns)}
    made |= {f"n_{column}": f"n_{column}" for column in ids if column in NUMBER_COLUMNS}
    made["marks"] = " + ".join(_marks(cells, feed, target.reading))
    if target.files > 1:
        made["file"] = str(number)
    if feed.staged:
        made["line"] = "line::BIGINT"
        made |= {"fault": "restored(reason)", "why": "restored(why)", "raw": "restored(raw)"}
    source = _reader(feed)
    for layer in (_plain, _cleaned, _number):
        parts = ", ".join(layer(column, cell, feed) for column, cell in ids.items())
        source = f"(SELECT *, {parts} FROM {source})" if parts else source
    return f"INSERT INTO staged ({', '.join(made)}) SELECT {', '.join(made.values())} FROM {source}"


def _plain(column: str, cell: str, _feed: Feed) -> str:
    """See whether a cell is an id as it stands; a cast is cheaper than a regular expression."""
    if column == "message_id":
        return f"coalesce(regexp_full_match({cell}, '{_allowed(column)}'), false) AS p_{column}"
    return f"number({cell}) AS p_{column}"


def _cleaned(column: str, cell: str, feed: Feed) -> str:
    return (
        f"CASE WHEN NOT {_is_plain(column)} THEN unwrapped({_user(cell, feed)}) END AS k_{column}"
    )


def _number(column: str, _cell: str, _feed: Feed) -> str:
    found = "NULL" if column == "message_id" else f"coalesce(p_{column}, number(k_{column}))"
    return f"{found} AS n_{column}"


def _is_plain(column: str) -> str:
    return f"p_{column}" if column == "message_id" else f"(p_{column} IS NOT NULL)"


def _user(cell: str, feed: Feed) -> str:
    """Build the cell as it stands in the user's file."""
    return f"restored({cell})" if feed.staged else cell


def _allowed(column: str) -> str:
    return "[0-9A-Za-z]{1,500}" if column == "message_id" else "[0-9]{1,100}"


def _marks(cells: dict[str, str], feed: Feed, reading: Reading) -> Iterator[str]:
    """Build the parts of which the marks of a row are the sum."""
    if feed.staged:
        yield f"CASE WHEN reason IS NULL THEN 0 ELSE {DOUBTFUL} END"
    defaults = dict(reading.defaults)
    op = filled(_user(cells.get("op", "NULL::VARCHAR"), feed), defaults.get("op"))
    yield f"CASE WHEN {_op_is_known(op, reading)} THEN 0 ELSE {DOUBTFUL} END"
    for column in ID_COLUMNS:
        if column in cells:
            yield _id_marks(column, cells[column], feed)
        elif column not in defaults and (column != "deal_id" or reading.op is not Op.UNLINK):
            yield str(graded(column, MISSING))
    for column in NAME_COLUMNS:
        if column in cells:
            yield _name_mark(column, _user(cells[column], feed))


def _op_is_known(stated: str, reading: Reading) -> str:
    """Say whether a row names an operation that is wanted, or none where none is needed."""
    wanted = list(Op) if reading.op is None else [reading.op]
    among = f"lower({stated}) IN ({', '.join(literal(op.value) for op in wanted)})"
    return f"coalesce({among}, {'false' if reading.op is None else 'true'})"


def _id_marks(column: str, cell: str, feed: Feed) -> str:
    """Mark one cell; numbers of 16 and more digits that end in zeros are suspected.

    CASE looks only at the rows that come to it, AND at all of them.
    """
    allowed = f"regexp_full_match(k_{column}, '{_allowed(column)}')"
    odd = f"odd_grade({cell}, k_{column}, {allowed})"
    plain = "0"
    if column in NUMBER_COLUMNS:
        plain = f"CASE WHEN {_is_suspect(column)} THEN {_round(f'p_{column}::VARCHAR')} ELSE 0 END"
        odd = f"CASE WHEN ({odd}) = {GOOD} THEN {_round(f'k_{column}')} ELSE {odd} END"
    step = graded(column, 1)
    same = f"k_{column} IS NOT DISTINCT FROM {_user(cell, feed)}"
    single = f"CASE WHEN {same} THEN 0 ELSE {CLEANED[column]} END"
    if column in NUMBER_COLUMNS:
        single += f" + CASE WHEN n_{column} IS NULL THEN {TEXT[column]} ELSE 0 END"
    odd = f"({odd}) * {step} + {single}"
    return f"CASE WHEN {_is_plain(column)} THEN ({plain}) * {step} ELSE {odd} END"


def _is_suspect(column: str) -> str:
    """Pass over nearly all numbers that cannot be rounded; one of 19 digits ends in four zeros."""
    number = f"p_{column}"
    return (
        f"{number} % 10 = 0 AND {number} >= {10**15} "
        f"AND ({number} < {10**18} OR {number} % 10000 = 0)"
    )


def _round(text: str) -> str:
    ends = f"regexp_full_match({text}, '[0-9]{{15}}0+')"
    return f"CASE WHEN {ends} THEN {ROUND} ELSE {GOOD} END"


def _name_mark(column: str, cell: str) -> str:
    same = f"coalesce(trimmed({cell}) = {cell} AND {cell} <> '', false)"
    odd = f"CASE WHEN {same} THEN 0 ELSE {UNTIDY[column]} END"
    return f"CASE WHEN is_tidy({cell}) THEN 0 ELSE {odd} END"


def _cell(column: Column, number: int) -> str:
    place = column.places[number]
    return "NULL::VARCHAR" if place is None else f"f{place}"


def _kept(column: Column, number: int, feed: Feed) -> str:
    """Keep the user's cell, unless it is the number and nothing else."""
    cell = _user(_cell(column, number), feed)
    if column.known in NUMBER_COLUMNS:
        return f"CASE WHEN NOT {_is_plain(column.known)} THEN {cell} END"
    return cell


def _reader(feed: Feed) -> str:
    """Read a file as text alone, without DuckDB guessing anything."""
    cells = [f"f{place}" for place in range(feed.cells)]
    names = [*FRONT, *cells] if feed.staged else cells
    types = ", ".join(f"'{name}': 'VARCHAR'" for name in names)
    options = {
        "auto_detect": "false",
        "header": "false",
        "quote": "''",
        "escape": "''",
        "comment": "''",
        "nullstr": literal(NULL),
        "max_line_size": str(_LINE_BYTES),
        "buffer_size": str(4 * _LINE_BYTES),
        "columns": f"{{{types}}}",
        "delim": literal(SEPARATOR if feed.staged else feed.delimiter),
        "skip": "0" if feed.staged else str(feed.skipped),
        "null_padding": "true" if feed.staged else "false",
        "new_line": literal("\\r\\n" if feed.crlf else "\\n"),
    }
    given = ", ".join(f"{option} = {value}" for option, value in options.items())
    return f"read_csv({literal(str(feed.path))}, {given})"
