"""One email's way through a run: what is known of it, and what it needs next.

Pure: no clock, no await. `settling.py` says what an answer makes of it; `contact.py` calls.
"""

from __future__ import annotations

from enum import Enum, auto

import msgspec

from bulklink.ledger.records import Result
from bulklink.ledger.state import OpenRow, Replay
from bulklink.models import Message, Op, Status
from bulklink.zoho.email_pages import Deal
from bulklink.zoho.link_response import Verdict


class Need(Enum):
    """What a message needs next."""

    SNAPSHOT = auto()
    UNLINK = auto()
    LINK = auto()
    PUT_BACK = auto()
    SETTLE = auto()
    NOTHING = auto()


class Track:
    """What is known of one message while it is worked on.

    Attributes:
        need: what it needs next; NOTHING once `result` is there.
        half: the write that SETTLE is about.
        previous: the deal it was on before; UNSET where no snapshot told.
        redone: whether its unlink was asked for again after a read showed its former deal.
        unlinked: whether it is between the halves of a relink.
        step_told: whether the ledger knows that.
        doubt: whether an answer to the present half was lost or did not name it.
        lost: whether one left open what became of it; not where a refused call was halved.
        sendings: how often the present half was sent.
        attempts: write calls that carried it.
        call: the number of the last call that concerned it.
        patient: whether SETTLE must wait until a read can be believed that shows nothing applied.
        lot: messages of different lots share no call; a refused batch was halved into them.
        refusal: why the link half was refused, while the message is put back.
        result: what became of it.
        unseen: whether it is changed too where no page of the snapshot lists it.

    Args:
        message: what is wanted.
        snapshot: whether the deal that it is on is read before it is changed.
        no_put_back: whether a relink may be changed that could not be put back.
    """

    __slots__ = (
        "attempts", "call", "doubt", "half", "lost", "lot", "message", "need", "patient",
        "previous", "redone", "refusal", "result", "sendings", "step_told", "unlinked", "unseen",
    )  # fmt: skip

    def __init__(self, message: Message, *, snapshot: bool, no_put_back: bool = False) -> None:
        self.message = message
        self.half = Need.LINK if message.op is Op.LINK else Need.UNLINK
        self.need = Need.SNAPSHOT if snapshot else self.half
        self.unseen = message.from_deal_id is None and (message.op is not Op.RELINK or no_put_back)
        self.previous: Deal | msgspec.UnsetType | None = msgspec.UNSET
        self.redone = False
        self.unlinked = False
        self.step_told = False
        self.doubt = self.lost = False
        self.patient = False
        self.sendings = 0
        self.attempts = 0
        self.call: int | None = None
        self.lot = 0
        self.refusal: Verdict | None = None
        self.result: Result | None = None

    @property
    def target(self) -> tuple[str, str | None]:
        """Return (id, name) of the deal that the next link puts it on."""
        if self.need is Need.PUT_BACK and isinstance(self.previous, Deal):
            return self.previous.id, self.previous.name
        return self.message.deal_id or "", self.message.deal_name

    @property
    def torn(self) -> bool:
        """Whether it is, or may be, between the halves of a relink: no gentle stop leaves it so."""
        may_be = self.need is Need.SETTLE and self.half is Need.UNLINK
        return self.unlinked or (may_be and self.message.op is Op.RELINK)

    def sent(self, call: int, tries: int, *, lost: bool) -> None:
        """Note that a write call carried it so many times, and whether an answer was lost."""
        self.doubt, self.lost = self.doubt or lost, self.lost or lost
        self.call = call
        self.sendings += tries
        self.attempts += tries

    def ask(self, need: Need) -> None:
        """Go on to another half of the work."""
        self.need = self.half = need
        self.sendings, self.lot = 0, 0
        self.doubt = self.lost = False
        if need is not Need.PUT_BACK:
            self.refusal = None

    def settle(self, *, patient: bool = True) -> None:
        """Have the present half settled by reading the link back.

        A read soon after a call may not show it yet: `patient` waits until it must.
        """
        self.half, self.need, self.patient = self.need, Need.SETTLE, patient

    def lose(self) -> None:
        """Note that an answer was lost, or did not say what became of this message."""
        self.doubt = self.lost = True
        again = self.need is not Need.UNLINK and self.sendings < 2
        if not again:
            self.settle()

    def end(
        self,
        status: Status,
        code: str = "",
        *,
        verdict: Verdict | None = None,
        text: str = "",
        current: Deal | msgspec.UnsetType | None = msgspec.UNSET,
    ) -> None:
        """Settle it: this is what the ledger says."""
        message, previous = self.message, self.previous
        unknown = previous is msgspec.UNSET
        self.need = Need.NOTHING
        self.result = Result(
            row=message.row,
            op=message.op,
            contact_id=message.contact_id,
            owner_id=message.owner_id,
            message_id=message.message_id,
            deal_id=message.deal_id,
            status=status,
            code=code or (verdict.code if verdict else None) or None,
            http_status=(verdict.http_status or None) if verdict else None,
            message=text or (verdict.text if verdict else ""),
            attempts=self.attempts,
            call=self.call,
            previous_deal_id=msgspec.UNSET if unknown else _id(previous),
            previous_deal_name=msgspec.UNSET if unknown else _name(previous),
            current_deal_id=msgspec.UNSET if current is msgspec.UNSET else _id(current),
        )


def track_of(message: Message, told: Replay, *, snapshot: bool, no_put_back: bool = False) -> Track:
    """Return the track of a message, taken up where the ledger says that it stands.

    Args:
        message: what is wanted.
        told: what the ledger says.
        snapshot: whether the deal that it is on is read before it is changed.
        no_put_back: whether a relink may be changed that could not be put back.
    """
    track = Track(message, snapshot=snapshot, no_put_back=no_put_back)
    left = told.open.get(message.row)
    if left is not None:
        _resume(track, left)
    elif told.is_again(message.row):
        track.attempts = told.earlier_attempts(message.row)
        track.doubt = told.status(message.row) is Status.IN_DOUBT and track.attempts > 0
        if track.doubt and snapshot:
            track.patient = True
        elif track.doubt:
            track.lost = True
            track.settle()
    return track


def _resume(track: Track, left: OpenRow) -> None:
    """Take up a message that an earlier invocation left in flight.

    What the last call did is not known: it is read back before anything is sent.
    """
    track.attempts, track.call = left.attempts, left.call
    if left.previous is not None:
        deal_id, name = left.previous
        track.previous = Deal(deal_id, name) if deal_id is not None else None
    track.unlinked = track.step_told = left.unlinked
    if left.asked is not None:
        track.need = Need.UNLINK if left.asked == "unlink" else Need.LINK
        track.doubt = track.lost = True
        track.settle()
    elif left.unlinked:
        track.need = Need.LINK
    else:
        track.doubt = track.patient = left.doubt


def _id(deal: Deal | msgspec.UnsetType | None) -> str | None:
    return deal.id if isinstance(deal, Deal) else None


def _name(deal: Deal | msgspec.UnsetType | None) -> str | None:
    return deal.name if isinstance(deal, Deal) else None
