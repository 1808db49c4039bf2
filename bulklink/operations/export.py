"""Export of a run: results joined to the user's rows."""

from __future__ import annotations

from collections.abc import Collection
from os import PathLike
from typing import BinaryIO

import msgspec

from bulklink.operations.result_rows import count_rows, open_results, write_results
from bulklink.tables import FileType, TableOutput, resolve_output


class ExportResult(msgspec.Struct, frozen=True):
    """Number of rows exported, in total and by status.

    Args:
        format: file type written.
        rows: rows written.
        counts: rows written by status.
        ids_only: True if the user's columns were forgotten, so that only ids and results were
            written.
    """

    format: FileType
    rows: int
    counts: dict[str, int]
    ids_only: bool


def export(
    run: str | PathLike[str],
    output: str | PathLike[str] | BinaryIO,
    *,
    status: Collection[str] = (),
    code: Collection[str] = (),
    format_: str | None = None,
    spreadsheet: bool = False,
    force: bool = False,
) -> ExportResult:
    """Write every row of a run with its result, in the order of the mapping.

    Works at any time, even during the run: rows without a result are pending. Blocks.

    Args:
        run: run folder, or the folder of a job, whose rows are written shard after shard.
        output: file, whose suffix determines the format, or stream of bytes.
        status: statuses of the rows to write; empty for all.
        code: codes of the rows to write; empty for all.
        format_: csv, jsonl, parquet or xlsx, if there is no suffix; csv by default for a stream.
        spreadsheet: whether to write CSV whose ids and formulas a spreadsheet keeps as text.
        force: whether to replace an existing file.

    Returns:
        The number of rows written, by status.

    Raises:
        UsageError: if the file cannot be written in this format, or a status does not exist.
        RunDirError: if this is not a run folder, or the run has no plan.
        LedgerError: if its ledger is damaged.
    """
    table_output = resolve_output(output, format_, spreadsheet=spreadsheet, force=force)
    if (
        table_output.path is not None
        and table_output.table_format.file_type is FileType.XLSX
        and not status
        and not code
    ):
        from bulklink.tables.xlsx import check_row_count  # noqa: PLC0415 - heavy, seldom needed

        check_row_count(table_output.path, count_rows(run))  # fail early, not after a minute
    return _write(run, table_output, status, code)


def _write(
    run: str | PathLike[str],
    table_output: TableOutput,
    statuses: Collection[str],
    codes: Collection[str],
) -> ExportResult:
    with (
        open_results(run, statuses, codes) as results,
        table_output.open(results.columns) as table,
    ):
        counts = write_results(results, table)
    return ExportResult(
        table_output.table_format.file_type,
        sum(counts.values()),
        counts,
        ids_only=results.ids_only,
    )
