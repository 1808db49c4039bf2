"""Outcome of a call, and whether the CRM answered it."""

from __future__ import annotations

import msgspec

from bulklink.errors import RunStoppedError, StoppedBy
from bulklink.zoho.error_policy import AnswerClass, classify_outcome
from bulklink.zoho.http import Answer, CallKind, NoResponse


class CallOutcome(msgspec.Struct, frozen=True):
    """A finished call.

    Args:
        call: number of its last attempt in the ledger.
        attempts: attempts made.
        kind: kind of the call.
        response: response to the last attempt.
        answer_lost: whether an attempt before the last may have been applied without an answer.
        success_text: Zoho's text if the last answer is a success for each message, in order, and
            nothing else; else None.
        sent_at: monotonic seconds at which the last attempt was sent.
        ended_at: monotonic seconds at which it was answered, or given up.
    """

    call: int
    attempts: int
    kind: CallKind
    response: Answer | NoResponse
    answer_lost: bool
    success_text: str | None = None
    sent_at: float = 0.0
    ended_at: float = 0.0


def maybe_applied(response: Answer | NoResponse, answer_class: AnswerClass | None) -> bool:
    """Return whether a call may have been applied although no answer confirms it.

    Args:
        response: response to the call.
        answer_class: its class, as `classify_outcome` returns it.
    """
    if isinstance(response, NoResponse):
        return response.sent
    contradicts_itself = response.ok and answer_class is not None
    return contradicts_itself or answer_class is AnswerClass.SERVER_ERROR


def is_answered(response: Answer | NoResponse, answer_class: AnswerClass | None) -> bool:
    """Return whether the CRM itself answered, rather than a gateway or nothing.

    Args:
        response: response to the call.
        answer_class: its class, as `classify_outcome` returns it.
    """
    if isinstance(response, NoResponse):
        return bool(response.cure)  # not an outage: it stops the run
    return response.ok or answer_class is not AnswerClass.SERVER_ERROR


def no_answer_reason(response: Answer | NoResponse) -> str:
    """Return why a call has no answer."""
    if isinstance(response, NoResponse):
        return response.reason
    if classify_outcome(response) is AnswerClass.THROTTLED:
        return "the server reports too many requests"
    return f"the server fails with HTTP {response.status}"


def no_answer_error(response: Answer | NoResponse, in_a_row: int) -> RunStoppedError:
    """Return the stop reason of a run whose calls are not answered.

    Args:
        response: response to the last call.
        in_a_row: consecutive calls without an answer.
    """
    reason = no_answer_reason(response)
    cure = response.cure if isinstance(response, NoResponse) else ""
    return RunStoppedError(
        StoppedBy.NO_ANSWER,
        f"The CRM does not answer: {reason} ({in_a_row} in a row, each tried several times)."
        if in_a_row > 1
        else f"The CRM does not answer: {reason}.",
        advice=cure or "Check the address, the data centre and the network.",
    )
