"""Which form a table takes, by the name of its file."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from bulklink.errors import UsageError

_GZIP = ".gz"


class FileType(StrEnum):
    """The formats of tables."""

    CSV = "csv"
    JSONL = "jsonl"
    PARQUET = "parquet"
    XLSX = "xlsx"


_TEXT_TYPES = (FileType.CSV, FileType.JSONL)


class TableColumn(msgspec.Struct, frozen=True):
    """A column of a table.

    `header` is what CSV and .xlsx show. `key` is its name in JSONL and Parquet, where no two may
    be alike; empty if it is the header. `is_number` tells that its cells are whole numbers, `is_id`
    that they are ids, which a spreadsheet must not take for numbers.
    """

    header: str
    key: str = ""
    is_number: bool = False
    is_id: bool = False

    @property
    def name(self) -> str:
        """Its name in JSONL and Parquet."""
        return self.key or self.header


class TableFormat(msgspec.Struct, frozen=True):
    """How a table is written; `spreadsheet` disarms the cells of a CSV file."""

    file_type: FileType
    gzip: bool = False
    spreadsheet: bool = False


def format_for(
    name: str, file_type: str | None = None, *, spreadsheet: bool = False
) -> TableFormat:
    """Return the form that the name of a file asks for; `.gz` behind it compresses texts.

    Args:
        name: of the file, or `-` for standard output, which is CSV unless `file_type` says
            otherwise.
        file_type: the format where the name does not tell.
        spreadsheet: whether a spreadsheet is to open the CSV file.

    Raises:
        UsageError: if the name tells no format, or one that does not go with the rest.
    """
    gzipped = name.lower().endswith(_GZIP)
    suffix = name.lower().removesuffix(_GZIP).rpartition(".")[2]
    type_name = (
        suffix if suffix in list(FileType) else file_type or (FileType.CSV if name == "-" else "")
    )
    if type_name not in list(FileType) or (gzipped and type_name not in _TEXT_TYPES):
        raise UsageError(
            "Its name tells no format that can be written.",
            where=name,
            advice="Names end in .csv, .jsonl, .csv.gz, .jsonl.gz, .parquet or .xlsx.",
        )
    table_format = TableFormat(FileType(type_name), gzipped, spreadsheet)
    if name == "-" and table_format.file_type not in _TEXT_TYPES:
        raise UsageError(
            f"{type_name} cannot go to standard output.", where="-o -", advice="Name a file."
        )
    if spreadsheet and table_format.file_type is not FileType.CSV:
        raise UsageError(
            f"--spreadsheet is for CSV; {type_name} has text cells already.",
            where=name,
            advice="Leave it out.",
        )
    return table_format
