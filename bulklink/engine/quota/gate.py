"""Quota gate: grants the credits of every call, or waits for them, or stops the run."""

from __future__ import annotations

import math
from collections.abc import Callable

import anyio
import msgspec

from bulklink.engine.quota.budget import (
    Budget,
    CreditLimits,
    Reservation,
    Shortage,
    credits_exhausted_error,
    credits_spent_error,
)
from bulklink.engine.quota.credit_wait import CLOCK_CHECK_SECONDS, QuotaWait
from bulklink.engine.quota.daily_allowance import DailyAllowance
from bulklink.engine.quota.daily_usage import DailyUsage
from bulklink.engine.quota.diagnosis import QuotaSuspicion, RefusalCause
from bulklink.engine.shutdown import StopController
from bulklink.engine.signal import Signal
from bulklink.errors import StoppedError
from bulklink.zoho.http import Answer, NoResponse

RECHECK_SECONDS = 3_600.0
"""Seconds between probes for credits if it is unknown when some are available."""
_STEPS_OF_OTHERS = 20
"""Steps after which a call that does not check the clocks ensures that another does."""
_WAIT_FRACTION = 10
"""A wait ends when this fraction (1/n) of the daily limit is available."""
RELINK_RESERVE = 2
"""Credits reserved with the unlink of a relink: one for its link, one for putting it back."""


class QuotaPolicy(msgspec.Struct, frozen=True):
    """How a run treats its quota.

    Args:
        limits: limits of the invocation.
        wait_for_credits: whether the run waits for credits; otherwise it stops.
        max_in_flight: maximum calls in flight at once.
        exhausted_before: whether the run stopped for lack of credits before; if so, its first call
            is sent alone to check whether there are credits.
    """

    limits: CreditLimits = CreditLimits()
    wait_for_credits: bool = False
    max_in_flight: int = 10
    exhausted_before: bool = False


class Credit(msgspec.Struct):
    """The credits of one request.

    Args:
        required: credits of the request and of the calls that must follow it.
        completes_relink: whether it completes a relink.
        cost: credits of the request itself.
        number: number of the request among those started; None until it starts.
        cause: why it was refused; None if it was not.
        longest_pause: maximum seconds before the next call, if it was refused.
    """

    required: int
    completes_relink: bool
    cost: int = 1
    number: int | None = None
    cause: RefusalCause | None = None
    longest_pause: float = math.inf


class QuotaShortageError(StoppedError):
    """Raised when a contact with half-done relinks would have to wait for credits."""


