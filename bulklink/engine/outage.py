"""Outage detection: while no call is answered, all calls wait and one trial is sent at a time.

An outage is suspected after three consecutive calls of any kind without an answer. The trial looks
up the org: it changes nothing, and its answer distinguishes an outage from a single failing
endpoint, contact or request. HTTP 500 to 599 counts as no answer, since a gateway returns it when
the servers behind it are down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio
import msgspec

from bulklink.advice import Advice, Keyword
from bulklink.counts import count_of
from bulklink.engine.clock import Clock
from bulklink.engine.shutdown import StopController
from bulklink.engine.signal import Signal
from bulklink.errors import RunStoppedError, StoppedBy

SUSPECT_AFTER = 3
"""Consecutive calls without an answer after which all calls wait."""
_FIRST_PAUSE = 1.0
LONGEST_PAUSE = 30.0
"""Maximum seconds between two trials."""
_JITTER = 0.25
"""Random share of a pause, so that trials do not synchronize with an intermittent outage."""
DEFAULT_MAX_OUTAGE = 300.0
"""Seconds without an answer after which a run stops."""


class OutageState(msgspec.Struct, frozen=True):
    """State of the calls without an answer (pure).

    Args:
        streak: number of the current streak of calls without an answer.
        unanswered: calls in the streak.
        began_at: monotonic seconds of the first of these calls.
        trials: unanswered trials.
        trial_at: when the next trial may be sent; None while all calls may be sent.
    """

    streak: int = 0
    unanswered: int = 0
    began_at: float = 0.0
    trials: int = 0
    trial_at: float | None = None


def after_answer(state: OutageState) -> OutageState:
    """Return the state after an answer: all calls may be sent."""
    return OutageState(state.streak + 1)


def after_silence(state: OutageState, now: float, *, concerns_all: bool = False) -> OutageState:
    """Return the state after a call without an answer.

    Args:
        state: state before it.
        now: monotonic seconds.
        concerns_all: whether no other call can be sent until this one is answered.
    """
    unanswered = state.unanswered + 1
    trial_at = state.trial_at
    if trial_at is None and (concerns_all or unanswered >= SUSPECT_AFTER):
        trial_at = now + _FIRST_PAUSE
    return OutageState(
        state.streak,
        unanswered,
        state.began_at if state.unanswered else now,
        state.trials,
        trial_at,
    )


def after_failed_trial(
    state: OutageState, now: float, max_seconds: float, jitter: float
) -> OutageState | None:
    """Return the state after a trial without an answer; None if the outage has lasted too long.

    Args:
        state: state before it.
        now: monotonic seconds.
        max_seconds: longest outage, in seconds.
        jitter: a random number from 0 to 1.
    """
    ends_at = state.began_at + max_seconds
    if now >= ends_at:
        return None
    pause = min(LONGEST_PAUSE, _FIRST_PAUSE * 2.0 ** min(state.trials + 1, 10))
    pause *= 1.0 - _JITTER * jitter
    return msgspec.structs.replace(
        state, trials=state.trials + 1, trial_at=min(now + pause, ends_at)
    )


class Outage(msgspec.Struct, frozen=True):
    """An outage, as reported to the user.

    Args:
        reason: why there is no answer.
        until: when the run stops unless the outage ends before, in seconds since 1970.
    """

    reason: str
    until: float


class OutageGate:
    """Holds all calls back during an outage, and lets one trial at a time through.

    Nothing is held back before the first answer of a run: a server that never answered is not
    treated as an outage.

    Args:
        max_seconds: longest outage, in seconds; 0 holds nothing back.
        stop: stops the run; during an outage, not even a relink can be completed.
        clock: clocks of the run.
        on_change: called when an outage begins, and with None when it ends.

    Attributes:
        is_closed: whether calls are held back.
    """

    def __init__(
        self,
        max_seconds: float,
        stop: StopController,
        clock: Clock,
        on_change: Callable[[Outage | None], None] = lambda outage: None,
    ) -> None:
        self.is_closed = False
        self._max_seconds = max_seconds
        self._stop = stop
        self._clock = clock
        self._on_change = on_change
        self._state = OutageState()
        self._has_answered = False
        self._outages: set[int] = set()
        self._trial: anyio.CancelScope | None = None
        self._trial_completes_relink = False
        self._changed = Signal()
        stop.on_stop(self._on_stop)

    def record_answer(self) -> None:
        """Record that a call was answered."""
        self._has_answered = True
        if self._state.unanswered:
            was_outage = self.was_outage(self._state.streak)
            self._set_state(after_answer(self._state))
            if was_outage:
                self._stop.mark_reachable()
                self._on_change(None)

    def record_silence(self, *, concerns_all: bool = False) -> int:
        """Record that a call was not answered; return the number of its streak.

        Args:
            concerns_all: whether no other call can be sent until this one is answered.
        """
        if self._has_answered and self._max_seconds:
            now = self._clock.monotonic()
            self._set_state(after_silence(self._state, now, concerns_all=concerns_all))
        return self._state.streak

    def was_outage(self, streak: int) -> bool:
        """Return whether a streak was an outage: whether a trial during it also went unanswered."""
        return streak in self._outages

    async def wait_turn(self, *, completes_relink: bool) -> bool:
        """Wait until calls may be sent; return True if the caller must send a trial first.

        Args:
            completes_relink: whether the caller completes a relink.

        Raises:
            StoppedError: if the run was stopped.
        """
        while self.is_closed:
            self._stop.check(completes_relink=completes_relink)
            delay = (self._state.trial_at or 0.0) - self._clock.monotonic()
            if self._trial is None and delay <= 0:
                return True
            with anyio.move_on_after(delay if self._trial is None else LONGEST_PAUSE):
                await self._changed.wait()
        return False

    @contextmanager
    def trial(self, *, completes_relink: bool) -> Iterator[None]:
        """Run a trial, which is cancelled if the run stops.

        Args:
            completes_relink: whether the caller completes a relink.
        """
        self._trial_completes_relink = completes_relink
        try:
            with anyio.CancelScope() as self._trial:
                yield
        finally:
            self._trial = None
            self._changed.notify()

    def record_failed_trial(self, reason: str) -> None:
        """Record that a trial was not answered.

        Args:
            reason: why not, for the user.

        Raises:
            RunStoppedError: if the outage has lasted too long.
        """
        state, now = self._state, self._clock.monotonic()
        self._outages.add(state.streak)
        self._stop.mark_unreachable()
        next_state = after_failed_trial(state, now, self._max_seconds, self._clock.random())
        if next_state is None:
            raise RunStoppedError(
                StoppedBy.NO_ANSWER,
                f"There was no answer for {count_of(round(now - state.began_at), 'second')}:"
                f" {reason}.",
                advice=Advice(
                    "Resume the run once the CRM answers again: messages in flight are read back"
                    " first. {} sets how long a run waits.",
                    Keyword("outage"),
                ),
                reading=Advice(
                    "Run the same command again once the CRM answers again. {} sets how long it"
                    " waits.",
                    Keyword("outage"),
                ),
            )
        self._set_state(next_state)
        if not state.trials:
            seconds_left = state.began_at + self._max_seconds - now
            self._on_change(Outage(reason, self._clock.wall() + seconds_left))

    def _set_state(self, state: OutageState) -> None:
        self._state = state
        self.is_closed = state.trial_at is not None
        self._changed.notify()

    def _on_stop(self) -> None:
        if self._trial is not None and self._stop.forbids_start(
            completes_relink=self._trial_completes_relink
        ):
            self._trial.cancel()
        self._changed.notify()
