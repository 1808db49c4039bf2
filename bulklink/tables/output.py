"""Destination of a user table: a file or a stream."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from os import PathLike
from pathlib import Path
from typing import BinaryIO

import msgspec

from bulklink.advice import Advice, Keyword
from bulklink.blocking import blocks
from bulklink.errors import UsageError
from bulklink.own_files import refuse_own_file
from bulklink.tables.formats import Table, TableColumn, TableFormat, format_for
from bulklink.tables.writer import check_file_path, stream_table, write_table


class TableOutput(msgspec.Struct, frozen=True):
    """Destination and format of a table.

    Args:
        table_format: format of the table.
        target: file, or stream of bytes.
    """

    table_format: TableFormat
    target: Path | BinaryIO

    @property
    def path(self) -> Path | None:
        """The file; None for a stream."""
        return self.target if isinstance(self.target, Path) else None

    def open(self, columns: Sequence[TableColumn]) -> AbstractContextManager[Table]:
        """Open the table; a file appears once it is complete.

        Args:
            columns: columns of the table.
        """
        blocks("writing a table")
        if isinstance(self.target, Path):
            return write_table(self.target, self.table_format, columns)
        return stream_table(self.target, self.table_format, columns)


def resolve_output(
    target: str | PathLike[str] | BinaryIO,
    format_: str | None = None,
    *,
    spreadsheet: bool = False,
    force: bool = False,
) -> TableOutput:
    """Return the destination of a table, after checking it.

    Args:
        target: file, or stream of bytes, which is CSV unless `format_` is set.
        format_: csv, jsonl, parquet or xlsx, if the name of the file has no such suffix.
        spreadsheet: whether a spreadsheet will open the CSV file.
        force: whether to replace an existing file.

    Raises:
        UsageError: if the format is unknown, the file exists, or its folder is missing.
    """
    if not isinstance(target, str | PathLike):
        return TableOutput(format_for("-", format_, spreadsheet=spreadsheet), target)
    path = Path(target)
    table_format = format_for(str(path), format_, spreadsheet=spreadsheet)
    check_can_create(path, force=force)
    return TableOutput(table_format, path)


def check_can_create(path: Path, *, force: bool = False) -> None:
    """Check that a file can be created.

    Args:
        path: file to create.
        force: whether to replace an existing file.

    Raises:
        UsageError: if the file exists, its folder is missing, or only bulklink itself writes it.
    """
    check_file_path(path)
    refuse_own_file(path)
    if path.exists() and not force:
        raise UsageError(
            "The file already exists.",
            where=str(path),
            advice=Advice("Use another name, or replace it with {}.", Keyword("force", value=True)),
        )
