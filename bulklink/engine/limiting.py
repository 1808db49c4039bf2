"""What limits a run: measured call by call while it goes on, decided at its end."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

import msgspec

_MOST = 0.8
"""Share of a limit that is used where it is the limit that counts."""
_MOST_OF_RATE = 0.9
_SHORT_SECONDS = 3.0
_FEW_CALLS = 50
"""Below these nothing can be told: a run begins with few calls and ends with few."""
_HARDLY_ANY = 0.5
_MOST_CREDIT_WAIT = 0.5


class LimitedBy(StrEnum):
    """What a run could not go faster for."""

    CREDITS = "credits"
    CPU = "this machine's CPU"
    RATE = "calls a second (--rate)"
    IN_FLIGHT = "calls in flight"
    LATENCY = "the CRM's latency, call after call"
    BETWEEN = "what this machine does between calls"
    NOTHING = "nothing for long"


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


def limited_by(figures: Figures, *, out_of_credits: bool) -> LimitedBy:
    """Return what limited a run.

    Args:
        figures: what was measured.
        out_of_credits: whether it stopped for want of credits.
    """
    if out_of_credits or figures.waited > _MOST_CREDIT_WAIT * (figures.seconds + figures.waited):
        return LimitedBy.CREDITS
    if figures.seconds < _SHORT_SECONDS or figures.calls < _FEW_CALLS:
        return LimitedBy.NOTHING
    if figures.cpu >= _MOST:
        return LimitedBy.CPU
    if figures.rate is not None and figures.calls_a_second >= _MOST_OF_RATE * figures.rate:
        return LimitedBy.RATE
    if figures.in_flight >= _MOST * figures.most_in_flight:
        return LimitedBy.IN_FLIGHT
    return LimitedBy.LATENCY if figures.in_flight >= _HARDLY_ANY else LimitedBy.BETWEEN


class Meter:
    """Measures calls as they leave and are answered; a few additions a call.

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
        self._busy = self._allowed = 0.0
        self._began = self._last = self._cpu_began = self._cpu_last = 0.0

    def left(self) -> None:
        """Note that a call leaves."""
        if not self._calls:
            self._began = self._last = self._monotonic()
            self._cpu_began = self._cpu()
        self._note()
        self._calls += 1
        self._flying += 1

    def landed(self) -> None:
        """Note that a call is over."""
        self._note()
        self._flying -= 1
        self._cpu_last = self._cpu()

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
            most_in_flight=round(self._allowed / (seconds + waited), 2),
            calls_a_second=round(self._calls / seconds, 2),
            rate=rate,
            latency=round(self._busy / self._calls, 4),
            cpu=round((self._cpu_last - self._cpu_began) / seconds, 3),
            waited=round(waited, 1),
        )

    def _note(self) -> None:
        now = self._monotonic()
        passed = now - self._last
        self._busy += passed * self._flying
        self._allowed += passed * self._most()
        self._last = now
