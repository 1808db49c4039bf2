"""After a 429 a single call is sent, and a suspected lack of credits is confirmed or ruled out."""

from __future__ import annotations

import random
from typing import Any

import pytest

from bulklink.emulator.settings import Settings
from bulklink.errors import StoppedBy
from tests.simulation.simulator import SimulatedRun, simulate
from tests.simulation.test_credits import link_case
from tests.virtual import run_virtual

LIMITS = {
    "no credits": {"credits": 40},
    "no credits, with Retry-After": {"credits": 40, "retry_after": "on"},
    "few in flight": {"concurrency": 2},
    "few in flight, with a penalty": {"concurrency": 2, "penalty": 3.0},
    "few in flight, with a penalty and Retry-After": {
        "concurrency": 2,
        "penalty": 3.0,
        "retry_after": "on",
    },
}


def run_links(
    *, in_flight: int, rate: float | None, latest: float, **settings: Any
) -> SimulatedRun:
    """Link emails with wake-ups that are up to `latest` seconds late, as on a busy machine."""
    case = link_case(
        60,
        in_flight=in_flight,
        rate=rate,
        reports_credits=False,
        settings=Settings(latency=0.7, **settings),
    )
    rng = random.Random(f"{in_flight} {rate} {latest} {settings}")
    return run_virtual(simulate(case), lambda: latest * rng.random())


@pytest.mark.parametrize("limits", LIMITS.values(), ids=LIMITS)
@pytest.mark.parametrize("text", ["same", "told"])
@pytest.mark.parametrize("rate", [None, 3.0])
@pytest.mark.parametrize("latest", [0.0, 0.5])
def test_a_single_call_is_sent_after_a_refusal(
    limits: dict[str, Any], text: str, rate: float | None, latest: float
) -> None:
    for in_flight in (3, 10):
        outcome = run_links(
            in_flight=in_flight, rate=rate, latest=latest, too_many_text=text, **limits
        )
        assert outcome.violations == []


@pytest.mark.parametrize("in_flight", [1, 3, 10])
@pytest.mark.parametrize("rate", [None, 3.0])
@pytest.mark.parametrize("latest", [0.0, 0.5])
def test_a_run_stops_within_45_seconds_of_an_unexplained_lack_of_credits(
    in_flight: int, rate: float | None, latest: float
) -> None:
    outcome = run_links(
        in_flight=in_flight, rate=rate, latest=latest, credits=40, too_many_text="same"
    )
    reason = outcome.stop.reason
    assert reason is not None
    assert reason.stopped_by is StoppedBy.CREDITS
    refused = outcome.api_request_times[40:]
    assert refused[-1] - refused[0] <= 45.0
    assert len(refused) <= max(in_flight, 3) + 1
