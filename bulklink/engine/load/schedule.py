"""Schedule of a load test: its phases, and when each call is due (pure).

In the open model, the schedule fixes before the start when each call is due, whatever the answers
to earlier ones. In the closed model, a call starts when an earlier one has ended.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import msgspec

from bulklink.load_results import WARM_UP


class SchedulePhase(msgspec.Struct, frozen=True):
    """A phase of a schedule, whose rate changes evenly.

    Args:
        name: `warm-up`, `constant`, `ramp` or `step`; `closed` in the closed model.
        seconds: its duration; infinite if only a number of emails ends it.
        first: calls a second at its start; None in the closed model.
        last: calls a second at its end; None in the closed model.
    """

    name: str
    seconds: float
    first: float | None = None
    last: float | None = None

    def rate_at(self, seconds: float) -> float | None:
        """Return the rate of due calls, in calls per second, at a time within the phase."""
        if self.first is None or self.last is None or math.isinf(self.seconds):
            return self.first
        share = min(max(0.0, seconds / self.seconds), 1.0)
        return self.first + (self.last - self.first) * share

    def calls_until(self, seconds: float) -> float:
        """Return the calls that are due in the first seconds of the phase, as a fraction."""
        first, last = self.first or 0.0, self.last or 0.0
        if first == last or math.isinf(self.seconds):
            return first * seconds
        return first * seconds + (last - first) * seconds**2 / (2 * self.seconds)

    def seconds_until(self, calls: float) -> float:
        """Return the time within the phase, in seconds, at which a number of calls is due."""
        first, last = self.first or 0.0, self.last or 0.0
        if first == last or math.isinf(self.seconds):
            return calls / first if first else math.inf
        growth = (last - first) / self.seconds
        root = math.sqrt(max(0.0, first**2 + 2 * growth * calls))
        # This form of the solution loses no digits where the rate changes slowly.
        return 2 * calls / (first + root) if first + root else 0.0


class LoadSchedule(msgspec.Struct, frozen=True):
    """The phases of a load test, in order.

    Args:
        phases: the phases; if there is a warm-up, it is the first.
    """

    phases: tuple[SchedulePhase, ...]

    @property
    def is_open(self) -> bool:
        """Whether the schedule says when calls are due."""
        return self.phases[-1].first is not None

    @property
    def seconds(self) -> float:
        """Duration of all phases."""
        return sum(phase.seconds for phase in self.phases)

    @property
    def warm_up(self) -> float:
        """Duration of the warm-up, 0 without one."""
        return self.phases[0].seconds if self.phases[0].name == WARM_UP else 0.0

    @property
    def starts(self) -> list[float]:
        """When each phase begins, in seconds after the start."""
        starts, at = [], 0.0
        for phase in self.phases:
            starts.append(at)
            at += phase.seconds
        return starts

    def due_times(self) -> Iterator[float]:
        """Yield when each call is due in the open model, in seconds after the start."""
        asked_before, call = 0.0, 0
        for start, phase in zip(self.starts, self.phases, strict=True):
            asked = phase.calls_until(phase.seconds)
            while call < asked_before + asked:
                due = phase.seconds_until(call - asked_before)
                if due >= phase.seconds:
                    break
                yield start + due
                call += 1
            asked_before += asked

    def asked_between(self, begin: float, end: float) -> float:
        """Return the calls that are due from one time to another, as a fraction.

        Args:
            begin: seconds after the start.
            end: seconds after the start.
        """
        return self._asked_until(end) - self._asked_until(begin)

    def _asked_until(self, seconds: float) -> float:
        return sum(
            phase.calls_until(min(max(0.0, seconds - start), phase.seconds))
            for start, phase in zip(self.starts, self.phases, strict=True)
        )


def with_warm_up(phases: Sequence[SchedulePhase], seconds: float) -> LoadSchedule:
    """Return a schedule with a warm-up at the rate at which the first phase begins."""
    if not seconds:
        return LoadSchedule(tuple(phases))
    first = phases[0].first
    return LoadSchedule((SchedulePhase(WARM_UP, seconds, first, first), *phases))
