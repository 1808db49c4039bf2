"""Files of emails: the rows of a table in any format, as SQL that reads them.

DuckDB itself reads Parquet files, and CSV files with plain headers, many times faster than the
exact readers. These read any other file, and a CSV file whose rows do not add up to its lines.
"""
# ruff: noqa: S608

from __future__ import annotations

import re
import sys
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import msgspec

from bulklink.duckdb_sql import literal
from bulklink.errors import BadFileError
from bulklink.mapping.database import DamagedTableError, Database, memory_bytes
from bulklink.mapping.input.content import COPY_BYTES, load_content
from bulklink.mapping.input.files import InputFormat
from bulklink.mapping.input.parquet_reader import ParquetRows
from bulklink.mapping.input.prepare import FileHeaders, prepare_input, restage
from bulklink.mapping.input.scan import MAX_RECORD_BYTES
from bulklink.mapping.load import file_relation, user_cell_sql
from bulklink.mapping.schema import id_pattern, is_id_sql
from bulklink.spreadsheet_cells import has_escaped_cells

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from bulklink.mapping.input.content import InputContent
    from bulklink.mapping.input.files import Source
    from bulklink.mapping.input.prepare import PreparedInput
    from bulklink.mapping.interrupt import PlanningStop
    from bulklink.mapping.schema import MappingOptions

_READ_MEMORY = "256MB"
_MAX_HEADER_BYTES = 64 << 10
_PLAIN_HEADER = re.compile("[A-Za-z_]+")
_OFFSET = "(Z|[+-][0-9]{2}:?[0-9]{2})"
_MAX_SECONDS = 32_503_680_000
"""The year 3000, in seconds since 1970."""


class EmailRows(msgspec.Struct, frozen=True):
    """The rows of a file of emails, as SQL.

    Args:
        relation: the readable rows, in the order of the file.
        cells: the text of each column that was found, by its name.
        rows: rows of the file, unreadable ones too.
        unreadable: the places and faults of the rows that cannot be read, as `line` and `message`;
            None if there are none.
        parquet: the file, if it is Parquet and can be read again; else None.
    """

    relation: str
    cells: Mapping[str, str]
    rows: int
    unreadable: str | None = None
    parquet: Path | None = None


class EmailFile(msgspec.Struct, frozen=True):
    """A file of emails, in any format of a mapping.

    Args:
        source: the file.
        options: options for reading it.
        find_columns: returns the places of the columns that are used, by name; called with the
            headers.
        folder: folder for temporary files.
        stop: interrupts the work.
        memory: DuckDB's memory limit, such as `512MB`.
    """

    source: Source
    options: MappingOptions
    find_columns: Callable[[FileHeaders], Mapping[str, int]]
    folder: Path
    stop: PlanningStop
    memory: str

    def read(self, database: Database, use: Callable[[EmailRows], int]) -> tuple[int, int]:
        """Read the rows with one query; blocks.

        Args:
            database: reads them, with the macros of `macro_statements`.
            use: runs the query; called once more if DuckDB refuses a CSV file.

        Returns:
            The rows of the file, and what `use` returns.

        Raises:
            BadFileError: if the file cannot be read.
            InterruptedPlanningError: if `stop` stopped it.
        """
        if self.source.format is InputFormat.PARQUET:
            return self._read_parquet(database, use)
        if self.source.format is InputFormat.CSV and self._has_usual_dialect:
            return self._read_plain_csv(database, use)
        return self._read_exactly(database, use)

    @property
    def _has_usual_dialect(self) -> bool:
        options = self.options
        texts = (options.delimiter, options.quote, options.escape, options.encoding)
        return not options.skip_lines and all(text is None for text in texts)

    def _load(self) -> InputContent:
        memory = memory_bytes(self.memory)
        return load_content(
            self.source, self.options, self.folder, sys.stdin.buffer, self.stop, memory
        )

    def _read_parquet(self, database: Database, use: Callable[[EmailRows], int]) -> tuple[int, int]:
        content = self._load()
        if content.format is not InputFormat.PARQUET:
            return self._read_exactly(database, use)
        with closing(ParquetRows(content, self.folder, _READ_MEMORY, self.stop)) as parquet:
            columns = parquet.columns
        headers = FileHeaders(self.source.name, tuple(column.name for column in columns))
        places = self.find_columns(headers)
        cells = {name: columns[place].text_sql() for name, place in places.items()}
        relation = database.files.read_parquet(content.path)
        with _damage_of(self.source.name):
            rows = int(database.fetch_one(f"SELECT count(*) FROM {relation}")[0])
            return rows, use(EmailRows(relation, cells, rows, parquet=content.path))

    def _read_plain_csv(
        self, database: Database, use: Callable[[EmailRows], int]
    ) -> tuple[int, int]:
        content = self._load()
        with content.path.open("rb") as file:
            names = file.readline(_MAX_HEADER_BYTES).decode("ascii", "replace").strip().split(",")
        if content.format is InputFormat.CSV and _is_plain_header(names):
            relation = database.files.read_csv(content.path, _plain_csv_options(len(names)))
            with suppress(BadFileError, DamagedTableError, duckdb.Error):
                places = self.find_columns(FileHeaders(self.source.name, tuple(names)))
                rows, newlines = database.fetch_one(
                    _PLAIN_CSV_COUNTS.format(
                        relation=relation,
                        newlines=" + ".join(map(_newlines_sql, range(len(names)))),
                    )
                )
                if rows + newlines + 1 == _count_lines(content.path, self.stop):
                    cells = {name: f"f{place}" for name, place in places.items()}
                    return rows, use(EmailRows(relation, cells, rows))
            self.stop.check()
        content.discard()
        return self._read_exactly(database, use)

    def _read_exactly(self, database: Database, use: Callable[[EmailRows], int]) -> tuple[int, int]:
        prepared = prepare_input(
            self.source, self.options, self.folder, sys.stdin.buffer, self.stop, self.memory
        )
        places = self.find_columns(prepared.headers)
        records = prepared.input.records
        if not prepared.csv_input.staged and _count_records(database, prepared) != records:
            prepared = restage(prepared, self.folder, self.stop)
            records = prepared.input.records
        staged = prepared.csv_input.staged
        cells = {name: user_cell_sql(f"f{place}", staged=staged) for name, place in places.items()}
        relation = file_relation(database, prepared.csv_input)
        if not staged:
            return records, use(EmailRows(relation, cells, records))
        readable = f"(SELECT * FROM {relation} WHERE reason IS NULL)"
        unreadable = (
            "(SELECT line::BIGINT AS line, unescaped(message) AS message"
            f" FROM {relation} WHERE reason IS NOT NULL)"
        )
        return records, use(EmailRows(readable, cells, records, unreadable))


