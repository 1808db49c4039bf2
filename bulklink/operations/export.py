"""`export`: the results of a run joined to the user's own rows."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import BinaryIO

import msgspec

from bulklink.errors import RunDirError
from bulklink.ledger.index import Outcome, Outcomes
from bulklink.mapping.original_rows import IDS, OwnColumn, OwnRow, own_columns, own_rows
from bulklink.mapping.schema import GUARD, ID_COLUMNS
from bulklink.models import NO_DEAL
from bulklink.runs.folder import RunFolder, folder_of
from bulklink.runs.record import RunRecord, State
from bulklink.runs.status import PENDING
from bulklink.tables import Cell, Column, Kind, Output, output_to

RESULT_COLUMNS = (
    Column("bulklink_status"),
    Column("bulklink_code"),
    Column("bulklink_message"),
    Column("bulklink_http_status", number=True),
    Column("bulklink_attempts", number=True),
    Column("bulklink_previous_deal_id", ident=True),
    Column("bulklink_previous_deal_name"),
    Column("bulklink_current_deal_id", ident=True),
    Column("bulklink_duplicate_of", number=True),
    Column("bulklink_row", number=True),
    Column("bulklink_ts"),
)
_ROWS_AT_ONCE = 1000


class Exported(msgspec.Struct, frozen=True):
    """What was written: how many rows of each status; `ids_only` where the rest was forgotten."""

    format: Kind
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
) -> Exported:
    """Write every row of a run with what became of it, in the order of the mapping.

    Works at any time, also while the run goes on: what has no result then is pending. It blocks.

    Args:
        run: the run folder.
        output: the file, whose name tells the format, or a stream of bytes.
        status: only rows of these; empty takes all.
        code: only rows with one of these codes; empty takes all.
        format_: csv, jsonl, parquet or xlsx, where no name tells; a stream takes csv by default.
        spreadsheet: write CSV that a spreadsheet neither rounds nor runs.
        force: replace a file that is there.

    Returns:
        How many rows of each status were written.

    Raises:
        UsageError: if the file cannot be written so.
        RunDirError: if this is no run folder, or the run came to no plan.
        LedgerError: if its ledger is damaged.
    """
    to = output_to(output, format_, spreadsheet=spreadsheet, force=force)
    folder = folder_of(run)
    if to.path is not None and to.form.kind is Kind.XLSX and not status and not code:
        from bulklink.tables.xlsx import check_rows  # noqa: PLC0415 - heavy, seldom needed

        check_rows(to.path, folder.read().rows)  # rather than after a minute
    return _write(folder, to, frozenset(status), frozenset(code))


def _write(
    folder: RunFolder, to: Output, statuses: Collection[str], codes: Collection[str]
) -> Exported:
    record = folder.read()
    _refuse_refused(folder, record)
    # A finished run without a plan is an undo that left everything as it was.
    columns = own_columns(folder.plan) if record.plan_sha256 else ()
    kept = columns or IDS
    counts: dict[str, int] = {}
    with (
        Outcomes(folder.ledger) as outcomes,
        tempfile.TemporaryDirectory(prefix="bulklink-") as scratch,
        to.open([*map(_column, kept), *RESULT_COLUMNS]) as table,
    ):
        spill = Path(scratch) / "spill"
        own = own_rows(folder.plan, folder.rejects, kept, spill, outcomes.__contains__)
        waiting: list[tuple[Cell, ...]] = []
        for row in _complete(own, kept, outcomes):
            result = _result(row.row, outcomes.of(row.row))
            if (statuses and result[0] not in statuses) or (codes and result[1] not in codes):
                continue
            counts[str(result[0])] = counts.get(str(result[0]), 0) + 1
            waiting.append((*row.cells, *result))
            if len(waiting) == _ROWS_AT_ONCE:
                table.write(waiting)
                waiting.clear()
        table.write(waiting)
    forgotten = bool(record.forgotten) and not columns
    return Exported(to.form.kind, sum(counts.values()), counts, ids_only=forgotten)


def _refuse_refused(folder: RunFolder, record: RunRecord) -> None:
    if record.state is State.REFUSED and not folder.plan.is_file():
        raise RunDirError(
            "This run was refused before there was a plan: it has no results.",
            where=str(folder.path),
            advice=f"{folder.rejects} has the refused rows.",
        )


def _column(own: OwnColumn) -> Column:
    return Column(
        own.header, own.name.removeprefix("bulklink_"), ident=own.known in (*ID_COLUMNS, GUARD)
    )


def _complete(
    own: Iterator[OwnRow], columns: Sequence[OwnColumn], outcomes: Outcomes
) -> Iterator[OwnRow]:
    """Add the rows that only the ledger knows: refused ones whose cells are not kept."""
    last = 0
    for row in own:
        for missing in outcomes.rows(last + 1, row.row - 1):
            yield _ids_of(missing, columns, outcomes)
        last = row.row
        yield row
    for missing in outcomes.rows(last + 1):
        yield _ids_of(missing, columns, outcomes)


def _ids_of(row: int, columns: Sequence[OwnColumn], outcomes: Outcomes) -> OwnRow:
    told = msgspec.structs.asdict(outcome) if (outcome := outcomes.of(row)) else {}
    return OwnRow(
        row,
        tuple(
            told.get(column.known) if column.known in ("op", *ID_COLUMNS) else None
            for column in columns
        ),
    )


def _result(row: int, outcome: Outcome | None) -> tuple[Cell, ...]:
    """Return the cells of the result columns."""
    if outcome is None:
        return (PENDING, None, None, None, None, None, None, None, None, row, None)
    return (
        outcome.status.value,
        outcome.code,
        outcome.message or None,
        outcome.http_status,
        outcome.attempts,
        _deal(outcome.previous_deal_id),
        _known(outcome.previous_deal_name),
        _deal(outcome.current_deal_id),
        None if outcome.duplicate_of is msgspec.UNSET else outcome.duplicate_of,
        row,
        outcome.ts,
    )


def _deal(deal_id: str | msgspec.UnsetType | None) -> str | None:
    return NO_DEAL if deal_id is None else _known(deal_id)


def _known(text: str | msgspec.UnsetType | None) -> str | None:
    return None if text is msgspec.UNSET else text
