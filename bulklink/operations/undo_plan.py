"""Inverse of a run: the mapping that takes its changes back."""

# ruff: noqa: S608

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from bulklink.atomic_files import atomic_replace
from bulklink.duckdb_sql import literal
from bulklink.errors import LockedError
from bulklink.ledger.index import RecordedResult, ResultIndex, Snapshot, SnapshotIndex
from bulklink.ledger.records import Result
from bulklink.ledger.state import PUT_BACK_FAILED, OpenRow, replay
from bulklink.mapping.database import Database
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.plan_layout import plan_relation
from bulklink.mapping.rejects import REJECT_COLUMNS
from bulklink.models import GUARD_SEPARATOR, NEVER_SENT, NO_DEAL, Op, Status
from bulklink.runs.folder import RunFolder

if TYPE_CHECKING:
    from _csv import Writer

_SETTLED_BY_READ = "settled-by-read"


class AppliedChange(msgspec.Struct, frozen=True):
    """What a run did with one email.

    `has_snapshot` tells that a snapshot was taken: the first one says that the email was on the
    deal `original_deal_id`, None for no deal, the last one that it was on `last_snapshot_deal_id`.
    `status` is None where it was in flight when the run stopped. `current_deal_id` is where its
    result says that it is, as far as it does; `may_have_changed` tells that a call carried it which
    may have changed it.
    """

    row: int
    op: Op
    contact_id: str
    owner_id: str
    message_id: str
    deal_id: str | None
    owner_name: str | None = None
    has_snapshot: bool = False
    original_deal_id: str | None = None
    original_deal_name: str | None = None
    last_snapshot_deal_id: str | None = None
    status: Status | None = None
    code: str | None = None
    current_deal_id: str | None = None
    may_have_changed: bool = False


class UndoStep(msgspec.Struct, frozen=True):
    """What takes a row back: `from_deal_id` is its guard, the deal that the run left it on."""

    op: Op
    from_deal_id: str
    deal_id: str | None = None
    deal_name: str | None = None


class NotUndoneReason(StrEnum):
    """Why a row is not taken back; these are codes of the ledger."""

    NO_SNAPSHOT = "no-snapshot"
    SETTLED_BY_READ = _SETTLED_BY_READ
    IN_DOUBT = "in-doubt"


class NotUndone(msgspec.Struct, frozen=True):
    """A row that is not taken back, why, and what a person could make of it."""

    reason: NotUndoneReason
    step: UndoStep


def undo_step_for(change: AppliedChange, *, include_settled: bool) -> UndoStep | NotUndone | None:
    """Return what takes a row back; None where the run did not change it.

    Args:
        change: what the run did with it.
        include_settled: take back links too that might not be the run's: those that a read settled,
            or that are in doubt, without a snapshot.
    """
    possible_deals = _possible_deals(change)
    if not possible_deals or (possible_deals == (change.original_deal_id,) and change.has_snapshot):
        return None
    guard = GUARD_SEPARATOR.join(deal or NO_DEAL for deal in possible_deals)
    if not change.has_snapshot:
        return _without_snapshot(change, guard, include_settled=include_settled)
    if change.original_deal_id is None:
        return UndoStep(Op.UNLINK, GUARD_SEPARATOR.join(deal for deal in possible_deals if deal))
    op = Op.LINK if possible_deals == (None,) else Op.RELINK
    return UndoStep(op, guard, change.original_deal_id, change.original_deal_name)


def _without_snapshot(
    change: AppliedChange, guard: str, *, include_settled: bool
) -> UndoStep | NotUndone:
    """Take a link back by unlinking; where anything else was, nothing tells."""
    if change.op is not Op.LINK:
        return NotUndone(NotUndoneReason.NO_SNAPSHOT, UndoStep(Op.RELINK, guard))
    step = UndoStep(Op.UNLINK, guard)
    if include_settled or (change.status is Status.DONE and change.code != _SETTLED_BY_READ):
        return step
    is_done = change.status is Status.DONE
    return NotUndone(NotUndoneReason.SETTLED_BY_READ if is_done else NotUndoneReason.IN_DOUBT, step)


def _possible_deals(change: AppliedChange) -> tuple[str | None, ...]:
    """Return the deals that the run may have left an email on; none where it changed nothing."""
    intended_deal_id = None if change.op is Op.UNLINK else change.deal_id
    match change.status:
        case Status.DONE:
            return (intended_deal_id,)
        case None | Status.IN_DOUBT if change.may_have_changed:
            return (intended_deal_id, None) if change.op is Op.RELINK else (intended_deal_id,)
        case Status.FAILED if _left_unlinked(change):
            return (None,)
        case _:
            return ()


def _left_unlinked(change: AppliedChange) -> bool:
    """Tell whether a failed relink took an email off its deal and did not bring it back."""
    if change.code == PUT_BACK_FAILED:
        return True
    if (
        not (change.has_snapshot and change.may_have_changed and change.op is Op.RELINK)
        or change.original_deal_id is None
    ):
        return False
    return change.original_deal_id != (change.current_deal_id or change.last_snapshot_deal_id)


