"""Export of a run: results joined to the user's rows."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import BinaryIO

import msgspec

from bulklink.errors import RunDirError
from bulklink.ledger.index import LedgerIndex, RecordedResult
from bulklink.mapping.original_rows import (
    FALLBACK_COLUMNS,
    MappingRow,
    UserColumn,
    load_user_columns,
    stream_mapping_rows,
)
from bulklink.mapping.schema import GUARD, ID_COLUMNS
from bulklink.models import NO_DEAL
from bulklink.runs.folder import RunFolder, folder_of
from bulklink.runs.record import RunRecord, RunState
from bulklink.runs.status import PENDING
from bulklink.tables import Cell, FileType, TableColumn, TableOutput, resolve_output

RESULT_COLUMNS = (
    TableColumn("bulklink_status"),
    TableColumn("bulklink_code"),
    TableColumn("bulklink_message"),
    TableColumn("bulklink_http_status", is_number=True),
    TableColumn("bulklink_attempts", is_number=True),
    TableColumn("bulklink_previous_deal_id", is_id=True),
    TableColumn("bulklink_previous_deal_name"),
    TableColumn("bulklink_current_deal_id", is_id=True),
    TableColumn("bulklink_duplicate_of", is_number=True),
    TableColumn("bulklink_row", is_number=True),
    TableColumn("bulklink_ts"),
)
_ROWS_AT_ONCE = 1000


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
        run: run folder.
        output: file, whose suffix determines the format, or stream of bytes.
        status: statuses of the rows to write; empty for all.
        code: codes of the rows to write; empty for all.
        format_: csv, jsonl, parquet or xlsx, if there is no suffix; csv by default for a stream.
        spreadsheet: whether to write CSV whose ids and formulas a spreadsheet keeps as text.
        force: whether to replace an existing file.

    Returns:
        The number of rows written, by status.

    Raises:
        UsageError: if the file cannot be written in this format.
        RunDirError: if this is not a run folder, or the run has no plan.
        LedgerError: if its ledger is damaged.
    """
    table_output = resolve_output(output, format_, spreadsheet=spreadsheet, force=force)
    folder = folder_of(run)
    if (
        table_output.path is not None
        and table_output.table_format.file_type is FileType.XLSX
        and not status
        and not code
    ):
        from bulklink.tables.xlsx import check_row_count  # noqa: PLC0415 - heavy, seldom needed

        check_row_count(table_output.path, folder.read().rows)  # fail early, not after a minute
    return _write(folder, table_output, frozenset(status), frozenset(code))


def _write(
    folder: RunFolder, table_output: TableOutput, statuses: Collection[str], codes: Collection[str]
) -> ExportResult:
    record = folder.read()
    _check_has_results(folder, record)
    # A finished run without a plan is an undo that changed nothing.
    plan_columns = load_user_columns(folder.plan) if record.plan_sha256 else ()
    exported_columns = plan_columns or FALLBACK_COLUMNS
    counts: dict[str, int] = {}
    with (
        LedgerIndex(folder.ledger, checkpoint=record.checkpoint) as outcomes,
        tempfile.TemporaryDirectory(prefix="bulklink-") as scratch,
        table_output.open([*map(_table_column, exported_columns), *RESULT_COLUMNS]) as table,
    ):
        spill = Path(scratch) / "spill"
        mapping_rows = stream_mapping_rows(
            folder.plan, folder.rejects, exported_columns, spill, outcomes.__contains__
        )
        batch: list[tuple[Cell, ...]] = []
        for row in _with_ledger_rows(mapping_rows, exported_columns, outcomes):
            result = _result_cells(row.row, outcomes.result(row.row))
            if (statuses and result[0] not in statuses) or (codes and result[1] not in codes):
                continue
            row_status = str(result[0])
            counts[row_status] = counts.get(row_status, 0) + 1
            batch.append((*row.cells, *result))
            if len(batch) == _ROWS_AT_ONCE:
                table.write(batch)
                batch.clear()
        table.write(batch)
    ids_only = bool(record.forgotten) and not plan_columns
    return ExportResult(
        table_output.table_format.file_type, sum(counts.values()), counts, ids_only=ids_only
    )


def _check_has_results(folder: RunFolder, record: RunRecord) -> None:
    if record.state is RunState.REFUSED and not folder.plan.is_file():
        raise RunDirError(
            "This run was refused before there was a plan: it has no results.",
            where=str(folder.path),
            advice=f"{folder.rejects} has the refused rows.",
        )


def _table_column(column: UserColumn) -> TableColumn:
    return TableColumn(
        column.header,
        column.name.removeprefix("bulklink_"),
        is_id=column.known in (*ID_COLUMNS, GUARD),
    )


def _with_ledger_rows(
    rows: Iterator[MappingRow], columns: Sequence[UserColumn], outcomes: LedgerIndex
) -> Iterator[MappingRow]:
    """Add the rows that only the ledger has: refused ones whose cells are not stored."""
    last_row = 0
    for row in rows:
        if row.row > last_row + 1:
            for missing_row in outcomes.rows(last_row + 1, row.row - 1):
                yield _ids_from_ledger(missing_row, columns, outcomes)
        last_row = row.row
        yield row
    for missing_row in outcomes.rows(last_row + 1):
        yield _ids_from_ledger(missing_row, columns, outcomes)


def _ids_from_ledger(row: int, columns: Sequence[UserColumn], outcomes: LedgerIndex) -> MappingRow:
    fields = msgspec.structs.asdict(outcome) if (outcome := outcomes.result(row)) else {}
    return MappingRow(
        row,
        tuple(
            fields.get(column.known) if column.known in ("op", *ID_COLUMNS) else None
            for column in columns
        ),
    )


def _result_cells(row: int, outcome: RecordedResult | None) -> tuple[Cell, ...]:
    """Return the cells of the result columns."""
    if outcome is None:
        return (PENDING, None, None, None, None, None, None, None, None, row, None)
    return (
        str(outcome.status),  # `value` takes three times as long
        outcome.code,
        outcome.message or None,
        outcome.http_status,
        outcome.attempts,
        _deal_cell(outcome.previous_deal_id),
        _text_cell(outcome.previous_deal_name),
        _deal_cell(outcome.current_deal_id),
        None if outcome.duplicate_of is msgspec.UNSET else outcome.duplicate_of,
        row,
        outcome.ts,
    )


def _deal_cell(deal_id: str | msgspec.UnsetType | None) -> str | None:
    return NO_DEAL if deal_id is None else _text_cell(deal_id)


def _text_cell(text: str | msgspec.UnsetType | None) -> str | None:
    return None if text is msgspec.UNSET else text
