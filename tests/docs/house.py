"""Picture of the packages in layers, drawn from the import contract; `make docs` runs it.

python -m tests.docs.house
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from tests.docs.reference import ROOT

TARGET = ROOT / "docs" / "house.svg"
WHAT = {
    "cli": "commands, options, terminal: the only package that prints",
    "cluster": "several machines, by way of PostgreSQL",
    "ui": "the page of bulklink ui",
    "worker": "sends approved runs",
    "operations": "a module for each verb: run, resume, undo, audit, …",
    "engine": "sends a plan",
    "runs": "the run folder",
    "profiles": "sign-ins, secrets",
    "zoho": "the API",
    "mapping": "read, check, seal",
    "ledger": "append-only",
    "tables": "CSV, xlsx, …",
    "html_pages": "reports",
    "finding": "which deal?",
    "load_analysis": "what load tests say: pure functions",
    "load_results": "results of load tests",
    "models": "models, files, statistics, shell: small modules that any package may use",
    "errors": "the error tree, exit codes, advice",
    "emulator": "a local CRM",
}
"""What each package is, in a few words; the rest of a line of modules goes without saying."""
_WIDTH, _MARGIN, _GAP, _HEIGHT, _ROW = 920, 16, 10, 48, 64
_SIDE = 130
"""Width of what stands beside the layers."""
_STYLE = """
  .page { fill: #ffffff; } .box { fill: #eef3fb; stroke: #5b7db1; } .beside { fill: #f4f4f4; }
  text { fill: #1b1f24; font: 12px ui-sans-serif, system-ui, "Segoe UI", sans-serif; }
  .name { font: 600 14px ui-monospace, Menlo, Consolas, monospace; }
  .arrow { stroke: #5b7db1; fill: none; }
  @media (prefers-color-scheme: dark) {
    .page { fill: #131416; } .box { fill: #1d2635; stroke: #7fa3dc; } .beside { fill: #26272b; }
    text { fill: #e6e8eb; } .arrow { stroke: #7fa3dc; }
  }
"""


@dataclass(frozen=True, slots=True)
class Box:
    """A package at its place.

    Args:
        name: its name.
        x: left edge.
        y: upper edge.
        width: width.
        height: height.
    """

    name: str
    x: float
    y: float
    width: float
    height: float

    def draw(self) -> str:
        """Return its SVG."""
        middle, centre = self.x + self.width / 2, self.y + self.height / 2
        kind = "box beside" if self.name == "emulator" else "box"
        return (
            f'<rect class="{kind}" x="{self.x:g}" y="{self.y:g}" width="{self.width:g}"'
            f' height="{self.height:g}" rx="6"/>\n'
            f'<text class="name" x="{middle:g}" y="{centre - 3:g}" text-anchor="middle">'
            f"{self.name}</text>\n"
            f'<text x="{middle:g}" y="{centre + 15:g}" text-anchor="middle">'
            f"{escape(WHAT[self.name])}</text>\n"
        )


def layers() -> list[list[str]]:
    """Return the layers of the contract from top to bottom, each with the packages to draw."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    contract = settings["tool"]["importlinter"]["contracts"][0]
    rows = [[name.strip() for name in layer.split("|")] for layer in contract["layers"]]
    return [drawn for row in rows if (drawn := [name for name in row if name in WHAT])]


def boxes(rows: Sequence[Sequence[str]]) -> Iterator[Box]:
    """Yield the boxes of the layers, and what stands beside them."""
    inner = _WIDTH - 2 * _MARGIN - _SIDE - 2 * _GAP
    for number, row in enumerate(rows):
        width = (inner - _GAP * (len(row) - 1)) / len(row)
        for place, name in enumerate(row):
            yield Box(
                name, _MARGIN + place * (width + _GAP), _MARGIN + number * _ROW, width, _HEIGHT
            )
    height = (len(rows) - 1) * _ROW + _HEIGHT
    yield Box("emulator", _WIDTH - _MARGIN - _SIDE, _MARGIN, _SIDE, height)


def picture() -> str:
    """Return the picture."""
    rows = layers()
    height = 2 * _MARGIN + (len(rows) - 1) * _ROW + _HEIGHT
    inner = _WIDTH - 2 * _MARGIN - _SIDE - 2 * _GAP
    arrows = "".join(
        f'<path class="arrow" d="M{_MARGIN + inner / 2:g} {y:g}v11m-4 -5l4 5l4 -5"/>\n'
        for y in (_MARGIN + number * _ROW + _HEIGHT + 2 for number in range(len(rows) - 1))
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}"'
        f' height="{height}" role="img">\n<title>The packages of bulklink in layers</title>\n'
        f'<style>{_STYLE}</style>\n<rect class="page" width="{_WIDTH}" height="{height}" rx="8"/>\n'
        f"{arrows}{''.join(box.draw() for box in boxes(rows))}</svg>\n"
    )


if __name__ == "__main__":
    TARGET.write_text(picture(), "utf-8")