_MEMORY = "128MB"
_COLUMNS = ("row", "op", "contact_id", "owner_id", "message_id", "deal_id")


def applied_changes(folder: RunFolder, spill: Path, stop: PlanningStop) -> Iterator[AppliedChange]:
    """Stream what a run did with each email that it came to, in the order of its plan.

    A torn last line, of a run that was killed, does not count. Memory: some bytes a row.

    Args:
        folder: of the run.
        spill: where data goes that does not fit into memory; removed again.
        stop: ends the work from another thread.

    Raises:
        LedgerError: if a line of the ledger is damaged.
        InterruptedPlanningError: if `stop` ended it.
    """
    open_rows = replay(folder.ledger).open_rows
    with (
        closing(Database(spill, stop, threads=1, memory=_MEMORY)) as database,
        ResultIndex(folder.ledger) as outcomes,
        SnapshotIndex(folder.ledger) as snapshots,
    ):
        for cells in database.rows(_query(database, folder)):
            row = cells[0]
            outcome, open_row = outcomes.of(row), open_rows.get(row)
            if open_row is not None or (outcome is not None and outcome.status not in NEVER_SENT):
                yield _applied_change(cells, snapshots.of(row), outcome, open_row)


def _applied_change(
    cells: tuple[Any, ...],
    snapshot: Snapshot | None,
    outcome: RecordedResult | None,
    open_row: OpenRow | None,
) -> AppliedChange:
    row, op, contact_id, owner_id, message_id, deal_id, owner_name = cells
    original_deal_id = snapshot.previous_deal_id if snapshot else None
    final_outcome = outcome if open_row is None else None
    current_deal_id = final_outcome.current_deal_id if final_outcome else None
    return AppliedChange(
        row,
        Op(op),
        contact_id,
        owner_id,
        message_id,
        deal_id,
        owner_name,
        has_snapshot=snapshot is not None,
        original_deal_id=original_deal_id,
        original_deal_name=snapshot.previous_deal_name if snapshot else None,
        last_snapshot_deal_id=_last_snapshot_deal_id(outcome, original_deal_id),
        status=final_outcome.status if final_outcome else None,
        code=final_outcome.code if final_outcome else None,
        current_deal_id=current_deal_id if isinstance(current_deal_id, str) else None,
        may_have_changed=(outcome is not None and outcome.attempts > 0)
        or (open_row is not None and _may_have_been_sent(open_row)),
    )


def _last_snapshot_deal_id(
    outcome: RecordedResult | None, original_deal_id: str | None
) -> str | None:
    """Return what the last snapshot told; a result has it, unless there was none."""
    last_deal_id = outcome.previous_deal_id if outcome else original_deal_id
    return (
        last_deal_id if last_deal_id is None or isinstance(last_deal_id, str) else original_deal_id
    )


def _may_have_been_sent(open_row: OpenRow) -> bool:
    return open_row.last_op is not None or open_row.unlinked or open_row.may_have_changed


def _query(database: Database, folder: RunFolder) -> str:
    columns = ", ".join(f"plan.bulklink_{column}" for column in _COLUMNS)
    owner_name, names_join = "plan.bulklink_owner_name", ""
    if folder.names.is_file():
        owner_name = f"coalesce({owner_name}, names.owner_name)"
        path = literal(str(folder.names))
        names_join = f"POSITIONAL JOIN read_parquet({path}) AS names"
    return (
        f"SELECT {columns}, {owner_name} FROM {plan_relation(database, folder.plan)} AS plan"
        f" {names_join} "
        "WHERE plan.bulklink_duplicate_of IS NULL"
    )


UNDO_COLUMNS = (
    *("op", "contact_id", "owner_id", "message_id", "deal_id", "owner_name", "deal_name"),
    *("from_deal_id", "source_row"),
)
MAX_ROWS_NAMED = 20
_ADVICE = {
    NotUndoneReason.NO_SNAPSHOT: "The run took no snapshot of it: which deal it was on is not"
    " known.",
    NotUndoneReason.SETTLED_BY_READ: "A read settled it after a lost answer, without a snapshot:"
    " it may have"
    " been so before the run. --include-settled unlinks it.",
    NotUndoneReason.IN_DOUBT: "It is in doubt, without a snapshot: it may have been so before the"
    " run, or not"
    " be so at all. --include-settled unlinks it if it is.",
}


class NotUndoneRow(msgspec.Struct, frozen=True):
    """A row that is not taken back: what the run did with it, and why it is left."""

    change: AppliedChange
    not_undone: NotUndone


