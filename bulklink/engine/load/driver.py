"""Driver of a load test: starts each call when the schedule asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import anyio

from bulklink.engine.clock import Clock
from bulklink.engine.load.batches import BatchCycle, LoadBatch
from bulklink.engine.load.recorder import LoadRecorder
from bulklink.engine.load.schedule import LoadSchedule
from bulklink.engine.load.sender import LoadSender
from bulklink.engine.ratelimit.attempt import CallTiming
from bulklink.engine.shutdown import StopController
from bulklink.engine.worker_pool import WorkerPool
from bulklink.errors import BulklinkError, StoppedError, TooLateError

_LEAD_SECONDS = 0.05
"""How long before it is due a call is prepared, so that its ledger line is on disk by then."""


@dataclass(frozen=True, slots=True)
class DueBatch:
    """A batch, and when its call starts."""

    batch: LoadBatch
    timing: CallTiming


@dataclass(slots=True, kw_only=True)
class LoadDriver:
    """Makes the calls of a load test until its schedule ends, its emails are sent, or it stops.

    In the open model, a worker takes the next call of the schedule shortly before it is due. If all
    workers are busy then, the call is taken late, and the wait is part of its latency.

    Args:
        schedule: when calls start.
        batches: what they change.
        sender: makes them.
        stop: stops the test.
        clock: clock of the schedule.
        max_in_flight: maximum calls in flight.
        max_messages: emails to send in the measured time; None for no limit.

    Attributes:
        started: when the first phase began, RFC 3339 in UTC.
        recorder: records of the calls.
        ended_at: monotonic seconds from which no call starts; earlier than planned after a stop.
        ran_out: whether there were no more emails to send.
    """

    schedule: LoadSchedule
    batches: BatchCycle
    sender: LoadSender
    stop: StopController
    clock: Clock
    max_in_flight: int
    max_messages: int | None = None
    started: str = field(init=False)
    recorder: LoadRecorder = field(init=False)
    ended_at: float = field(init=False)
    ran_out: bool = field(default=False, init=False)
    _began_at: float = field(init=False)
    _due_times: Iterator[float] = field(init=False)
    _next_due: float | None = field(default=None, init=False)
    _messages_taken: int = field(default=0, init=False)
    _turn: anyio.Lock = field(default_factory=anyio.Lock, init=False)

    def __post_init__(self) -> None:
        self.started = self.clock.timestamp()
        self._began_at = self.clock.monotonic()
        self.ended_at = self._began_at + self.schedule.seconds
        self.recorder = LoadRecorder(self.schedule, self._began_at)
        self._due_times = self.schedule.due_times() if self.schedule.is_open else iter(())
        self._advance()
        self.stop.on_stop(self._end_early)

    async def run(self) -> None:
        """Make all calls; those that were due and never started are recorded as dropped."""
        pool = WorkerPool[DueBatch](self, self._send, self.stop, self.max_in_flight)
        await pool.run()
        self._drop_rest()

    def next_ready(self) -> DueBatch | None:
        """Return None: `next` knows when a call is due."""
        return None

    async def next(self) -> DueBatch | None:
        """Return the next batch shortly before its call is due; None at the end.

        Raises:
            StoppedError: if the test was stopped.
        """
        async with self._turn:
            self.stop.check()
            if self._is_over():
                return None
            due = self._next_due
            if due is not None and (delay := due - _LEAD_SECONDS - self.clock.monotonic()) > 0:
                await self.stop.sleep(delay)
            if self._is_over():
                return None
            batch = await self.batches.next()
            if batch is None:
                self.ran_out = True
                return None
            self._count_messages(batch, due)
            self._advance()
        return DueBatch(batch, CallTiming(due, self.ended_at))

    @property
    def seconds(self) -> float:
        """Duration of all phases: as planned, until a stop, or until all emails were sent.

        In the open model, all are sent when the next call would be due, or when the last one left
        if it was later; in the closed model, when the last one was answered.
        """
        end = self.ended_at
        if self.ran_out or self.has_sent_all:
            last = self.recorder.last_ended_at
            if self.schedule.is_open:
                last = max(self.recorder.last_sent_at, self._next_due or self.ended_at)
            end = min(end, last)
        return end - self._began_at

    @property
    def has_sent_all(self) -> bool:
        """Whether as many emails were sent as the test was to send."""
        return self.max_messages is not None and self._messages_taken >= self.max_messages

    def _is_over(self) -> bool:
        """Whether no further call starts."""
        return (
            self.ran_out
            or self.has_sent_all
            or self.clock.monotonic() >= self.ended_at
            or (self.schedule.is_open and self._next_due is None)
        )

    def _count_messages(self, batch: LoadBatch, due: float | None) -> None:
        start = self.clock.monotonic() if due is None else due
        if start >= self.recorder.measured_at:
            self._messages_taken += len(batch.messages)

    def _advance(self) -> None:
        due = next(self._due_times, None)
        self._next_due = None if due is None else self._began_at + due

    async def _send(self, item: DueBatch) -> None:
        linked: bool | None = None
        due = item.timing.due
        try:
            call = await self.sender.send(item.batch, item.timing)
            linked = call.linked
            self.recorder.record(call, due)
        except (StoppedError, TooLateError):
            self._drop(due)
        except BulklinkError as error:
            self.stop.request(error)
        finally:
            self.batches.end(item.batch, linked=linked)

    def _end_early(self) -> None:
        self.ended_at = min(self.ended_at, self.clock.monotonic())

    def _drop_rest(self) -> None:
        """Record the calls that were due before the end and that no worker took."""
        if self.ran_out or self.has_sent_all:
            return
        while self._next_due is not None and self._next_due < self.ended_at:
            self._drop(self._next_due)
            self._advance()

    def _drop(self, due: float | None) -> None:
        """Record a call that was due and not sent."""
        now = min(self.ended_at, self.clock.monotonic())
        if due is not None and due < now:
            self.recorder.record_dropped(due, now)
