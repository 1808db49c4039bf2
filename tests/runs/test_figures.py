"""Rates and latencies of a run, over all its invocations."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest

from bulklink.runs.figures import read_figures

INTERVAL = {
    "ts": "2026-11-22T10:15:00.000Z",
    "seconds": 10.0,
    "settled": {"done": 380, "failed": 20},
    "calls": {"link": 20, "unlink": 0, "read": 5, "lookup": 0},
    "answered_429": 0,
    "in_flight": 8.0,
    "most_in_flight": 10.0,
    "latency": {"0.25": 20, "0.5": 5},
    "credits_left": None,
    "waited": 0.0,
    "limited_by": "calls in flight",
}


def write(path: Path, *intervals: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(INTERVAL | each) + "\n" for each in intervals), "utf-8")
    return path


def test_days_of_waiting_for_credits_do_not_lower_the_rate(tmp_path: Path) -> None:
    three_days = {"seconds": 259_200.5, "waited": 259_200.0, "settled": {}, "calls": {}}
    timeline = write(tmp_path / "t", {}, three_days | {"latency": {}}, {})
    figures = read_figures(timeline)
    assert figures is not None
    assert (figures.sending_seconds, figures.waited_seconds) == (20.5, 259_200.0)
    assert figures.messages_per_second == round(800 / 20.5, 3)
    assert figures.calls_per_second == round(50 / 20.5, 3)


def test_look_ups_and_questions_do_not_count_and_corrections_do(tmp_path: Path) -> None:
    minutes = {"seconds": 600.0, "sending": False, "settled": {"rejected": 5}}
    correction = {"settled": {"done": 20, "in_doubt": -20}}
    figures = read_figures(write(tmp_path / "t", minutes, {}, minutes, correction))
    assert figures is not None
    assert (figures.messages_per_second, figures.calls_per_second) == (20.0, 2.5)


def test_percentiles_are_those_of_all_calls_within_half_a_percent(tmp_path: Path) -> None:
    rng = random.Random(7)
    latencies = [rng.lognormvariate(-1, 0.5) for _ in range(5000)]
    parts = [latencies[:2000], latencies[2000:]]
    timeline = write(
        tmp_path / "t", *({"latency": {f"{each:.4g}": 1 for each in part}} for part in parts)
    )
    written = sorted(
        seconds
        for line in timeline.read_text("utf-8").splitlines()
        for seconds in map(float, json.loads(line)["latency"])
    )
    figures = read_figures(timeline)
    assert figures is not None
    assert figures.latency is not None
    exact = {
        name: written[math.ceil(share * len(written)) - 1]
        for name, share in {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}.items()
    }
    for name, latency in exact.items():
        assert getattr(figures.latency, name) == pytest.approx(latency, rel=0.006), name
    assert figures.latency.max == float(f"{written[-1]:.4g}")
    assert figures.latency.mean == pytest.approx(sum(written) / len(written), rel=0.001)


def test_a_latency_without_calls_is_none(tmp_path: Path) -> None:
    """A timeline may have been written by anybody."""
    figures = read_figures(write(tmp_path / "t", {"latency": {"0.5": 0}}))
    assert figures is not None
    assert figures.latency is None


@pytest.mark.parametrize("content", ["", "x\n", '{"ts":"2026-11-22T10:15:00.000Z"}\n'])
def test_nothing_measured_is_no_figure(tmp_path: Path, content: str) -> None:
    (tmp_path / "t").write_text(content, "utf-8")
    assert read_figures(tmp_path / "t") is None
    assert read_figures(tmp_path / "missing") is None
