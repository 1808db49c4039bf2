"""Options of load tests, and the schedule that they ask for."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import msgspec

from bulklink.advice import Advice, Keyword
from bulklink.engine.failure_limit import MaxFailures
from bulklink.engine.load.batches import LoadOp
from bulklink.engine.load.schedule import LoadSchedule, SchedulePhase, with_warm_up
from bulklink.errors import UsageError
from bulklink.load_analysis.thresholds import Threshold, parse_threshold
from bulklink.models import MAX_ROWS, Op
from bulklink.operations.job import MAX_LOAD_SECONDS, MAX_RATE, Job, check_ranges, parse_duration

DEFAULT_SECONDS = 10.0
"""Duration of a load test that sets neither a duration nor a number of emails."""
DEFAULT_OPEN_IN_FLIGHT = 200
_MAX_OUTAGE = 10.0
"""Seconds without an answer after which a load test stops."""
_MIN_RATE = 0.001
_NO_FAILURE_LIMIT = MaxFailures(MAX_ROWS)
_RAMP = re.compile(r"(?P<first>[^:.]*(?:\.\d+)?)\.\.(?P<last>[^:]*):(?P<time>[^:]+)")
_STEPS = re.compile(r"(?P<rates>[^:]+):(?P<time>[^:]+)")


def _to_thresholds(texts: Iterable[str]) -> tuple[str, ...]:
    if isinstance(texts, str):
        raise TypeError("one threshold is not a tuple of thresholds")
    return tuple(texts)


_CONVERTERS: dict[str, Callable[[Any], Any]] = {
    "op": LoadOp,
    "duration": partial(parse_duration, setting="duration"),
    "warm_up": partial(parse_duration, setting="warm_up"),
    "thresholds": _to_thresholds,
}
_ADVICE = {
    "op": f"Use one of: {', '.join(LoadOp)}.",
    "thresholds": 'Pass a tuple of texts, such as ("p99 < 400ms",).',
}


class LoadTest(msgspec.Struct, frozen=True, kw_only=True):
    """How a load test drives its calls.

    In the open model, the schedule says when each call starts, whatever the answers to earlier
    ones: set one of `arrival_rate`, `ramp` and `steps`. Without any of them, the model is closed: a
    call starts when an earlier one has ended.

    Args:
        op: link, unlink or alternate; None alternates if a time ends the test, and links if only a
            number of emails does.
        arrival_rate: calls a second.
        ramp: rate that changes evenly, such as `50..400:60s`.
        steps: rates, each for a time, such as `100,200,400:30s`.
        duration: seconds, or a text such as `60s`; the rate that a ramp or steps end with continues
            until then. None is the time of the schedule, or 10 seconds if `messages` is not set
            either.
        messages: emails to send; None for no limit.
        warm_up: seconds before the measured time, at its first rate; not part of the figures.
        thresholds: such as `p99 < 400ms`; the test fails if one is missed.
    """

    op: LoadOp | None = None
    arrival_rate: float | None = None
    ramp: str | None = None
    steps: str | None = None
    duration: float | None = None
    messages: int | None = None
    warm_up: float = 0.0
    thresholds: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Convert values and refuse invalid ones.

        Raises:
            UsageError: if a value is invalid.
        """
        for name, converter in _CONVERTERS.items():
            value = getattr(self, name)
            if value is not None:
                try:
                    msgspec.structs.force_setattr(self, name, converter(value))
                except (TypeError, ValueError):
                    raise _invalid(name, value, _ADVICE[name]) from None
        check_ranges({"duration": self.duration, "warm_up": self.warm_up})
        if self.messages is not None and not 0 < self.messages <= MAX_ROWS:
            raise _invalid("messages", self.messages, f"Use a number from 1 to {MAX_ROWS:,}.")
        self.schedule()
        self.parsed_thresholds()

    @property
    def is_open(self) -> bool:
        """Whether a schedule says when calls start."""
        return any(value is not None for value in (self.arrival_rate, self.ramp, self.steps))

    @property
    def effective_op(self) -> LoadOp:
        """What the test does with each email."""
        only_messages = self.messages is not None and self.duration is None
        default = LoadOp.LINK if only_messages and not self.is_open else LoadOp.ALTERNATE
        return self.op or default

    def schedule(self) -> LoadSchedule:
        """Return the phases of the test.

        Raises:
            UsageError: if the options contradict each other, or a value is invalid.
        """
        phases = self._phases()
        asked = sum(phase.seconds for phase in phases)
        if self.duration is None:
            return with_warm_up(phases, self.warm_up)
        if math.isinf(asked):
            phases = [msgspec.structs.replace(phases[0], seconds=self.duration)]
        elif asked > self.duration:
            raise UsageError(
                f"The schedule takes {asked:g} s, and the duration is {self.duration:g} s.",
                where=_setting("duration"),
                advice="Omit the duration, or make it as long as the schedule.",
            )
        elif asked < self.duration:
            rate = phases[-1].last
            phases.append(SchedulePhase("constant", self.duration - asked, rate, rate))
        return with_warm_up(phases, self.warm_up)

    def parsed_thresholds(self) -> list[Threshold]:
        """Return the thresholds.

        Raises:
            UsageError: if one of them cannot be read, or measures a rate that nothing asks for.
        """
        return [
            parse_threshold(text, open_model=self.is_open, setting=_setting("thresholds"))
            for text in self.thresholds
        ]

    def send_job(self, job: Job) -> Job:
        """Return the job of the load test: nothing stops or delays its calls.

        Args:
            job: options of the mapping and of sending.

        Raises:
            UsageError: if the job limits the rate to less than the schedule asks for.
        """
        highest = max(max(p.first or 0.0, p.last or 0.0) for p in self.schedule().phases)
        if job.rate is not None and highest > job.rate:
            raise UsageError(
                f"The schedule asks for {highest:g}/s, more than the limit of {job.rate:g}/s.",
                where=_setting("rate"),
                advice="Omit the limit: the schedule is one.",
            )
        in_flight = DEFAULT_OPEN_IN_FLIGHT if self.is_open else None
        return msgspec.structs.replace(
            job,
            op=Op.UNLINK if self.effective_op is LoadOp.UNLINK else Op.LINK,
            concurrency=job.concurrency or in_flight,
            snapshot=False,
            canary=0,
            max_failures=_NO_FAILURE_LIMIT,
            read_back=False,
            outage=_MAX_OUTAGE,
        )

    def _phases(self) -> list[SchedulePhase]:
        """Return the phases that the options name, without a warm-up."""
        given = [name for name in ("arrival_rate", "ramp", "steps") if getattr(self, name)]
        if len(given) > 1:
            raise UsageError(
                "A load test has one schedule.",
                where=Advice("{}, {}", *map(Keyword, given[:2])),
                advice="Omit one of them.",
            )
        if self.arrival_rate is not None:
            rate = _rate("arrival_rate", self.arrival_rate)
            return [SchedulePhase("constant", self._open_end(), rate, rate)]
        if self.ramp is not None:
            return [_parse_ramp(self.ramp)]
        if self.steps is not None:
            return list(_parse_steps(self.steps))
        if self.duration is None and self.messages is None:
            return [SchedulePhase("closed", DEFAULT_SECONDS)]
        return [SchedulePhase("closed", math.inf)]

    def _open_end(self) -> float:
        """Return the seconds of a constant rate; infinite if something else ends it."""
        bounded = self.duration is not None or self.messages is not None
        return math.inf if bounded else DEFAULT_SECONDS


