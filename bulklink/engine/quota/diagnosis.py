"""Diagnosis of a 429: concurrency or quota? Pure.

Zoho answers both alike. Wording and headers tell them apart if they say anything; otherwise one
call alone does: if it is refused with no other in flight, concurrency cannot be the cause.
"""

from __future__ import annotations

from enum import Enum, auto

import msgspec

from bulklink.zoho.error_policy import ThrottleReason, throttle_reason
from bulklink.zoho.http import Answer

LONGEST_PENALTY = 3_600
"""Seconds of Retry-After beyond which only quota can be the cause."""
PLENTY = 100
"""Credits left at which quota cannot be the cause, whatever a call costs."""
MAX_PROBES = 3
LONG_PAUSE = 30.0
"""Seconds without a call after which the refusal of one call alone is decisive."""
_PAUSES = (1.0, 5.0, 20.0)
_QUIET_SECONDS = 5.0
"""Seconds without a call after which concurrency no longer explains a refusal."""
_MAX_FALSE_ALARMS = 3
"""False suspicions in a row after which one or two refusals raise none."""


class RefusalCause(Enum):
    """Why a call was refused, as far as is known."""

    IN_FLIGHT = auto()
    SUSPECTED = auto()
    """It may be the quota: one call alone finds out."""
    CREDITS = auto()


class RefusalEvidence(msgspec.Struct, frozen=True):
    """What is known when a 429 arrives.

    Args:
        wording: the cause by its wording, None if that says nothing.
        reported_left: credits left by its header.
        previously_left: credits left by the last answer before.
        retry_after: seconds the server asks for.
        required: credits of the call and of what must follow it.
        alone: whether no other call was in flight.
        refusals: 429s since a call was last accepted, this one included.
        probes: of these, calls that were alone.
        max_in_flight: calls in flight at once, at most.
        since_last_refusal: seconds since the 429 before, without an answer between.
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

    Without wording or a header, at most `max_in_flight` more calls are refused until it is known.
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
    """Return how many calls may still probe alone."""
    budget = max(1, evidence.max_in_flight - (evidence.refusals - evidence.probes - 1))
    return min(MAX_PROBES, budget) - evidence.probes


def pause_before_probe(evidence: RefusalEvidence) -> float:
    """Return the seconds before the next call alone; the last one waits longest.

    By then a server that penalizes early calls accepts it, if that was the cause.
    """
    if evidence.wording is ThrottleReason.CREDITS:
        return _PAUSES[0]
    return _PAUSES[-max(1, min(MAX_PROBES, probes_left(evidence)))]


class QuotaSuspicion:
    """Suspicion that the quota is exhausted, by the refusals since a call was last accepted.

    Args:
        max_in_flight: calls in flight at once, at most.
        first_refusal_decides: whether the first refusal is decisive, because the quota was
            exhausted before.

    Attributes:
        in_flight: numbers of the calls in flight.
        suspected: whether the next call must find out alone.
        refused_429: calls refused with 429 in all.
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
        """Whether a call may start beside those in flight."""
        return not (self.suspected and self.in_flight)

    def reprobe(self) -> None:
        """Let the next call find out alone whether there are credits."""
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
        since_last_refusal: float = 0.0,
    ) -> tuple[RefusalCause, float]:
        """Record a 429; return its cause, and the seconds before the next call alone.

        Args:
            number: of the call among those started.
            answer: the 429.
            required: credits of the call and of what must follow it.
            previously_left: credits left by an earlier answer.
            explained_by_concurrency: whether too many calls in flight explain it.
            since_last_refusal: seconds since the refusal before; ignored after an accepted call.
        """
        if not self._refusals:
            self._last_before_refusal = max((number, *self.in_flight))
            since_last_refusal = 0.0
        # A call with a slot from before the suspicion was alone too, if no other is in flight.
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
        """Return whether a refusal that says nothing raises no suspicion yet.

        A suspicion leaves all slots but one empty. It is raised all the same once half of the
        calls that may be wasted in finding out are refused.
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
