"""Chart data of a run: time axis, bins and percentiles of its timeline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, tzinfo
from itertools import pairwise
from math import ceil
from typing import Any

import msgspec

_MIN_PAUSE = 60.0
"""Seconds without activity before a pause may be collapsed."""
_MIN_PAUSE_SHARE = 0.05
"""Share of the active time; shorter pauses are drawn to scale."""
_PAUSE_WIDTH_SHARE = 0.03
_PAUSES_WIDTH_SHARE = 0.3
_TARGET_TICKS = 8
_MAX_TICKS = 40
"""Ticks at most; the page leaves out those for which it has no room."""
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_STEPS = (
    *(1, 2, 5, 10, 15, 30),
    *(_MINUTE * n for n in (1, 2, 5, 10, 15, 30)),
    *(_HOUR * n for n in (1, 2, 3, 6, 12)),
    *(_DAY * n for n in (1, 2, 7, 14, 28)),
)
MAX_SPANS = 240
"""Spans of a chart at most, apart from pauses: each is some pixels wide."""
_MAX_GAP = 30.0
"""Seconds without activity after which a span ends."""
_STATUSES = ("done", "unchanged", "failed", "in_doubt")
_LINE_GAP = 2.0
"""Seconds without activity after which a new line begins."""
_PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


class AxisSegment(msgspec.Struct, frozen=True):
    """A part of the axis without a collapsed pause.

    Args:
        began: first moment, in seconds since 1970.
        ended: last moment, in seconds since 1970.
        start: position of the first moment on the axis, in seconds.
    """

    began: float
    ended: float
    start: float


class CollapsedPause(msgspec.Struct, frozen=True):
    """A pause that the axis collapses.

    Args:
        at: position of its beginning on the axis, in seconds.
        to: position of its end.
        label: how long the pause was, in words.
    """

    at: float
    to: float
    label: str


class Tick(msgspec.Struct, frozen=True):
    """A labelled position on the axis.

    Args:
        at: position on the axis, in seconds.
        time: local time.
        day: day of the month; empty if the axis covers one day.
    """

    at: float
    time: str
    day: str


class TimeAxis(msgspec.Struct, frozen=True):
    """Time axis with long pauses collapsed; positions are in seconds.

    Args:
        segments: parts between the pauses.
        pauses: collapsed pauses.
        end: position of the end.
    """

    segments: tuple[AxisSegment, ...]
    pauses: tuple[CollapsedPause, ...]
    end: float

    def position(self, moment: float) -> float:
        """Return the position of a moment, in seconds since 1970; one in a pause is at its end."""
        for segment in self.segments:
            if moment <= segment.ended:
                return round(segment.start + max(0.0, moment - segment.began), 3)
        return self.end


def build_axis(spans: Sequence[tuple[float, float]]) -> TimeAxis:
    """Build a time axis that collapses the pauses between spans.

    Args:
        spans: beginning and end of each active span, in order, in seconds since 1970; at least one.
    """
    active = sum(ended - began for began, ended in spans)
    min_pause = max(_MIN_PAUSE, _MIN_PAUSE_SHARE * active)
    joined = [spans[0]]
    for began, ended in spans[1:]:
        if began - joined[-1][1] > min_pause:
            joined.append((began, ended))
        else:
            joined[-1] = (joined[-1][0], max(ended, joined[-1][1]))
    drawn_seconds = max(1.0, sum(ended - began for began, ended in joined))
    pause_width = drawn_seconds * min(
        _PAUSE_WIDTH_SHARE, _PAUSES_WIDTH_SHARE / max(1, len(joined) - 1)
    )
    segments: list[AxisSegment] = []
    pauses: list[CollapsedPause] = []
    position = 0.0
    for began, ended in joined:
        if segments:
            label = humanize_duration(began - segments[-1].ended)
            pauses.append(
                CollapsedPause(round(position, 3), round(position + pause_width, 3), label)
            )
            position += pause_width
        segments.append(AxisSegment(began, ended, round(position, 3)))
        position += ended - began
    return TimeAxis(tuple(segments), tuple(pauses), round(position, 3) or 1.0)


def humanize_duration(seconds: float) -> str:
    """Return a duration in words, in two units at most."""
    units = (("d", _DAY), ("h", _HOUR), ("min", _MINUTE), ("s", 1))
    steps = [step for (_, size), (_, step) in pairwise(units) if seconds >= size]
    step = steps[0] if steps else 1
    remaining = round(seconds / step) * step
    words: list[str] = []
    for name, size in units:
        count, remaining = divmod(remaining, size)
        if count:
            words.append(f"{count} {name}")
    return " ".join(words) or "0 s"


def axis_ticks(axis: TimeAxis, zone: tzinfo | None = None) -> list[Tick]:
    """Return ticks at round local times, and at the beginning of segments without one.

    Args:
        axis: axis of the charts.
        zone: time zone of the labels; None for this machine's.
    """
    active = sum(segment.ended - segment.began for segment in axis.segments)
    step = next((size for size in _STEPS if active / size <= _TARGET_TICKS), _STEPS[-1])
    min_gap = axis.end / _MAX_TICKS
    placed: list[Tick] = []
    several_days = (
        len({_local_time(m, zone).date() for p in axis.segments for m in (p.began, p.ended)}) > 1
    )
    for segment in axis.segments:
        for moment in _round_moments(segment, step, zone):
            position = axis.position(moment)
            if placed and position - placed[-1].at < min_gap:
                continue
            when = _local_time(moment, zone)
            time = f"{when:%H:%M:%S}" if step < _MINUTE else f"{when:%H:%M}"
            placed.append(Tick(position, time, f"{when.day} {when:%b}" if several_days else ""))
    return placed


def _round_moments(segment: AxisSegment, step: int, zone: tzinfo | None) -> Iterator[float]:
    """Yield the round local times of a segment, or its beginning if it has none."""
    began = _local_time(segment.began, zone)
    midnight = began.replace(hour=0, minute=0, second=0, microsecond=0)
    since_midnight = (began - midnight).total_seconds()
    first = segment.began + (-since_midnight) % min(step, _DAY)
    if first > segment.ended:
        yield segment.began
    moment = first
    while moment <= segment.ended:
        yield moment
        moment += step


def _local_time(moment: float, zone: tzinfo | None) -> datetime:
    return datetime.fromtimestamp(moment, zone).astimezone(zone)


def utc_offset(moment: float, zone: tzinfo | None) -> str:
    """Return the offset of local time from UTC, such as `+01:00`.

    Args:
        moment: seconds since 1970.
        zone: time zone; None for this machine's.
    """
    delta = _local_time(moment, zone).utcoffset() or timedelta()
    minutes = int(delta.total_seconds() // _MINUTE)
    sign = "-" if minutes < 0 else "+"
    return f"{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


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
    """

    began: float
    ended: float
    settled: Mapping[str, int]
    answered_429: int = 0
    in_flight: float | None = None
    allowed: float | None = None
    latency: Mapping[float, int] = {}


