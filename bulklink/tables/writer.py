"""Writers of a table to a file or stream; a file appears complete or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from bulklink.atomic_files import atomic_replace, write_error
from bulklink.errors import UsageError
from bulklink.tables.formats import FileType, Table, TableColumn, TableFormat
from bulklink.tables.text import text_table

_BUFFER = 1 << 20


def check_file_path(path: Path) -> None:
    """Check that a file can be created or replaced at a path.

    Raises:
        UsageError: if its folder is missing, or the path is a folder, a device or a pipe.
    """
    if not path.parent.is_dir():
        raise UsageError(
            "There is no such folder.", where=str(path.parent), advice="Create it, or use another."
        )
    if path.is_dir():
        raise UsageError("The path is a folder.", where=str(path), advice="Use the name of a file.")
    if path.exists() and not path.is_file():
        raise UsageError(
            "This is a device or a pipe, which a file would replace.",
            where=str(path),
            advice="Write to standard output (-) and redirect it there.",
        )


class TableFile(NamedTuple):
    """A table and the file that it is written to.

    Args:
        path: the file.
        table_format: format of the table.
        columns: columns of the table.
        metadata: called at the end; returns texts about the whole table, by name, which only
            Parquet keeps. None for no texts.
    """

    path: Path
    table_format: TableFormat
    columns: Sequence[TableColumn]
    metadata: Callable[[], Mapping[str, str]] | None = None


@contextmanager
def write_table(
    path: Path, table_format: TableFormat, columns: Sequence[TableColumn]
) -> Iterator[Table]:
    """Write a table to a file readable only by its owner; it appears once complete.

    Args:
        path: file to write; an existing one is replaced at the end.
        table_format: format of the table.
        columns: columns of the table.

    Raises:
        UsageError: if the folder is missing, or the rows do not fit into the format.
        RunDirError: if the file cannot be written.
    """
    with write_tables([TableFile(path, table_format, columns)]) as (table,):
        yield table


@contextmanager
def write_tables(files: Sequence[TableFile]) -> Iterator[Sequence[Table]]:
    """Write several tables at once; their files appear once all are complete.

    Args:
        files: the files; existing ones are replaced at the end.

    Raises:
        UsageError: if a folder is missing, or the rows do not fit into a format.
        RunDirError: if a file cannot be written.
    """
    for file in files:
        check_file_path(file.path)
    with ExitStack() as appearing:
        temporaries = [appearing.enter_context(atomic_replace(file.path)) for file in files]
        with ExitStack() as writing:
            yield [
                writing.enter_context(_file_table(temporary, file))
                for temporary, file in zip(temporaries, files, strict=True)
            ]


@contextmanager
def _file_table(temporary: Path, file: TableFile) -> Iterator[Table]:
    if file.table_format.file_type is FileType.XLSX:
        from bulklink.tables.xlsx import xlsx_table  # noqa: PLC0415 - heavy, seldom needed

        with xlsx_table(temporary, file.columns) as table:
            yield table
    elif file.table_format.file_type is FileType.PARQUET:
        from bulklink.tables.parquet import parquet_table  # noqa: PLC0415 - heavy, seldom needed

        with parquet_table(temporary, file.columns, file.metadata) as table:
            yield table
    else:
        with (
            temporary.open("wb", buffering=_BUFFER) as stream,
            text_table(stream, file.table_format, file.columns) as table,
        ):
            yield table


@contextmanager
def stream_table(
    stream: BinaryIO, table_format: TableFormat, columns: Sequence[TableColumn]
) -> Iterator[Table]:
    """Write a CSV or JSONL table to a stream, which stays open.

    Args:
        stream: destination.
        table_format: CSV or JSONL, compressed or not.
        columns: columns of the table.

    Raises:
        RunDirError: if the stream cannot be written; a broken pipe is left to the caller.
    """
    try:
        with text_table(stream, table_format, columns) as table:
            yield table
        stream.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise write_error(Path("standard output"), error) from None
