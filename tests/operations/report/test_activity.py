"""What a report draws of a timeline: waits for credits and outages become pauses."""

from __future__ import annotations

from datetime import UTC

import msgspec
import pytest

from bulklink.html_pages.report.charts import ChartData, CommandEnd, build_chart_data
from bulklink.ledger.records import timestamp
from bulklink.operations.report.activity import measurements_of
from bulklink.runs.timeline import TimelineInterval
from tests.html_pages.report.run_folders import NOON

DAYS = 3 * 86_400.0
WORK = TimelineInterval(
    ts=timestamp(NOON.timestamp()),
    seconds=10.0,
    settled={"done": 200},
    calls={"link": 10, "unlink": 0, "read": 0, "lookup": 0},
    answered_429=0,
    in_flight=5.0,
    most_in_flight=10.0,
    latency={0.5: 10},
    credits_left=None,
    waited=0.0,
    limited_by="calls in flight",
)
IDLE = msgspec.structs.replace(WORK, settled={}, calls={}, in_flight=0.0, latency={})
WORKED = NOON.timestamp() + 300
"""End of thirty stretches of work."""


def timeline(*intervals: TimelineInterval) -> list[TimelineInterval]:
    """Return intervals that follow each other from noon on."""
    end, placed = NOON.timestamp(), []
    for interval in intervals:
        end += interval.seconds
        placed.append(msgspec.structs.replace(interval, ts=timestamp(end)))
    return placed


def charts_of(*intervals: TimelineInterval) -> ChartData:
    charts = build_chart_data(measurements_of(timeline(*intervals)), UTC)
    assert charts is not None
    return charts


def test_a_wait_of_days_for_credits_is_a_short_stripe() -> None:
    """Work before and after it takes the rest of the axis."""
    wait = msgspec.structs.replace(
        WORK, seconds=DAYS + 0.5, waited=DAYS, settled={"done": 40}, in_flight=1 / DAYS
    )
    charts = charts_of(*[WORK] * 60, wait, *[WORK] * 60)
    (pause,) = charts.pauses
    assert (pause.length, pause.cause) == ("3 d", "credits")
    assert (pause.began, pause.ended) == ("22 Nov 12:10:01", "25 Nov 12:10:00")
    assert pause.x > 450
    assert pause.width < 50


def test_calls_in_flight_when_a_wait_began_are_drawn_before_it() -> None:
    wait = msgspec.structs.replace(
        WORK, seconds=DAYS, waited=DAYS, settled={"done": 40}, in_flight=4 / DAYS
    )
    *_, last = measurements_of(timeline(WORK, wait))
    assert (last.began, last.ended) == (NOON.timestamp() + 10, NOON.timestamp() + 11)
    assert (last.settled, last.before_wait) == ({"done": 40}, True)
    assert last.in_flight is not None
    assert abs(last.in_flight - 4) < 0.01


def test_an_outage_is_a_pause_and_a_slow_rate_is_not() -> None:
    outage = charts_of(*[WORK] * 30, *[IDLE] * 360, *[WORK] * 30)
    assert [(pause.length, pause.cause) for pause in outage.pauses] == [("1 h", "idle")]
    slow = list(measurements_of(timeline(*[WORK, IDLE, IDLE] * 20)))
    assert sum(each.ended - each.began for each in slow) == 580, "idle seconds lower the rate"


@pytest.mark.parametrize(
    ("ends", "cause"),
    [
        pytest.param([], "idle", id="within a command"),
        pytest.param([CommandEnd(WORKED + 1, "interrupted")], "interrupted", id="stopped"),
        pytest.param([CommandEnd(WORKED - 1, "killed")], "killed", id="killed, so recorded early"),
        pytest.param([CommandEnd(WORKED + 300, "no-answer")], "no-answer", id="after an outage"),
        pytest.param([CommandEnd(WORKED, "finished")], "finished", id="retried later"),
        pytest.param(
            [CommandEnd(WORKED, "fatal"), CommandEnd(WORKED + 99, "canary")], "fatal", id="twice"
        ),
        pytest.param([CommandEnd(WORKED + 2 * DAYS, "credits")], "idle", id="ended later"),
        pytest.param([CommandEnd(WORKED - 60, "credits")], "idle", id="ended earlier"),
    ],
)
def test_a_pause_between_commands_is_named_after_the_end_of_the_first(
    ends: list[CommandEnd], cause: str
) -> None:
    first, second = timeline(*[WORK] * 30), timeline(*[WORK] * 30)
    later = [
        msgspec.structs.replace(each, ts=timestamp(NOON.timestamp() + DAYS + 10 * number))
        for number, each in enumerate(second, 1)
    ]
    charts = build_chart_data(measurements_of([*first, *later]), UTC, ends)
    assert charts is not None
    assert [pause.cause for pause in charts.pauses] == [cause]
