"""What a command says that stopped before it wrote its mapping."""

from __future__ import annotations

from bulklink.cli.calls_line import unfinished_lines
from bulklink.local_time import format_local_time

CALLS = {"read": 1200, "lookup": 3, "retried": 1}
RESUME_AT = "2026-11-22T10:15:00.000Z"


def test_a_command_that_waits_for_credits_says_when_they_are_expected() -> None:
    assert list(unfinished_lines(CALLS, 1300, RESUME_AT, "Run it again.")) == [
        "Calls: 1,200 read, 3 look-up, 1 retried; 1,300 credits.",
        f"Credits are expected at {format_local_time(RESUME_AT)}.",
        "Not finished: no mapping was written. Run it again.",
    ]


def test_without_a_time_nothing_is_said_about_credits() -> None:
    assert list(unfinished_lines(CALLS, 1203, None, "Run it again.")) == [
        "Calls: 1,200 read, 3 look-up, 1 retried.",
        "Not finished: no mapping was written. Run it again.",
    ]
