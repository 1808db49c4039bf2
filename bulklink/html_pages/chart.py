"""Charts as values: paths, labels and tables of any page. Pure.

Texts are in the templates, colours and widths in the style sheet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from bulklink.html_pages.plot_area import PLOT_WIDTH, ValueTick
from bulklink.html_pages.time_axis import Tick, TickLabel, TimeAxis, label_ticks

_ROOMS = {"narrow": 210, "medium": 280, "wide": 400, "full": 700}
"""Minimum width of the axis in pixels, by the class of the labels that the style sheet picks."""


class ChartLayer(msgspec.Struct, frozen=True):
    """A series of a chart.

    Args:
        series: name of the series.
        path: SVG path of its areas, or of its lines.
        is_line: whether the path is of lines.
    """

    series: str
    path: str
    is_line: bool = False


class Chart(msgspec.Struct, frozen=True, kw_only=True):
    """A chart and its table.

    Args:
        name: name of the chart.
        layers: its series, in the order of drawing.
        ticks: labelled values.
        rows: time of each bin, and its values as text; None for no value.
    """

    name: str
    layers: tuple[ChartLayer, ...]
    ticks: tuple[ValueTick, ...]
    rows: tuple[tuple[str | None, ...], ...]


class ChartPause(msgspec.Struct, frozen=True):
    """A pause that the charts collapse.

    Args:
        x: position of its beginning, from 0 to `PLOT_WIDTH`.
        width: width of its mark.
        length: how long the pause was, as text.
        cause: `credits` for a wait for credits, `idle` for another time without a call within a
            command; between two commands, what ended the first: `finished` or a StoppedBy value.
        began: when it began, as text.
        ended: when it ended, as text.
    """

    x: int
    width: int
    length: str
    cause: str
    began: str
    ended: str


class ChartTicks(msgspec.Struct, frozen=True):
    """Labels of the horizontal axis for charts of one width.

    Args:
        room: class of the width.
        labels: labels, at positions from 0 to `PLOT_WIDTH`.
    """

    room: str
    labels: tuple[TickLabel, ...]


class ChartAxis(msgspec.Struct, frozen=True):
    """Horizontal axis of charts.

    Args:
        ticks: its labels, by width.
        pauses: pauses that it collapses.
    """

    ticks: tuple[ChartTicks, ...]
    pauses: tuple[ChartPause, ...] = ()


def place_on_axis(position: float, axis: TimeAxis) -> int:
    """Return the x coordinate of a position; a thousandth of a chart is less than a pixel."""
    return round(PLOT_WIDTH * min(1.0, max(0.0, position / axis.end)))


def place_ticks(axis: TimeAxis, ticks: Sequence[Tick]) -> Iterator[ChartTicks]:
    """Yield the labels that fit, for each width of a chart."""
    for room, width in _ROOMS.items():
        labels = label_ticks(axis, ticks, width)
        placed = tuple(TickLabel(place_on_axis(label.at, axis), label.lines) for label in labels)
        yield ChartTicks(room, placed)


def rate_cell(rate: float) -> str | None:
    """Format a rate so that a few a minute do not become 0."""
    return value_cell(rate, 1 if abs(rate) >= 1 else 3)


def value_cell(value: float | None, digits: int) -> str | None:
    """Format a number with up to `digits` decimals, without trailing zeros."""
    if value is None:
        return None
    text = f"{value:z,.{digits}f}"
    return text.rstrip("0").rstrip(".") if digits else text
