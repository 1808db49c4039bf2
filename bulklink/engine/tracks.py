"""One email's way through a run: what it needs next, and what each answer makes of it.

Pure: no clock, no await. `contact.py` makes the calls that the tracks ask for.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

import msgspec

from bulklink.ledger.lines import Result
from bulklink.ledger.replay import PUT_BACK_FAILED, OpenRow, Replay
from bulklink.models import Message, Op, Status
from bulklink.zoho.answers import Verdict
from bulklink.zoho.classes import advice_for
from bulklink.zoho.codes import Code
from bulklink.zoho.links import Deal

MOST_SENDINGS = 6
"""How often one half of the work on a message is sent, all batches it was in together."""
SETTLED_BY_READ = "settled-by-read"
NOT_LISTED = "not-listed"
NO_ANSWER = "no-answer"


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
    """

    __slots__ = (
        "attempts", "call", "doubt", "half", "lost", "lot", "message", "need", "patient",
        "previous", "redone", "refusal", "result", "sendings", "step_told", "unlinked",
    )  # fmt: skip

    def __init__(self, message: Message) -> None:
        self.message = message
        self.half = Need.UNLINK if message.op is Op.UNLINK else Need.LINK
        self.need = Need.SNAPSHOT if message.op is Op.RELINK else self.half
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


def track_of(message: Message, told: Replay) -> Track:
    """Return the track of a message, taken up where the ledger says that it stands."""
    left = told.open.get(message.row)
    if left is not None:
        return _resumed(message, left)
    track = Track(message)
    if told.is_again(message.row):
        track.attempts = told.earlier_attempts(message.row)
        track.doubt = told.status(message.row) is Status.IN_DOUBT and track.attempts > 0
        if track.doubt and track.need is not Need.SNAPSHOT:
            track.lost = True
            track.settle()
    return track


def _resumed(message: Message, left: OpenRow) -> Track:
    """Return the track of a message that an earlier invocation left in flight.

    What the last call did is not known: it is read back before anything is sent.
    """
    track = Track(message)
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
    return track


def seen(track: Track, listed: bool, deal: Deal | None, call: int | None) -> None:  # noqa: FBT001
    """Go on after a read: whether a page listed the email, and the deal it is on."""
    track.call = call
    if not listed:
        track.end(Status.IN_DOUBT, NOT_LISTED, text="No page of the contact's emails lists it.")
    elif track.need is Need.SNAPSHOT:
        _seen_before(track, deal)
    else:
        _SETTLERS[track.half](track, deal)


def unlink_answered(track: Track, verdict: Verdict) -> None:
    """Go on after the verdict on an unlink."""
    if not verdict.success:
        track.end(Status.FAILED, verdict=verdict, text=_refused(verdict))
    elif track.message.op is Op.UNLINK:
        track.end(Status.DONE, verdict=verdict)
    else:
        _off_its_deal(track)


def link_answered(track: Track, verdict: Verdict) -> None:
    """Go on after the verdict on a link."""
    if verdict.success:
        track.end(Status.DONE, verdict=verdict)
    elif verdict.code == Code.ALREADY_LINKED:
        track.refusal = verdict
        track.settle(patient=track.doubt or track.unlinked)
    elif track.lost:
        # It may be on its deal by a call of this run whose answer was lost.
        track.refusal = verdict
        track.settle()
    else:
        _link_refused(track, verdict)


def put_back_answered(track: Track, verdict: Verdict) -> None:
    """Go on after the verdict on putting a message back on the deal it was on."""
    if verdict.success:
        _put_back(track)
    elif verdict.code == Code.ALREADY_LINKED or track.lost:
        track.settle()
    else:
        _put_back_failed(track, f"The link was refused ({_said(track.refusal)}), and so was"
                                f" putting it back ({_said(verdict)}).")  # fmt: skip


ANSWERED: dict[Need, Callable[[Track, Verdict], None]] = {
    Need.UNLINK: unlink_answered,
    Need.LINK: link_answered,
    Need.PUT_BACK: put_back_answered,
}


def unreadable(track: Track, verdict: Verdict | None, call: int | None) -> None:
    """Go on after a read that gave no page: refused with a verdict, or without an answer."""
    track.call = call
    if track.need is Need.SNAPSHOT and verdict is not None:
        track.end(Status.FAILED, verdict=verdict, text=_refused(verdict))
    else:
        text = (
            "It could not be read back." if track.need is Need.SETTLE else "It could not be read."
        )
        track.end(Status.IN_DOUBT, "" if verdict else NO_ANSWER, verdict=verdict, text=text)


def leave_in_doubt(track: Track) -> None:
    """End without a read where none is wanted: what is so cannot be known."""
    verdict = track.refusal if track.half is Need.LINK else None
    text = "It was not read back, as --read-back never says."
    track.end(Status.IN_DOUBT, "" if verdict else NO_ANSWER, verdict=verdict, text=text)


