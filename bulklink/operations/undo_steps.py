"""Undo steps: what reverses the change of one email."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from bulklink.ledger.state import NOT_APPLIED, PUT_BACK_FAILED, SETTLED_BY_READ
from bulklink.models import GUARD_SEPARATOR, NO_DEAL, Op, Status


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
        current_deal_id: deal of the email in its result; None for no deal, unset if unknown.
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
    current_deal_id: str | msgspec.UnsetType | None = msgspec.UNSET
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
    SETTLED_BY_READ = SETTLED_BY_READ
    IN_DOUBT = "in-doubt"


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
    if include_settled or (change.status is Status.DONE and change.code != SETTLED_BY_READ):
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
    if not change.has_snapshot and change.code == NOT_APPLIED and change.op is Op.RELINK:
        return change.current_deal_id is None
    if (
        not (change.has_snapshot and change.may_have_changed and change.op is Op.RELINK)
        or change.original_deal_id is None
    ):
        return False
    current_deal_id = change.current_deal_id
    if current_deal_id is msgspec.UNSET:
        current_deal_id = change.last_snapshot_deal_id
    return change.original_deal_id != current_deal_id
