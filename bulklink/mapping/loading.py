"""Both ways into one relation: the table `staged`, one row a record, in the order of the input.

Its rowid + 1 is the row number over all files: a fresh table that is filled in insertion order
has no gaps. Ids are cleaned here, once; the user's cell is kept only where it differs. An id that
a number of 64 bits writes in the same way, digit for digit, is kept as that number (`n_…`), which
is a quarter of its size; any other as its text (`t_…`); one of both is NULL, always.
"""
# Names and texts in SQL go through `identifier` and `literal`.
# ruff: noqa: S608

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import msgspec

from bulklink.mapping.database import literal
from bulklink.mapping.jsonl_records import FLOAT, OTHER
from bulklink.mapping.staging import ESCAPES, FRONT, MARK, NULL, SEPARATOR
from bulklink.mapping.survey import RECORD_BYTES
from bulklink.mapping.values import ID_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bulklink.mapping.database import Database
    from bulklink.mapping.headers import Column

#: What a cell of an id column is found to be; FILLED comes in when defaults are applied.
GOOD, MISSING, BAD, ROUNDED, ROUND, FILLED = range(6)

#: White space that spreadsheets and web pages leave around a cell.
_SPACE = " \t\r\n\v\f\u00a0\u200b\ufeff"
#: A number that went through a spreadsheet or a float: with a point or an exponent.
_NUMBER = r"[+-]?[0-9]+([.,][0-9]*([eE][+-]?[0-9]+)?|[eE][+-]?[0-9]+)"
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


def create(database: Database, columns: Sequence[Column]) -> None:
    """Make the empty table and what cleans its cells."""
    for macro in _macros():
        database.run(macro)
    own = [f"c{number} VARCHAR" for number in range(len(columns))]
    ids = [f"n_{column} UBIGINT, t_{column} VARCHAR, g_{column} UTINYINT" for column in ID_COLUMNS]
    front = ["file USMALLINT", "line BIGINT", "fault VARCHAR", "why VARCHAR", "raw VARCHAR"]
    database.run(f"CREATE TABLE staged ({', '.join(front + own + ids)})")


def load(
    database: Database, feed: Feed, number: int, columns: Sequence[Column], records: int
) -> bool:
    """Put the records of one file behind those that are there.

    Args:
        database: where the table is.
        feed: what to read.
        number: which file of the mapping it is, from 0.
        columns: the user's columns.
        records: how many records there are.

    Returns:
        Whether they are there now; False if DuckDB reads the file differently than it was
        counted, so that it is no regular one.
    """
    database.run("BEGIN")
    try:
        count = database.run(_insert(feed, number, columns))
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
        "CREATE MACRO tidy(cell) AS CASE WHEN left(cell, 1) BETWEEN '!' AND '~' "
        "AND cell[-1] BETWEEN '!' AND '~' THEN cell ELSE trimmed(cell) END",
        "CREATE MACRO number(id) AS "
        "CASE WHEN TRY_CAST(id AS UBIGINT)::VARCHAR = id THEN TRY_CAST(id AS UBIGINT) END",
        f"CREATE MACRO unwrapped(cell) AS {_unwrapped()}",
        f"CREATE MACRO odd_grade(cell, id, allowed) AS {_odd_grade()}",
    ]


def _unwrapped() -> str:
    """Strip what stands around an id: spaces, an apostrophe, `="…"`, Zoho's prefix."""
    inside = "trimmed(regexp_replace(trimmed(cell), '^''', ''))"
    inside = f"""regexp_replace({inside}, '^="(.*)"$', '\\1', 's')"""
    inside = f"trimmed(regexp_replace(trimmed({inside}), '^''', ''))"
    return f"trimmed(regexp_replace({inside}, '^zcrm_', ''))"


def _odd_grade() -> str:
    """Grade a cell that is not simply an id as it stands."""
    return (
        f"CASE WHEN id IS NULL OR id = '' THEN {MISSING} "
        f"WHEN starts_with(cell, {literal(MARK + FLOAT)}) THEN {ROUNDED} "
        f"WHEN starts_with(cell, {literal(MARK + OTHER)}) THEN {BAD} "
        f"WHEN allowed THEN {GOOD} "
        f"WHEN regexp_full_match(id, {literal(_NUMBER)}) THEN {ROUNDED} ELSE {BAD} END"
    )


