"""Diagnosis of a 429: concurrency or quota (pure).

Zoho uses the same answer for both. Wording and headers distinguish them if present. Otherwise a
call is sent alone: if it is refused with no other call in flight, concurrency cannot be the cause.
"""

from __future__ import annotations

import math
from enum import Enum, auto

import msgspec

from bulklink.zoho.http import Answer
from bulklink.zoho.throttling import ThrottleReason, throttle_reason

LONGEST_PENALTY = 3_600
"""Seconds of Retry-After beyond which only quota can be the cause."""
PLENTY = 100
"""Credits left from which quota cannot be the cause, whatever a call costs."""
MAX_PROBES = 3
DOUBT_SECONDS = 38.0
"""Seconds after which the next call sent alone settles a suspicion, not counting waits requested by
the server."""
_PAUSES = (1.0, 5.0, 20.0)
_QUIET_SECONDS = 5.0
"""Seconds without a call after which concurrency no longer explains a refusal."""
_MAX_FALSE_ALARMS = 3
"""False suspicions in a row after which one or two refusals raise none."""


class RefusalCause(Enum):
    """Why a call was refused, as far as known."""

    IN_FLIGHT = auto()
    SUSPECTED = auto()
    """Quota may be the cause: a call sent alone finds out."""
    CREDITS = auto()


class RefusalEvidence(msgspec.Struct, frozen=True):
    """Evidence available when a 429 arrives.

    Args:
        wording: cause according to its wording; None if that says nothing.
        reported_left: credits left according to its header.
        previously_left: credits left according to the last answer before.
        retry_after: seconds to wait, as requested by the server.
        required: credits of the call and of the calls that must follow it.
        alone: whether no other call was in flight.
        refusals: 429s since a call was last accepted, including this one.
        probes: number of these calls that were alone.
        max_in_flight: most calls in flight at once.
        since_last_refusal: seconds since the previous 429, without an accepted call between.
        overdue: whether the suspicion has lasted long enough.
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
    overdue: bool = False


class Diagnosis(msgspec.Struct, frozen=True):
    """Cause of a 429, and how long calls wait.

    Args:
        cause: cause of the 429.
        pause: fewest seconds before the next call is sent alone.
        longest_pause: most seconds before the next call, unless the server asks for more.
    """

    cause: RefusalCause
    pause: float
    longest_pause: float = math.inf


def diagnose_refusal(evidence: RefusalEvidence) -> RefusalCause:
    """Return why a call was refused.

    Without wording or a header, at most `max_in_flight` more calls are refused until the cause is
    known.
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
    decisive = (
        evidence.wording is ThrottleReason.CREDITS or evidence.overdue or probes_left(evidence) <= 0
    )
    return RefusalCause.CREDITS if evidence.alone and decisive else RefusalCause.SUSPECTED


def probes_left(evidence: RefusalEvidence) -> int:
    """Return how many more calls may be sent alone as probes."""
    budget = max(1, evidence.max_in_flight - (evidence.refusals - evidence.probes - 1))
    return min(MAX_PROBES, budget) - evidence.probes


def pause_before_probe(evidence: RefusalEvidence) -> float:
    """Return the seconds before the next probe; the last probe waits longest.

    By then, a server that penalizes early calls accepts it if concurrency was the cause.
    """
    if evidence.wording is ThrottleReason.CREDITS:
        return _PAUSES[0]
    return _PAUSES[-max(1, min(MAX_PROBES, probes_left(evidence)))]


class QuotaSuspicion:
    """Suspicion that the quota is exhausted, based on refusals since a call was last accepted.

    Args:
        max_in_flight: most calls in flight at once.
        first_refusal_decides: whether the first refusal is decisive because the quota was
            exhausted before.

    Attributes:
        in_flight: numbers of the calls in flight.
        suspected: whether the next call must be sent alone, as a probe.
        refused_429: total number of calls refused with 429.
    """

    def __init__(self, max_in_flight: int, *, first_refusal_decides: bool) -> None:
        self.in_flight: set[int] = set()
        self.suspected = self._first_refusal_decides = first_refusal_decides
        self.refused_429 = 0
        self._max_in_flight = max_in_flight
        self._probe_number = 0
        self._refusals = self._probes = 0
        self._last_before_refusal = 0
        self._last_refusal_at = 0.0
        self._settled_at = 0.0
        self._false_alarms = 0

    @property
    def may_start(self) -> bool:
        """Whether another call may start in addition to those in flight."""
        return not (self.suspected and self.in_flight)

    def reprobe(self) -> None:
        """Let the next call, sent alone, find out whether there are credits."""
        self.suspected = self._first_refusal_decides = True

    def on_start(self, number: int) -> None:
        """Record that a call started."""
        if self.suspected:
            self._probe_number = number
        self.in_flight.add(number)

    def on_accepted(self, number: int) -> None:
        """Record that a call was accepted, which counts if it started after a refusal."""
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
        now: float = 0.0,
    ) -> Diagnosis:
        """Record a 429, and diagnose it.

        Args:
            number: number of the call among those started.
            answer: the 429.
            required: credits of the call and of the calls that must follow it.
            previously_left: credits left according to an earlier answer.
            explained_by_concurrency: whether too many calls in flight explain it.
            now: monotonic seconds.
        """
        if not self._refusals:
            self._last_before_refusal = max((number, *self.in_flight))
            self._last_refusal_at, self._settled_at = now, now + DOUBT_SECONDS
        alone = number == self._probe_number
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
            since_last_refusal=now - self._last_refusal_at,
            overdue=now >= self._settled_at,
        )
        self._last_refusal_at = now
        self._settled_at += answer.retry_after or 0.0
        cause = diagnose_refusal(evidence)
        if cause is RefusalCause.IN_FLIGHT:
            return Diagnosis(cause, pause_before_probe(evidence))
        if cause is RefusalCause.SUSPECTED and alone and self._first_refusal_decides:
            cause = RefusalCause.CREDITS
        if cause is RefusalCause.SUSPECTED and self._tolerates(
            evidence, explained_by_concurrency=explained_by_concurrency
        ):
            cause = RefusalCause.IN_FLIGHT
        if cause is RefusalCause.CREDITS:
            self._false_alarms = 0
        self.suspected = self.suspected or cause is RefusalCause.SUSPECTED
        return self._limit_pause(cause, evidence, max(0.0, self._settled_at - now))

    @staticmethod
    def _limit_pause(cause: RefusalCause, evidence: RefusalEvidence, left: float) -> Diagnosis:
        """Return a diagnosis whose pause ends no later than the suspicion must be settled.

        Args:
            cause: cause of the refusal.
            evidence: evidence of the refusal.
            left: seconds until the suspicion must be settled.
        """
        pause = min(pause_before_probe(evidence), max(left, _PAUSES[0]))
        says_credits = evidence.wording is ThrottleReason.CREDITS
        return Diagnosis(cause, pause, pause if says_credits else max(left, pause))

    def _tolerates(self, evidence: RefusalEvidence, *, explained_by_concurrency: bool) -> bool:
        """Return whether an inconclusive refusal raises no suspicion yet.

        A suspicion leaves all slots but one empty. It is still raised once half of the calls that
        the diagnosis may waste are refused.
        """
        if (
            self.suspected
            or evidence.overdue
            or evidence.wording is ThrottleReason.CREDITS
            or 2 * self._refusals > self._max_in_flight
        ):
            return False
        return self._false_alarms >= _MAX_FALSE_ALARMS or (
            explained_by_concurrency and evidence.since_last_refusal < _QUIET_SECONDS
        )
