"""Formats of user tables, and the interface of their writers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import Protocol, TypeAlias

import msgspec

from bulklink.advice import Advice, Keyword
from bulklink.errors import UsageError

Cell: TypeAlias = str | int | None
_GZIP = ".gz"


class Table(Protocol):
    """Writer of the rows of a table."""

    def write(self, rows: Iterable[Sequence[Cell]]) -> None:
        """Write rows; each has a cell for every column, None for no value."""
        ...


class FileType(StrEnum):
    """File type of a table."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"
    XLSX = "xlsx"


_TEXT_TYPES = (FileType.CSV, FileType.JSONL)


class TableColumn(msgspec.Struct, frozen=True):
    """A column of a table.

    Args:
        header: header in CSV and .xlsx.
        key: name in JSONL and Parquet, unique there; empty to use the header.
        is_number: whether its cells are whole numbers.
        is_id: whether its cells are ids, which a spreadsheet must not take for numbers.
        is_decimal: whether its texts are decimal numbers, which Parquet holds as numbers.
    """

    header: str
    key: str = ""
    is_number: bool = False
    is_id: bool = False
    is_decimal: bool = False

    @property
    def name(self) -> str:
        """Name in JSONL and Parquet."""
        return self.key or self.header


class TableFormat(msgspec.Struct, frozen=True):
    """File type, compression and spreadsheet protection of a table.

    Args:
        file_type: CSV, JSONL, Parquet or .xlsx.
        gzip: whether the text is compressed.
        spreadsheet: whether the cells of a CSV file are escaped for spreadsheets.
    """

    file_type: FileType
    gzip: bool = False
    spreadsheet: bool = False


def format_for(
    name: str, file_type: str | None = None, *, spreadsheet: bool = False
) -> TableFormat:
    """Return the format for a file name; a final `.gz` compresses CSV and JSONL.

    Args:
        name: name of the file, or `-` for standard output, which is CSV unless `file_type` is
            set.
        file_type: file type to use if the name has no suffix of one.
        spreadsheet: whether a spreadsheet will open the CSV file.

    Raises:
        UsageError: if the name has no known suffix, or one that contradicts the other arguments.
    """
    gzipped = name.lower().endswith(_GZIP)
    suffix = name.lower().removesuffix(_GZIP).rpartition(".")[2]
    type_name = (
        suffix if suffix in list(FileType) else file_type or (FileType.CSV if name == "-" else "")
    )
    if type_name not in list(FileType) or (gzipped and type_name not in _TEXT_TYPES):
        raise UsageError(
            "The file name does not end in a supported suffix.",
            where=name,
            advice="Use a name that ends in .csv, .jsonl, .csv.gz, .jsonl.gz, .parquet or .xlsx.",
        )
    table_format = TableFormat(FileType(type_name), gzipped, spreadsheet)
    if name == "-" and table_format.file_type not in _TEXT_TYPES:
        raise UsageError(
            f"{type_name} cannot be written to standard output.", where="-", advice="Name a file."
        )
    if spreadsheet and table_format.file_type is not FileType.CSV:
        raise UsageError(
            f"Only CSV is escaped for spreadsheets; {type_name} has text cells already.",
            where=name,
            advice=Advice("Omit {}.", Keyword("spreadsheet", value=True)),
        )
    return table_format
