"""Rows of a run with their results: the user's columns, then what became of each."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from itertools import chain, islice
from os import PathLike
from pathlib import Path

import msgspec

from bulklink.advice import Advice, Keyword, NextCall
from bulklink.errors import RunDirError, UsageError
from bulklink.ledger.index import LedgerIndex, RecordedResult
from bulklink.ledger.row_array import RowArray
from bulklink.mapping.original_rows import (
    FALLBACK_COLUMNS,
    Cells,
    MappingRow,
    UserColumn,
    load_user_columns,
    stream_mapping_rows,
)
from bulklink.mapping.schema import GUARD, ID_COLUMNS
from bulklink.models import NO_DEAL, Status
from bulklink.runs.folder import RunFolder, folder_of
from bulklink.runs.job_folder import find_job
from bulklink.runs.record import RunRecord, RunState
from bulklink.runs.status import PENDING
from bulklink.suggestions import close_matches, did_you_mean
from bulklink.tables import Cell, Table, TableColumn

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
_STATUSES = (*map(str, Status), PENDING)


class ResultRow(msgspec.Struct, frozen=True, gc=False):
    """A row of a run with its result.

    Args:
        cells: the user's cells, then those of the result.
        status: status of its result.
    """

    cells: tuple[Cell, ...]
    status: str


class ResultTable(msgspec.Struct, frozen=True):
    """The rows of a run with their results; they can be read once.

    Args:
        columns: the user's columns, then `RESULT_COLUMNS`.
        rows: streams the rows in the order of the mapping.
        ids_only: True if the user's columns were forgotten, so that only ids and results are left.
    """

    columns: tuple[TableColumn, ...]
    rows: Iterator[ResultRow]
    ids_only: bool


def count_rows(run: str | PathLike[str]) -> int:
    """Return the number of rows of a run or job.

    Raises:
        RunDirError: if it is neither.
    """
    job = find_job(run)
    return job.read().rows if job is not None else folder_of(run).read().rows


@contextmanager
def open_results(
    run: str | PathLike[str], statuses: Collection[str], codes: Collection[str]
) -> Iterator[ResultTable]:
    """Open the rows of a run or job with their results, at any time; blocks.

    The rows of a job come shard after shard.

    Args:
        run: the run folder, or the folder of a job.
        statuses: statuses of the rows to read; empty for all.
        codes: codes of the rows to read; empty for all.

    Raises:
        UsageError: if a status does not exist.
        RunDirError: if this is no run folder, the run has no plan, or a shard is not that of the
            job.
        LedgerError: if a ledger is damaged.
    """
    job = find_job(run)
    if job is None:
        with _open_run_results(folder_of(run), statuses, codes) as results:
            yield results
        return
    shards = job.open_shards(job.read())
    _check_all_forgotten(job.path, [record for _, record in shards])
    columns = _shared_columns(shards)
    folders = [folder for folder, _ in shards]
    with _open_run_results(folders[0], statuses, codes, columns) as first:
        open_later = partial(
            _open_run_results, statuses=statuses, codes=codes, known_columns=columns
        )
        rows = chain(first.rows, _later_rows(folders[1:], open_later))
        yield ResultTable(first.columns, rows, first.ids_only)


def _shared_columns(shards: Sequence[tuple[RunFolder, RunRecord]]) -> Sequence[UserColumn]:
    """Return the user's columns, which all shards share; one without a plan names none."""
    planned = next((folder for folder, record in shards if record.plan_sha256), None)
    return load_user_columns(planned.plan) if planned is not None else ()


def _check_all_forgotten(path: Path, records: Sequence[RunRecord]) -> None:
    """Refuse a job some of whose shards have columns, and others no more.

    Raises:
        RunDirError: if forgetting it was started and not completed.
    """
    if len({bool(record.forgotten) for record in records}) > 1:
        raise RunDirError(
            "Forgetting this job was started and not completed.",
            where=str(path),
            advice=Advice("Complete it first: {}.", NextCall("forget", path)),
        )


def _later_rows(
    folders: Sequence[RunFolder],
    open_run_results: Callable[[RunFolder], AbstractContextManager[ResultTable]],
) -> Iterator[ResultRow]:
    """Yield the rows of the later shards of a job; all shards have the columns of the first."""
    for folder in folders:
        with open_run_results(folder) as results:
            yield from results.rows