class QuotaGate:
    """Grants the credits of every call, or waits for them, or stops the run.

    Args:
        policy: how the run treats its quota.
        stop: stopped when credits are exhausted and the run does not wait.
        wall: returns seconds since 1970.
        monotonic: returns monotonic seconds.
        on_wait_change: called with the end of a wait in seconds since 1970, and with None after it.
        calls_left: returns how many calls the run may still need; None if unknown.

    Attributes:
        budget: credits spent and left.
        allowance: this invocation's allowance of the daily quota.
    """

    def __init__(
        self,
        policy: QuotaPolicy,
        stop: StopController,
        *,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
        on_wait_change: Callable[[float | None], None] = lambda until: None,
        calls_left: Callable[[], int] | None = None,
    ) -> None:
        self.budget = Budget(policy.limits)
        self._policy = policy
        self._stop = stop
        self._wall = wall
        self._monotonic = monotonic
        self._calls_left = calls_left
        self.allowance = DailyAllowance(self.budget, wall)
        self._suspicion = QuotaSuspicion(
            policy.max_in_flight, first_refusal_decides=policy.exhausted_before
        )
        self._quota_wait = QuotaWait(wall, monotonic, on_wait_change)
        self._probe_at = 0.0
        self._refused_wait = 0.0  # the last one after which no call was accepted
        self._clock_watched = False
        self._changed = Signal()
        self._on_wait: list[Callable[[], None]] = []
        stop.on_stop(self._changed.notify)

    @property
    def waited(self) -> float:
        """Seconds spent waiting for credits, in finished waits."""
        return self._quota_wait.waited

    @property
    def waited_so_far(self) -> float:
        """Seconds spent waiting for credits, including the current wait."""
        return self._quota_wait.waited_so_far

    @property
    def is_waiting(self) -> bool:
        """Whether the run waits for credits."""
        return self._quota_wait.is_active

    @property
    def refused_429(self) -> int:
        """Calls refused with 429."""
        return self._suspicion.refused_429

    async def open(self, usage: DailyUsage, limits: CreditLimits) -> None:
        """Start counting in the 24-hour usage, before the first call.

        Args:
            usage: usage of the connection in 24 hours.
            limits: limits of the invocation, as far as known without the org.
        """
        self.budget.limits = limits
        await self.allowance.open(usage)

    async def use_org(self, org: str, limits: CreditLimits) -> None:
        """Count in the 24-hour usage of the org, once it is known.

        Args:
            org: key of the org in the usage.
            limits: limits of the invocation.
        """
        self.budget.limits = limits
        await self.allowance.use_org(org)

    async def close(self) -> None:
        """Return unspent credits to the daily quota."""
        self.budget.release_all()
        await self.allowance.close()

    async def take_credit(
        self,
        *,
        reservation: Reservation | None = None,
        reserve: int = 0,
        completes_relink: bool = False,
        cost: int = 1,
    ) -> Credit:
        """Take the credits of a call before its line is written; wait for them or stop the run.

        `end_call` must follow, whatever happens.

        Args:
            reservation: reservation of the contact that the call concerns.
            reserve: credits for calls that must follow, added to `reservation`.
            completes_relink: whether it completes a relink, to which none of our limits apply.
            cost: credits of the call; one if it completes a relink.

        Raises:
            StoppedError: if the run was stopped.
            QuotaShortageError: if it would wait while `reservation` has relinks to complete.
        """
        required = cost + reserve
        while not completes_relink:
            await self.allowance.ensure_granted(required)
            self._stop.check()
            shortage = self.budget.shortage(required, daily_limited=self.allowance.has_limit)
            if shortage is None and not self._stop.quota_exhausted:
                self.budget.take(reservation, reserve, cost)
                return Credit(required, completes_relink, cost)
            if reservation is not None and reservation.is_pending:
                raise QuotaShortageError
            await self._wait_or_stop(shortage, required)
        self._stop.check(completes_relink=True)
        self.budget.take_to_complete_relink(reservation)
        return Credit(required, completes_relink)

    def end_call(self, credit: Credit) -> None:
        """Record that a call has ended, or return its credits if it was not sent."""
        if credit.number is None:
            self.budget.return_unsent(credit.cost)
        else:
            self._suspicion.in_flight.discard(credit.number)
        self._changed.notify()

    async def wait_to_start(self, credit: Credit) -> None:
        """Wait until the CRM may accept the call of this credit.

        Raises:
            StoppedError: if the run was stopped.
        """
        while True:
            await self.allowance.ensure_granted(0)
            self._stop.check(completes_relink=credit.completes_relink)
            if self.may_start():
                return
            if self._stop.quota_exhausted:
                await self._wait_step()
            elif not self._suspicion.may_start:
                await self._wait_for_change(CLOCK_CHECK_SECONDS)
            else:
                await self._wait_for_change(self._probe_at - self._monotonic())

    def may_start(self) -> bool:
        """Return whether a call may start now; under suspicion, only one alone and after a pause.

        No call may start while credits count in an earlier minute: `wait_to_start` renews them.
        """
        if self._stop.quota_exhausted or not self._suspicion.may_start:
            return False
        if not self.allowance.is_current:
            return False
        return not self._suspicion.suspected or self._monotonic() >= self._probe_at

    def start(self, credit: Credit) -> None:
        """Spend the credits of a call, which must be sent immediately."""
        credit.number = self.budget.start_call(credit.cost)
        self._suspicion.on_start(credit.number)

    async def on_response(
        self,
        credit: Credit,
        response: Answer | NoResponse,
        *,
        busy: bool,
        explained_by_concurrency: bool = False,
    ) -> None:
        """Record the response to a call, and set the credit's cause and pause if it is a 429.

        Args:
            credit: credit of the call.
            response: response to the call.
            busy: whether it is a 429.
            explained_by_concurrency: whether too many calls in flight explain a 429.
        """
        number, previously_left = credit.number or 0, self.budget.org_left
        self._suspicion.in_flight.discard(number)
        if isinstance(response, Answer):
            self.budget.on_reported_left(number, response.credits_left)
            if response.credit_window is not None:
                self.allowance.set_window(response.credit_window)
            if not busy:
                self._refused_wait = 0.0
                self._suspicion.on_accepted(number)
            else:
                now = self._monotonic()
                diagnosis = self._suspicion.on_refused(
                    number,
                    response,
                    required=credit.required,
                    previously_left=previously_left,
                    explained_by_concurrency=explained_by_concurrency,
                    now=now,
                )
                credit.cause, credit.longest_pause = diagnosis.cause, diagnosis.longest_pause
                self._probe_at = now + max(diagnosis.pause, (response.retry_after or 0.0) + 1.0)
                if diagnosis.cause is RefusalCause.CREDITS:
                    await self._on_exhausted(credit.cost, response.retry_after)
        self._changed.notify()

    def on_wait(self, action: Callable[[], None]) -> None:
        """Call `action` when the run starts to wait for credits."""
        self._on_wait.append(action)

    def release(self, reservation: Reservation) -> None:
        """Release the credits reserved for a contact that has no relink left to complete."""
        if reservation.amount:
            self.budget.release(reservation)
            self._changed.notify()

    async def _wait_or_stop(self, shortage: Shortage | None, required: int) -> None:
        """Wait for credits or stop the run, once no call in flight can return any."""
        if self._quota_wait.is_active or shortage is None:
            await self._wait_step()
        elif self.budget.unsent or self._suspicion.in_flight:
            await self._wait_for_change(CLOCK_CHECK_SECONDS)
        else:
            until, certain = await self._available_at(required)
            if shortage is Shortage.INVOCATION or not self._policy.wait_for_credits:
                self._stop.request(credits_spent_error(shortage, self.budget, until))
            elif not self._quota_wait.is_active:  # another call may have started it meanwhile
                self._begin_wait(until, certain=certain)

    async def _on_exhausted(self, required: int, retry_after: float | None) -> None:
        """Wait for credits or stop the run, as the CRM refuses calls of every kind."""
        if self._stop.quota_exhausted:
            return
        self._stop.mark_quota_exhausted()
        until, certain = await self._available_at(required)
        # A server that extends its penalty for each early call accepts none at a fixed interval.
        until = max(until, self._wall() + min(2 * self._refused_wait, RECHECK_SECONDS))
        if retry_after is not None:
            until, certain = self._wall() + retry_after + 1.0, True
        if self._policy.wait_for_credits:
            self._begin_wait(until, certain=certain)
        else:
            self._stop.request(credits_exhausted_error(until))
        self._changed.notify()

    def _begin_wait(self, until: float, *, certain: bool) -> None:
        delay = until - self._wall()
        self._refused_wait = delay if certain else min(delay, RECHECK_SECONDS)
        self._quota_wait.begin(self._refused_wait)
        for action in self._on_wait:
            action()

    async def _wait_step(self) -> None:
        """Wait for one step; one of the waiting calls checks the clocks for all."""
        if self._clock_watched or not self._quota_wait.is_active:
            await self._wait_for_change(_STEPS_OF_OTHERS * CLOCK_CHECK_SECONDS)
            return
        self._clock_watched = True
        try:
            remaining = self._quota_wait.poll()
            if remaining:
                await self._wait_for_change(min(CLOCK_CHECK_SECONDS, remaining))
        finally:
            self._clock_watched = False
        if not remaining:
            self._end_wait()

    def _end_wait(self) -> None:
        """Let calls start, with a probe first if the CRM refused all calls before."""
        self.budget.recheck_reported_left()
        if self._stop.quota_exhausted:
            self._stop.mark_quota_available()
            self._suspicion.reprobe()
        self._changed.notify()

    async def _available_at(self, required: int) -> tuple[float, bool]:
        """Return when credits are available, and whether that is known or assumed (one window)."""
        limit = self.budget.daily_limit or 0
        wanted = max(required, limit // _WAIT_FRACTION)
        if self._calls_left is not None:
            wanted = max(required, min(wanted, self._calls_left()))
        free = await self.allowance.free_at(wanted)
        if free is None:
            return self._wall() + self.allowance.window_seconds, False
        return free, True

    async def _wait_for_change(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            await self._changed.wait()
