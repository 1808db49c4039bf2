"""Charts of a run's activity over time. Pure.

Texts are in the templates, colours and widths in the style sheet.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import tzinfo
from itertools import pairwise

import msgspec

from bulklink.html_pages.chart import (
    Chart,
    ChartLayer,
    ChartPause,
    ChartTicks,
    place_on_axis,
    place_ticks,
    rate_cell,
    value_cell,
)
from bulklink.html_pages.plot_area import (
    PLOT_WIDTH,
    Step,
    ValueTick,
    area_path,
    fit_scale,
    line_path,
)
from bulklink.html_pages.report.timeline import Measurement, Span, merge_measurements
from bulklink.html_pages.time_axis import (
    CollapsedPause,
    TimeAxis,
    axis_ticks,
    build_axis,
    covers_several_days,
    format_day,
    humanize_duration,
    local_time,
    utc_offset,
)

_STATUSES = ("done", "unchanged", "failed", "in_doubt")
_LINE_GAP = 2.0
"""Seconds without activity after which a new line begins."""
_COARSE_SECONDS = 86_400
"""Length of an axis beyond which bins are minutes long and their times need no seconds."""
_PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


class ChartData(msgspec.Struct, frozen=True, kw_only=True):
    """The charts of a run, and the facts shown next to them.

    Args:
        charts: the charts.
        middles: position of the middle of each bin, from 0 to `PLOT_WIDTH`.
        pauses: pauses that the charts collapse.
        ticks: labels of their time axis, by width.
        statuses: statuses of the settled messages.
        offsets: offsets of local time from UTC.
        answered_429: calls answered by 429; None if not measured.
    """

    charts: tuple[Chart, ...]
    middles: tuple[int, ...]
    pauses: tuple[ChartPause, ...]
    ticks: tuple[ChartTicks, ...]
    statuses: tuple[str, ...]
    offsets: tuple[str, ...]
    answered_429: int | None


class _Bin(msgspec.Struct, frozen=True, kw_only=True):
    """A span on the axis: rates per second, means, percentiles in seconds."""

    x0: int
    x1: int
    line: int
    when: str
    rates: dict[str, float]
    in_flight: float | None
    allowed: float | None
    answered_429: int
    percentiles: dict[str, float | None]

    def step(self, upper: float | None, lower: float = 0.0) -> Step:
        return Step(self.x0, self.x1, self.line, upper, lower)


class CommandEnd(msgspec.Struct, frozen=True):
    """End of a command on the run.

    Args:
        at: when, in seconds since 1970.
        by: what ended it: `finished`, or a StoppedBy value.
    """

    at: float
    by: str


def build_chart_data(
    measurements: Iterable[Measurement],
    zone: tzinfo | None = None,
    command_ends: Sequence[CommandEnd] = (),
) -> ChartData | None:
    """Return the charts; None without measurements.

    Args:
        measurements: activity, in chronological order.
        zone: time zone of the charts; None for this machine's.
        command_ends: ends of the commands on the run, in order; they name the pauses after them.
    """
    spans = merge_measurements(measurements)
    if not spans:
        return None
    axis = build_axis([(span.began, span.ended) for span in spans])
    present = {status for span in spans for status, count in span.settled.items() if count}
    statuses = tuple(status for status in _STATUSES if status in present)
    offsets = {utc_offset(moment, zone) for moment in (spans[0].began, spans[-1].ended)}
    format_when = _time_format(spans, axis, zone)
    bins = _make_bins(spans, axis, format_when)
    waits = {span.ended for span in spans if span.before_wait}
    has_metrics = any(span.measured_seconds for span in spans)
    charts = [_throughput(bins, statuses)]
    if has_metrics:
        charts += [_in_flight(bins), _latency(bins), _answered_429(bins)]
    return ChartData(
        charts=tuple(charts),
        middles=tuple((bin_.x0 + bin_.x1) // 2 for bin_ in bins),
        pauses=tuple(
            _place_pause(pause, axis, format_when, _cause_of(pause, waits, command_ends))
            for pause in axis.pauses
        ),
        ticks=tuple(place_ticks(axis, axis_ticks(axis, zone))),
        statuses=statuses,
        offsets=tuple(sorted(offsets)),
        answered_429=sum(span.answered_429 for span in spans) if has_metrics else None,
    )


def _cause_of(
    pause: CollapsedPause, waits: Collection[float], command_ends: Iterable[CommandEnd]
) -> str:
    if pause.began in waits:
        return "credits"
    ends = (end.by for end in command_ends if pause.began - _LINE_GAP <= end.at < pause.ended)
    return next(ends, "idle")


def _place_pause(
    pause: CollapsedPause, axis: TimeAxis, format_when: Callable[[float], str], cause: str
) -> ChartPause:
    x = place_on_axis(pause.at, axis)
    return ChartPause(
        x=x,
        width=place_on_axis(pause.to, axis) - x,
        length=humanize_duration(pause.ended - pause.began),
        cause=cause,
        began=format_when(pause.began),
        ended=format_when(pause.ended),
    )


def _make_bins(
    spans: Sequence[Span], axis: TimeAxis, format_when: Callable[[float], str]
) -> list[_Bin]:
    line, bins = 0, [_make_bin(spans[0], axis, 0, format_when)]
    for previous, span in pairwise(spans):
        line += span.began - previous.ended > _LINE_GAP
        bins.append(_make_bin(span, axis, line, format_when))
    return bins


def _time_format(
    spans: Sequence[Span], axis: TimeAxis, zone: tzinfo | None
) -> Callable[[float], str]:
    """Return the formatter of a bin's time, as short as the axis allows."""
    with_day = covers_several_days(axis, zone)
    clock = "%H:%M" if axis.end > _COARSE_SECONDS else "%H:%M:%S"
    with_offset = utc_offset(spans[0].began, zone) != utc_offset(spans[-1].ended, zone)

    def format_when(moment: float) -> str:
        when = local_time(moment, zone)
        day = f"{format_day(when)} " if with_day else ""
        return f"{day}{when:{clock}}{utc_offset(moment, zone) if with_offset else ''}"

    return format_when


