"""State transitions of a message (pure)."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from bulklink.engine.message_state import MessageState, NextStep
from bulklink.ledger.state import PUT_BACK_FAILED, SETTLED_BY_READ
from bulklink.models import GUARD_SEPARATOR, NO_DEAL, Op, Status
from bulklink.zoho.email_pages import LinkedDeal
from bulklink.zoho.error_codes import Code
from bulklink.zoho.error_policy import advice_for_code
from bulklink.zoho.link_response import AnswerVerdict

MAX_SENDS = 6
"""Maximum attempts of one phase of a message, across all batches it was part of."""
NOT_LISTED = "not-listed"
NO_ANSWER = "no-answer"
CHANGED_SINCE = "changed-since"
ALREADY_LINKED = "already-linked"


def on_read(
    state: MessageState,
    *,
    listed: bool,
    deal: LinkedDeal | None,
    call: int | None,
    complete: bool = True,
) -> None:
    """Apply a read of the contact's emails.

    Args:
        state: state of the message.
        listed: whether a page lists it.
        deal: the deal it is on; None for no deal.
        call: number of the call that read the page.
        complete: whether all pages were read, if it is not listed.
    """
    state.last_call = call
    if not listed and state.next_step is NextStep.SNAPSHOT and state.allow_unlisted:
        state.next_step = state.phase  # still uncertain: the read says nothing about it
    elif not listed and complete and (refusal := _refusal_of_unknown_email(state)):
        _on_link_refused(state, refusal)
    elif not listed:
        text = "No page of the contact's emails shows which deal it is on."
        if state.next_step is NextStep.READ_BACK and state.refusal:
            text += f" Its last call was refused: {_refusal_text(state.refusal)}"
        state.end(Status.IN_DOUBT, NOT_LISTED, text=text)
    elif state.next_step is NextStep.SNAPSHOT:
        _on_snapshot(state, deal)
    else:
        _ON_READ_BACK[state.phase](state, deal)


def on_unlink_result(state: MessageState, verdict: AnswerVerdict) -> None:
    """Apply the result of an unlink call."""
    if not verdict.success and state.uncertain:
        # A call whose answer was lost may have unlinked it; the CRM then refuses another unlink.
        state.refusal = verdict
        state.request_read_back()
    elif not verdict.success:
        state.end(Status.FAILED, verdict=verdict, text=_refusal_text(verdict))
    elif state.message.op is Op.UNLINK:
        state.end(Status.DONE, verdict=verdict)
    else:
        _continue_relink(state)


def on_link_result(state: MessageState, verdict: AnswerVerdict) -> None:
    """Apply the result of a link call."""
    if verdict.success:
        state.end(Status.DONE, verdict=verdict)
    elif verdict.code == Code.ALREADY_LINKED:
        state.refusal = verdict
        state.request_read_back(await_consistency=state.uncertain or state.unlinked)
    elif state.uncertain:
        # A lost call of this run, or one refused as a whole, may have linked it.
        state.refusal = verdict
        state.request_read_back()
    else:
        _on_link_refused(state, verdict)


def on_put_back_result(state: MessageState, verdict: AnswerVerdict) -> None:
    """Apply the result of a call that puts a message back on its previous deal."""
    if verdict.success:
        _fail_after_put_back(state)
    elif verdict.code == Code.ALREADY_LINKED or state.uncertain:
        state.request_read_back()
    else:
        refusal, second_refusal = _refusal_code(state.refusal), _refusal_code(verdict)
        _fail_put_back(
            state,
            f"The link was refused ({refusal}), and so was putting it back ({second_refusal}).",
        )


ON_RESULT: dict[NextStep, Callable[[MessageState, AnswerVerdict], None]] = {
    NextStep.UNLINK: on_unlink_result,
    NextStep.LINK: on_link_result,
    NextStep.PUT_BACK: on_put_back_result,
}


def on_read_failed(state: MessageState, verdict: AnswerVerdict | None, call: int | None) -> None:
    """Apply a read that returned no page: refused with `verdict`, or unanswered."""
    state.last_call = call
    if state.next_step is NextStep.SNAPSHOT and verdict is not None and not state.uncertain:
        state.end(Status.FAILED, verdict=verdict, text=_refusal_text(verdict))
    else:
        text = (
            "It could not be read back."
            if state.next_step is NextStep.READ_BACK
            else "It could not be read."
        )
        state.end(Status.IN_DOUBT, "" if verdict else NO_ANSWER, verdict=verdict, text=text)


def leave_in_doubt(state: MessageState) -> None:
    """End a message in doubt, because read-backs are turned off."""
    verdict = state.refusal if state.phase is not NextStep.PUT_BACK else None
    text = "It was not read back: read-backs are turned off."
    state.end(Status.IN_DOUBT, "" if verdict else NO_ANSWER, verdict=verdict, text=text)


def _on_snapshot(state: MessageState, deal: LinkedDeal | None) -> None:
    state.previous_deal = deal
    if (deal.id if deal else None) == state.message.deal_id:
        # If it was in doubt since an earlier invocation, a call of this run has linked it.
        status, code = (Status.DONE, SETTLED_BY_READ) if state.uncertain else (Status.UNCHANGED, "")
        state.end(status, code, current=deal)
    elif _guard_forbids(state, deal):
        _fail_changed_since(state, deal)
    elif deal is None:
        state.start_phase(NextStep.LINK)
    elif state.message.op is Op.LINK:
        _fail_on_other_deal(state, ALREADY_LINKED, deal)
    else:
        state.start_phase(NextStep.UNLINK)


def _guard_forbids(state: MessageState, deal: LinkedDeal | None) -> bool:
    """Return whether the guard forbids the change.

    A call of this run may have unlinked a relink that is in doubt since an earlier invocation.
    """
    by_this_run = deal is None and state.uncertain and state.message.op is Op.RELINK
    return not by_this_run and not state.message.guard_allows(deal.id if deal else None)


def _fail_changed_since(state: MessageState, deal: LinkedDeal | None) -> None:
    expected_ids = (state.message.from_deal_id or NO_DEAL).split(GUARD_SEPARATOR)
    expected = " or ".join(map(_deal_text, expected_ids))
    actual = _deal_text(deal.id if deal else NO_DEAL)
    text = f"It is on {actual}, but may be changed only while on {expected}."
    state.end(Status.FAILED, CHANGED_SINCE, text=text, current=deal)


def _deal_text(deal_id: str) -> str:
    return "no deal" if deal_id == NO_DEAL else f"deal {deal_id}"


def _fail_on_other_deal(state: MessageState, code: str, deal: LinkedDeal) -> None:
    text = f"It is on deal {deal.id}. {advice_for_code(Code.ALREADY_LINKED)}"
    state.end(Status.FAILED, code, verdict=state.refusal, text=text, current=deal)


def _on_unlink_read_back(state: MessageState, deal: LinkedDeal | None) -> None:
    if deal is not None and state.message.op is Op.RELINK and deal.id == state.message.deal_id:
        state.end(Status.DONE, SETTLED_BY_READ, current=deal)
    elif deal is not None and not state.message.guard_allows(deal.id):
        _fail_changed_since(state, deal)
    elif deal is not None and state.refusal:
        state.end(
            Status.FAILED, verdict=state.refusal, text=_refusal_text(state.refusal), current=deal
        )
    elif deal is not None:
        _resend_or_fail(state, NextStep.UNLINK, deal)
    elif state.message.op is Op.UNLINK:
        state.end(Status.DONE, SETTLED_BY_READ, current=None)
    else:
        _continue_relink(state)


def _on_link_read_back(state: MessageState, deal: LinkedDeal | None) -> None:
    if deal is not None and deal.id == state.message.deal_id:
        by_this_run = state.uncertain or state.unlinked
        status, code = (Status.DONE, SETTLED_BY_READ) if by_this_run else (Status.UNCHANGED, "")
        state.end(status, code, current=deal)
    elif state.unlinked and _is_same_deal(deal, state.previous_deal) and not state.unlink_repeated:
        # Its unlink was undone, or the run ended before it recorded that it was put back.
        state.unlink_repeated, state.unlinked, state.unlink_recorded = True, False, False
        state.start_phase(NextStep.UNLINK)
    elif deal is not None and not state.message.guard_allows(deal.id):
        _fail_changed_since(state, deal)
    elif deal is not None:
        _fail_on_other_deal(state, Code.ALREADY_LINKED, deal)
    elif state.await_consistency and state.refusal and state.refusal.code != Code.ALREADY_LINKED:
        _on_link_refused(state, state.refusal)
    else:
        _resend_or_fail(state, NextStep.LINK, None)


def _on_put_back_read_back(state: MessageState, deal: LinkedDeal | None) -> None:
    previous = state.previous_deal
    if deal is not None and deal.id == state.message.deal_id:
        state.end(Status.DONE, SETTLED_BY_READ, current=deal)
    elif deal is not None and _is_same_deal(deal, previous):
        _fail_after_put_back(state)
    elif deal is not None:
        _fail_put_back(state, f"It was put on deal {deal.id} in the meantime.", deal)
    elif state.sends < MAX_SENDS:
        state.next_step = NextStep.PUT_BACK
    else:
        _fail_put_back(
            state, "The link was refused, and putting the email back had no effect.", None
        )


_ON_READ_BACK: dict[NextStep, Callable[[MessageState, LinkedDeal | None], None]] = {
    NextStep.UNLINK: _on_unlink_read_back,
    NextStep.LINK: _on_link_read_back,
    NextStep.PUT_BACK: _on_put_back_read_back,
}


def _continue_relink(state: MessageState) -> None:
    """Continue a relink whose unlink is confirmed."""
    state.unlinked = True
    state.start_phase(NextStep.LINK)


def _resend_or_fail(state: MessageState, phase: NextStep, deal: LinkedDeal | None) -> None:
    """Retry a phase that a read shows was not applied, or end after too many attempts."""
    if not state.await_consistency:
        state.await_consistency = True  # same step: read again once a read can be trusted
        return
    if state.sends < MAX_SENDS:
        state.next_step = phase
        if phase is NextStep.UNLINK:
            state.uncertain = (
                False  # it is certainly not applied, even if the CRM refuses the retry
            )
        return
    text = (
        "It was sent several times, and no answer says what became of it; a read shows that it was"
        " not applied. What was answered is in answers.jsonl."
    )
    verdict = AnswerVerdict(NO_ANSWER, text, 0)
    if phase is NextStep.LINK:
        _on_link_refused(state, state.refusal or verdict)
    else:
        state.end(Status.FAILED, NO_ANSWER, text=verdict.text, current=deal)


def _on_link_refused(state: MessageState, verdict: AnswerVerdict) -> None:
    state.refusal = verdict
    if state.unlinked and isinstance(state.previous_deal, LinkedDeal):
        state.start_phase(NextStep.PUT_BACK)
    else:
        suffix = (
            " It is no longer on its previous deal, which is unknown." if state.unlinked else ""
        )
        state.end(Status.FAILED, verdict=verdict, text=_refusal_text(verdict) + suffix)


def _refusal_of_unknown_email(state: MessageState) -> AnswerVerdict | None:
    """Return the refusal of a link if it means that the email does not exist.

    After a lost answer, it proves nothing: the lost call may have linked the email.
    """
    if state.answer_lost:
        return None
    is_link = state.next_step is NextStep.READ_BACK and state.phase is NextStep.LINK
    refusal = state.refusal
    return refusal if is_link and refusal and refusal.code == Code.INVALID_DATA else None


def _fail_after_put_back(state: MessageState) -> None:
    verdict = state.refusal
    text = f"{_refusal_text(verdict)} It is back on its previous deal." if verdict else ""
    previous = state.previous_deal if isinstance(state.previous_deal, LinkedDeal) else None
    state.end(Status.FAILED, verdict=verdict, text=text, current=previous)


def _fail_put_back(
    state: MessageState, text: str, current: LinkedDeal | msgspec.UnsetType | None = msgspec.UNSET
) -> None:
    state.end(Status.FAILED, PUT_BACK_FAILED, verdict=state.refusal, text=text, current=current)


def _refusal_text(verdict: AnswerVerdict) -> str:
    message = verdict.text.rstrip(".") + "." if verdict.text else ""
    return " ".join(filter(None, (message, advice_for_code(verdict.code, verdict.text))))


def _refusal_code(verdict: AnswerVerdict | None) -> str:
    return verdict.shown_code if verdict else "unknown"


def _is_same_deal(
    deal: LinkedDeal | None, other_deal: LinkedDeal | msgspec.UnsetType | None
) -> bool:
    return deal is not None and isinstance(other_deal, LinkedDeal) and other_deal.id == deal.id
