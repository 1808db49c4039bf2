"""Rounds of a comparison: pairs of load tests."""

from __future__ import annotations

from datetime import datetime

from bulklink.load_results import LoadResult

LoadPair = tuple[LoadResult, LoadResult]
"""Load tests A and B of a round, in whatever order they ran."""


def b_came_first(pair: LoadPair) -> bool:
    """Return whether B of a round began before A."""
    a, b = (datetime.fromisoformat(result.started) for result in pair)
    return b < a
