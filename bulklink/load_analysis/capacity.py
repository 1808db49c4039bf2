"""Search for the highest arrival rate at which a load test meets a threshold.

The rate grows geometrically until a probe misses the threshold, then the gap between the highest
rate that met it and the lowest that missed it is bisected. A probe is noisy: near the limit it may
go either way, and a hiccup may fail one far below. So the search ends only when two probes agree at
both ends of the gap, of up to three; where they contradict the first probe, the end moves and the
search goes on from there.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from enum import StrEnum

import msgspec

_AGREEING = 2
"""Probes that have to agree at each end of the gap."""
_DIGITS = 3
"""Digits of a rate: a user reads 141, not 141.42135623730951."""


class SearchSettings(msgspec.Struct, frozen=True, kw_only=True):
    """How to search, with calls a second as rates.

    Args:
        first: rate of the first probe.
        lowest: rate below which the search gives up.
        highest: rate above which it does not look.
        growth: factor from one rate to the next while no limit is known, above 1.
        precision: relative width of the gap at which the search ends.
        most_probes: probes after which it ends in any case.
    """

    first: float
    lowest: float = 1.0
    highest: float = 100_000.0
    growth: float = 2.0
    precision: float = 0.05
    most_probes: int = 40


class RateProbe(msgspec.Struct, frozen=True):
    """A load test at an arrival rate, and whether it met the threshold."""

    rate: float
    met: bool


class SearchEnd(StrEnum):
    """Why a search ended; the values are for users."""

    FOUND = "found"
    NEVER_MISSED = "never missed"
    NEVER_MET = "never met"
    TOO_MANY_PROBES = "too many probes"


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """Result of a search.

    Args:
        rate: highest rate that met the threshold; None if none did.
        low: the same: the lower end of the interval.
        high: lowest rate above it that missed the threshold; None if none did.
        ended: why the search ended; only if `found` are both ends confirmed.
        probes: number of probes.
    """

    rate: float | None
    low: float | None
    high: float | None
    ended: SearchEnd
    probes: int


def next_rate(history: Sequence[RateProbe], settings: SearchSettings) -> float | Capacity:
    """Return the arrival rate of the next probe, or the result.

    Args:
        history: the probes so far, with the rates that this function returned.
        settings: how to search.
    """
    votes = _votes(history)
    low, high = _gap(votes)
    if len(history) >= settings.most_probes:
        return _capacity(history, SearchEnd.TOO_MANY_PROBES)
    undecided = [rate for rate, probes in votes.items() if probes[True] == probes[False]]
    if undecided:
        return undecided[0]
    candidate = _candidate(low, high, settings)
    if candidate is not None:
        return candidate
    for end in (low, high):
        if end is not None and max(votes[end].values()) < _AGREEING:
            return end
    return _capacity(history, _end_of(low, high))


def _candidate(low: float | None, high: float | None, settings: SearchSettings) -> float | None:
    """Return a rate that would narrow the gap; None if it is as narrow as it can be."""
    if low is None:
        candidate = settings.first if high is None else high / settings.growth
    elif high is None:
        candidate = low * settings.growth
    else:
        candidate = math.sqrt(low * high) if high > low * (1 + settings.precision) else low
    rate = float(min(max(_rounded(candidate), settings.lowest), settings.highest))
    is_inside = (low is None or low < rate) and (high is None or rate < high)
    return rate if is_inside else None


def _votes(history: Sequence[RateProbe]) -> dict[float, Counter[bool]]:
    """Return how often each rate met the threshold, and how often it missed it."""
    votes = defaultdict[float, Counter[bool]](Counter)
    for probe in history:
        votes[probe.rate][probe.met] += 1
    return votes


def _gap(votes: Mapping[float, Counter[bool]]) -> tuple[float | None, float | None]:
    """Return the lowest rate that mostly missed the threshold, after the highest met below it."""
    high = min(
        (rate for rate, probes in votes.items() if probes[False] > probes[True]), default=None
    )
    low = max(
        (
            rate
            for rate, probes in votes.items()
            if probes[True] > probes[False] and (high is None or rate < high)
        ),
        default=None,
    )
    return low, high


def _end_of(low: float | None, high: float | None) -> SearchEnd:
    if low is None:
        return SearchEnd.NEVER_MET
    return SearchEnd.NEVER_MISSED if high is None else SearchEnd.FOUND


def _capacity(history: Sequence[RateProbe], ended: SearchEnd) -> Capacity:
    low, high = _gap(_votes(history))
    return Capacity(rate=low, low=low, high=high, ended=ended, probes=len(history))


def _rounded(rate: float) -> float:
    return float(f"{rate:.{_DIGITS}g}")