def _seen_before(track: Track, deal: Deal | None) -> None:
    track.previous = deal
    if deal is not None and deal.id == track.message.deal_id:
        # In doubt since an earlier invocation: then it is there by a call of this run.
        status, code = (Status.DONE, SETTLED_BY_READ) if track.doubt else (Status.UNCHANGED, "")
        track.end(status, code, current=deal)
    else:
        track.ask(Need.LINK if deal is None else Need.UNLINK)


def _settle_unlink(track: Track, deal: Deal | None) -> None:
    if deal is not None and track.message.op is Op.RELINK and deal.id == track.message.deal_id:
        track.end(Status.DONE, SETTLED_BY_READ, current=deal)
    elif deal is not None:
        _not_applied(track, Need.UNLINK, deal)
    elif track.message.op is Op.UNLINK:
        track.end(Status.DONE, SETTLED_BY_READ, current=None)
    else:
        _off_its_deal(track)


def _settle_link(track: Track, deal: Deal | None) -> None:
    if deal is not None and deal.id == track.message.deal_id:
        ours = track.doubt or track.unlinked
        status, code = (Status.DONE, SETTLED_BY_READ) if ours else (Status.UNCHANGED, "")
        track.end(status, code, current=deal)
    elif track.unlinked and _is(deal, track.previous) and not track.redone:
        # Its unlink was undone, or it was put back and the run ended before it could say so.
        track.redone, track.unlinked, track.step_told = True, False, False
        track.ask(Need.UNLINK)
    elif deal is not None:
        text = f"It is on deal {deal.id}. {advice_for(Code.ALREADY_LINKED)}"
        track.end(
            Status.FAILED, Code.ALREADY_LINKED, verdict=track.refusal, text=text, current=deal
        )
    elif track.patient and track.refusal and track.refusal.code != Code.ALREADY_LINKED:
        _link_refused(track, track.refusal)
    else:
        _not_applied(track, Need.LINK, None)


def _settle_put_back(track: Track, deal: Deal | None) -> None:
    previous = track.previous
    if deal is not None and deal.id == track.message.deal_id:
        track.end(Status.DONE, SETTLED_BY_READ, current=deal)
    elif deal is not None and _is(deal, previous):
        _put_back(track)
    elif deal is not None:
        _put_back_failed(track, f"Somebody put it on deal {deal.id} meanwhile.", deal)
    elif track.sendings < MOST_SENDINGS:
        track.need = Need.PUT_BACK
    else:
        _put_back_failed(track, "The link was refused, and putting it back was not applied.", None)


_SETTLERS: dict[Need, Callable[[Track, Deal | None], None]] = {
    Need.UNLINK: _settle_unlink,
    Need.LINK: _settle_link,
    Need.PUT_BACK: _settle_put_back,
}


def _off_its_deal(track: Track) -> None:
    """Go on with a relink whose unlink is confirmed."""
    track.unlinked = True
    track.ask(Need.LINK)


def _not_applied(track: Track, half: Need, deal: Deal | None) -> None:
    """Send a half again that a read shows was not applied, or end where it was sent enough."""
    if not track.patient:
        track.patient = True  # the need stays: read again, when it can be believed
        return
    if track.sendings < MOST_SENDINGS:
        track.need = half
        return
    verdict = Verdict(NO_ANSWER, "It was sent several times and a read shows it not applied.", 0)
    if half is Need.LINK:
        _link_refused(track, track.refusal or verdict)
    else:
        track.end(Status.FAILED, NO_ANSWER, text=verdict.text, current=deal)


def _link_refused(track: Track, verdict: Verdict) -> None:
    track.refusal = verdict
    if track.unlinked and isinstance(track.previous, Deal):
        track.ask(Need.PUT_BACK)
    else:
        track.end(Status.FAILED, verdict=verdict, text=_refused(verdict))


def _put_back(track: Track) -> None:
    verdict = track.refusal
    text = f"{_refused(verdict)} It is back on the deal it was on." if verdict else ""
    previous = track.previous if isinstance(track.previous, Deal) else None
    track.end(Status.FAILED, verdict=verdict, text=text, current=previous)


def _put_back_failed(
    track: Track, text: str, current: Deal | msgspec.UnsetType | None = msgspec.UNSET
) -> None:
    track.end(Status.FAILED, PUT_BACK_FAILED, verdict=track.refusal, text=text, current=current)


def _refused(verdict: Verdict) -> str:
    said = verdict.text.rstrip(".") + "." if verdict.text else ""
    return " ".join(filter(None, (said, advice_for(verdict.code))))


def _said(verdict: Verdict | None) -> str:
    return (verdict.code or f"HTTP {verdict.http_status}") if verdict else "unknown"


def _is(deal: Deal | None, other: Deal | msgspec.UnsetType | None) -> bool:
    return deal is not None and isinstance(other, Deal) and other.id == deal.id


def _id(deal: Deal | msgspec.UnsetType | None) -> str | None:
    return deal.id if isinstance(deal, Deal) else None


def _name(deal: Deal | msgspec.UnsetType | None) -> str | None:
    return deal.name if isinstance(deal, Deal) else None
