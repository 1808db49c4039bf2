"""Plots of benchmarks: lines on two logarithmic axes, as SVG."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 760, 440, 60, 20, 200, 40
_LINE_HEIGHT = 14
_STYLE = (
    "text{font:12px sans-serif}.end{text-anchor:end}.middle{text-anchor:middle}"
    ".grid{stroke:#ccc}polyline{fill:none;stroke-width:2}"
)


def log_plot(
    title: str,
    lines: Mapping[str, Sequence[tuple[float, float]]],
    x_labels: Mapping[float, str],
    y_label: Callable[[float], str],
) -> str:
    """Return an SVG of lines, each with its name at its end.

    Args:
        title: what the plot shows, for those who do not see it.
        lines: points of each line by its name; all coordinates are above 0.
        x_labels: labels of the x axis by their position.
        y_label: returns the label of a power of ten on the y axis.
    """
    values = [y for points in lines.values() for _, y in points]
    first, last = math.log10(min(x_labels)), math.log10(max(x_labels))
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))

    def at(x: float, y: float) -> tuple[float, float]:
        across = (math.log10(x) - first) / (last - first or 1)
        up = (math.log10(y) - low) / (high - low or 1)
        return (
            _LEFT + across * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - up * (_HEIGHT - _TOP - _BOTTOM),
        )

    parts = []
    for exponent in range(low, high + 1):
        _, y = at(min(x_labels), 10.0**exponent)
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.0f}H{_WIDTH - _RIGHT}"/>')
        label = escape(y_label(10.0**exponent))
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.0f}" class="end">{label}</text>')
    for position, label in x_labels.items():
        x, y = at(position, 10.0**low)
        parts.append(f'<path class="grid" d="M{x:.0f} {y:.0f}V{_TOP}"/>')
        parts.append(f'<text x="{x:.0f}" y="{y + 20:.0f}" class="middle">{escape(label)}</text>')
    label_y = math.inf
    for number, (name, points) in enumerate(sorted(lines.items(), key=lambda line: line[1][-1][1])):
        hue = number * 360 // len(lines)
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (at(*point) for point in points))
        x, y = at(*points[-1])
        label_y = min(y, label_y - _LINE_HEIGHT)
        parts.append(f'<polyline stroke="hsl({hue} 60% 45%)" points="{path}"/>')
        parts.append(
            f'<text x="{x + 8:.0f}" y="{label_y + 4:.0f}" fill="hsl({hue} 60% 35%)">'
            f"{escape(name)}</text>"
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style>"
        f'<rect width="100%" height="100%" fill="#fff"/>{"".join(parts)}</svg>\n'
    )