@contextmanager
def _open_run_results(
    folder: RunFolder,
    statuses: Collection[str],
    codes: Collection[str],
    known_columns: Sequence[UserColumn] | None = None,
) -> Iterator[ResultTable]:
    """Open the rows of one run with their results.

    Args:
        folder: the run folder.
        statuses: statuses of the rows to read; empty for all.
        codes: codes of the rows to read; empty for all.
        known_columns: the user's columns; None reads them from the plan.

    Raises:
        UsageError: if a status does not exist.
        RunDirError: if this is not a run folder, or the run has no plan.
        LedgerError: if its ledger is damaged.
    """
    chosen_statuses, chosen_codes = _checked_statuses(statuses), _names(codes)
    record = folder.read()
    _check_has_results(folder, record)
    # A finished run without a plan is an undo that changed nothing.
    plan_columns = known_columns
    if plan_columns is None:
        plan_columns = load_user_columns(folder.plan) if record.plan_sha256 else ()
    columns = plan_columns or FALLBACK_COLUMNS
    with (
        LedgerIndex(folder.ledger, checkpoint=record.checkpoint) as outcomes,
        tempfile.TemporaryDirectory(prefix="bulklink-") as scratch,
    ):
        spill = Path(scratch) / "spill"
        mapping_rows = stream_mapping_rows(
            folder.plan, folder.rejects, columns, spill, outcomes.__contains__
        )
        rows = _result_rows(
            _with_ledger_rows(mapping_rows, columns, outcomes, is_shard=record.shard is not None),
            outcomes,
            chosen_statuses,
            chosen_codes,
            RowArray("q", record.last_row) if record.shard is not None else None,
        )
        yield ResultTable(
            (*map(_table_column, columns), *RESULT_COLUMNS),
            rows,
            ids_only=bool(record.forgotten) and not plan_columns,
        )


def write_results(results: ResultTable, table: Table) -> dict[str, int]:
    """Write the rows to a table, and return their number by status."""
    counts: dict[str, int] = {}
    rows = iter(results.rows)
    while batch := list(islice(rows, _ROWS_AT_ONCE)):
        for row in batch:
            counts[row.status] = counts.get(row.status, 0) + 1
        table.write([row.cells for row in batch])
    return counts


def _names(names: Collection[str]) -> frozenset[str]:
    """Return the statuses or codes that a caller chose; a text is one of them."""
    return frozenset((names,) if isinstance(names, str) else names)


def _checked_statuses(statuses: Collection[str]) -> frozenset[str]:
    """Return the statuses that a caller chose.

    Raises:
        UsageError: if one does not exist.
    """
    chosen = _names(statuses)
    for unknown in sorted(map(str, chosen.difference(_STATUSES))):
        suggestion = did_you_mean(close_matches(unknown, _STATUSES))
        raise UsageError(
            f"{unknown!r} is not a status.",
            where=Advice("{}", Keyword("status")),
            advice=f"{suggestion}The statuses are: {', '.join(_STATUSES)}.",
        )
    return chosen


def _result_rows(
    rows: Iterator[MappingRow],
    outcomes: LedgerIndex,
    statuses: Collection[str],
    codes: Collection[str],
    origins: RowArray | None,
) -> Iterator[ResultRow]:
    """Yield the rows with their results.

    Args:
        rows: the rows.
        outcomes: their results.
        statuses: statuses of the rows to yield; empty for all.
        codes: codes of the rows to yield; empty for all.
        origins: filled with the number of each row over the whole mapping; None if the run is no
            shard, whose rows have such numbers already.
    """
    for row in rows:
        outcome = outcomes.result(row.row)
        duplicate_of = None if outcome is None else _number(outcome.duplicate_of)
        if origins is not None:
            origins[row.row] = row.origin_row or 0
            duplicate_of = duplicate_of and (origins[duplicate_of] or None)
        result = _result_cells(row.origin_row, duplicate_of, outcome)
        if (statuses and result[0] not in statuses) or (codes and result[1] not in codes):
            continue
        yield ResultRow((*row.cells, *result), str(result[0]))


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
    rows: Iterator[MappingRow],
    columns: Sequence[UserColumn],
    outcomes: LedgerIndex,
    *,
    is_shard: bool,
) -> Iterator[MappingRow]:
    """Add the rows that only the ledger has: refused ones whose cells are not stored."""

    def from_ledger(row: int) -> MappingRow:
        cells = _ids_from_ledger(row, columns, outcomes)
        return MappingRow(row, cells, None if is_shard else row)

    last_row = 0
    for row in rows:
        if row.row > last_row + 1:
            yield from map(from_ledger, outcomes.rows(last_row + 1, row.row - 1))
        last_row = row.row
        yield row
    yield from map(from_ledger, outcomes.rows(last_row + 1))


def _ids_from_ledger(row: int, columns: Sequence[UserColumn], outcomes: LedgerIndex) -> Cells:
    fields = msgspec.structs.asdict(outcome) if (outcome := outcomes.result(row)) else {}
    return tuple(
        fields.get(column.known) if column.known in ("op", *ID_COLUMNS) else None
        for column in columns
    )


def _result_cells(
    row: int | None, duplicate_of: int | None, outcome: RecordedResult | None
) -> tuple[Cell, ...]:
    """Return the cells of the result columns; both rows are numbered over the whole mapping."""
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
        duplicate_of,
        row,
        outcome.ts,
    )


def _deal_cell(deal_id: str | msgspec.UnsetType | None) -> str | None:
    return NO_DEAL if deal_id is None else _text_cell(deal_id)


def _number(row: int | msgspec.UnsetType | None) -> int | None:
    return None if row is msgspec.UNSET else row


def _text_cell(text: str | msgspec.UnsetType | None) -> str | None:
    return None if text is msgspec.UNSET else text
