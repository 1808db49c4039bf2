"""Tables that bulklink wrote and the user edited: read exactly, in any format, row by row."""
# ruff: noqa: S608

from __future__ import annotations

import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from bulklink.errors import BadFileError
from bulklink.mapping.database import Database, open_database
from bulklink.mapping.headers import MappingColumn, find_header, suggest_headers
from bulklink.mapping.input.files import InputFormat, find_sources
from bulklink.mapping.input.prepare import prepare_input, restage
from bulklink.mapping.input.staging import NO_LINE
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.load import file_relation, macro_statements, user_cell_sql
from bulklink.mapping.schema import HiddenRows, MappingOptions
from bulklink.mapping.sheet_faults import sheet_faults_sql
from bulklink.models import Op

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from bulklink.mapping.input.prepare import FileHeaders, PreparedInput

_MEMORY = "256MB"
_OPTIONS = MappingOptions(op=Op.UNLINK, user_columns=("op",), hidden_rows=HiddenRows.INCLUDE)


class UserRow(NamedTuple):
    """A row of a user's table.

    Args:
        place: the row, for messages.
        cells: its cells as in the file, in the order of the headers; None for no value.
    """

    place: str
    cells: tuple[str | None, ...]


class UserTable(msgspec.Struct, frozen=True):
    """A table of the user, open for reading.

    Args:
        database: reads it.
        headers: its headers.
        format: its format.
        relation: SQL of its rows, with `line`, `reason`, `message` and the cells `f0`, `f1`, ….
    """

    database: Database
    headers: FileHeaders
    format: InputFormat
    relation: str

    def find(self, name: str) -> int:
        """Return the place of a column.

        Raises:
            BadFileError: if it is missing, or several headers match.
        """
        place = find_header(self.headers.headers, name, self.headers.where)
        if place is None:
            raise BadFileError(
                f"There is no column {name}.",
                where=self.headers.where,
                advice=suggest_headers(name, self.headers.headers),
            )
        return place

    def cell_sql(self, place: int) -> str:
        """Build the text of a cell."""
        return user_cell_sql(f"f{place}", staged=True)

    def rows(
        self, relation: str | None = None, cells: Sequence[str] | None = None
    ) -> Iterator[UserRow]:
        """Yield the rows, in order.

        Args:
            relation: SQL of the rows, if they are joined to something; sorted.
            cells: SQL of the cells; by default those of the file.

        Raises:
            BadFileError: if a row cannot be read.
        """
        cells = cells or [self.cell_sql(place) for place in range(len(self.headers.headers))]
        query = (
            f"SELECT line::BIGINT, unescaped(reason), unescaped(message), {', '.join(cells)}"
            f" FROM {relation or self.relation}"
        )
        for number, (line, reason, message, *texts) in enumerate(self.database.rows(query), 1):
            place = self._place(line, number)
            if reason is not None:
                raise BadFileError(
                    f"The row cannot be read: {message}.",
                    where=place,
                    advice="Fix it, or restore it from a copy.",
                )
            yield UserRow(place, tuple(texts))

    def _place(self, line: int, number: int) -> str:
        if line == NO_LINE:
            return f"{self.headers.where}, row {number}"
        noun = "row" if self.format is InputFormat.XLSX else "line"
        return f"{self.headers.where}, {noun} {line}"


@contextmanager
def open_user_table(
    name: str, columns: Sequence[str], encoding: str | None = None
) -> Iterator[UserTable]:
    """Open a table of the user; blocks.

    Args:
        name: the file.
        columns: headers that it must have; a cell of them that is merged with others, or a formula
            without a value, makes its row unreadable.
        encoding: encoding of a text file; None is UTF-8.

    Raises:
        BadFileError: if it cannot be read, or a column is missing.
    """
    stop = PlanningStop()
    options = msgspec.structs.replace(_OPTIONS, encoding=encoding)
    source = find_sources([name])[0]
    with tempfile.TemporaryDirectory(prefix="bulklink-") as scratch:
        folder = Path(scratch)
        prepared = prepare_input(source, options, folder, sys.stdin.buffer, stop, _MEMORY)
        if not prepared.csv_input.staged:
            prepared = restage(prepared, folder, stop)
        with open_database(folder / "spill", memory=_MEMORY, stop=stop) as database:
            for macro in macro_statements():
                database.execute(macro)
            yield _user_table(database, prepared, columns)


def _user_table(database: Database, prepared: PreparedInput, columns: Sequence[str]) -> UserTable:
    relation = file_relation(database, prepared.csv_input)
    table = UserTable(database, prepared.headers, prepared.file.format or InputFormat.CSV, relation)
    needed = [
        MappingColumn(name, name, (place,), (table.headers.headers[place],))
        for name in columns
        for place in [table.find(name)]
    ]
    sheet_columns = prepared.csv_input.sheet_columns
    if sheet_columns is None:
        return table
    checked = sheet_faults_sql(relation, needed, _OPTIONS, 0, sheet_columns)
    return msgspec.structs.replace(table, relation=checked)