@dataclass(slots=True)
class Span:
    """Consecutive measurements, merged.

    Args:
        began: beginning, in seconds since 1970.
        ended: end, in seconds since 1970.
        active_seconds: sum of the measurements' durations.
        measured_seconds: the same of those with calls in flight measured.
        in_flight: sum of mean calls in flight, each times its seconds.
        allowed: sum of mean limits on calls in flight, each times its seconds.
        answered_429: calls answered by 429.
        settled: messages settled, by status.
        latency: number of calls by latency, in seconds.
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

    def add(self, measurement: Measurement) -> None:
        """Merge the next measurement into the span."""
        seconds = max(0.001, measurement.ended - measurement.began)
        self.ended = max(self.ended, measurement.ended)
        self.active_seconds += seconds
        self.answered_429 += measurement.answered_429
        self.settled.update(measurement.settled)
        self.latency.update(measurement.latency)
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
    """Merge measurements into a bounded number of spans, never across a pause.

    Args:
        measurements: measurements in order of time; memory does not grow with their number.
        max_spans: approximate limit on spans; each pause may add one.
    """
    merged: list[Span] = []
    width, limit = 0.0, 2 * max_spans
    for measurement in measurements:
        if not merged or not _fits(merged[-1], measurement.began, width):
            merged.append(Span(measurement.began, measurement.began))
        merged[-1].add(measurement)
        if len(merged) > limit:
            width = max(2 * width, _total_seconds(merged) / max_spans)
            merged = _coarsen(merged, width)
            limit = max(limit, 2 * len(merged))
    return (
        _coarsen(merged, _total_seconds(merged) / max_spans) if len(merged) > max_spans else merged
    )


def _total_seconds(merged: list[Span]) -> float:
    return sum(span.active_seconds for span in merged)


def _coarsen(merged: list[Span], width: float) -> list[Span]:
    coarser: list[Span] = []
    for span in merged:
        if coarser and _fits(coarser[-1], span.began, width):
            coarser[-1].join(span)
        else:
            coarser.append(span)
    return coarser


def _fits(span: Span, began: float, width: float) -> bool:
    """Return whether a moment extends a span of less than `width` seconds, without a gap."""
    return began - span.ended <= _MAX_GAP and span.ended - span.began < width


class ChartData(msgspec.Struct, frozen=True):
    """JSON for the charts, and the facts shown next to them.

    Args:
        json: data of the charts.
        statuses: statuses of the settled messages.
        offsets: offsets of local time from UTC.
        answered_429: calls answered by 429; None if not measured.
    """

    json: bytes
    statuses: tuple[str, ...]
    offsets: tuple[str, ...]
    answered_429: int | None


def build_chart_data(
    measurements: Iterable[Measurement], zone: tzinfo | None = None
) -> ChartData | None:
    """Return chart data; None without measurements.

    Args:
        measurements: activity, in order of time.
        zone: time zone of the charts; None for this machine's.
    """
    merged_spans = merge_measurements(measurements)
    if not merged_spans:
        return None
    axis = build_axis([(span.began, span.ended) for span in merged_spans])
    present_statuses = {
        status for span in merged_spans for status, count in span.settled.items() if count
    }
    statuses = tuple(status for status in _STATUSES if status in present_statuses)
    offsets = sorted(
        {utc_offset(moment, zone) for moment in (merged_spans[0].began, merged_spans[-1].ended)}
    )
    content = {
        "end": axis.end,
        "ticks": axis_ticks(axis, zone),
        "folds": axis.pauses,
        "statuses": statuses,
        "bins": [
            _bin(span, axis.position(span.began), line_number, zone)
            for span, line_number in zip(merged_spans, _line_numbers(merged_spans), strict=True)
        ],
    }
    has_metrics = any(span.measured_seconds for span in merged_spans)
    answered_429 = sum(span.answered_429 for span in merged_spans) if has_metrics else None
    return ChartData(msgspec.json.encode(content), statuses, tuple(offsets), answered_429)


def _line_numbers(merged_spans: Sequence[Span]) -> Iterator[int]:
    """Yield the number of the line that each span belongs to; gaps begin a new line."""
    line_number = 0
    yield line_number
    for previous, span in pairwise(merged_spans):
        line_number += span.began - previous.ended > _LINE_GAP
        yield line_number


def _bin(span: Span, position: float, line_number: int, zone: tzinfo | None) -> dict[str, Any]:
    """Return a span for the charts: rates per second, means, percentiles in seconds."""
    content: dict[str, Any] = {
        "x0": position,
        "x1": round(position + span.ended - span.began, 3),
        "part": line_number,
        "when": _local_time(span.began, zone).isoformat(" ", "seconds"),
        "rates": {
            status: round(count / span.active_seconds, 3)
            for status, count in span.settled.items()
            if count
        },
    }
    if span.measured_seconds:
        content |= {
            "in_flight": round(span.in_flight / span.measured_seconds, 2),
            "allowed": round(span.allowed / span.measured_seconds, 2),
            "answered_429": span.answered_429,
            **{name: span.percentile(share) for name, share in _PERCENTILES.items()},
        }
    return content
