"""docs/link-origins.md: it explains every origin and every reason, in the words of the code."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path

import pytest

from bulklink.finding.link_origin import LinkOrigin, NoLinkReason
from bulklink.finding.uncertainty import Uncertainty

TEXT = (Path(__file__).parents[2] / "docs" / "link-origins.md").read_text("utf-8")


def cells(heading: str, column: int) -> list[str]:
    """Return the cells of a column of the first table below a heading."""
    table = re.search(r"\n(\|.*?)\n\n", TEXT.partition(f"# {heading}\n")[2], re.DOTALL)
    assert table is not None
    rows = [line.strip("|").split("|") for line in table[1].splitlines()[2:]]
    return [row[column].strip().strip("`") for row in rows]


@pytest.mark.parametrize(
    ("heading", "column", "values"),
    [
        ("What a link says", 2, LinkOrigin),
        ("Emails on no deal", 0, NoLinkReason),
        ("Why a verdict is uncertain", 0, Uncertainty),
    ],
)
def test_every_value_is_explained_in_its_order(
    heading: str, column: int, values: type[StrEnum]
) -> None:
    assert cells(heading, column) == list(values)
