"""Records of a load test's calls: counts and latencies by phase and over time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from bulklink.engine.load.schedule import LoadSchedule
from bulklink.engine.load.sender import LoadCall
from bulklink.latency_histogram import LatencyHistogram

LATE_SECONDS = 0.01
"""A call is late if it left more than this after it was due."""
_MAX_INTERVALS = 600
"""Intervals become twice as long where a test would have more of them."""


@dataclass(slots=True)
class PhaseRecord:
    """Calls of one phase.

    Args:
        calls: calls started.
        messages: emails that they changed.
        late: calls that left late.
        dropped: calls that were due and never started.
        answered_429: calls that were answered with HTTP 429.
        errors: calls that failed, by code.
        service: their service times.
        intended: their latencies from the intended start, including those of dropped calls so far.
    """

    calls: int = 0
    messages: int = 0
    late: int = 0
    dropped: int = 0
    answered_429: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    service: LatencyHistogram = field(default_factory=LatencyHistogram)
    intended: LatencyHistogram = field(default_factory=LatencyHistogram)

    def add(self, other: PhaseRecord) -> None:
        """Add the calls of another phase."""
        self.calls += other.calls
        self.messages += other.messages
        self.late += other.late
        self.dropped += other.dropped
        self.answered_429 += other.answered_429
        self.errors.update(other.errors)
        self.service.add(other.service)
        self.intended.add(other.intended)


@dataclass(slots=True)
class IntervalRecord:
    """Calls of one interval of the measured time; latencies count where a call ended."""

    started: int = 0
    answered: int = 0
    messages: int = 0
    errors: int = 0
    late: int = 0
    busy_seconds: float = 0.0
    service: LatencyHistogram = field(default_factory=LatencyHistogram)
    intended: LatencyHistogram = field(default_factory=LatencyHistogram)

    def add(self, other: IntervalRecord) -> None:
        """Add the calls of the next interval."""
        self.started += other.started
        self.answered += other.answered
        self.messages += other.messages
        self.errors += other.errors
        self.late += other.late
        self.busy_seconds += other.busy_seconds
        self.service.add(other.service)
        self.intended.add(other.intended)


@dataclass(slots=True)
class LoadRecorder:
    """Records the calls of a load test.

    A call belongs to the phase in which it was due, or in the closed model was sent.

    Args:
        schedule: the phases.
        began_at: monotonic seconds at which the first phase began.

    Attributes:
        phases: records of the phases, in order.
        intervals: records of the measured time, each `interval_seconds` long.
        interval_seconds: length of an interval.
        measured_at: monotonic seconds at which the measured time began.
        last_sent_at: monotonic seconds at which the last call was sent.
        last_ended_at: monotonic seconds at which the last call ended.
    """

    schedule: LoadSchedule
    began_at: float
    phases: list[PhaseRecord] = field(init=False)
    intervals: list[IntervalRecord] = field(default_factory=list, init=False)
    interval_seconds: float = field(default=1.0, init=False)
    measured_at: float = field(init=False)
    last_sent_at: float = field(init=False)
    last_ended_at: float = field(init=False)
    _starts: list[float] = field(init=False)

    def __post_init__(self) -> None:
        self._starts = self.schedule.starts
        self.phases = [PhaseRecord() for _ in self._starts]
        self.measured_at = self.began_at + self.schedule.warm_up
        self.last_sent_at = self.last_ended_at = self.began_at

    def record(self, call: LoadCall, due: float | None) -> None:
        """Record a call.

        Args:
            call: the call.
            due: monotonic seconds at which it was due; None in the closed model.
        """
        intended_start = call.sent_at if due is None else due
        service, intended = call.ended_at - call.sent_at, call.ended_at - intended_start
        is_late = call.sent_at - intended_start > LATE_SECONDS
        phase = self.phases[self.phase_index(intended_start)]
        phase.calls += 1
        phase.messages += call.done
        phase.late += is_late
        phase.answered_429 += call.answered_429
        self.last_sent_at = max(self.last_sent_at, call.sent_at)
        self.last_ended_at = max(self.last_ended_at, call.ended_at)
        if call.error is not None:
            phase.errors[call.error] += 1
        phase.service.record(service)
        phase.intended.record(intended)
        if intended_start >= self.measured_at:
            self._record_interval(call, service, intended, is_late=is_late)

    def record_dropped(self, due: float, ended_at: float) -> None:
        """Record a call that was due and never started.

        Args:
            due: monotonic seconds at which it was due.
            ended_at: monotonic seconds at which the test ended.
        """
        phase = self.phases[self.phase_index(due)]
        phase.dropped += 1
        phase.intended.record(ended_at - due)

    def total(self) -> PhaseRecord:
        """Return the calls of the measured time."""
        whole = PhaseRecord()
        for phase in self.phases[1 if self.schedule.warm_up else 0 :]:
            whole.add(phase)
        return whole

    def _record_interval(
        self, call: LoadCall, service: float, intended: float, *, is_late: bool
    ) -> None:
        ended = self._interval_at(call.ended_at)
        ended.answered += 1
        ended.messages += call.done
        ended.errors += call.error is not None
        ended.service.record(service)
        ended.intended.record(intended)
        started = self._interval_at(call.sent_at)
        started.started += 1
        started.late += is_late
        self._add_busy(call.sent_at - self.measured_at, call.ended_at - self.measured_at)

    def _add_busy(self, begin: float, end: float) -> None:
        """Add the time that a call was in flight to the intervals that it covers."""
        width = self.interval_seconds
        index = int(max(0.0, begin) / width)
        while begin < end:
            until = min(end, (index + 1) * width)
            self.intervals[min(index, len(self.intervals) - 1)].busy_seconds += until - begin
            begin, index = until, index + 1

    def _interval_at(self, at: float) -> IntervalRecord:
        """Return the interval at a time, after making intervals longer if there are too many."""
        seconds = max(0.0, at - self.measured_at)
        while int(seconds / self.interval_seconds) >= _MAX_INTERVALS:
            self._merge_pairs()
        index = int(seconds / self.interval_seconds)
        while index >= len(self.intervals):
            self.intervals.append(IntervalRecord())
        return self.intervals[index]

    def _merge_pairs(self) -> None:
        first, second = self.intervals[::2], self.intervals[1::2]
        for interval, following in zip(first, second, strict=False):
            interval.add(following)
        self.intervals = first
        self.interval_seconds *= 2

    def phase_index(self, at: float) -> int:
        """Return the index of the phase at a time, in monotonic seconds."""
        index = len(self._starts) - 1
        while index and at < self.began_at + self._starts[index]:  # exactly as `due` was added
            index -= 1
        return index
