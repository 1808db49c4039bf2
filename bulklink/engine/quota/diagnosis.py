"""Diagnosis of an HTTP 429: too many calls in flight, or no credits left? Pure.

Zoho answers both alike. Words and headers tell the two apart where they tell anything; else one
call alone does: if it is refused with no other in flight, too many in flight cannot be why.
"""

from __future__ import annotations

from enum import Enum, auto

import msgspec

from bulklink.zoho.error_policy import Busy, said_busy
from bulklink.zoho.http import Answer

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


_PAUSE = 5.0
"""Seconds without a call after which too many in flight are no reason for a refusal any more."""
_UNFOUNDED = 3
"""Doubts in a row that came to nothing, after which a refusal or two raise none any more."""


class Doubt:
    """The refusals since a call last got through.

    Args:
        most_in_flight: calls in flight at most.
        decisive: whether the first refusal settles it, because credits were gone before.

    Attributes:
        flying: numbers of the calls in flight.
        suspected: whether the next call must find out alone.
        refused_429: answers 429 in all.
    """

    def __init__(self, most_in_flight: int, *, decisive: bool) -> None:
        self.flying: set[int] = set()
        self.suspected = self._decisive = decisive
        self.refused_429 = 0
        self._most = most_in_flight
        self._probe = 0
        self._refused = self._probes = 0
        self._last_before = 0
        self._unfounded = 0

    @property
    def may_leave(self) -> bool:
        """Whether a call may leave beside those in flight."""
        return not (self.suspected and self.flying)

    def ask_again(self) -> None:
        """Have the next call find out by itself whether there are credits again."""
        self.suspected = self._decisive = True

    def left(self, number: int) -> None:
        """Note that a call left."""
        if self.suspected:
            self._probe = number
        self.flying.add(number)

    def passed(self, number: int) -> None:
        """Note that a call was not refused, which says something if it left after a refusal."""
        if number > self._last_before:
            self._unfounded += self.suspected and not self._decisive
            self.suspected = self._decisive = False
            self._refused = self._probes = 0

    def refused(
        self,
        number: int,
        answer: Answer,
        *,
        need: int,
        known: int | None,
        explained: bool = False,
        waited: float = 0.0,
    ) -> tuple[Cause, float]:
        """Note a 429 and return its cause, and seconds before the next call alone.

        Args:
            number: of the call among those that left.
            answer: the 429.
            need: credits that the call and what must follow it take.
            known: credits that were left by an earlier answer.
            explained: whether too many calls in flight is reason enough for it.
            waited: seconds since the refusal before; after a call that passed it says nothing.
        """
        if not self._refused:
            self._last_before = max((number, *self.flying))
            waited = 0.0
        # One that had its place before the doubt arose was alone too, if none is beside it.
        alone = number == self._probe or (waited >= LONG_PAUSE and not self.flying)
        self.refused_429 += 1
        self._refused += 1
        self._probes += alone
        sign = Sign(
            said=said_busy(answer),
            left=answer.credits_left,
            known=known,
            retry_after=answer.retry_after,
            need=need,
            alone=alone,
            refused=self._refused,
            probes=self._probes,
            most=self._most,
            waited=waited,
        )
        cause = cause_of(sign)
        if cause is Cause.SUSPECTED and alone and self._decisive:
            cause = Cause.CREDITS
        if cause is Cause.SUSPECTED and self._waits_and_sees(sign, explained=explained):
            cause = Cause.IN_FLIGHT
        if cause is Cause.CREDITS:
            self._unfounded = 0
        self.suspected = self.suspected or cause is Cause.SUSPECTED
        return cause, pause_before_probe(sign)

    def _waits_and_sees(self, sign: Sign, *, explained: bool) -> bool:
        """Tell whether a refusal that says nothing raises no doubt yet.

        A doubt leaves all places but one empty. It comes all the same once the calls that may be
        wasted in finding out are half spent.
        """
        if self.suspected or sign.said is Busy.CREDITS or 2 * self._refused > self._most:
            return False
        return self._unfounded >= _UNFOUNDED or (explained and sign.waited < _PAUSE)
