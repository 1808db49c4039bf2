"""The canary on the virtual clock: what it reads, what it catches, and what follows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bulklink.emulator.crm import Crm
from bulklink.emulator.faults import Fault, hits
from bulklink.emulator.settings import Settings
from bulklink.emulator.state import Change
from bulklink.engine.failure_limit import MaxFailures
from bulklink.errors import StoppedBy
from bulklink.models import Op
from bulklink.runs.record import CanaryState
from tests.simulation.checks import lies_of
from tests.simulation.drawn import Scenario
from tests.simulation.machine import Life
from tests.simulation.simulated import OWNERS, Case, Outcome, deal, run
from tests.virtual import now

from .test_behaviours import case_of, statuses


def one_each(contacts: int, op: Op = Op.LINK, **changed: Any) -> Case:
    """Return a case of contacts with one email each."""
    on = None if op is Op.LINK else "other"
    return case_of([(n, OWNERS[0], op, 1) for n in range(contacts)], on=on, **changed)


def stopped_by(outcome: Outcome) -> StoppedBy | None:
    return outcome.stopping.reason.by if outcome.stopping.reason else None


def seed_that_spares(reads: int) -> int:
    """Return a seed by which a fault spares so many reads, and meets as many after them."""

    def met(seed: int) -> list[bool]:
        fault = Fault("CANNOT_PROCESS", share=0.5, seed=seed)
        return [hits(fault, number, 0) for number in range(2 * reads)]

    return next(n for n in range(10_000) if met(n) == [False] * reads + [True] * reads)


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


class Watched(Case):
    """A case whose CRM the test can reach while it runs."""

    made: Crm

    def crm(self) -> Crm:
        self.made = super().crm()
        return self.made


async def test_after_a_yes_what_was_read_before_the_question_is_read_anew() -> None:
    """Waiting for a person takes minutes, in which somebody can move what was not sent yet."""
    ignored = Fault("ignored", op="link", count=1)
    groups = [(0, OWNERS[0], Op.RELINK, 45)]
    case = Watched(**vars(case_of(groups, on="other", canary=5, faults=[ignored])))
    moved, third = case.messages[44], deal(55)
    case.deals[third] = moved.contact_id

    def yes() -> bool:
        change = Change(moved.message_id, third)
        case.made.state.apply(moved.contact_id, [change], now(), "somebody")
        return True

    case.go_on = yes
    outcome = await run(case)
    assert outcome.stopping.reason is None
    assert statuses(outcome) == {"failed": 20, "done": 25}
    assert outcome.results[45]["previous_deal_id"] == third
    assert outcome.canary[-1].state is CanaryState.CONFIRMED


@pytest.mark.parametrize("answer", [lambda: False, None])
async def test_after_a_no_or_without_anybody_nothing_more_is_sent(answer: Any) -> None:
    ignored = Fault("ignored", op="link", count=1)
    groups = [(0, OWNERS[0], Op.RELINK, 45), (1, OWNERS[0], Op.RELINK, 5)]
    case = case_of(groups, on="other", canary=5, faults=[ignored], go_on=answer)
    outcome = await run(case)
    assert stopped_by(outcome) is StoppedBy.CANARY
    assert statuses(outcome) == {"failed": 20}
    assert (outcome.calls["unlink"], outcome.calls["link"]) == (1, 1)
    assert outcome.canary[-1].state is CanaryState.STOPPED


async def test_a_yes_lets_failures_be_counted_anew() -> None:
    ignored = Fault("ignored", op="link", count=5)
    case = one_each(60, canary=5, faults=[ignored], max_failures=MaxFailures(count=3))
    case.go_on = lambda: True
    outcome = await run(case)
    assert outcome.stopping.reason is None
    assert statuses(outcome) == {"failed": 5, "done": 55}


async def test_an_early_read_alone_corrects_nothing(tmp_path: Path) -> None:
    """It differs, and the second read that could be believed is refused: ask, but record nothing.

    What was answered stays as it was answered.
    """
    faults = [
        Fault("stale", op="read", seconds=9.0, count=3),
        Fault("CANNOT_PROCESS", op="read", share=0.5, seed=seed_that_spares(3)),
    ]
    outcome = await run(one_each(3, canary=3, faults=faults))
    assert stopped_by(outcome) is StoppedBy.CANARY
    assert statuses(outcome) == {"done": 3}
