"""Concurrency limiter, fair between contacts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Self

import anyio
from anyio.abc import TaskGroup

from bulklink.counts import count_of
from bulklink.engine.ratelimit import adaptive
from bulklink.engine.ratelimit.attempt import AT_ONCE, Attempt, CallTiming, QueuedCall, Slot
from bulklink.engine.ratelimit.fair_queue import FairQueue
from bulklink.engine.ratelimit.rate import RateLimiter
from bulklink.engine.shutdown import StopController
from bulklink.errors import StoppedError, TooLateError
from bulklink.task_group import task_group
from bulklink.zoho.throttling import StatedLimit

_MIN_READY_AHEAD = 2
_SLOTS_PER_READY = 4
"""Calls prepared beyond the free slots: two, plus one for every four slots."""
_SHORTEST_TIMER = 0.001
_RATE_LOOKAHEAD = 0.05
"""Seconds; with a rate limit, only as many slots count as free as calls may start in this time."""


def max_admitted(in_flight: int) -> int:
    """Return the maximum calls that are in flight or prepared at once.

    Args:
        in_flight: maximum calls in flight.
    """
    return in_flight + _MIN_READY_AHEAD + in_flight // _SLOTS_PER_READY


@dataclass(slots=True)
class Waiter:
    """A call that waits to be admitted, or for a slot.

    Args:
        queued_call: the call.
        wake_up: set when its wait is over or the run stops.
        granted: whether its wait was granted.
        slot: the slot it was granted, if it waited for one.
    """

    queued_call: QueuedCall
    wake_up: anyio.Event = field(default_factory=anyio.Event)
    granted: bool = False
    slot: Slot | None = None

    def grant(self, slot: Slot | None = None) -> None:
        """End the wait, with a slot if it waits for one."""
        self.granted, self.slot = True, slot
        self.wake_up.set()


@dataclass(slots=True)
class ContactCounter:
    """Counts by contact.

    Args:
        total: count of all contacts.
        by_contact: count of each contact; absent means 0.
    """

    total: int = 0
    by_contact: dict[str, int] = field(default_factory=dict)

    def add(self, contact_id: str) -> None:
        """Count one more."""
        self.total += 1
        self.by_contact[contact_id] = self.by_contact.get(contact_id, 0) + 1

    def remove(self, contact_id: str) -> None:
        """Count one fewer."""
        self.total -= 1
        count = self.by_contact[contact_id] - 1
        if count:
            self.by_contact[contact_id] = count
        else:
            del self.by_contact[contact_id]


class ConcurrencyLimiter:
    """Limits the calls in flight; a context manager that owns its timers.

    A call is admitted, prepared (its line is written to disk), granted a slot and started, so no
    slot is empty while the disk is busy. Few calls are prepared ahead of the slots, and none during
    a pause. A refusal withdraws the slots of all calls that have not started, so only one call is
    sent after the pause, regardless of which calls held a slot.

    The oldest call goes first. While calls of other contacts wait, a contact has at most half of
    the admitted calls and half of the slots. Refusals lower the limit, as `adaptive` decides.

    Args:
        max_in_flight: maximum calls in flight at once.
        max_per_second: maximum calls started per second; None for no limit.
        stop: ends all waits when the run stops.
        clock: returns monotonic seconds.
        random: returns a random number from 0 to 1.
        notify: called with a text, once per episode, when the server accepts fewer calls.
        adapts: whether refusals lower the limit and pause the calls.
    """

    def __init__(
        self,
        *,
        max_in_flight: int,
        max_per_second: float | None,
        stop: StopController,
        clock: Callable[[], float],
        random: Callable[[], float] = lambda: 0.5,
        notify: Callable[[str], None] = lambda text: None,
        adapts: bool = True,
    ) -> None:
        self._adapts = adapts
        self._adaptive = adaptive.initial_limit(max_in_flight)
        self._rate = RateLimiter(max_per_second, stop) if max_per_second else None
        self._stop = stop
        self._clock = clock
        self._random = random
        self._notify = notify
        self._last_sequence = 0
        self._refusals = 0
        self._paused_seconds = 0.0
        self._waiting: FairQueue[Waiter] = FairQueue()
        self._ready: FairQueue[Waiter] = FairQueue()
        self._admitted = ContactCounter()
        self._in_flight = ContactCounter()
        self._group = task_group()
        self._timers: TaskGroup | None = None
        self._timer_is_set = False
        stop.on_stop(self._wake_stopped)

    async def __aenter__(self) -> Self:
        self._timers = await self._group.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        """End the timers; an error of the block is raised unchanged, not in a group."""
        if self._timers is not None:
            self._timers.cancel_scope.cancel()
            await self._group.__aexit__(None, None, None)

    @property
    def max_in_flight(self) -> int:
        """Maximum calls in flight at once; the server may accept fewer."""
        return self._adaptive.ceiling

    @property
    def limit(self) -> int:
        """Calls that may be in flight now."""
        return self._adaptive.limit

    @property
    def in_flight(self) -> int:
        """Calls that have a slot now."""
        return self._in_flight.total

    @property
    def paused(self) -> bool:
        """Whether no call may start now because the server refused one."""
        return self._clock() < self._adaptive.paused_until

    @property
    def paused_seconds(self) -> float:
        """Seconds so far during which no call could start because the server refused one."""
        return self._paused_seconds - max(0.0, self._adaptive.paused_until - self._clock())

    def resize(self, max_in_flight: int) -> None:
        """Change the limit of calls in flight; calls in flight are not affected."""
        self._adaptive = adaptive.with_ceiling(self._adaptive, max_in_flight)
        self._dispatch()

    @property
    def has_room(self) -> bool:
        """Whether two more calls would be admitted at once."""
        return not self._waiting and self._room() > 1

    @property
    def needs_ready_calls(self) -> bool:
        """Whether a slot is empty, or soon would be, for want of calls that are prepared."""
        return len(self._ready) < _MIN_READY_AHEAD or self.in_flight < self.limit

    def new_call(
        self,
        contact_id: str | None = None,
        *,
        completes_relink: bool = False,
        timing: CallTiming = AT_ONCE,
    ) -> QueuedCall:
        """Return a new call, which is queued behind the earlier ones.

        Args:
            contact_id: the contact it concerns.
            completes_relink: whether it completes a relink, which a graceful stop allows.
            timing: when it starts.
        """
        self._last_sequence += 1
        return QueuedCall(self._last_sequence, contact_id or "", completes_relink, timing)

    async def admit(self, queued_call: QueuedCall) -> Attempt:
        """Wait until a call is admitted; `end` must follow, whatever happens.

        Raises:
            StoppedError: if the run was stopped; no `end` follows then.
        """
        self._stop.check(completes_relink=queued_call.completes_relink)
        attempt = Attempt(queued_call)
        if not self._waiting and self._room() > 0:
            self._admitted.add(queued_call.contact_id)
            return attempt
        await self._wait_in(self._waiting, queued_call)
        if self._stop.forbids_start(completes_relink=queued_call.completes_relink):
            self._release(attempt)
            raise StoppedError
        return attempt

    def end(self, attempt: Attempt) -> bool:
        """End an attempt; it gives up its place and its slot, the latter after `hold_after`.

        Returns:
            Whether a call that waited for a slot may start now.
        """
        if attempt.slot and attempt.slot.is_probe and not attempt.outcome_reported:
            self._adaptive = adaptive.on_probe_lost(self._adaptive)
        if attempt.hold_after:
            # The call's task continues; only the slot is held.
            self._start_timer(attempt.hold_after, partial(self._release, attempt))
            return False
        return self._release(attempt)

    async def acquire_slot(self, attempt: Attempt) -> None:
        """Wait for a slot among the calls in flight.

        Raises:
            StoppedError: if the run was stopped.
        """
        queued_call = attempt.queued_call
        self._stop.check(completes_relink=queued_call.completes_relink)
        if self._ready or not self._is_within_share(queued_call) or not self._may_grant_slot():
            attempt.slot = await self._wait_in(self._ready, queued_call)
        else:
            attempt.slot = self._grant_slot(queued_call)

    async def wait_for_rate(self, queued_call: QueuedCall) -> None:
        """Wait until the rate limit lets a call start, and until it is due.

        Raises:
            StoppedError: if the run was stopped.
            TooLateError: if it is too late to start it.
        """
        if self._rate is None:
            self._stop.check(completes_relink=queued_call.completes_relink)
        else:
            await self._rate.acquire(completes_relink=queued_call.completes_relink)
        timing = queued_call.timing
        if timing.due is not None and (delay := timing.due - self._clock()) > 0:
            await self._stop.sleep(delay, completes_relink=queued_call.completes_relink)
        if timing.start_by is not None and self._clock() >= timing.start_by:
            raise TooLateError

    def may_start(self, attempt: Attempt) -> bool:
        """Return whether an attempt may start: none was refused since it was granted its slot."""
        slot = attempt.slot
        return slot is not None and slot.refusals == self._refusals and not self.paused

    def start(self, attempt: Attempt) -> None:
        """Record that an attempt starts; its request must be sent immediately."""
        attempt.started_at = self._clock()
        attempt.peak_in_flight = self._in_flight.total

    def return_slot(self, attempt: Attempt) -> None:
        """Take back the slot of an attempt that may not start."""
        if attempt.slot is not None:
            self._take_back(attempt.slot, attempt.queued_call.contact_id)
            attempt.slot = None
            self._dispatch()

    def report_accepted(self, attempt: Attempt) -> None:
        """Record that the server accepted a call and answered it."""
        if attempt.started_at is not None:
            attempt.outcome_reported = True
            now = self._clock()
            self._adaptive = adaptive.on_accepted(self._adaptive, attempt.started_at, now)

    def explains_refusal(self, attempt: Attempt) -> bool:
        """Return whether too many calls in flight explain the refusal of this attempt."""
        in_flight = max(attempt.peak_in_flight, self._in_flight.total)
        return attempt.started_at is not None and (
            not self._adapts
            or adaptive.explains_refusal(self._adaptive, attempt.started_at, in_flight)
        )

    def report_refused(
        self,
        attempt: Attempt,
        retry_after: float | None,
        *,
        longest_pause: float = math.inf,
        stated: StatedLimit | None = None,
    ) -> None:
        """Record that the server refused a call because too many were in flight.

        Args:
            attempt: attempt of the call.
            retry_after: seconds to wait, as requested by the server; None without a request.
            longest_pause: maximum seconds to pause, unless the server asks for more.
            stated: limit stated by the server, shown to the user.
        """
        if attempt.started_at is None:
            return
        attempt.outcome_reported = True
        if not self._adapts:
            return
        self._refusals += 1
        previous, in_flight = self._adaptive, max(attempt.peak_in_flight, self._in_flight.total)
        now = self._clock()
        self._adaptive = adaptive.on_refused(
            previous,
            attempt.started_at,
            in_flight,
            now,
            retry_after,
            self._random(),
            longest_pause,
        )
        added = self._adaptive.paused_until - max(previous.paused_until, now)
        self._paused_seconds += max(0.0, added)
        if previous.episode_began is None and not previous.extra_slots:
            self._notify(_refusal_notice(in_flight, retry_after, stated))

    def _grant_slot(self, queued_call: QueuedCall) -> Slot:
        slot = Slot(self._refusals, self._adaptive.probe is adaptive.Probe.NEXT)
        self._in_flight.add(queued_call.contact_id)
        self._adaptive = adaptive.on_slot_granted(self._adaptive)
        return slot

    def _take_back(self, slot: Slot, contact_id: str) -> None:
        self._in_flight.remove(contact_id)
        if slot.is_probe:
            self._adaptive = adaptive.on_probe_lost(self._adaptive)

    async def _wait_in(self, queue: FairQueue[Waiter], queued_call: QueuedCall) -> Slot | None:
        """Wait until `_dispatch` grants the wait or the run stops."""
        waiter = Waiter(queued_call)
        queue.put(queued_call.sequence, queued_call.contact_id, waiter)
        self._set_timer()
        try:
            await waiter.wake_up.wait()
            if not waiter.granted:
                self._stop.check(completes_relink=queued_call.completes_relink)
        except BaseException:
            self._withdraw(queue, waiter)
            raise
        return waiter.slot

    def _withdraw(self, queue: FairQueue[Waiter], waiter: Waiter) -> None:
        """Return the grant of a call that was cancelled before it used it."""
        contact_id = waiter.queued_call.contact_id
        if not waiter.granted:
            queue.remove(waiter.queued_call.sequence, contact_id)
        elif waiter.slot is None:
            self._admitted.remove(contact_id)
        else:
            self._take_back(waiter.slot, contact_id)
        self._dispatch()

    def _release(self, attempt: Attempt) -> bool:
        self._admitted.remove(attempt.queued_call.contact_id)
        if attempt.slot is not None:
            self._in_flight.remove(attempt.queued_call.contact_id)
        return self._dispatch()

    def _dispatch(self) -> bool:
        """Grant free slots to prepared calls, then admit waiting calls.

        Returns:
            Whether a call was granted a slot.
        """
        granted = False
        if not self._ready and not self._waiting:
            return granted
        while self._may_grant_slot() and (
            ready_waiter := self._ready.take(
                self._in_flight.by_contact, self._contact_share, self._is_alone
            )
        ):
            ready_waiter.grant(self._grant_slot(ready_waiter.queued_call))
            granted = True
        share = -(-max_admitted(self.limit) // 2)
        while self._room() > 0 and (
            next_waiter := self._waiting.take(self._admitted.by_contact, share)
        ):
            self._admitted.add(next_waiter.queued_call.contact_id)
            next_waiter.grant()
        self._set_timer()
        return granted

    @property
    def _contact_share(self) -> int:
        """Slots of one contact while others wait: half of them, rounded up."""
        return -(-self.limit // 2)

    def _is_within_share(self, queued_call: QueuedCall) -> bool:
        """Return whether the contact of a call may have one more slot."""
        contact_id = queued_call.contact_id
        in_flight = self._in_flight.by_contact.get(contact_id, 0)
        return not in_flight or in_flight < self._contact_share or self._is_alone(contact_id)

    def _is_alone(self, contact_id: str) -> bool:
        """Return whether no other contact is preparing a call that needs a slot."""
        others = self._admitted.total - self._admitted.by_contact.get(contact_id, 0)
        return others <= self._in_flight.total - self._in_flight.by_contact.get(contact_id, 0)

    def _may_grant_slot(self) -> bool:
        now, in_flight = self._clock(), self._in_flight.total
        if in_flight >= self.limit:
            self._adaptive = adaptive.increase_if_due(self._adaptive, now)
        return adaptive.may_start(self._adaptive, in_flight, now)

    def _room(self) -> int:
        """Return how many more calls may be admitted."""
        limit, in_flight = self._adaptive.limit, self._in_flight.total
        if self.paused:
            return 0
        free_slots = max(0, limit - in_flight)
        if self._rate is not None:
            free_slots = min(free_slots, int(self._rate.per_second * _RATE_LOOKAHEAD))
        ready_ahead, preparing = max_admitted(limit) - limit, self._admitted.total - in_flight
        return free_slots + ready_ahead - preparing

    def _set_timer(self) -> None:
        """Schedule a dispatch for when more calls may start."""
        now = self._clock()
        due = adaptive.next_change_at(self._adaptive, now)
        if due is None or self._timer_is_set or not (self._ready or self._waiting):
            return
        self._timer_is_set = True
        self._start_timer(max(due - now, _SHORTEST_TIMER), self._on_timer)

    def _on_timer(self) -> None:
        self._timer_is_set = False
        self._dispatch()

    def _start_timer(self, seconds: float, action: Callable[[], object]) -> None:
        if self._timers is None:
            raise RuntimeError("Calls are made inside `async with limiter`.")
        self._timers.start_soon(_call_later, seconds, action)

    def _wake_stopped(self) -> None:
        """Wake the calls that may not start after a stop."""
        for waiter in (*self._waiting.entries(), *self._ready.entries()):
            if self._stop.forbids_start(completes_relink=waiter.queued_call.completes_relink):
                waiter.wake_up.set()


def _refusal_notice(in_flight: int, retry_after: float | None, stated: StatedLimit | None) -> str:
    report = "too many requests" if stated is None else f"too many requests (it allows {stated})"
    pause = "a moment" if retry_after is None else f"the requested {retry_after:,.0f} s"
    return (
        f"The CRM reports {report} with {count_of(in_flight, 'call')} in flight: all calls wait for"
        f" {pause},"
        " then continue with fewer at once."
    )


async def _call_later(seconds: float, action: Callable[[], object]) -> None:
    await anyio.sleep(seconds)
    action()
