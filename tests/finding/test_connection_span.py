"""How an email came in follows from when its mailbox was connected."""

from __future__ import annotations

import pytest

from bulklink.finding.connection_span import (
    ALWAYS_CONNECTED,
    CONNECTION_UNKNOWN,
    Arrival,
    ConnectionSpan,
)


@pytest.mark.parametrize(
    ("time", "arrival"),
    [
        (39, Arrival.BACKLOG),
        (41, Arrival.EITHER),
        (150, Arrival.EITHER),
        (259, Arrival.EITHER),
        (260, Arrival.LIVE),
    ],
)
def test_an_email_is_live_after_the_span_and_backlog_before(time: int, arrival: Arrival) -> None:
    assert ConnectionSpan(100, 200).arrival(time, 60) is arrival


def test_any_email_of_a_mailbox_that_was_always_connected_is_live() -> None:
    assert ALWAYS_CONNECTED.arrival(0, 60) is Arrival.LIVE


def test_nothing_is_known_of_an_unknown_mailbox() -> None:
    assert CONNECTION_UNKNOWN.arrival(0, 60) is Arrival.EITHER
