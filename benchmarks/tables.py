"""Benchmark tables, written to README.md between two marker lines."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

README = Path(__file__).with_name("README.md")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def put_table(name: str, text: str) -> None:
    """Replace the table between the marker lines of `name`."""
    start, end = f"<!-- {name}: written by the script -->\n", f"\n<!-- /{name} -->"
    before, _, after_start = README.read_text("utf-8").partition(start)
    _, end_marker, after = after_start.partition(end)
    if not end_marker:
        raise SystemExit(f"{README.name} has no marker lines for {name}.")
    README.write_text(before + start + text + end + after, "utf-8")
