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

from bulklink.mapping.cleaning import macros
from bulklink.mapping.database import literal
from bulklink.mapping.grading import allowed, is_plain, marks_of, user_cell
from bulklink.mapping.input.scan import RECORD_BYTES
from bulklink.mapping.input.staging import FRONT, NULL, SEPARATOR
from bulklink.mapping.schema import ID_COLUMNS, NUMBER_COLUMNS

if TYPE_CHECKING:
    from pathlib import Path

    from bulklink.mapping.database import Database
    from bulklink.mapping.headers import Column
    from bulklink.mapping.schema import Reading

#: What only an exact reader tells of a record; not there where DuckDB reads all files itself.
_TOLD = ("line BIGINT", "fault VARCHAR", "why VARCHAR", "raw VARCHAR")
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
    for macro in macros():
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


def _insert(feed: Feed, number: int, target: Target) -> str:
    """Build the statement; what more than one column is made of is a layer of its own."""
    columns = target.columns
    cells = {column.known: _cell(column, number) for column in columns if column.known}
    ids = {column: cells[column] for column in ID_COLUMNS if column in cells}
    made = {f"c{place}": _kept(column, number, feed) for place, column in enumerate(columns)}
    made |= {f"n_{column}": f"n_{column}" for column in ids if column in NUMBER_COLUMNS}
    made["marks"] = " + ".join(marks_of(cells, target.reading, staged=feed.staged))
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
        return f"coalesce(regexp_full_match({cell}, '{allowed(column)}'), false) AS p_{column}"
    return f"number({cell}) AS p_{column}"


def _cleaned(column: str, cell: str, feed: Feed) -> str:
    users = user_cell(cell, staged=feed.staged)
    return f"CASE WHEN NOT {is_plain(column)} THEN unwrapped({users}) END AS k_{column}"


def _number(column: str, _cell: str, _feed: Feed) -> str:
    found = "NULL" if column == "message_id" else f"coalesce(p_{column}, number(k_{column}))"
    return f"{found} AS n_{column}"


def _cell(column: Column, number: int) -> str:
    place = column.places[number]
    return "NULL::VARCHAR" if place is None else f"f{place}"


def _kept(column: Column, number: int, feed: Feed) -> str:
    """Keep the user's cell, unless it is the number and nothing else."""
    cell = user_cell(_cell(column, number), staged=feed.staged)
    if column.known in NUMBER_COLUMNS:
        return f"CASE WHEN NOT {is_plain(column.known)} THEN {cell} END"
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
