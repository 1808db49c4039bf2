"""Load tests for pages: with and without a schedule, and two to compare."""

from __future__ import annotations

from datetime import UTC

import msgspec

from bulklink.html_pages.load.render import render_comparison, render_load
from bulklink.load_analysis.comparison import LoadComparison, compare_loads
from bulklink.load_analysis.thresholds import parse_threshold
from bulklink.load_results import LoadResult
from tests.load_results import SimulatedServer, load_result


def stalled_result() -> LoadResult:
    """Return a load test with a stall, errors, two phases, and thresholds met and missed."""
    server = SimulatedServer(stalls=[(8, 2)], error_share=0.02)
    result = load_result(server, rate=60, places=4, answered_429=3, retried=5)
    (phase,) = result.phases
    warm_up = msgspec.structs.replace(phase, name="warm-up", seconds=5.0)
    ramp = msgspec.structs.replace(phase, name="ramp", at=5.0, asked_last=80.0)
    thresholds = [
        parse_threshold(text).check(result)
        for text in ("p99 < 400ms", "service.p99 < 400ms", "errors < 0.1%", "rate > 95%")
    ]
    return msgspec.structs.replace(result, phases=[warm_up, ramp], thresholds=thresholds)


def closed_result() -> LoadResult:
    """Return a load test without a schedule and thresholds, whose client was the bottleneck."""
    result = load_result(rate=None, places=5, thresholds=[])
    client = msgspec.structs.replace(result.client, cpu=0.97, bottleneck=True)
    return msgspec.structs.replace(result, client=client)


def compared_results() -> tuple[LoadResult, LoadResult, LoadComparison]:
    """Return two load tests of other machines, and their comparison."""
    a = load_result(seconds=20, run_dir="runs/a")
    b = load_result(
        SimulatedServer(median=0.1),
        seconds=20,
        run_dir="runs/b",
        started="2026-11-22T12:05:00+00:00",
        machine={**a.machine, "processors": 4},
    )
    return a, b, compare_loads([(a, b)], "p50")


def load_page(result: LoadResult) -> str:
    return render_load(result, UTC)


def comparison_page(a: LoadResult, b: LoadResult, comparison: LoadComparison) -> str:
    return render_comparison(a, b, comparison, UTC)