def _insert(feed: Feed, number: int, columns: Sequence[Column]) -> str:
    """Build the statement; a cell that is plain, an id as it stands, is looked at once."""
    cells = {column.known: _cell(column, number) for column in columns if column.known}
    ids = {column: cells.get(column, "NULL::VARCHAR") for column in ID_COLUMNS}
    kept = [_kept(place, column, number, feed) for place, column in enumerate(columns)]
    stored = [
        f"n_{column}, CASE WHEN n_{column} IS NULL THEN k_{column} END, {_grade(column, cell)}"
        for column, cell in ids.items()
    ]
    front = "line::BIGINT, restored(reason), restored(why), restored(raw)"
    if not feed.staged:
        front = "NULL, NULL, NULL, NULL"
    source = _reader(feed)
    for layer in (_as_number, _cleaned, _number_of_cleaned):
        made = ", ".join(layer(column, cell) for column, cell in ids.items())
        source = f"(SELECT *, {made} FROM {source})"
    return f"INSERT INTO staged SELECT {number}, {front}, {', '.join(kept + stored)} FROM {source}"


def _as_number(column: str, cell: str) -> str:
    """See whether a cell is plain; a cast is cheaper than a regular expression."""
    if column == "message_id":
        return f"regexp_full_match({cell}, '{_allowed(column)}') AS p_{column}"
    return f"number({cell}) AS p_{column}"


def _plain(column: str) -> str:
    return f"p_{column}" if column == "message_id" else f"p_{column} IS NOT NULL"


def _cleaned(column: str, cell: str) -> str:
    plain = cell if column == "message_id" else "NULL"
    odd = f"unwrapped(restored({cell}))"
    return f"CASE WHEN {_plain(column)} THEN {plain} ELSE {odd} END AS k_{column}"


def _number_of_cleaned(column: str, _cell: str) -> str:
    if column == "message_id":
        return f"NULL::UBIGINT AS n_{column}"
    return f"CASE WHEN {_plain(column)} THEN p_{column} ELSE number(k_{column}) END AS n_{column}"


def _allowed(column: str) -> str:
    return "[0-9A-Za-z]{1,500}" if column == "message_id" else "[0-9]{1,100}"


def _grade(column: str, cell: str) -> str:
    """Grade one cell; numbers of 16 and more digits that end in zeros are suspected.

    CASE looks only at the rows that come to it, AND at all of them.
    """
    allowed = f"regexp_full_match(k_{column}, '{_allowed(column)}')"
    odd = f"odd_grade({cell}, k_{column}, {allowed})"
    if column == "message_id":
        return f"(CASE WHEN p_{column} THEN {GOOD} ELSE {odd} END)::UTINYINT"
    plain = f"CASE WHEN p_{column} % 10 <> 0 THEN {GOOD} ELSE {_round(f'p_{column}::VARCHAR')} END"
    odd = f"CASE WHEN ({odd}) = {GOOD} THEN {_round(f'k_{column}')} ELSE {odd} END"
    return f"(CASE WHEN {_plain(column)} THEN {plain} ELSE {odd} END)::UTINYINT"


def _round(text: str) -> str:
    ends = f"regexp_full_match({text}, '[0-9]{{15}}0+')"
    return f"CASE WHEN {ends} THEN {ROUND} ELSE {GOOD} END"


def _cell(column: Column, number: int) -> str:
    place = column.places[number]
    return "NULL::VARCHAR" if place is None else f"f{place}"


def _kept(place: int, column: Column, number: int, feed: Feed) -> str:
    cell = _cell(column, number)
    verbatim = f"restored({cell})" if feed.staged else cell
    if column.known in ID_COLUMNS:
        ident = column.known
        verbatim = (
            f"CASE WHEN NOT coalesce({_plain(ident)}, false) THEN nullif({verbatim}, k_{ident}) END"
        )
    return f"{verbatim} AS c{place}"


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