def _make_bin(span: Span, axis: TimeAxis, line: int, format_when: Callable[[float], str]) -> _Bin:
    x0 = min(PLOT_WIDTH - 1, place_on_axis(axis.position(span.began), axis))
    x1 = max(
        x0 + 1, place_on_axis(axis.position(span.ended), axis)
    )  # a second is visible among weeks
    measured = span.measured_seconds
    return _Bin(
        x0=x0,
        x1=x1,
        line=line,
        when=format_when(span.began),
        rates={status: count / span.active_seconds for status, count in span.settled.items()},
        in_flight=span.in_flight / measured if measured else None,
        allowed=span.allowed / measured if measured else None,
        answered_429=span.answered_429,
        percentiles={name: span.percentile(share) for name, share in _PERCENTILES.items()},
    )


def _throughput(bins: Sequence[_Bin], statuses: Sequence[str]) -> Chart:
    """Return the stacked chart of rates; negative rates (corrections) are only in the table."""
    steps: dict[str, list[Step]] = {status: [] for status in statuses}
    for bin_ in bins:
        lower = 0.0
        for status in statuses:
            upper = lower + max(0.0, bin_.rates.get(status, 0.0))
            steps[status].append(bin_.step(upper, lower))
            lower = upper
    scale = fit_scale(step.upper for layer in steps.values() for step in layer)
    return _chart(
        "throughput",
        [ChartLayer(status, area_path(layer, scale.y)) for status, layer in steps.items()],
        scale.ticks(),
        bins,
        lambda bin_: [rate_cell(bin_.rates.get(status, 0.0)) for status in statuses],
    )


def _in_flight(bins: Sequence[_Bin]) -> Chart:
    scale = fit_scale(value for bin_ in bins for value in (bin_.in_flight, bin_.allowed))
    return _chart(
        "in_flight",
        [
            ChartLayer("in_flight", area_path([b.step(b.in_flight) for b in bins], scale.y)),
            ChartLayer(
                "allowed", line_path([b.step(b.allowed) for b in bins], scale.y), is_line=True
            ),
        ],
        scale.ticks(),
        bins,
        lambda bin_: [value_cell(bin_.in_flight, 1), value_cell(bin_.allowed, 1)],
    )


def _latency(bins: Sequence[_Bin]) -> Chart:
    """Return the chart of percentiles: a line at the median, a band up to each of the others."""
    scale = fit_scale(value for bin_ in bins for value in bin_.percentiles.values())
    median = next(iter(_PERCENTILES))
    layers = [
        ChartLayer(upper, area_path([_band(bin_, lower, upper) for bin_ in bins], scale.y))
        for lower, upper in pairwise(_PERCENTILES)
    ]
    medians = [bin_.step(bin_.percentiles[median]) for bin_ in bins]
    return _chart(
        "latency",
        [*layers, ChartLayer(median, line_path(medians, scale.y), is_line=True)],
        scale.ticks(),
        bins,
        lambda bin_: [value_cell(value, 3) for value in bin_.percentiles.values()],
    )


def _band(bin_: _Bin, lower: str, upper: str) -> Step:
    return bin_.step(bin_.percentiles[upper], bin_.percentiles[lower] or 0.0)


def _answered_429(bins: Sequence[_Bin]) -> Chart:
    scale = fit_scale((bin_.answered_429 for bin_ in bins), whole=True)
    return _chart(
        "answered_429",
        [ChartLayer("refused", area_path([b.step(b.answered_429) for b in bins], scale.y))],
        scale.ticks(),
        bins,
        lambda bin_: [value_cell(bin_.answered_429, 0)],
    )


def _chart(
    name: str,
    layers: Iterable[ChartLayer],
    ticks: Iterable[ValueTick],
    bins: Sequence[_Bin],
    values: Callable[[_Bin], list[str | None]],
) -> Chart:
    return Chart(
        name=name,
        layers=tuple(layer for layer in layers if layer.path),
        ticks=tuple(ticks),
        rows=tuple((bin_.when, *values(bin_)) for bin_ in bins),
    )
