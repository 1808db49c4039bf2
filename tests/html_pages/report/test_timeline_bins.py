"""Measurements are merged into few spans with correct counts and rates."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from bulklink.html_pages.report.timeline import MAX_SPANS, Measurement, merge_measurements

_LINES = st.lists(
    st.tuples(
        st.floats(0, 20) | st.floats(40, 1e6),
        st.floats(0.5, 90),
        st.integers(0, 500),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=80,
)


def make_measurements(lines: list[tuple[float, float, int, int]]) -> list[Measurement]:
    now, measurements = 1_700_000_000.0, []
    for pause, seconds, succeeded, refused in lines:
        start = now + pause
        now = start + seconds
        measurements.append(
            Measurement(
                began=start,
                ended=now,
                settled={"done": succeeded},
                answered_429=refused,
                in_flight=2.0,
                allowed=10.0,
                latency={0.25: succeeded},
            )
        )
    return measurements


@given(_LINES, st.integers(1, 12))
def test_merging_loses_no_measurement_and_counts_none_twice(
    lines: list[tuple[float, float, int, int]], most: int
) -> None:
    given_lines = make_measurements(lines)
    found = merge_measurements(given_lines, most)
    settled = sum((span.settled for span in found), Counter())
    assert settled["done"] == sum(line[2] for line in lines)
    assert sum(span.answered_429 for span in found) == sum(line[3] for line in lines)
    assert abs(sum(span.active_seconds for span in found) - sum(line[1] for line in lines)) < 1e-3
    assert found[0].began == given_lines[0].began
    assert found[-1].ended == given_lines[-1].ended
    assert len(found) <= most


@given(_LINES)
def test_no_span_covers_a_pause_while_pauses_are_few(
    lines: list[tuple[float, float, int, int]],
) -> None:
    given_lines = make_measurements(lines)
    for span in merge_measurements(given_lines, 2 * len(lines)):
        inside = [m for m in given_lines if span.began <= m.began < span.ended]
        apart = [b.began - a.ended for a, b in pairwise(inside)]
        assert all(pause <= 30 + 1e-6 for pause in apart)


def test_with_many_pauses_spans_cover_the_shortest() -> None:
    lines = [(100.0, 1.0, 1, 0)] * 1000 + [(1e6, 1.0, 1, 0)] * 3
    found = merge_measurements(make_measurements(lines), 10)
    assert len(found) <= 10
    assert sum(b.began - a.ended > 9e5 for a, b in pairwise(found)) == 3


def test_a_long_run_has_about_a_hundred_spans_of_equal_width() -> None:
    day = make_measurements([(0.0, 1.0, 10, 0)] * 86_400)
    found = merge_measurements(iter(day))
    assert MAX_SPANS / 2 <= len(found) <= MAX_SPANS
    widths = {round(span.ended - span.began) for span in found[:-1]}
    assert max(widths) <= 2 * min(widths)
    assert all(span.settled["done"] == 10 * round(span.active_seconds) for span in found)


def test_means_are_weighted_by_time_and_percentiles_by_calls() -> None:
    slow = Measurement(
        began=0, ended=9, settled={}, in_flight=1.0, allowed=10.0, latency={0.1: 98, 2.0: 1}
    )
    busy = Measurement(
        began=9, ended=10, settled={}, in_flight=11.0, allowed=20.0, latency={0.5: 1, 0.1: 100}
    )
    (span,) = merge_measurements([slow, busy], 1)
    assert span.in_flight / span.measured_seconds == 2.0
    assert span.allowed / span.measured_seconds == 11.0
    assert [span.percentile(share) for share in (0.5, 0.99, 0.995, 1.0)] == [0.1, 0.1, 0.5, 2.0]


def test_a_span_without_answers_has_no_latency() -> None:
    (span,) = merge_measurements([Measurement(began=0, ended=1, settled={})])
    assert span.percentile(0.5) is None
