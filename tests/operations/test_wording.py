"""Sentences that the terminal and the report share."""

from __future__ import annotations

import pytest

from bulklink.load_results import LatencyFigures
from bulklink.operations.wording import describe_rate, format_latency, format_rate
from bulklink.runs.record import RunState
from bulklink.runs.status import CallCounts, RunResult


def result_of(rate: float | None, waited: float = 0.0, *, latency: bool = True) -> RunResult:
    latencies = LatencyFigures(
        mean=0.5, p50=0.482, p90=0.6, p95=0.6149, p99=1.254, p999=2.0, max=2.5
    )
    return RunResult(
        run_dir="runs/r",
        op="link",
        state=RunState.FINISHED,
        stopped_by=None,
        resume_at=None,
        rows=0,
        counts={},
        calls=CallCounts(0, 0, 0, 0, 0, 0),
        credits=0,
        seconds=0.0,
        exit_code=0,
        messages_per_second=rate,
        waited_seconds=waited,
        latency=latencies if latency else None,
    )


def test_a_short_line_has_the_rate_and_three_percentiles() -> None:
    line = describe_rate(result_of(762.7))
    assert line == "Rate: 763 emails/s; calls: p50 482 ms, p95 615 ms, p99 1.25 s"
    assert len(line) < 80
    assert describe_rate(result_of(None)) == ""
    assert describe_rate(result_of(762.7, latency=False)) == "Rate: 763 emails/s"


def test_waits_for_credits_are_named() -> None:
    line = describe_rate(result_of(3.84, waited=259_200.0))
    assert line.startswith("Rate: 3.8 emails/s, without 259,200 s of waiting for credits; calls:")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0004218, "0.422 ms"),
        (0.00167, "1.67 ms"),
        (0.0999, "99.9 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1 s"),
        (30.04, "30 s"),
        (1234.5, "1,234 s"),
    ],
)
def test_latencies_have_three_digits(seconds: float, text: str) -> None:
    assert format_latency(seconds) == text


def test_a_low_rate_is_a_minute() -> None:
    assert [format_rate(rate, "emails") for rate in (0.05, 1, 9.96, 1234.5)] == [
        *("3.0 emails/min", "1.0 emails/s", "10.0 emails/s", "1,234 emails/s"),
    ]
