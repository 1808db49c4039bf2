"""Errors while a run reads its plan or looks up names are reported, and never as internal."""

from __future__ import annotations

import pytest

from bulklink.errors import StoppedBy
from bulklink.models import Op
from tests.simulation.cases import count_statuses, make_case, stopped_by
from tests.simulation.checks import find_violations
from tests.simulation.machine import Interruption, SimulatedCommand
from tests.simulation.scenarios import Scenario
from tests.simulation.simulator import OWNERS, SimulatedRun, simulate

GROUPS = [(n, owner, Op.LINK, 5) for n in range(3) for owner in OWNERS]


def count_lookups(outcome: SimulatedRun) -> int:
    return outcome.ledger.count(b'"op":"lookup"')


@pytest.mark.parametrize("canary", [0, 5])
async def test_a_plan_that_cannot_be_read_stops_the_run_before_anything_is_sent(
    canary: int,
) -> None:
    case = make_case(GROUPS, plan_in_order=False, canary=canary)
    commands = (SimulatedCommand(), SimulatedCommand())
    outcome = await simulate(case, commands=commands)
    assert find_violations(Scenario(0, case, commands), outcome) == []
    assert stopped_by(outcome) is StoppedBy.LEDGER
    assert outcome.stop.reason is not None
    assert "out of order" in outcome.stop.reason.message
    assert outcome.calls == {}


async def test_a_disk_error_during_name_look_up_is_reported_and_a_resume_continues() -> None:
    case = make_case(GROUPS, names_in_plan=False)
    uninterrupted = await simulate(case)
    assert count_statuses(uninterrupted) == {"done": 45}
    assert count_lookups(uninterrupted) == 3  # org, deals, owners
    lookups = set()
    for at_event in range(1, 24, 2):
        interrupted = SimulatedCommand(Interruption.DISK_ERROR, at_event=at_event)
        first = await simulate(case, commands=(interrupted,))
        assert stopped_by(first) is StoppedBy.LEDGER
        assert first.violations == []
        lookups.add(count_lookups(first))
        commands = (interrupted, SimulatedCommand())
        outcome = await simulate(case, commands=commands)
        assert count_statuses(outcome) == {"done": 45}
        assert find_violations(Scenario(0, case, commands), outcome) == []
    assert lookups == {1, 2, 3}
