"""Thresholds: what may be written, and whether a load test meets them."""

from __future__ import annotations

import msgspec
import pytest

from bulklink.errors import UsageError
from bulklink.load_analysis.thresholds import parse_threshold
from bulklink.load_results import BothLatencies, LatencyFigures
from tests.load_results import load_result

INTENDED = LatencyFigures(mean=0.1, p50=0.05, p90=0.2, p95=0.3, p99=0.4, p999=0.9, max=1.5)
SERVICE = LatencyFigures(mean=0.05, p50=0.04, p90=0.06, p95=0.07, p99=0.08, p999=0.09, max=0.1)
RESULT = load_result(
    seconds=1,
    calls=1000,
    errors={"A": 1, "B": 2},
    late=50,
    dropped=250,
    answered_429=10,
    calls_per_second=96.0,
    asked_calls_per_second=100.0,
    latency=BothLatencies(service=SERVICE, intended=INTENDED),
)


@pytest.mark.parametrize(
    ("text", "value", "met"),
    [
        ("p99 < 400ms", 0.4, False),
        ("p99 <= 400ms", 0.4, True),
        ("p50<60 ms", 0.05, True),
        (" max < 1.5s ", 1.5, False),
        ("p99.9 < 1s", 0.9, True),
        ("p999 < .5s", 0.9, False),
        ("service.p99 < 100ms", 0.08, True),
        ("service.mean >= 50ms", 0.05, True),
        ("errors < 0.3%", 0.003, False),
        ("errors <= 0.3%", 0.003, True),
        ("late < 6%", 0.05, True),
        ("dropped < 20%", 0.2, False),
        ("answered_429 > 0%", 0.01, True),
        ("rate > 95%", 0.96, True),
        ("rate >= 96.5%", 0.96, False),
    ],
)
def test_a_figure_is_compared_with_the_limit_in_its_unit(
    text: str, value: float, *, met: bool
) -> None:
    checked = parse_threshold(text).check(RESULT)
    assert (checked.expression, checked.met) == (text.strip(), met)
    assert checked.value == pytest.approx(value)


def test_a_limit_in_percent_is_compared_without_rounding_errors() -> None:
    assert [
        tenths
        for tenths in range(1, 1000)
        if not parse_threshold(f"errors <= {tenths / 10}%")
        .check(msgspec.structs.replace(RESULT, calls=1000, errors={"A": tenths}))
        .met
    ] == []


def test_a_threshold_on_nothing_measured_is_missed() -> None:
    nothing = load_result(
        seconds=1, calls=0, late=0, latency=BothLatencies(service=None, intended=None)
    )
    for text in ("p99 < 400ms", "p99 > 400ms", "errors < 1%"):
        checked = parse_threshold(text).check(nothing)
        assert (checked.value, checked.met) == (None, False), text


@pytest.mark.parametrize(
    ("text", "message", "advice"),
    [
        ("p99", "'p99' is not a threshold", "a number with a unit: `p99 < 400ms`"),
        ("p99 < -4ms", "is not a threshold", "Write a figure"),
        ("", "'' is not a threshold", "Write a figure"),
        ("p98 < 4ms", "has no known figure 'p98'", "Latencies are mean, p50, p90"),
        ("server.p99 < 4ms", "has no known figure 'server.p99'", "Did you mean service.p99"),
        ("error < 1%", "has no known figure 'error'", "Did you mean errors?"),
        ("P99 < 1s", "has no known figure 'P99'", "Did you mean p99"),
        ("p99 == 4ms", "has no valid comparison '=='", "Use <, <=, > or >=."),
        ("p99 < 400", "has no unit", "write it in ms or s, such as `p99 < 400ms`"),
        ("p99 < 400us", "has an unknown unit 'us'", "write it in ms or s"),
        ("p99 < 5%", "has an unknown unit '%'", "p99 is a time"),
        ("errors < 0.1", "has no unit", "errors is a share: write it in %"),
        ("x" * 200, f"'{'x' * 60}…' is not", "Write a figure"),
    ],
)
def test_what_is_no_threshold_is_refused_with_advice(text: str, message: str, advice: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_threshold(text)
    assert message in caught.value.message
    assert advice in caught.value.advice
    assert caught.value.where == "threshold"


def test_a_share_of_the_asked_rate_is_refused_where_none_is_asked_for() -> None:
    with pytest.raises(UsageError, match="without a schedule none is asked for") as caught:
        parse_threshold("rate > 95%", open_model=False, setting="search")
    assert caught.value.where == "search"
    assert parse_threshold("p99 < 1s", open_model=False).limit == 1
