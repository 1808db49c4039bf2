"""Whether and when a request is sent again: pure decisions, no clock and no sleeping here."""

from __future__ import annotations

from enum import Enum

import msgspec

from bulklink.zoho.error_policy import AnswerClass, class_of
from bulklink.zoho.http import Answer, Silence
from bulklink.zoho.link_response import refusal_of

MOST_TRIES = 6
MOST_SECONDS = 120.0
"""Tries of one request, and the time they may take, answers 429 apart."""
MOST_BUSY_SECONDS = 600.0
"""How long one request may wait for answers other than 429."""
FIRST_CONTACT_SECONDS = 9.0
"""How long a run looks for a server that has never answered; one last try may follow."""
_FIRST_DELAY = 0.5
_LONGEST_DELAY = 30.0


class Next(Enum):
    """What follows an outcome."""

    TAKE = "take it"
    AGAIN = "send again after a delay"
    RENEW = "renew the token and send again"
    GIVE_UP = "it stays without an answer"


class Decision(msgspec.Struct, frozen=True):
    """What follows an outcome, and after how many seconds."""

    next: Next
    delay: float = 0.0


class Tries(msgspec.Struct, frozen=True):
    """What is known of a request so far.

    `made` counts its tries, answers 429 apart, the present one included; `seconds` is the time
    since the first. `renewed` tells that the token was renewed for it,
    `repeatable` that it may be sent again though it may have been applied, `first_contact` that
    the server has never answered.
    """

    made: int
    seconds: float
    renewed: bool = False
    repeatable: bool = True
    first_contact: bool = False


def back_off(tries: int, chance: float) -> float:
    """Return seconds to wait after a number of tries: exponential, capped, with full jitter.

    Args:
        tries: how many were made, from 1.
        chance: a random number from 0 to 1.
    """
    return chance * min(_LONGEST_DELAY, _FIRST_DELAY * 2.0 ** min(tries, 10))


def decide(outcome: Answer | Silence, tries: Tries, chance: float) -> Decision:
    """Return what follows the outcome of a try.

    Args:
        outcome: the answer, or that none came.
        tries: what is known of the request so far.
        chance: a random number from 0 to 1, for the jitter.
    """
    if isinstance(outcome, Silence):
        again = not outcome.sent or tries.repeatable
        return _again(tries, chance) if again else Decision(Next.GIVE_UP)
    if outcome.ok:
        return Decision(Next.TAKE)
    match class_of(outcome.status, refusal_of(outcome).code):
        case AnswerClass.TOKEN:
            return Decision(Next.TAKE if tries.renewed else Next.RENEW)
        case AnswerClass.BUSY:
            return _after_busy(outcome, tries)
        case AnswerClass.AGAIN:
            return _again(tries, chance) if tries.repeatable else Decision(Next.GIVE_UP)
        case _:
            return Decision(Next.TAKE)


def _again(tries: Tries, chance: float) -> Decision:
    delay = back_off(tries.made, chance)
    longest = FIRST_CONTACT_SECONDS if tries.first_contact else MOST_SECONDS
    if tries.made >= MOST_TRIES or tries.seconds + delay > longest:
        return Decision(Next.GIVE_UP)
    return Decision(Next.AGAIN, delay)


def _after_busy(answer: Answer, tries: Tries) -> Decision:
    """Queue again, at once: the pacer decides when the next call may leave, for all of them."""
    if tries.seconds + (answer.retry_after or 0.0) >= MOST_BUSY_SECONDS:
        return Decision(Next.GIVE_UP)
    return Decision(Next.AGAIN)
