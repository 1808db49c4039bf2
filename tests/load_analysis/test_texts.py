"""Figures as text."""

from __future__ import annotations

from bulklink.load_analysis.texts import (
    NOT_MEASURED,
    latency_text,
    rate_text,
    share_text,
    threshold_text,
)
from bulklink.load_results import ThresholdResult


def test_latencies_have_three_digits_and_a_unit() -> None:
    seconds = [None, 0, 0.0000456, 0.00456, 0.0456, 0.456, 0.9996, 4.56, 45.6, 4560]
    assert list(map(latency_text, seconds)) == [
        *(NOT_MEASURED, "0.00 ms", "0.05 ms", "4.56 ms", "45.6 ms", "456 ms"),
        *("1.00 s", "4.56 s", "45.6 s", "4,560 s"),
    ]


def test_rates_and_shares_keep_the_digits_that_matter() -> None:
    assert list(map(rate_text, [None, 0, 1.234, 199.84, 12_345.6])) == [
        *(NOT_MEASURED, "0.00", "1.23", "199.8", "12,346"),
    ]
    assert list(map(share_text, [None, 0, 0.00001, 0.001, 0.0175, 0.5, 1])) == [
        *(NOT_MEASURED, "0%", "< 0.01%", "0.1%", "1.75%", "50%", "100%"),
    ]


def test_a_threshold_is_measured_in_its_unit() -> None:
    texts = {"p99 < 400ms": "500 ms", "late < 10%": "50%", "from another version": NOT_MEASURED}
    for expression, text in texts.items():
        threshold = ThresholdResult(expression=expression, value=0.5, met=False)
        assert threshold_text(threshold) == text
