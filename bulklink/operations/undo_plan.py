"""Undo plan: the inverse of a run as a mapping, and the rows that cannot be undone."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from bulklink.advice import Advice, Keyword
from bulklink.atomic_files import atomic_replace
from bulklink.errors import LockedError
from bulklink.ledger.checkpoint import NO_CHECKPOINT, LedgerCheckpoint
from bulklink.ledger.index import LedgerIndex, RecordedResult, Snapshot
from bulklink.ledger.records import Result
from bulklink.ledger.state import PUT_BACK_FAILED, OpenRow
from bulklink.mapping.database import Database
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.plan_layout import plan_relation_with_names
from bulklink.mapping.rejects import REJECT_COLUMNS
from bulklink.models import GUARD_SEPARATOR, NEVER_SENT, NO_DEAL, Op, Status
from bulklink.operations.seal import check_sealed_files
from bulklink.runs.folder import RunFolder

UNDO_COLUMNS = (
    *("op", "contact_id", "owner_id", "message_id", "deal_id", "owner_name", "deal_name"),
    *("from_deal_id", "source_row"),
)
MAX_ROWS_NAMED = 20
_SETTLED_BY_READ = "settled-by-read"
_MEMORY = "128MB"
_SELECT_MESSAGES = """
SELECT bulklink_row, bulklink_op, bulklink_contact_id, bulklink_owner_id, bulklink_message_id,
    bulklink_deal_id, bulklink_owner_name
FROM {plan} WHERE bulklink_duplicate_of IS NULL
"""


class AppliedChange(msgspec.Struct, frozen=True):
    """Change that a run made to one email.

    Args:
        row: number of the row in the mapping.
        op: planned operation.
        contact_id: contact of the email.
        owner_id: owner of the mailbox.
        message_id: message id of the email.
        deal_id: target deal; meaningless for an unlink.
        owner_name: name of the owner; None if unknown.
        has_snapshot: whether a snapshot was taken.
        original_deal_id: deal in the first snapshot; None for no deal.
        original_deal_name: name of that deal; None if unknown.
        last_snapshot_deal_id: deal in the last snapshot; None for no deal.
        status: status of its result; None if the email was in flight when the run stopped.
        code: code of its result, if any.
        current_deal_id: deal of the email in its result; None if unknown or no deal.
        may_have_changed: whether a call may have changed it.
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
    """A row that reverses a change.

    Args:
        op: operation that reverses it.
        from_deal_id: guard: the deals that the run may have left the email on.
        deal_id: deal to put it back on; None for an unlink.
        deal_name: name of that deal; None if unknown.
    """

    op: Op
    from_deal_id: str
    deal_id: str | None = None
    deal_name: str | None = None


class NotUndoneReason(StrEnum):
    """Why a change is not undone; codes of the ledger."""

    NO_SNAPSHOT = "no-snapshot"
    SETTLED_BY_READ = _SETTLED_BY_READ
    IN_DOUBT = "in-doubt"


_ADVICE = {
    NotUndoneReason.NO_SNAPSHOT: "The run took no snapshot, so the previous deal is unknown.",
    NotUndoneReason.SETTLED_BY_READ: "A read settled the email after a lost answer, without a"
    " snapshot: it may have been linked before the run.",
    NotUndoneReason.IN_DOUBT: "The email is in doubt, without a snapshot: it may have been linked"
    " before the run, or not be linked at all.",
}


class NotUndone(msgspec.Struct, frozen=True):
    """A change that is not undone.

    Args:
        reason: why not.
        step: the step that would undo it.
    """

    reason: NotUndoneReason
    step: UndoStep


