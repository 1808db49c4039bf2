"""Where a table for a user goes: a file, by whose name its form is known, or a stream."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from os import PathLike
from pathlib import Path
from typing import BinaryIO

import msgspec

from bulklink.errors import UsageError
from bulklink.tables.formats import TableColumn, TableFormat, format_for
from bulklink.tables.writer import Table, check_file_path, stream_table, write_table


class TableOutput(msgspec.Struct, frozen=True):
    """Where a table goes, and in which form; `path` is None where it goes to a stream."""

    table_format: TableFormat
    path: Path | None
    stream: BinaryIO | None = None

    def open(self, columns: Sequence[TableColumn]) -> AbstractContextManager[Table]:
        """Open the table; a file appears when all is written.

        Args:
            columns: its columns.
        """
        if self.stream is not None:
            return stream_table(self.stream, self.table_format, columns)
        return write_table(self.path or Path(), self.table_format, columns)


def resolve_output(
    target: str | PathLike[str] | BinaryIO,
    format_: str | None = None,
    *,
    spreadsheet: bool = False,
    force: bool = False,
) -> TableOutput:
    """Return where a table goes, checked before anything is done for it.

    Args:
        target: the file, or a stream of bytes, which takes CSV unless `format_` says otherwise.
        format_: csv, jsonl, parquet or xlsx, where the name of the file does not tell.
        spreadsheet: whether a spreadsheet is to open the CSV file.
        force: whether a file that is there is replaced.

    Raises:
        UsageError: if it tells no format, is there already, or has no folder.
    """
    if not isinstance(target, str | PathLike):
        return TableOutput(format_for("-", format_, spreadsheet=spreadsheet), None, target)
    path = Path(target)
    table_format = format_for(str(path), format_, spreadsheet=spreadsheet)
    check_can_create(path, force=force)
    return TableOutput(table_format, path)


def check_can_create(path: Path, *, force: bool = False) -> None:
    """Refuse to write a file where there is one already, or no folder.

    Args:
        path: the file.
        force: whether a file that is there is replaced.

    Raises:
        UsageError: if it is there already, or has no folder.
    """
    check_file_path(path)
    if path.exists() and not force:
        raise UsageError(
            "The file is there already.",
            where=str(path),
            advice="Add --force to replace it, or name another.",
        )