def _parse_ramp(text: str) -> SchedulePhase:
    """Return the phase of a ramp such as `50..400:60s`."""
    match = _RAMP.fullmatch(text.replace(" ", ""))
    if match is None:
        raise _invalid("ramp", text, "Write two rates and a time: 50..400:60s.")
    first, last = (_rate("ramp", match[name]) for name in ("first", "last"))
    return SchedulePhase("ramp", _seconds("ramp", match["time"]), first, last)


def _parse_steps(text: str) -> Sequence[SchedulePhase]:
    """Return the phases of steps such as `100,200,400:30s`."""
    match = _STEPS.fullmatch(text.replace(" ", ""))
    if match is None:
        raise _invalid("steps", text, "Write rates and the time of each: 100,200,400:30s.")
    seconds = _seconds("steps", match["time"])
    rates = [_rate("steps", part) for part in match["rates"].split(",")]
    return [SchedulePhase("step", seconds, rate, rate) for rate in rates]


def _rate(name: str, value: float | str) -> float:
    try:
        rate = float(value)
    except ValueError:
        rate = math.nan
    if not _MIN_RATE <= rate <= MAX_RATE:
        raise _invalid(
            name, value, f"A rate is a number of calls a second from {_MIN_RATE} to {MAX_RATE:,}."
        )
    return rate


def _seconds(name: str, text: str) -> float:
    seconds = parse_duration(text, name)
    if not 0 < seconds <= MAX_LOAD_SECONDS:
        raise _invalid(name, text, "Use a time above 0, up to 7 days.")
    return seconds


def _setting(name: str) -> Advice:
    return Advice("{}", Keyword(name))


def _invalid(name: str, value: object, advice: str) -> UsageError:
    return UsageError(f"{value!r} is not a valid value.", where=_setting(name), advice=advice)
