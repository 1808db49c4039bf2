"""Metrics of the calls of a run: counts, latencies, and the bottleneck."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from enum import StrEnum

import msgspec
from ddsketch.mapping import LogarithmicMapping

from bulklink.zoho.http import CallKind

LATENCY_ERROR = 0.02
"""How far the latency of a call may be from the value that stands for it, as a part of it."""
_SHORTEST_LATENCY = 0.0001
_DIGITS = 4


class Figures(msgspec.Struct, frozen=True):
    """What was measured from the first call that left to the last answer.

    `in_flight` is the mean, `most_in_flight` the mean of what was allowed. `latency` is the mean in
    seconds. `cpu` is the share of one processor. `waited` is seconds of waiting for credits; the
    other figures are without them.
    """

    calls: int
    seconds: float
    in_flight: float
    most_in_flight: float
    calls_a_second: float
    rate: float | None
    latency: float
    cpu: float
    waited: float


class Totals(msgspec.Struct, frozen=True):
    """All that was measured up to a moment; the difference of two is a `Window`.

    `at` is seconds of a clock that never jumps. `left` and `landed` count calls that left and that
    are over, `answered_429` those that were refused. `busy` and `allowed` are seconds in flight and
    seconds that were allowed in flight, over all calls. `latencies` counts the calls that are over
    by the key of their seconds. `waited` is seconds of waiting for credits, `held` seconds in
    which a refusal let nobody leave, `cpu` seconds of processor time.
    """

    at: float
    left: int
    landed: dict[CallKind, int]
    answered_429: int
    busy: float
    allowed: float
    cpu: float
    waited: float
    held: float
    latencies: dict[int, int]


class Window(msgspec.Struct, frozen=True):
    """What was measured between two looks.

    `seconds` is the time between them. `calls` counts those that left, `landed` those that were
    over, by kind. `in_flight` and `most_in_flight` are means over the seconds, the second of what
    was allowed. `cpu` is seconds of processor time. Of the seconds, `waited` went by in waiting for
    credits, and in `held` a refusal let nobody leave.
    """

    seconds: float
    calls: int
    landed: dict[CallKind, int]
    answered_429: int
    in_flight: float
    most_in_flight: float
    cpu: float
    waited: float
    held: float


class Meter:
    """Measures calls as they leave and are answered.

    Args:
        most: returns how many calls may be in flight now.
        monotonic: seconds that never jump.
        cpu: seconds of processor time of this process.
    """

    def __init__(
        self, most: Callable[[], int], monotonic: Callable[[], float], cpu: Callable[[], float]
    ) -> None:
        self._most = most
        self._monotonic = monotonic
        self._cpu = cpu
        self._calls = 0
        self._flying = 0
        self._landed = dict.fromkeys(CallKind, 0)
        self._latencies: Counter[int] = Counter()
        self._busy = self._allowed = self._allowed_before = 0.0
        self._began = self._last = monotonic()
        self._cpu_began = self._cpu_last = cpu()

    def left(self) -> float:
        """Note that a call leaves, and return when: `landed` is to be told."""
        self._note()
        if not self._calls:
            self._began, self._allowed_before = self._last, self._allowed
            self._cpu_began = self._cpu()
        self._calls += 1
        self._flying += 1
        return self._last

    def landed(self, kind: CallKind, left_at: float) -> None:
        """Note that a call is over.

        Args:
            kind: of the call.
            left_at: when it left.
        """
        self._note()
        self._flying -= 1
        self._cpu_last = self._cpu()
        self._landed[kind] += 1
        self._latencies[_KEYS.key(max(self._last - left_at, _SHORTEST_LATENCY))] += 1

    def figures(self, rate: float | None, waited: float) -> Figures | None:
        """Return what was measured; None where no call left.

        Args:
            rate: calls a second that are allowed; None is no limit.
            waited: seconds of waiting for credits.
        """
        if not self._calls:
            return None
        seconds = max(0.001, self._last - self._began - waited)
        return Figures(
            calls=self._calls,
            seconds=round(seconds, 3),
            in_flight=round(self._busy / seconds, 2),
            most_in_flight=round((self._allowed - self._allowed_before) / (seconds + waited), 2),
            calls_a_second=round(self._calls / seconds, 2),
            rate=rate,
            latency=round(self._busy / self._calls, 4),
            cpu=round((self._cpu_last - self._cpu_began) / seconds, 3),
            waited=round(waited, 1),
        )

    def totals(self, *, answered_429: int, waited: float, held: float) -> Totals:
        """Return what was measured so far, the calls in flight included.

        Args:
            answered_429: calls that were answered so.
            waited: seconds of waiting for credits.
            held: seconds in which a refusal let nobody leave.
        """
        now = self._monotonic()
        passed = now - self._last
        return Totals(
            at=now,
            left=self._calls,
            landed=self._landed.copy(),
            answered_429=answered_429,
            busy=self._busy + passed * self._flying,
            allowed=self._allowed + passed * self._most(),
            cpu=self._cpu(),
            waited=waited,
            held=held,
            latencies=dict(self._latencies),
        )

    def _note(self) -> None:
        now = self._monotonic()
        passed = now - self._last
        self._busy += passed * self._flying
        self._allowed += passed * self._most()
        self._last = now


def window_between(earlier: Totals, later: Totals) -> Window:
    """Return what was measured between two looks."""
    seconds = max(later.at - earlier.at, 0.001)
    return Window(
        seconds=seconds,
        calls=later.left - earlier.left,
        landed={kind: later.landed[kind] - earlier.landed[kind] for kind in CallKind},
        answered_429=later.answered_429 - earlier.answered_429,
        in_flight=(later.busy - earlier.busy) / seconds,
        most_in_flight=(later.allowed - earlier.allowed) / seconds,
        cpu=later.cpu - earlier.cpu,
        waited=later.waited - earlier.waited,
        held=later.held - earlier.held,
    )


def latencies_between(earlier: Totals, later: Totals) -> dict[float, int]:
    """Return how many of the calls that were over between two looks took how many seconds.

    The seconds are those that stand for others, each within 2 % of what was measured.
    """
    return {
        _seconds_of(key): more
        for key, count in sorted(later.latencies.items())
        if (more := count - earlier.latencies.get(key, 0))
    }


_KEYS = LogarithmicMapping(LATENCY_ERROR)


def _seconds_of(key: int) -> float:
    """Return the latency that stands for a key, with as many digits as it is exact to, and more."""
    return float(f"{_KEYS.value(key):.{_DIGITS}g}")


_MOST = 0.8
"""Share of a limit that is used where it is the limit that counts."""
_MOST_OF_RATE = 0.9
_SHORT_SECONDS = 3.0
_FEW_CALLS = 50
"""Below these nothing can be told of a run: it begins with few calls and ends with few."""
_HARDLY_ANY = 0.5
_MOST_CREDIT_WAIT = 0.5
_MOST_HELD = 0.5


class LimitedBy(StrEnum):
    """What a run could not go faster for."""

    CREDITS = "credits"
    PAUSE = "the CRM's pause after a refusal"
    CPU = "this machine's CPU"
    RATE = "calls a second (--rate)"
    IN_FLIGHT = "calls in flight"
    LATENCY = "the CRM's latency, call after call"
    BETWEEN = "what this machine does between calls"
    NOTHING = "nothing for long"


def limited_by(figures: Figures, *, out_of_credits: bool) -> LimitedBy:
    """Return what limited a run.

    Args:
        figures: what was measured.
        out_of_credits: whether it stopped for want of credits, or while it waited for them.
    """
    if out_of_credits or figures.waited > _MOST_CREDIT_WAIT * (figures.seconds + figures.waited):
        return LimitedBy.CREDITS
    if figures.seconds < _SHORT_SECONDS or figures.calls < _FEW_CALLS:
        return LimitedBy.NOTHING
    if figures.cpu >= _MOST:
        return LimitedBy.CPU
    if figures.rate is not None and figures.calls_a_second >= _MOST_OF_RATE * figures.rate:
        return LimitedBy.RATE
    return _by_flight(figures.in_flight, figures.most_in_flight)


def limited_in(window: Window, rate: float | None) -> LimitedBy:
    """Return what limited a run between two looks.

    Args:
        window: what was measured.
        rate: calls a second that are allowed; None is no limit.
    """
    if window.waited > _MOST_CREDIT_WAIT * window.seconds:
        return LimitedBy.CREDITS
    awake = window.seconds - window.waited
    if window.held > _MOST_HELD * awake:
        return LimitedBy.PAUSE
    if window.cpu >= _MOST * awake:
        return LimitedBy.CPU
    if not window.calls and not window.in_flight:
        return LimitedBy.NOTHING
    if rate is not None and window.calls >= _MOST_OF_RATE * rate * awake:
        return LimitedBy.RATE
    share = awake / window.seconds
    by = _by_flight(window.in_flight / share, window.most_in_flight)
    refused = window.answered_429 > 0 and by is not LimitedBy.IN_FLIGHT
    return LimitedBy.PAUSE if refused else by


def _by_flight(in_flight: float, most_in_flight: float) -> LimitedBy:
    """Return what limits a run that uses up neither credits nor CPU nor rate."""
    if in_flight >= _MOST * most_in_flight:
        return LimitedBy.IN_FLIGHT
    return LimitedBy.LATENCY if in_flight >= _HARDLY_ANY else LimitedBy.BETWEEN