class UndoPlan(msgspec.Struct):
    """The inverse of a run, in a temporary folder.

    Attributes:
        folder: where it is: `mapping` has the rows, `not_undone_path` those that are left.
        rows: how many are taken back; `not_undone` how many are not, by reason.
        without_snapshot: how many links are taken back without a snapshot.
        first_not_undone: the first rows of the run that are left, by reason.
    """

    folder: Path
    rows: int = 0
    without_snapshot: int = 0
    not_undone_counts: Counter[NotUndoneReason] = msgspec.field(default_factory=Counter)
    first_not_undone: dict[NotUndoneReason, list[int]] = {}

    @property
    def mapping(self) -> Path:
        """The rows that take the run back, an ordinary mapping."""
        return self.folder / "undo.csv"

    @property
    def not_undone_path(self) -> Path:
        """The rows that are not taken back, one JSON object a line."""
        return self.folder / "left.jsonl"

    def not_undone_rows(self) -> Iterator[tuple[int, NotUndoneRow]]:
        """Stream what is left; its rows follow those that are taken back."""
        decoder = msgspec.json.Decoder(NotUndoneRow)
        with self.not_undone_path.open("rb") as file:
            for row, line in enumerate(file, self.rows + 1):
                yield row, decoder.decode(line)

    def rejected_results(self) -> Iterator[Result]:
        """Stream what the ledger says of each that is left."""
        for row, not_undone_row in self.not_undone_rows():
            change, step = not_undone_row.change, not_undone_row.not_undone.step
            yield Result(
                row,
                step.op,
                change.contact_id,
                change.owner_id,
                change.message_id,
                None,
                Status.REJECTED,
                not_undone_row.not_undone.reason,
                message=_ADVICE[not_undone_row.not_undone.reason],
            )

    def warnings(self) -> Iterator[str]:
        """Say what a person should know before it starts."""
        if self.without_snapshot:
            yield (
                f"{self.without_snapshot:,} links were made without a snapshot: which of these"
                " emails were so"
                " already cannot be told. All that are still on that deal are unlinked."
            )
        for reason, count in sorted(self.not_undone_counts.items()):
            rows = ", ".join(map(str, self.first_not_undone[reason]))
            more = f" and {count - MAX_ROWS_NAMED:,} more" if count > MAX_ROWS_NAMED else ""
            left = f"{count:,} rows are left as they are ({reason}): row {rows}{more}."
            yield f"{left} {_ADVICE[reason]}"

    def write_rejects(self, path: Path, name: str) -> None:
        """Write what is left as a mapping that can be mended and sent.

        Args:
            path: where to.
            name: what the inverse is called.
        """
        with (
            atomic_replace(path) as temporary,
            temporary.open("w", encoding="utf-8", newline="") as file,
        ):
            writer = csv.writer(file)
            writer.writerow([*UNDO_COLUMNS, *REJECT_COLUMNS])
            for row, not_undone_row in self.not_undone_rows():
                cells = _cells(not_undone_row.change, not_undone_row.not_undone.step)
                writer.writerow(
                    [*cells, name, row, None, None, not_undone_row.not_undone.reason, ""]
                )


def build_undo_plan(
    source: RunFolder, scratch: Path, *, include_settled: bool, stop: PlanningStop
) -> UndoPlan:
    """Write the inverse of a run into a temporary folder.

    Raises:
        LockedError: if a process drives the run.
        LedgerError: if its ledger is damaged.
    """
    undo_plan = UndoPlan(scratch)
    record = source.read()
    with _open_files(undo_plan) as (writer, not_undone_file):
        if not record.invocations or not source.plan.is_file():
            return undo_plan
        if source.is_running():
            raise LockedError(
                "A process drives this run.",
                where=str(source.path),
                advice="Wait until it ends, or stop it; then undo it.",
            )
        encoder = msgspec.json.Encoder()
        for change in applied_changes(source, scratch / "spill", stop):
            match undo_step_for(change, include_settled=include_settled):
                case UndoStep() as step:
                    undo_plan.rows += 1
                    undo_plan.without_snapshot += not change.has_snapshot
                    writer.writerow(_cells(change, step))
                case NotUndone() as not_undone:
                    undo_plan.not_undone_counts[not_undone.reason] += 1
                    first_rows = undo_plan.first_not_undone.setdefault(not_undone.reason, [])
                    if len(first_rows) < MAX_ROWS_NAMED:
                        first_rows.append(change.row)
                    not_undone_file.write(encoder.encode(NotUndoneRow(change, not_undone)) + b"\n")
    return undo_plan


@contextmanager
def _open_files(undo_plan: UndoPlan) -> Iterator[tuple[Writer, BinaryIO]]:
    with (
        undo_plan.mapping.open("w", encoding="utf-8", newline="") as mapping,
        undo_plan.not_undone_path.open("wb") as not_undone_file,
    ):
        writer = csv.writer(mapping)
        writer.writerow(UNDO_COLUMNS)
        yield writer, not_undone_file


def _cells(change: AppliedChange, step: UndoStep) -> tuple[str | int | None, ...]:
    return (
        step.op, change.contact_id, change.owner_id, change.message_id, step.deal_id,
        change.owner_name, step.deal_name, step.from_deal_id, change.row,
    )  # fmt: skip
