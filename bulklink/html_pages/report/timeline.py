"""Activity of a run over time, merged into few spans. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil

import msgspec

MAX_SPANS = 150
"""Maximum spans of a chart: each is some pixels wide, and a page has four charts."""
_MAX_GAP = 30.0
"""Seconds without activity after which a span ends, unless there are too many such gaps."""


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """Activity between two moments.

    Args:
        began: beginning, in seconds since 1970.
        ended: end, in seconds since 1970.
        settled: messages settled, by status.
        answered_429: calls answered by 429.
        in_flight: mean number of calls in flight; None if not measured.
        allowed: mean limit on calls in flight; None if not measured.
        latency: number of calls by latency, in seconds.
        before_wait: whether a wait for credits followed.
    """

    began: float
    ended: float
    settled: Mapping[str, int]
    answered_429: int = 0
    in_flight: float | None = None
    allowed: float | None = None
    latency: Mapping[float, int] = {}
    before_wait: bool = False


@dataclass(slots=True)
class Span:
    """Consecutive measurements, merged.

    Args:
        began: beginning, in seconds since 1970.
        ended: end, in seconds since 1970.
        active_seconds: sum of the measurements' durations.
        measured_seconds: sum of durations of the measurements that have calls in flight.
        in_flight: sum of mean calls in flight, each times its seconds.
        allowed: sum of mean limits on calls in flight, each times its seconds.
        answered_429: calls answered by 429.
        settled: messages settled, by status.
        latency: number of calls by latency, in seconds.
        before_wait: whether a wait for credits followed.
    """

    began: float
    ended: float
    active_seconds: float = 0.0
    measured_seconds: float = 0.0
    in_flight: float = 0.0
    allowed: float = 0.0
    answered_429: int = 0
    settled: Counter[str] = field(default_factory=Counter)
    latency: Counter[float] = field(default_factory=Counter)
    before_wait: bool = False

    def add(self, measurement: Measurement) -> None:
        """Merge the next measurement into the span."""
        seconds = max(0.001, measurement.ended - measurement.began)
        self.ended = max(self.ended, measurement.ended)
        self.active_seconds += seconds
        self.answered_429 += measurement.answered_429
        self.settled.update(measurement.settled)
        self.latency.update(measurement.latency)
        self.before_wait = measurement.before_wait
        if measurement.in_flight is not None:
            self.measured_seconds += seconds
            self.in_flight += measurement.in_flight * seconds
            self.allowed += (measurement.allowed or 0.0) * seconds

    def join(self, following: Span) -> None:
        """Merge the following span into this one."""
        self.ended = max(self.ended, following.ended)
        self.active_seconds += following.active_seconds
        self.measured_seconds += following.measured_seconds
        self.in_flight += following.in_flight
        self.allowed += following.allowed
        self.answered_429 += following.answered_429
        self.settled.update(following.settled)
        self.latency.update(following.latency)
        self.before_wait = following.before_wait

    def percentile(self, share: float) -> float | None:
        """Return the latency, in seconds, within which a share of the calls was answered."""
        target = ceil(share * sum(self.latency.values()))
        so_far = 0
        for seconds in sorted(self.latency):
            so_far += self.latency[seconds]
            if so_far >= target:
                return seconds
        return None


def merge_measurements(
    measurements: Iterable[Measurement], max_spans: int = MAX_SPANS
) -> list[Span]:
    """Merge measurements into a bounded number of spans.

    No span covers a pause, unless there are more pauses than half of `max_spans`: then spans cover
    the shortest pauses.

    Args:
        measurements: measurements in chronological order; memory does not grow with their number.
        max_spans: limit on spans.
    """
    merged: list[Span] = []
    width, max_gap = 0.0, _MAX_GAP
    for measurement in measurements:
        if not merged or not _fits(merged[-1], measurement.began, width, max_gap):
            merged.append(Span(measurement.began, measurement.began))
        merged[-1].add(measurement)
        if len(merged) > 4 * max_spans:
            width = max(width, _total_seconds(merged) / (2 * max_spans))
            merged, width, max_gap = _coarsen_to(2 * max_spans, merged, width, max_gap)
    if len(merged) > max_spans:
        width = max(width, _total_seconds(merged) / max_spans)
        merged, _, _ = _coarsen_to(max_spans, merged, width, max_gap)
    return merged


def _total_seconds(merged: list[Span]) -> float:
    return sum(span.active_seconds for span in merged)


def _coarsen_to(
    limit: int, merged: list[Span], width: float, max_gap: float
) -> tuple[list[Span], float, float]:
    """Return at most `limit` spans, with the resulting width and gap."""
    coarser = _coarsen(merged, width, max_gap)
    while len(coarser) > limit:
        if 2 * _count_pauses(coarser, max_gap) > limit:
            max_gap *= 2
        else:
            width *= 1.25
        coarser = _coarsen(coarser, width, max_gap)
    return coarser, width, max_gap


def _count_pauses(merged: list[Span], max_gap: float) -> int:
    return sum(span.began - previous.ended > max_gap for previous, span in pairwise(merged))


def _coarsen(merged: list[Span], width: float, max_gap: float) -> list[Span]:
    coarser: list[Span] = []
    for span in merged:
        if coarser and _fits(coarser[-1], span.began, width, max_gap):
            coarser[-1].join(span)
        else:
            coarser.append(span)
    return coarser


def _fits(span: Span, began: float, width: float, max_gap: float) -> bool:
    """Return whether a moment extends a span of less than `width` seconds, without a gap."""
    return began - span.ended <= max_gap and span.active_seconds < width
