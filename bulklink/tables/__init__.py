"""Tables for users: CSV, JSONL, Parquet and .xlsx, written row by row."""

from bulklink.tables.forms import Column, Form, Kind, form_of
from bulklink.tables.writing import Cell, Table, printing, writing

__all__ = ["Cell", "Column", "Form", "Kind", "Table", "form_of", "printing", "writing"]
