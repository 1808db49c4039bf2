"""Retry decisions and back-off (pure)."""

from __future__ import annotations

from enum import Enum

import msgspec

from bulklink.zoho.error_policy import AnswerClass, classify_error, classify_outcome
from bulklink.zoho.http import Answer, NoResponse
from bulklink.zoho.link_response import AnswerVerdict

MAX_ATTEMPTS = 6
MAX_SECONDS = 120.0
"""Maximum attempts of one request, and most seconds they may take; 429s are not counted."""
MAX_BUSY_SECONDS = 600.0
"""Maximum seconds for which one request is retried after 429s."""
FIRST_CONTACT_SECONDS = 9.0
"""Seconds for which a run tries to reach a server that has never answered."""
_FIRST_DELAY = 0.5
_LONGEST_DELAY = 30.0


class RetryAction(Enum):
    """What to do after a response."""

    ACCEPT = "accept the response"
    RETRY = "retry after a delay"
    RENEW = "renew the token and retry"
    GIVE_UP = "give up without an answer"


class RetryDecision(msgspec.Struct, frozen=True):
    """What to do after a response.

    Args:
        action: action to take.
        delay: seconds before a retry.
    """

    action: RetryAction
    delay: float = 0.0


class AttemptHistory(msgspec.Struct, frozen=True):
    """Attempts of one request so far.

    Args:
        count: attempts including the current one, without those answered 429.
        elapsed: seconds since the first attempt, without waits for credits.
        token_renewed: whether the token was renewed for the request.
        repeatable: whether it may be retried even if it may have been applied.
        never_answered: whether the server has never answered in this run.
        only_once: whether it is accepted whatever its response, unless its token is renewed.
    """

    count: int
    elapsed: float
    token_renewed: bool = False
    repeatable: bool = True
    never_answered: bool = False
    only_once: bool = False


def back_off(attempts: int, jitter: float) -> float:
    """Return the seconds to wait after an attempt: exponential, capped, with full jitter.

    Args:
        attempts: attempts made, from 1.
        jitter: a random number from 0 to 1.
    """
    return jitter * min(_LONGEST_DELAY, _FIRST_DELAY * 2.0 ** min(attempts, 10))


def decide_retry(
    response: Answer | NoResponse, history: AttemptHistory, jitter: float
) -> RetryDecision:
    """Decide what to do after an attempt.

    Args:
        response: response to the attempt.
        history: attempts of the request so far.
        jitter: a random number from 0 to 1.
    """
    is_token_refused = (
        isinstance(response, Answer) and classify_outcome(response) is AnswerClass.TOKEN
    )
    if history.only_once and not is_token_refused:
        return RetryDecision(RetryAction.ACCEPT)
    if isinstance(response, NoResponse):
        may_retry = not response.cure and (not response.sent or history.repeatable)
        return (
            _retry_or_give_up(history, jitter) if may_retry else RetryDecision(RetryAction.GIVE_UP)
        )
    match classify_outcome(response):
        case AnswerClass.TOKEN:
            return RetryDecision(RetryAction.ACCEPT if history.token_renewed else RetryAction.RENEW)
        case AnswerClass.THROTTLED:
            return _after_busy(response, history)
        case AnswerClass.SERVER_ERROR:
            return (
                _retry_or_give_up(history, jitter)
                if history.repeatable
                else RetryDecision(RetryAction.GIVE_UP)
            )
        case _:
            return RetryDecision(RetryAction.ACCEPT)


def is_inconclusive(verdict: AnswerVerdict) -> bool:
    """Return whether a refusal says nothing about the request: a server error or throttling."""
    return classify_error(verdict.http_status, verdict.code) in (
        AnswerClass.SERVER_ERROR,
        AnswerClass.THROTTLED,
    )


def _retry_or_give_up(history: AttemptHistory, jitter: float) -> RetryDecision:
    delay = back_off(history.count, jitter)
    max_elapsed = FIRST_CONTACT_SECONDS if history.never_answered else MAX_SECONDS
    if history.count >= MAX_ATTEMPTS or history.elapsed + delay > max_elapsed:
        return RetryDecision(RetryAction.GIVE_UP)
    return RetryDecision(RetryAction.RETRY, delay)


def _after_busy(answer: Answer, history: AttemptHistory) -> RetryDecision:
    """Retry without a delay: the limiter decides when the next call starts, for all calls."""
    if history.elapsed + (answer.retry_after or 0.0) >= MAX_BUSY_SECONDS:
        return RetryDecision(RetryAction.GIVE_UP)
    return RetryDecision(RetryAction.RETRY)
