"""Geometry of a chart: scales, ticks and the paths of steps. Pure.

A chart is stretched to the available width: x goes from 0 to 1,000 for any width, y from 0 at the
top to the height in pixels. All paths stay within the plot area for any values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from math import ceil, floor, isfinite, log10

import msgspec
from msgspec.structs import replace

PLOT_WIDTH = 1000
PLOT_HEIGHT = 140
_MAX_STEPS = 6
"""Maximum steps of a scale, which has one tick more."""
_MIN_WHOLE_STEPS = 4
"""Minimum steps of a scale of whole numbers, so that one call does not fill the chart."""
_LOWEST_TOP, _HIGHEST_TOP = 1e-3, 1e18
_COMPACT_FROM = 10_000
_TOUCHING = 2.0
"""Maximum distance of areas that touch, about a pixel."""
_SUFFIXES = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


class Step(msgspec.Struct, frozen=True):
    """A constant value over a part of the axis.

    Args:
        x0: beginning, from 0 to `PLOT_WIDTH`.
        x1: end.
        line: number of the line it belongs to; lines are not connected.
        upper: the value; None if there is none.
        lower: the lower value of an area.
    """

    x0: float
    x1: float
    line: int
    upper: float | None
    lower: float = 0.0


class ValueTick(msgspec.Struct, frozen=True):
    """A labelled value of a scale.

    Args:
        y: position, in pixels from the top.
        label: the value, as text.
    """

    y: float
    label: str


class ValueScale(msgspec.Struct, frozen=True):
    """Scale of values, from 0 at the bottom to a round number at the top.

    Args:
        top: value at the top; above 0.
        step: distance between ticks.
    """

    top: float
    step: float

    def y(self, value: float) -> float:
        """Return the position of a value, clamped to the scale."""
        share = min(1.0, max(0.0, value / self.top)) if value > 0 else 0.0
        return round(PLOT_HEIGHT * (1 - share), 1)

    def ticks(self) -> list[ValueTick]:
        """Return the ticks, from the bottom up."""
        values = [number * self.step for number in range(round(self.top / self.step) + 1)]
        return [ValueTick(self.y(value), self._label(value)) for value in values]

    def _label(self, value: float) -> str:
        if self.top < _COMPACT_FROM:
            return f"{value:.{max(0, -floor(log10(self.step) + 1e-9))}f}"
        divisor, suffix = next(pair for pair in _SUFFIXES if self.top >= pair[0])
        return f"{value / divisor:.4g}{suffix}" if value else "0"


def fit_scale(values: Iterable[float | None], *, whole: bool = False) -> ValueScale:
    """Return a scale with round ticks that fits all values.

    Args:
        values: values to draw; None and values that are not finite are ignored.
        whole: whether all values, and therefore all ticks, are whole numbers.
    """
    highest = max((value for value in values if value is not None and isfinite(value)), default=0.0)
    if highest <= 0:
        highest = 1.0
    highest = min(_HIGHEST_TOP, max(_LOWEST_TOP, highest))
    step = _round_up(highest / _MAX_STEPS)
    count = ceil(highest / step - 1e-9)
    if whole and step <= 1:
        return ValueScale(max(_MIN_WHOLE_STEPS, ceil(highest)), 1)
    return ValueScale(step * count, step)


def _round_up(value: float) -> float:
    """Round up to 1, 2 or 5 times a power of ten."""
    exponent = floor(log10(value))
    candidates = (float(f"{digit}e{exponent}") for digit in (1, 2, 5, 10))
    return next(size for size in candidates if size >= value * (1 - 1e-9))


def format_coordinate(value: float) -> str:
    """Format a coordinate to a tenth, as short as possible."""
    return f"{value:.1f}".removesuffix(".0")


def area_path(steps: Sequence[Step], y: Callable[[float], float]) -> str:
    """Return the SVG path of areas between lower and upper values.

    Args:
        steps: steps in order; those without a value above the lower one are left empty.
        y: position of a value.
    """
    return "".join(_outline(run, y) for run in _runs(steps, _has_area, _TOUCHING))


def line_path(steps: Sequence[Step], y: Callable[[float], float]) -> str:
    """Return the SVG path of lines along the upper values.

    Args:
        steps: steps in order; those without a value interrupt the line.
        y: position of a value.
    """
    return "".join(_outline_top(run, y) for run in _runs(steps, _has_value, PLOT_WIDTH))


def _has_value(step: Step) -> bool:
    return step.upper is not None and isfinite(step.upper)


def _has_area(step: Step) -> bool:
    return step.upper is not None and step.upper > max(0.0, step.lower)


def _runs(
    steps: Sequence[Step], is_drawn: Callable[[Step], bool], max_gap: float
) -> Iterator[list[Step]]:
    """Yield steps drawn as one shape, each extended to the beginning of the next."""
    run: list[Step] = []
    for step in steps:
        if run and not (is_drawn(step) and _follows(step, run[-1], max_gap)):
            yield run
            run = []
        if run:
            run[-1] = replace(run[-1], x1=step.x0)
        if is_drawn(step):
            run.append(step)
    if run:
        yield run


def _follows(step: Step, previous: Step, max_gap: float) -> bool:
    return step.line == previous.line and step.x0 - previous.x1 <= max_gap


def _outline(run: Sequence[Step], y: Callable[[float], float]) -> str:
    bottoms = [(step.x1, step.x0, y(step.lower)) for step in reversed(run)]
    return f"{_outline_top(run, y)}V{format_coordinate(bottoms[0][2])}{_trace(bottoms)}Z"


def _outline_top(run: Sequence[Step], y: Callable[[float], float]) -> str:
    tops = [(step.x0, step.x1, y(step.upper or 0.0)) for step in run]
    return f"M{format_coordinate(run[0].x0)} {format_coordinate(tops[0][2])}{_trace(tops)}"


def _trace(parts: Sequence[tuple[float, float, float]]) -> str:
    """Return the path along parts (start, end, y), merging neighbours with the same y."""
    corners = [
        f"H{format_coordinate(x)}V{format_coordinate(y)}"
        for (_, _, previous_y), (x, _, y) in pairwise(parts)
        if y != previous_y
    ]
    return f"{''.join(corners)}H{format_coordinate(parts[-1][1])}"
