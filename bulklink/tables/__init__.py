"""Tables for users: CSV, JSONL, Parquet and .xlsx, written row by row."""

from bulklink.tables.forms import Column, Form, Kind, form_of
from bulklink.tables.outputs import Output, output_to
from bulklink.tables.writing import Cell, Table, printing, writing

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