def undo_step_for(change: AppliedChange, *, include_settled: bool) -> UndoStep | NotUndone | None:
    """Return the step that reverses a change; None if nothing changed.

    Args:
        change: change of the email by the run.
        include_settled: whether to undo links that might not be the run's: those settled by a
            read, or in doubt, without a snapshot.
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
    """Undo a link by unlinking; for any other op the previous deal is unknown."""
    if change.op is not Op.LINK:
        return NotUndone(NotUndoneReason.NO_SNAPSHOT, UndoStep(Op.RELINK, guard))
    step = UndoStep(Op.UNLINK, guard)
    if include_settled or (change.status is Status.DONE and change.code != _SETTLED_BY_READ):
        return step
    is_done = change.status is Status.DONE
    return NotUndone(NotUndoneReason.SETTLED_BY_READ if is_done else NotUndoneReason.IN_DOUBT, step)


def _possible_deals(change: AppliedChange) -> tuple[str | None, ...]:
    """Return the deals that the run may have left an email on; none if it changed nothing."""
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
    """Return whether a failed relink took an email off its deal and did not put it back."""
    if change.code == PUT_BACK_FAILED:
        return True
    if (
        not (change.has_snapshot and change.may_have_changed and change.op is Op.RELINK)
        or change.original_deal_id is None
    ):
        return False
    return change.original_deal_id != (change.current_deal_id or change.last_snapshot_deal_id)


def applied_changes(
    folder: RunFolder,
    spill: Path,
    stop: PlanningStop,
    checkpoint: LedgerCheckpoint = NO_CHECKPOINT,
) -> Iterator[AppliedChange]:
    """Stream the changes of a run to each email it reached, in plan order.

    A torn last line, left by a killed run, does not count. Memory: some bytes per row.

    Args:
        folder: run folder.
        spill: folder for data that does not fit into memory; removed at the end.
        stop: interrupts the work from another thread.
        checkpoint: required beginning of the ledger, and the rows that it may name.

    Raises:
        LedgerError: if a line of the ledger is damaged, or it does not begin with the checkpoint.
        InterruptedPlanningError: if `stop` ended it.
    """
    with (
        closing(Database(spill, stop, threads=1, memory=_MEMORY)) as database,
        LedgerIndex(folder.ledger, stop.check, checkpoint) as ledger,
    ):
        open_rows = ledger.state.open_rows
        plan = plan_relation_with_names(database, folder.plan, folder.names)
        for cells in database.rows(_SELECT_MESSAGES.format(plan=plan)):
            row = cells[0]
            outcome, open_row = ledger.result(row), open_rows.get(row)
            if open_row is not None or (outcome is not None and outcome.status not in NEVER_SENT):
                yield _applied_change(cells, ledger.snapshot(row), outcome, open_row)


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
    """Return the deal in the last snapshot, from the result or the first snapshot."""
    last_deal_id = outcome.previous_deal_id if outcome else original_deal_id
    return (
        last_deal_id if last_deal_id is None or isinstance(last_deal_id, str) else original_deal_id
    )


def _may_have_been_sent(open_row: OpenRow) -> bool:
    return open_row.last_op is not None or open_row.unlinked or open_row.may_have_changed


class NotUndoneRow(msgspec.Struct, frozen=True):
    """A row that is not undone.

    Args:
        change: change of the email by the run.
        not_undone: why it is not undone.
    """

    change: AppliedChange
    not_undone: NotUndone


class UndoPlan(msgspec.Struct, frozen=True):
    """Inverse of a run, in a temporary folder.

    Args:
        mapping: path of the rows that reverse the run, an ordinary mapping.
        not_undone_path: path of the rows that are not undone, one JSON object a line.
        rows: number of rows that are undone.
        without_snapshot: number of links among them without a snapshot.
        not_undone_counts: number of rows that are not undone, by reason.
        first_not_undone: first rows of the run that are not undone, by reason.
    """

    mapping: Path
    not_undone_path: Path
    rows: int
    without_snapshot: int
    not_undone_counts: Counter[NotUndoneReason]
    first_not_undone: dict[NotUndoneReason, list[int]]

    @property
    def not_undone(self) -> int:
        """Number of rows that are not undone."""
        return self.not_undone_counts.total()

    def warnings(self) -> Iterator[Advice]:
        """Yield warnings for the user before the undo starts."""
        if self.without_snapshot:
            yield Advice(
                "{} links were made without a snapshot, so it is unknown which of these emails were"
                " linked before. All that are still on that deal are unlinked.",
                f"{self.without_snapshot:,}",
            )
        for reason, count in sorted(self.not_undone_counts.items()):
            rows = ", ".join(map(str, self.first_not_undone[reason]))
            more = f" and {count - MAX_ROWS_NAMED:,} more" if count > MAX_ROWS_NAMED else ""
            left = f"{count:,} rows are not undone ({reason}): row {rows}{more}."
            include = Advice(
                " {} unlinks those that are linked.", Keyword("include_settled", value=True)
            )
            is_optional = reason is not NotUndoneReason.NO_SNAPSHOT
            yield Advice("{} {}{}", left, _ADVICE[reason], include if is_optional else "")


def build_undo_plan(
    source: RunFolder, scratch: Path, *, include_settled: bool, stop: PlanningStop
) -> UndoPlan:
    """Write the inverse of a run into a temporary folder.

    Args:
        source: run folder.
        scratch: folder for the files.
        include_settled: whether to undo links that might not be the run's.
        stop: interrupts the work from another thread.

    Raises:
        LockedError: if a process is running the run.
        DigestError: if its plan or its names changed since it sent them.
        LedgerError: if its ledger is damaged.
        InterruptedPlanningError: if `stop` ended it.
    """
    mapping, not_undone_path = scratch / "undo.csv", scratch / "left.jsonl"
    rows = without_snapshot = 0
    not_undone_counts: Counter[NotUndoneReason] = Counter()
    first_not_undone: dict[NotUndoneReason, list[int]] = {}
    with (
        mapping.open("w", encoding="utf-8", newline="") as mapping_file,
        not_undone_path.open("wb") as not_undone_file,
    ):
        writer = csv.writer(mapping_file)
        writer.writerow(UNDO_COLUMNS)
        for change in _changes_to_undo(source, scratch / "spill", stop):
            match undo_step_for(change, include_settled=include_settled):
                case UndoStep() as step:
                    rows += 1
                    without_snapshot += not change.has_snapshot
                    writer.writerow(_cells(change, step))
                case NotUndone() as not_undone:
                    not_undone_counts[not_undone.reason] += 1
                    first_rows = first_not_undone.setdefault(not_undone.reason, [])
                    if len(first_rows) < MAX_ROWS_NAMED:
                        first_rows.append(change.row)
                    line = msgspec.json.encode(NotUndoneRow(change, not_undone))
                    not_undone_file.write(line + b"\n")
    return UndoPlan(
        mapping, not_undone_path, rows, without_snapshot, not_undone_counts, first_not_undone
    )


def _changes_to_undo(source: RunFolder, spill: Path, stop: PlanningStop) -> Iterator[AppliedChange]:
    record = source.read()
    if not record.invocations or not source.plan.is_file():
        return iter(())
    if source.is_running():
        raise LockedError(
            "A process is running this run.",
            where=str(source.path),
            advice="Wait until it ends, or stop it, then undo it.",
        )
    check_sealed_files(source, record)
    return applied_changes(source, spill, stop, record.checkpoint)


def rejected_results(undo_plan: UndoPlan) -> Iterator[Result]:
    """Stream the ledger's results of the rows that are not undone."""
    for row, not_undone_row in _not_undone_rows(undo_plan):
        change, not_undone = not_undone_row.change, not_undone_row.not_undone
        yield Result(
            row,
            not_undone.step.op,
            change.contact_id,
            change.owner_id,
            change.message_id,
            None,
            Status.REJECTED,
            not_undone.reason,
            message=_ADVICE[not_undone.reason],
        )


