"""Times as users write them."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest

from bulklink.local_time import parse_point_in_time

ZONE = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("text", "end_of_day", "expected"),
    [
        ("2026-01-31", False, "2026-01-31T00:00:00+02:00"),
        ("2026-01-31", True, "2026-02-01T00:00:00+02:00"),
        ("2026-01-31T09:30", True, "2026-01-31T09:30:00+02:00"),
        ("2026-01-31 09:30+05:30", False, "2026-01-31T09:30:00+05:30"),
        ("2026-01-31T09:30Z", False, "2026-01-31T09:30:00+00:00"),
    ],
)
def test_a_time_has_an_offset_and_a_date_is_a_day(
    text: str, end_of_day: bool, expected: str
) -> None:
    assert parse_point_in_time(text, ZONE, end_of_day=end_of_day) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01", "31.01.2026"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"isoformat|month"):
        parse_point_in_time(text)


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "UTC"])
def test_the_first_and_the_last_day_there_are_can_be_written(
    zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if hasattr(time, "tzset"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
    first = datetime.fromisoformat(parse_point_in_time("0001-01-01"))
    last = datetime.fromisoformat(parse_point_in_time("9999-12-31", end_of_day=True))
    assert first < datetime(2, 1, 1, tzinfo=UTC)
    assert last > datetime(9998, 12, 31, tzinfo=UTC)
    assert first.timestamp() < last.timestamp()
    monkeypatch.undo()
    if hasattr(time, "tzset"):
        time.tzset()
