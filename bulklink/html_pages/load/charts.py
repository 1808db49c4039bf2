"""Charts of load tests over time, and of percentiles. Pure.

Texts are in the templates, colours and widths in the style sheet.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise

import msgspec

from bulklink.html_pages.chart import (
    Chart,
    ChartAxis,
    ChartLayer,
    place_on_axis,
    place_ticks,
    rate_cell,
    value_cell,
)
from bulklink.html_pages.plot_area import (
    PLOT_WIDTH,
    Step,
    ValueScale,
    area_path,
    fit_scale,
    line_path,
)
from bulklink.html_pages.time_axis import Tick, TimeAxis, elapsed_ticks, humanize_duration
from bulklink.latency_histogram import LatencyHistogram
from bulklink.load_analysis.figures import histogram_of_bins, named_latency
from bulklink.load_analysis.series import SHORTEST_INTERVAL, add_intervals, measured_intervals
from bulklink.load_results import HistogramBins, LoadInterval, LoadResult

_MAX_INTERVALS = 200
"""Intervals of a chart; more are added to longer ones."""
_MILLISECONDS_BELOW = 10.0
"""Seconds below which latencies are in milliseconds."""
_CURVE_STEPS = 250
"""Steps of a curve of percentiles."""
_TABLE_SHARES = (0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9999, 0.99999, 0.999999)
_MINUTE = 60

LoadSeries = Sequence[LoadInterval]


class LatencyUnit(msgspec.Struct, frozen=True):
    """Unit of the latencies of charts.

    Args:
        name: `ms` or `s`.
        number: how many there are in a second.
    """

    name: str
    number: int

    def scaled(self, seconds: float | None) -> float | None:
        """Return a latency in this unit."""
        return None if seconds is None else seconds * self.number

    def text(self, scaled: float | None) -> str | None:
        """Return a latency of this unit as text."""
        return value_cell(scaled, 3 if self.number == 1 else 1)


class LoadCharts(msgspec.Struct, frozen=True, kw_only=True):
    """The charts of a load test.

    Args:
        time: axis of the charts over time; the others share it.
        nines: axis of the percentiles.
        unit: unit of the latencies.
        calls: calls answered and failed a second, and the rate asked for.
        intended: latency from the intended start over time.
        service: service time over time, on the scale of the latency from the intended start.
        in_flight: calls in flight over time.
        late: calls that left late; None in the closed model.
        percentiles: latency by share of the calls; both kinds of the open model, as they are equal
            in the closed one.
    """

    time: ChartAxis
    nines: ChartAxis
    unit: LatencyUnit
    calls: Chart
    intended: Chart
    service: Chart
    in_flight: Chart
    late: Chart | None
    percentiles: Chart


class ComparisonCharts(msgspec.Struct, frozen=True, kw_only=True):
    """Charts of two load tests, A and B; each has a line for both.

    Args:
        time: axis of the charts over time, after the beginning of each.
        nines: axis of the percentiles.
        unit: unit of the latencies.
        messages: emails of answered calls a second.
        p99: 99th percentile of the latency from the intended start over time.
        intended: latency from the intended start by share of the calls.
        service: service time by share of the calls.
    """

    time: ChartAxis
    nines: ChartAxis
    unit: LatencyUnit
    messages: Chart
    p99: Chart
    intended: Chart
    service: Chart


def build_load_charts(result: LoadResult) -> LoadCharts:
    """Return the charts of a load test."""
    axis, length = _common_axis([result])
    series = add_intervals(result.series, length)
    measured = add_intervals(measured_intervals(result), length)
    has_schedule = result.asked_calls_per_second is not None
    histograms = {"intended": result.histogram.intended}
    if has_schedule:
        histograms["service"] = result.histogram.service
    curves = _PercentileCurves(histograms.values())
    unit = _unit_of(curves.longest)
    scale = fit_scale(
        unit.scaled(named_latency(each.latency, name))
        for each in series
        for name in ("p99", "service.p99")
    )
    return LoadCharts(
        time=_time_axis(axis),
        nines=curves.axis,
        unit=unit,
        calls=_calls(measured, axis),
        intended=_latency_bands("intended", "", series, axis, unit, scale),
        service=_latency_bands("service", "service.", series, axis, unit, scale),
        in_flight=_in_flight(measured, axis),
        late=_late(measured, axis) if has_schedule else None,
        percentiles=curves.chart("percentiles", histograms, unit),
    )


def build_comparison_charts(a: LoadResult, b: LoadResult) -> ComparisonCharts:
    """Return the charts of two load tests on common scales."""
    axis, length = _common_axis([a, b])
    results = {"a": a, "b": b}
    series = {side: add_intervals(one.series, length) for side, one in results.items()}
    measured = {
        side: add_intervals(measured_intervals(one), length) for side, one in results.items()
    }
    intended = {"a": a.histogram.intended, "b": b.histogram.intended}
    service = {"a": a.histogram.service, "b": b.histogram.service}
    curves = _PercentileCurves([*intended.values(), *service.values()])
    unit = _unit_of(curves.longest)
    return ComparisonCharts(
        time=_time_axis(axis),
        nines=curves.axis,
        unit=unit,
        messages=_two_lines("messages", measured, axis, _messages, _rate_text),
        p99=_two_lines(
            "p99",
            series,
            axis,
            lambda each: unit.scaled(named_latency(each.latency, "p99")),
            unit.text,
        ),
        intended=curves.chart("intended", intended, unit),
        service=curves.chart("service", service, unit),
    )


def _common_axis(results: Sequence[LoadResult]) -> tuple[TimeAxis, float]:
    """Return an axis for all load tests, and a length of intervals that are few enough to draw."""
    intervals = [each for result in results for each in result.series]
    end = max((each.at + each.seconds for each in intervals), default=0.0) or 1.0
    longest = max((each.seconds for each in intervals), default=end)
    longest = max(longest, SHORTEST_INTERVAL)
    return TimeAxis((), (), end), longest * math.ceil(end / longest / _MAX_INTERVALS)


def _time_axis(axis: TimeAxis) -> ChartAxis:
    return ChartAxis(tuple(place_ticks(axis, elapsed_ticks(axis))))


def _steps(
    series: LoadSeries,
    axis: TimeAxis,
    upper: Callable[[LoadInterval], float | None],
    lower: Callable[[LoadInterval], float | None] = lambda _: 0.0,
) -> list[Step]:
    steps = []
    for each in series:
        x0 = min(PLOT_WIDTH - 1, place_on_axis(each.at, axis))
        x1 = max(x0 + 1, place_on_axis(each.at + each.seconds, axis))
        steps.append(Step(x0, x1, 0, upper(each), lower(each) or 0.0))
    return steps


def _calls(series: LoadSeries, axis: TimeAxis) -> Chart:
    """Return the stacked chart of calls answered and failed, with the rate asked for."""

    def answered(each: LoadInterval) -> float:
        return each.answered / each.seconds

    def succeeded(each: LoadInterval) -> float:
        return max(0, each.answered - each.errors) / each.seconds

    def asked(each: LoadInterval) -> float | None:
        return None if each.asked is None else each.asked / each.seconds

    scale = fit_scale(value(each) for each in series for value in (answered, asked))
    return _chart(
        "calls",
        [
            ChartLayer("answered", area_path(_steps(series, axis, succeeded), scale.y)),
            ChartLayer("failed", area_path(_steps(series, axis, answered, succeeded), scale.y)),
            ChartLayer("asked", line_path(_steps(series, axis, asked), scale.y), is_line=True),
        ],
        scale,
        [
            (
                _since(each),
                _rate_text(asked(each)),
                _rate_text(succeeded(each)),
                _rate_text(each.errors / each.seconds),
                _rate_text(_messages(each)),
            )
            for each in series
        ],
    )


def _latency_bands(
    name: str, prefix: str, series: LoadSeries, axis: TimeAxis, unit: LatencyUnit, scale: ValueScale
) -> Chart:
    """Return a line at the median, and a band up to each of the higher percentiles."""

    def value(figure: str) -> Callable[[LoadInterval], float | None]:
        return lambda each: unit.scaled(named_latency(each.latency, prefix + figure))

    p50, p95, p99 = map(value, ("p50", "p95", "p99"))
    return _chart(
        name,
        [
            ChartLayer("p95", area_path(_steps(series, axis, p95, p50), scale.y)),
            ChartLayer("p99", area_path(_steps(series, axis, p99, p95), scale.y)),
            ChartLayer("p50", line_path(_steps(series, axis, p50), scale.y), is_line=True),
        ],
        scale,
        [
            (_since(each), *(unit.text(figure(each)) for figure in (p50, p95, p99, value("max"))))
            for each in series
        ],
    )


def _in_flight(series: LoadSeries, axis: TimeAxis) -> Chart:
    scale = fit_scale(each.in_flight for each in series)
    steps = _steps(series, axis, lambda each: each.in_flight)
    return _chart(
        "in_flight",
        [ChartLayer("in_flight", area_path(steps, scale.y))],
        scale,
        [(_since(each), value_cell(each.in_flight, 1)) for each in series],
    )


def _late(series: LoadSeries, axis: TimeAxis) -> Chart:
    scale = fit_scale((each.late for each in series), whole=True)
    steps = _steps(series, axis, lambda each: each.late)
    return _chart(
        "late",
        [ChartLayer("late", area_path(steps, scale.y))],
        scale,
        [(_since(each), value_cell(each.late, 0)) for each in series],
    )


def _two_lines(
    name: str,
    sides: Mapping[str, LoadSeries],
    axis: TimeAxis,
    value: Callable[[LoadInterval], float | None],
    text: Callable[[float | None], str | None],
) -> Chart:
    """Return a chart with a line for each load test."""
    scale = fit_scale(value(each) for series in sides.values() for each in series)
    values = [{each.at: (each, value(each)) for each in series} for series in sides.values()]
    rows = []
    for at in sorted({at for side in values for at in side}):
        cells = [side.get(at) for side in values]
        since = next(_since(cell[0]) for cell in cells if cell is not None)
        rows.append((since, *(None if cell is None else text(cell[1]) for cell in cells)))
    return _chart(
        name,
        [
            ChartLayer(side, line_path(_steps(series, axis, value), scale.y), is_line=True)
            for side, series in sides.items()
        ],
        scale,
        rows,
    )


class _PercentileCurves:
    """Charts of latencies by share of the calls, whose axis ends at the last call of the largest.

    The distance to 100% shrinks tenfold with each nine, so that the slowest calls are as visible as
    all others.

    Args:
        histograms: all histograms that are drawn with the same axis.
    """

    def __init__(self, histograms: Iterable[HistogramBins]) -> None:
        parts = [histogram_of_bins(bins) for bins in histograms]
        calls = max((part.count for part in parts), default=0)
        self.longest = max((part.longest for part in parts), default=0.0)
        self._nines = max(1.0, math.log10(max(1, calls)))
        self._axis = TimeAxis((), (), self._nines)
        shares = [0.0, 0.5, *(1 - 0.1**n for n in range(1, int(self._nines) + 1))]
        ticks = [Tick(_nines(share), _percent(share), "") for share in shares]
        self.axis = ChartAxis(tuple(place_ticks(self._axis, ticks)))
        self._shares = [share for share in _TABLE_SHARES if _nines(share) <= self._nines]

    def chart(self, name: str, histograms: Mapping[str, HistogramBins], unit: LatencyUnit) -> Chart:
        """Return a chart with a line for each histogram."""
        parts = {series: histogram_of_bins(bins) for series, bins in histograms.items()}
        scale = fit_scale(unit.scaled(part.longest) for part in parts.values())
        shares = [*self._shares, 1.0]
        columns = [
            list(part.quantiles(shares)) if part.bins else [None] * len(shares)
            for part in parts.values()
        ]
        return _chart(
            name,
            [
                ChartLayer(series, line_path(self._curve(part, unit), scale.y), is_line=True)
                for series, part in parts.items()
            ],
            scale,
            [
                (_percent(share), *(unit.text(unit.scaled(value)) for value in values))
                for share, *values in zip(shares, *columns, strict=True)
            ],
        )

    def _curve(self, histogram: LatencyHistogram, unit: LatencyUnit) -> list[Step]:
        if not histogram.bins:
            return []
        edges = [PLOT_WIDTH * n / _CURVE_STEPS for n in range(_CURVE_STEPS + 1)]
        shares = [1 - 0.1 ** (self._nines * edge / PLOT_WIDTH) for edge in edges[1:]]
        return [
            Step(x0, x1, 0, unit.scaled(value))
            for (x0, x1), value in zip(pairwise(edges), histogram.quantiles(shares), strict=True)
        ]


def _nines(share: float) -> float:
    """Return the number of nines of a share: 2 for 99%."""
    return -math.log10(1 - share)


def _percent(share: float) -> str:
    """Return a share in percent, with all its nines."""
    return f"{100 * share:.6f}".rstrip("0").rstrip(".") + "%"


def _unit_of(longest: float) -> LatencyUnit:
    return LatencyUnit("ms", 1000) if longest < _MILLISECONDS_BELOW else LatencyUnit("s", 1)


def _chart(
    name: str,
    layers: Iterable[ChartLayer],
    scale: ValueScale,
    rows: Iterable[tuple[str | None, ...]],
) -> Chart:
    return Chart(
        name=name,
        layers=tuple(layer for layer in layers if layer.path),
        ticks=tuple(scale.ticks()),
        rows=tuple(rows),
    )


def _messages(each: LoadInterval) -> float:
    return each.messages / each.seconds


def _rate_text(rate: float | None) -> str | None:
    return None if rate is None else rate_cell(rate)


def _since(each: LoadInterval) -> str:
    """Return the beginning of an interval, after that of the measured time."""
    return f"{value_cell(each.at, 2)} s" if each.at < _MINUTE else humanize_duration(each.at)