def write_undo_rejects(undo_plan: UndoPlan, path: Path, name: str) -> None:
    """Write the rows that are not undone as a mapping that can be fixed and sent.

    Args:
        undo_plan: inverse of the run.
        path: file to write.
        name: name of the inverse, shown as a mapping's name.
    """
    with (
        atomic_replace(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file)
        writer.writerow([*UNDO_COLUMNS, *REJECT_COLUMNS])
        for row, not_undone_row in _not_undone_rows(undo_plan):
            not_undone = not_undone_row.not_undone
            cells = _cells(not_undone_row.change, not_undone.step)
            writer.writerow([*cells, name, row, None, None, not_undone.reason, ""])


def _not_undone_rows(undo_plan: UndoPlan) -> Iterator[tuple[int, NotUndoneRow]]:
    """Stream the rows that are not undone, numbered after those that are."""
    decoder = msgspec.json.Decoder(NotUndoneRow)
    with undo_plan.not_undone_path.open("rb") as file:
        for row, line in enumerate(file, undo_plan.rows + 1):
            yield row, decoder.decode(line)


def _cells(change: AppliedChange, step: UndoStep) -> tuple[str | int | None, ...]:
    return (
        step.op, change.contact_id, change.owner_id, change.message_id, step.deal_id,
        change.owner_name, step.deal_name, step.from_deal_id, change.row,
    )  # fmt: skip
