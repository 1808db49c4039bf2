"""What a 429 stands for: too many calls in flight (moments) or credits gone (hours). Pure.

Zoho answers both alike. Words and headers tell the two apart where they tell anything; else one
call alone does: if it is refused with no other in flight, too many in flight cannot be why.
"""

from __future__ import annotations

from enum import Enum, auto

import msgspec

from bulklink.zoho.error_policy import Busy

LONGEST_PENALTY = 3_600
"""Seconds of Retry-After beyond which only credits are waited for."""
PLENTY = 100
"""Credits left at which a refusal cannot be for want of them, whatever a call costs."""
PROBES = 3
LONG_PAUSE = 30.0
"""Seconds without a call after which one alone that is refused without a word decides it."""
_PAUSES = (1.0, 5.0, 20.0)


class Cause(Enum):
    """Why a call was refused, as far as it can be told."""

    IN_FLIGHT = auto()
    SUSPECTED = auto()
    """It may be for want of credits: one call alone finds out."""
    CREDITS = auto()


class Sign(msgspec.Struct, frozen=True):
    """What is known as a 429 comes in.

    `said` is what its words say; `left` the credits that its header tells, `known` those that the
    last answer before left; `retry_after` in seconds. `need` is what the call and what must follow
    it cost. `alone` tells that no other call was in flight; `refused` counts the 429s since a
    call last got through, this one included; `probes` the calls that were alone among them.
    `most` is how many calls may be in flight at most, `waited` seconds since the 429 before,
    in which none was answered.
    """

    said: Busy | None = None
    left: int | None = None
    known: int | None = None
    retry_after: float | None = None
    need: int = 1
    alone: bool = False
    refused: int = 1
    probes: int = 0
    most: int = 10
    waited: float = 0.0


def cause_of(sign: Sign) -> Cause:
    """Return why a call was refused.

    Without words or a header, at most `most` calls more are refused until it is known.
    """
    left = sign.left if sign.left is not None else sign.known
    if sign.left is not None and sign.left < sign.need:
        return Cause.CREDITS
    if left is not None and left >= PLENTY:
        return Cause.IN_FLIGHT
    if sign.retry_after is not None and sign.retry_after > LONGEST_PENALTY:
        return Cause.CREDITS
    if sign.said is Busy.IN_FLIGHT:
        return Cause.IN_FLIGHT
    outlasted = sign.waited >= LONG_PAUSE
    decided = sign.said is Busy.CREDITS or outlasted or probes_left(sign) <= 0
    return Cause.CREDITS if sign.alone and decided else Cause.SUSPECTED


def probes_left(sign: Sign) -> int:
    """Return how many calls alone may still find out."""
    budget = max(1, sign.most - (sign.refused - sign.probes - 1))
    return min(PROBES, budget) - sign.probes


def pause_before_probe(sign: Sign) -> float:
    """Return seconds before the next call alone; the last one waits longest.

    A server that punishes those who come early lets it through then, if it is only that.
    """
    if sign.said is Busy.CREDITS:
        return _PAUSES[0]
    return _PAUSES[-max(1, min(PROBES, probes_left(sign)))]
