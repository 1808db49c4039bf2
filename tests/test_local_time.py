"""Times as users write them."""

from __future__ import annotations

from datetime import timedelta, timezone

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
