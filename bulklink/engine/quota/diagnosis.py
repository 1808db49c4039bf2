"""Diagnosis of an HTTP 429: too many calls in flight, or no credits left? Pure.

Zoho answers both alike. Words and headers tell the two apart where they tell anything; else one
call alone does: if it is refused with no other in flight, too many in flight cannot be why.
"""

from __future__ import annotations

from enum import Enum, auto

import msgspec

from bulklink.zoho.error_policy import ThrottleReason, throttle_reason
from bulklink.zoho.http import Answer

LONGEST_PENALTY = 3_600
"""Seconds of Retry-After beyond which only credits are waited for."""
PLENTY = 100
"""Credits left at which a refusal cannot be for want of them, whatever a call costs."""
MAX_PROBES = 3
LONG_PAUSE = 30.0
"""Seconds without a call after which one alone that is refused without a word decides it."""
_PAUSES = (1.0, 5.0, 20.0)


class RefusalCause(Enum):
    """Why a call was refused, as far as it can be told."""

    IN_FLIGHT = auto()
    SUSPECTED = auto()
    """It may be for want of credits: one call alone finds out."""
    CREDITS = auto()


class RefusalEvidence(msgspec.Struct, frozen=True):
    """What is known as a 429 comes in.

    `wording` is what its words say; `on_start` the credits that its header tells, `previously_left`
    those that the last answer before left; `retry_after` in seconds. `required` is what the call
    and what must follow it cost. `alone` tells that no other call was in flight; `on_refused`
    counts the 429s since a call last got through, this one included; `probes` the calls that were
    alone among them. `max_in_flight` is how many calls may be in flight at most,
    `since_last_refusal` seconds since the 429 before, in which none was answered.
    """

    wording: ThrottleReason | None = None
    reported_left: int | None = None
    previously_left: int | None = None
    retry_after: float | None = None
    required: int = 1
    alone: bool = False
    refusals: int = 1
    probes: int = 0
    max_in_flight: int = 10
    since_last_refusal: float = 0.0


def diagnose_refusal(evidence: RefusalEvidence) -> RefusalCause:
    """Return why a call was refused.

    Without words or a header, at most `max_in_flight` calls more are refused until it is known.
    """
    credits_left = (
        evidence.reported_left if evidence.reported_left is not None else evidence.previously_left
    )
    if evidence.reported_left is not None and evidence.reported_left < evidence.required:
        return RefusalCause.CREDITS
    if credits_left is not None and credits_left >= PLENTY:
        return RefusalCause.IN_FLIGHT
    if evidence.retry_after is not None and evidence.retry_after > LONGEST_PENALTY:
        return RefusalCause.CREDITS
    if evidence.wording is ThrottleReason.IN_FLIGHT:
        return RefusalCause.IN_FLIGHT
    quiet_long_enough = evidence.since_last_refusal >= LONG_PAUSE
    decisive = (
        evidence.wording is ThrottleReason.CREDITS
        or quiet_long_enough
        or probes_left(evidence) <= 0
    )
    return RefusalCause.CREDITS if evidence.alone and decisive else RefusalCause.SUSPECTED


def probes_left(evidence: RefusalEvidence) -> int:
    """Return how many calls alone may still find out."""
    budget = max(1, evidence.max_in_flight - (evidence.refusals - evidence.probes - 1))
    return min(MAX_PROBES, budget) - evidence.probes


def pause_before_probe(evidence: RefusalEvidence) -> float:
    """Return seconds before the next call alone; the last one waits longest.

    A server that punishes those who come early lets it through then, if it is only that.
    """
    if evidence.wording is ThrottleReason.CREDITS:
        return _PAUSES[0]
    return _PAUSES[-max(1, min(MAX_PROBES, probes_left(evidence)))]


_QUIET_SECONDS = 5.0
"""Seconds without a call after which too many in flight are no reason for a refusal any more."""
_MAX_FALSE_ALARMS = 3
"""Doubts in a row that came to nothing, after which a refusal or two raise none any more."""


