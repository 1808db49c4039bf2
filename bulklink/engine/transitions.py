"""What an answer or a read makes of an email: its next need, or its end. Pure."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from bulklink.engine.message_state import Need, Track
from bulklink.ledger.state import PUT_BACK_FAILED
from bulklink.models import EITHER, NO_DEAL, Op, Status
from bulklink.zoho.email_pages import Deal
from bulklink.zoho.error_codes import Code
from bulklink.zoho.error_policy import advice_for
from bulklink.zoho.link_response import Verdict

MOST_SENDINGS = 6
"""How often one half of the work on a message is sent, all batches it was in together."""
SETTLED_BY_READ = "settled-by-read"
NOT_LISTED = "not-listed"
NO_ANSWER = "no-answer"
CHANGED_SINCE = "changed-since"
ALREADY_LINKED = "already-linked"


def seen(track: Track, listed: bool, deal: Deal | None, call: int | None) -> None:  # noqa: FBT001
    """Go on after a read: whether a page listed the email, and the deal it is on."""
    track.call = call
    if not listed and track.need is Need.SNAPSHOT and track.unseen:
        track.ask(track.half)
    elif not listed and (refusal := _refused_alone(track)):
        _link_refused(track, refusal)
    elif not listed:
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
    elif track.doubt:
        # It may be on its deal by a call of this run that was lost, or refused without a name.
        track.refusal = verdict
        track.settle()
    else:
        _link_refused(track, verdict)


def put_back_answered(track: Track, verdict: Verdict) -> None:
    """Go on after the verdict on putting a message back on the deal it was on."""
    if verdict.success:
        _put_back(track)
    elif verdict.code == Code.ALREADY_LINKED or track.doubt:
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
    if refusal := _refused_alone(track):
        _link_refused(track, refusal)
    elif track.need is Need.SNAPSHOT and verdict is not None and not track.doubt:
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
    if (deal.id if deal else None) == track.message.deal_id:
        # In doubt since an earlier invocation: then it is there by a call of this run.
        status, code = (Status.DONE, SETTLED_BY_READ) if track.doubt else (Status.UNCHANGED, "")
        track.end(status, code, current=deal)
    elif _guarded(track, deal):
        _changed_since(track, deal)
    elif deal is None:
        track.ask(Need.LINK)
    elif track.message.op is Op.LINK:
        _on_another(track, ALREADY_LINKED, deal)
    else:
        track.ask(Need.UNLINK)


def _guarded(track: Track, deal: Deal | None) -> bool:
    """Tell whether the guard forbids to change it.

    A relink in doubt since an earlier invocation can be off its deal by a call of this run.
    """
    ours = deal is None and track.doubt and track.message.op is Op.RELINK
    return not ours and not track.message.may_leave(deal.id if deal else None)


def _changed_since(track: Track, deal: Deal | None) -> None:
    asked = (track.message.from_deal_id or NO_DEAL).split(EITHER)
    wanted = " or ".join(map(_place, asked))
    is_on = _place(deal.id if deal else NO_DEAL)
    text = f"It was to be changed only while it is on {wanted}; now it is on {is_on}."
    track.end(Status.FAILED, CHANGED_SINCE, text=text, current=deal)


def _place(deal_id: str) -> str:
    return "no deal" if deal_id == NO_DEAL else f"deal {deal_id}"


def _on_another(track: Track, code: str, deal: Deal) -> None:
    text = f"It is on deal {deal.id}. {advice_for(Code.ALREADY_LINKED)}"
    track.end(Status.FAILED, code, verdict=track.refusal, text=text, current=deal)


def _settle_unlink(track: Track, deal: Deal | None) -> None:
    if deal is not None and track.message.op is Op.RELINK and deal.id == track.message.deal_id:
        track.end(Status.DONE, SETTLED_BY_READ, current=deal)
    elif deal is not None and not track.message.may_leave(deal.id):
        _changed_since(track, deal)
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
    elif deal is not None and not track.message.may_leave(deal.id):
        _changed_since(track, deal)
    elif deal is not None:
        _on_another(track, Code.ALREADY_LINKED, deal)
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
        off = " It is off the deal that it was on, which is not known." if track.unlinked else ""
        track.end(Status.FAILED, verdict=verdict, text=_refused(verdict) + off)


def _refused_alone(track: Track) -> Verdict | None:
    """Return why its link was refused once it stood alone, after calls that named nobody.

    One of those may have put it on its deal all the same, which a read shows. Where none can, the
    refusal counts; after an answer that was lost it does not.
    """
    if track.lost or track.need is not Need.SETTLE or track.half is not Need.LINK:
        return None
    refusal = track.refusal
    return None if refusal is None or refusal.code == Code.ALREADY_LINKED else refusal


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
