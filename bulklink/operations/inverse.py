"""What would take back each row of a run. Pure."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from bulklink.ledger.state import PUT_BACK_FAILED
from bulklink.models import EITHER, NO_DEAL, Op, Status

_SETTLED_BY_READ = "settled-by-read"


class Done(msgspec.Struct, frozen=True):
    """What a run did with one email.

    `seen` tells that a snapshot was taken: the first one says that the email was on the deal
    `was_on`, None for no deal, the last one that it was on `later_on`. `status` is None where it
    was in flight when the run stopped. `current` is where its result says that it is, as far as it
    does; `written` tells that a call carried it which may have changed it.
    """

    row: int
    op: Op
    contact_id: str
    owner_id: str
    message_id: str
    deal_id: str | None
    owner_name: str | None = None
    seen: bool = False
    was_on: str | None = None
    was_on_name: str | None = None
    later_on: str | None = None
    status: Status | None = None
    code: str | None = None
    current: str | None = None
    written: bool = False


class Inverse(msgspec.Struct, frozen=True):
    """What takes a row back: `from_deal_id` is its guard, the deal that the run left it on."""

    op: Op
    from_deal_id: str
    deal_id: str | None = None
    deal_name: str | None = None


class Why(StrEnum):
    """Why a row is not taken back; these are codes of the ledger."""

    NO_SNAPSHOT = "no-snapshot"
    SETTLED_BY_READ = _SETTLED_BY_READ
    IN_DOUBT = "in-doubt"


class Kept(msgspec.Struct, frozen=True):
    """A row that is not taken back, why, and what a person could make of it."""

    why: Why
    inverse: Inverse


def inverse_of(done: Done, *, settled: bool) -> Inverse | Kept | None:
    """Return what takes a row back; None where the run did not change it.

    Args:
        done: what the run did with it.
        settled: take back links too that might not be the run's: those that a read settled, or
            that are in doubt, without a snapshot.
    """
    left = _left_on(done)
    if not left or (left == (done.was_on,) and done.seen):
        return None
    guard = EITHER.join(deal or NO_DEAL for deal in left)
    if not done.seen:
        return _unseen(done, guard, settled=settled)
    if done.was_on is None:
        return Inverse(Op.UNLINK, EITHER.join(deal for deal in left if deal))
    op = Op.LINK if left == (None,) else Op.RELINK
    return Inverse(op, guard, done.was_on, done.was_on_name)


def _unseen(done: Done, guard: str, *, settled: bool) -> Inverse | Kept:
    """Take a link back by unlinking; where anything else was, nothing tells."""
    if done.op is not Op.LINK:
        return Kept(Why.NO_SNAPSHOT, Inverse(Op.RELINK, guard))
    inverse = Inverse(Op.UNLINK, guard)
    if settled or (done.status is Status.DONE and done.code != _SETTLED_BY_READ):
        return inverse
    sure = done.status is Status.DONE
    return Kept(Why.SETTLED_BY_READ if sure else Why.IN_DOUBT, inverse)


def _left_on(done: Done) -> tuple[str | None, ...]:
    """Return the deals that the run may have left an email on; none where it changed nothing."""
    wanted = None if done.op is Op.UNLINK else done.deal_id
    match done.status:
        case Status.DONE:
            return (wanted,)
        case None | Status.IN_DOUBT if done.written:
            return (wanted, None) if done.op is Op.RELINK else (wanted,)
        case Status.FAILED if _left_off(done):
            return (None,)
        case _:
            return ()


def _left_off(done: Done) -> bool:
    """Tell whether a failed relink took an email off its deal and did not bring it back."""
    if done.code == PUT_BACK_FAILED:
        return True
    if not (done.seen and done.written and done.op is Op.RELINK) or done.was_on is None:
        return False
    return done.was_on != (done.current or done.later_on)
