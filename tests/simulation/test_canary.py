"""The canary on the virtual clock: what it reads, what it catches, and what follows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bulklink.emulator.faults import Fault
from bulklink.emulator.settings import Settings
from bulklink.errors import StoppedBy
from bulklink.models import Op
from bulklink.runs.record import CanaryState
from tests.simulation.checks import lies_of
from tests.simulation.drawn import Scenario
from tests.simulation.machine import Life
from tests.simulation.simulated import OWNERS, Case, Outcome, run
from tests.virtual import now

from .test_behaviours import case_of, statuses


def one_each(contacts: int, op: Op = Op.LINK, **changed: Any) -> Case:
    """Return a case of contacts with one email each."""
    on = None if op is Op.LINK else "other"
    return case_of([(n, OWNERS[0], op, 1) for n in range(contacts)], on=on, **changed)


def stopped_by(outcome: Outcome) -> StoppedBy | None:
    return outcome.stopping.reason.by if outcome.stopping.reason else None


@pytest.mark.parametrize("in_flight", [1, 5, 20])
async def test_contacts_are_read_back_side_by_side_within_the_calls_in_flight(
    in_flight: int,
) -> None:
    settings = Settings(latency=0.5, concurrency=in_flight)
    began = now()
    outcome = await run(one_each(20, canary=20, in_flight=in_flight, settings=settings))
    assert outcome.calls == {"link": 20, "read": 20}
    assert now() - began == pytest.approx(0.5 * 40 / in_flight, abs=0.6)
    assert outcome.crm.state.answered_429 == 0


async def test_what_lags_behind_is_read_again_after_one_wait_for_all() -> None:
    faults = [Fault("stale", op="read", seconds=9.0)]
    settings = Settings(latency=0.5)
    began = now()
    outcome = await run(one_each(20, canary=20, settings=settings, faults=faults))
    assert outcome.canary[-1].state is CanaryState.PASSED
    assert outcome.calls == {"link": 20, "read": 40}
    assert now() - began == pytest.approx(1 + 10 + 1, abs=0.6)
    assert statuses(outcome) == {"done": 20}


@pytest.mark.parametrize("op", list(Op))
async def test_a_server_that_ignores_what_it_answers_is_caught_and_the_ledger_ends_true(
    op: Op, tmp_path: Path
) -> None:
    ignored = Fault("ignored", op="unlink" if op is Op.UNLINK else "link", count=5)
    lives = (Life(), Life(), Life(retry=True))
    case = one_each(300, op, canary=5, faults=[ignored], settings=Settings(latency=0.2))
    once = await run(case)
    assert stopped_by(once) is StoppedBy.CANARY
    assert statuses(once) == {"failed": 5}
    assert {line["code"] for line in once.results.values()} == {"not-applied"}
    assert once.calls["link" if op is not Op.UNLINK else "unlink"] == 5
    assert lies_of(Scenario(0, case, (Life(),)), once) == []
    whole = await run(case, lives=lives, folder=tmp_path)
    assert statuses(whole) == {"done": 300}
    assert lies_of(Scenario(0, case, lives), whole) == []