def id_or_null_sql(column: str, cell: str) -> str:
    """Build an id without the characters that exports add; NULL for anything else."""
    pattern = literal(f"^{id_pattern(column)}$")
    cleaned = f"nullif(regexp_extract(clean_id({cell}), {pattern}), '')"
    return f"CASE WHEN {is_id_sql(cell, column)} THEN {cell} ELSE {cleaned} END"


def zoned_seconds_sql(cell: str) -> str:
    """Build the seconds since 1970 of a time with an offset; NULL for anything else."""
    seconds = f"epoch(TRY_CAST({cell} AS TIMESTAMPTZ))"
    return (
        f"CASE WHEN regexp_matches({cell}, '{_OFFSET}$') AND"
        f" {seconds} BETWEEN 0 AND {_MAX_SECONDS} THEN {seconds} END"
    )


def _is_plain_header(names: Sequence[str]) -> bool:
    """Return whether a CSV file has plain headers, each once, and no escaped cells."""
    is_unique = len({*map(str.lower, names)}) == len(names)
    is_plain = all(map(_PLAIN_HEADER.fullmatch, names))
    return is_unique and is_plain and not has_escaped_cells(names)


_PLAIN_CSV_COUNTS = "SELECT count(*), coalesce(sum({newlines}), 0)::BIGINT FROM {relation}"


def _newlines_sql(place: int) -> str:
    """Build the number of newlines in a cell."""
    count = f"strlen(f{place}) - strlen(replace(f{place}, chr(10), ''))"
    return f"CASE WHEN contains(f{place}, chr(10)) THEN {count} ELSE 0 END"


def _count_lines(path: Path, stop: PlanningStop) -> int:
    """Return the lines of a file; the last one may lack its newline."""
    lines, last = 0, b"\n"
    with path.open("rb") as file:
        while block := file.read(COPY_BYTES):
            stop.check()
            lines += block.count(b"\n")
            last = block[-1:]
    return lines + (last != b"\n")


def _plain_csv_options(cells: int) -> dict[str, str]:
    """Return the options to read a CSV file as the standard says, with nothing left to detect."""
    types = ", ".join(f"'f{place}': 'VARCHAR'" for place in range(cells))
    return {
        "auto_detect": "false",
        "header": "true",
        "delim": "','",
        "quote": "'\"'",
        "escape": "'\"'",
        "comment": "''",
        "strict_mode": "true",
        "max_line_size": str(MAX_RECORD_BYTES),
        "buffer_size": str(4 * MAX_RECORD_BYTES),
        "columns": f"{{{types}}}",
    }


def _count_records(database: Database, prepared: PreparedInput) -> int | None:
    """Return the records that DuckDB reads; None if it cannot read the file."""
    try:
        return int(
            database.fetch_one(
                f"SELECT count(*) FROM {file_relation(database, prepared.csv_input)}"
            )[0]
        )
    except DamagedTableError:
        return None


@contextmanager
def _damage_of(name: str) -> Iterator[None]:
    """Translate an error about damaged pages into one about the user's file."""
    try:
        yield
    except (DamagedTableError, duckdb.Error):
        raise damaged_parquet_error(name) from None


def damaged_parquet_error(name: str) -> BadFileError:
    """Return the error about a Parquet file of the user that is damaged."""
    return BadFileError(
        "The Parquet file is cut off or damaged, or compressed in an unsupported way.",
        where=name,
        advice="Copy it again, or write the table again, as Parquet or CSV.",
    )