class QuotaSuspicion:
    """The refusals since a call last got through.

    Args:
        most_in_flight: calls in flight at most.
        decisive: whether the first refusal settles it, because credits were gone before.

    Attributes:
        in_flight: numbers of the calls in flight.
        suspected: whether the next call must find out alone.
        refused_429: answers 429 in all.
    """

    def __init__(self, max_in_flight: int, *, first_refusal_decides: bool) -> None:
        self.in_flight: set[int] = set()
        self.suspected = self._first_refusal_decides = first_refusal_decides
        self.refused_429 = 0
        self._max_in_flight = max_in_flight
        self._probe_number = 0
        self._refusals = self._probes = 0
        self._last_before_refusal = 0
        self._false_alarms = 0

    @property
    def may_start(self) -> bool:
        """Whether a call may leave beside those in flight."""
        return not (self.suspected and self.in_flight)

    def reprobe(self) -> None:
        """Have the next call find out by itself whether there are credits again."""
        self.suspected = self._first_refusal_decides = True

    def on_start(self, number: int) -> None:
        """Note that a call left."""
        if self.suspected:
            self._probe_number = number
        self.in_flight.add(number)

    def on_accepted(self, number: int) -> None:
        """Note that a call was not refused, which says something if it left after a refusal."""
        if number > self._last_before_refusal:
            self._false_alarms += self.suspected and not self._first_refusal_decides
            self.suspected = self._first_refusal_decides = False
            self._refusals = self._probes = 0

    def on_refused(
        self,
        number: int,
        answer: Answer,
        *,
        required: int,
        previously_left: int | None,
        explained_by_concurrency: bool = False,
        since_last_refusal: float = 0.0,
    ) -> tuple[RefusalCause, float]:
        """Note a 429 and return its cause, and seconds before the next call alone.

        Args:
            number: of the call among those that left.
            answer: the 429.
            required: credits that the call and what must follow it take.
            previously_left: credits that were left by an earlier answer.
            explained_by_concurrency: whether too many calls in flight is reason enough for it.
            since_last_refusal: seconds since the refusal before; after a call that passed it says
                nothing.
        """
        if not self._refusals:
            self._last_before_refusal = max((number, *self.in_flight))
            since_last_refusal = 0.0
        # One that had its place before the doubt arose was alone too, if none is beside it.
        alone = number == self._probe_number or (
            since_last_refusal >= LONG_PAUSE and not self.in_flight
        )
        self.refused_429 += 1
        self._refusals += 1
        self._probes += alone
        evidence = RefusalEvidence(
            wording=throttle_reason(answer),
            reported_left=answer.credits_left,
            previously_left=previously_left,
            retry_after=answer.retry_after,
            required=required,
            alone=alone,
            refusals=self._refusals,
            probes=self._probes,
            max_in_flight=self._max_in_flight,
            since_last_refusal=since_last_refusal,
        )
        cause = diagnose_refusal(evidence)
        if cause is RefusalCause.SUSPECTED and alone and self._first_refusal_decides:
            cause = RefusalCause.CREDITS
        if cause is RefusalCause.SUSPECTED and self._tolerates(
            evidence, explained_by_concurrency=explained_by_concurrency
        ):
            cause = RefusalCause.IN_FLIGHT
        if cause is RefusalCause.CREDITS:
            self._false_alarms = 0
        self.suspected = self.suspected or cause is RefusalCause.SUSPECTED
        return cause, pause_before_probe(evidence)

    def _tolerates(self, evidence: RefusalEvidence, *, explained_by_concurrency: bool) -> bool:
        """Tell whether a refusal that says nothing raises no doubt yet.

        A doubt leaves all places but one empty. It comes all the same once the calls that may be
        wasted in finding out are half spent.
        """
        if (
            self.suspected
            or evidence.wording is ThrottleReason.CREDITS
            or 2 * self._refusals > self._max_in_flight
        ):
            return False
        return self._false_alarms >= _MAX_FALSE_ALARMS or (
            explained_by_concurrency and evidence.since_last_refusal < _QUIET_SECONDS
        )
