"""User tables in CSV, JSONL, Parquet and .xlsx, written row by row."""

from bulklink.tables.formats import (
    Cell,
    FileType,
    Table,
    TableColumn,
    TableFormat,
    format_for,
)
from bulklink.tables.output import TableOutput, resolve_output
from bulklink.tables.writer import TableFile, stream_table, write_table, write_tables

__all__ = [
    "Cell",
    "FileType",
    "Table",
    "TableColumn",
    "TableFile",
    "TableFormat",
    "TableOutput",
    "format_for",
    "resolve_output",
    "stream_table",
    "write_table",
    "write_tables",
]
