"""Tables for users: CSV, JSONL, Parquet and .xlsx, written row by row."""

from bulklink.tables.formats import Column, Form, Kind, form_of
from bulklink.tables.output import Output, output_to
from bulklink.tables.writer import Cell, Table, printing, writing

__all__ = [
    "Cell",
    "Column",
    "Form",
    "Kind",
    "Output",
    "Table",
    "form_of",
    "output_to",
    "printing",
    "writing",
]
