"""The time axis collapses pauses and has ticks at round local times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone, tzinfo
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest

from bulklink.html_pages.time_axis import (
    axis_ticks,
    build_axis,
    humanize_duration,
    label_ticks,
    utc_offset,
)

DAY = 86_400.0
NOON = datetime(2026, 11, 22, 12, tzinfo=UTC).timestamp()


def test_a_pause_of_days_is_collapsed() -> None:
    axis = build_axis([(NOON, NOON + 600), (NOON + 3 * DAY, NOON + 3 * DAY + 600)])
    (fold,) = axis.pauses
    assert (fold.began, fold.ended) == (NOON + 600, NOON + 3 * DAY)
    assert fold.at == 600
    assert fold.to - fold.at < 0.05 * axis.end
    assert axis.position(NOON + 300) == 300
    assert axis.position(NOON + DAY) == fold.to
    assert axis.position(NOON + 3 * DAY + 60) == fold.to + 60


def test_a_short_pause_is_drawn_to_scale() -> None:
    axis = build_axis([(0, 1000), (1040, 2000)])
    assert axis.pauses == ()
    assert axis.end == 2000


def test_many_pauses_leave_most_of_the_axis_to_activity() -> None:
    axis = build_axis([(n * DAY, n * DAY + 60) for n in range(300)])
    assert len(axis.pauses) == 299
    folded = sum(fold.to - fold.at for fold in axis.pauses)
    assert folded < 0.35 * axis.end


@pytest.mark.parametrize(
    ("seconds", "labels"),
    [
        (8, ["12:00:00", "12:00:01", "12:00:02"]),
        (600, ["12:00", "12:02", "12:04"]),
        (7200, ["12:00", "12:15", "12:30"]),
        (2 * DAY, ["12:00 22 Nov", "18:00 22 Nov", "00:00 23 Nov"]),
    ],
)
def test_ticks_are_at_round_times(seconds: float, labels: list[str]) -> None:
    shown_ticks = axis_ticks(build_axis([(NOON, NOON + seconds)]), UTC)
    assert [f"{tick.time} {tick.day}".strip() for tick in shown_ticks][:3] == labels
    assert len(shown_ticks) <= 10


def test_round_times_are_local_times() -> None:
    india = timezone(timedelta(hours=5, minutes=30))
    shown_ticks = axis_ticks(build_axis([(NOON, NOON + 6 * 3600)]), india)
    assert [tick.time for tick in shown_ticks][:2] == ["18:00", "19:00"]
    assert shown_ticks[0].at == 1800


def labels_of(seconds: float, zone: tzinfo = UTC, began: float = NOON) -> list[str]:
    ticks = axis_ticks(build_axis([(began, began + seconds)]), zone)
    return [f"{tick.time} {tick.day}".strip() for tick in ticks]


def test_days_are_labelled_at_midnight() -> None:
    assert labels_of(30 * DAY)[:2] == ["23 Nov", "30 Nov"]


def test_round_times_follow_a_clock_that_is_put_back() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    friday = datetime(2026, 10, 23, 12, tzinfo=berlin).timestamp()
    days = labels_of(8 * DAY, berlin, friday)
    assert days == [f"{day} Oct" for day in range(24, 32)]
    hours = labels_of(2.5 * DAY, berlin, friday)
    assert hours == [
        *("12:00 23 Oct", "00:00 24 Oct", "12:00 24 Oct"),
        *("00:00 25 Oct", "12:00 25 Oct"),
    ]


def test_an_axis_has_as_many_labels_as_fit() -> None:
    axis = build_axis([(NOON, NOON + 2 * DAY)])
    ticks = axis_ticks(axis, UTC)
    for room in (220, 400, 700):
        labels = label_ticks(axis, ticks, room)
        apart = [(b.at - a.at) * room / axis.end for a, b in pairwise(labels)]
        assert min(apart) >= 50
    assert len(label_ticks(axis, ticks, 220)) < len(label_ticks(axis, ticks, 700)) == len(ticks)


def test_a_day_is_named_once() -> None:
    axis = build_axis([(NOON, NOON + 2 * DAY)])
    labels = label_ticks(axis, axis_ticks(axis, UTC), 700)
    assert [label.lines for label in labels[:4]] == [
        *(("12:00", "22 Nov"), ("18:00",)),
        *(("00:00", "23 Nov"), ("06:00",)),
    ]


def test_the_time_after_a_pause_takes_precedence_over_the_time_before() -> None:
    axis = build_axis([(NOON, NOON + 20), (NOON + 3 * DAY, NOON + 3 * DAY + 30)])
    labels = label_ticks(axis, axis_ticks(axis, UTC), 280)
    assert ("12:00:00", "25 Nov") in [label.lines for label in labels]


def test_each_part_of_the_axis_has_a_time() -> None:
    spans = [(NOON + n * DAY + 7, NOON + n * DAY + 29) for n in range(3)]
    axis = build_axis(spans)
    shown_ticks = axis_ticks(axis, UTC)
    for part in axis.segments:
        assert any(part.start <= tick.at <= part.start + 22 for tick in shown_ticks)
    assert {tick.day for tick in shown_ticks} == {"22 Nov", "23 Nov", "24 Nov"}


def test_the_offset_is_that_of_the_date() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    assert utc_offset(NOON, berlin) == "+01:00"
    assert utc_offset(NOON - 150 * DAY, berlin) == "+02:00"
    assert utc_offset(NOON, timezone(-timedelta(hours=3, minutes=30))) == "-03:30"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.4, "0 s"),
        (59, "59 s"),
        (59.7, "1 min"),
        (61, "1 min 1 s"),
        (3599.9, "1 h"),
        (3600, "1 h"),
        (5400, "1 h 30 min"),
        (DAY + 3600, "1 d 1 h"),
        (DAY + 60, "1 d"),
    ],
)
def test_a_duration_has_at_most_two_units(seconds: float, expected: str) -> None:
    assert humanize_duration(seconds) == expected
