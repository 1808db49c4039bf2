"""Parser of the charts' SVG paths."""

from __future__ import annotations

import re
from collections.abc import Iterator

_COMMAND = re.compile(r"M(-?[\d.]+) (-?[\d.]+)|H(-?[\d.]+)|V(-?[\d.]+)|Z")


def path_points(path: str) -> Iterator[tuple[float, float]]:
    """Yield the points of a path; all of it must be commands with finite numbers."""
    assert _COMMAND.sub("", path) == ""
    x = y = 0.0
    for match in _COMMAND.finditer(path):
        if match[0] != "Z":
            x = float(match[1] or match[3] or x)
            y = float(match[2] or match[4] or y)
            yield x, y
