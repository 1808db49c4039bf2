"""What limits a run, decided from what was measured: of all of it at its end, or of a window."""

from __future__ import annotations

from enum import StrEnum

from bulklink.engine.metrics import Figures, Window

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
