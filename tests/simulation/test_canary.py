"""The canary on a virtual clock: its reads, what it detects, and the consequences."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bulklink.emulator.crm import Crm
from bulklink.emulator.faults import Fault, should_fire
from bulklink.emulator.settings import Settings
from bulklink.emulator.state import Change
from bulklink.engine.failure_limit import MaxFailures
from bulklink.errors import StoppedBy
from bulklink.models import Op
from bulklink.runs.record import CanaryState
from tests.simulation.cases import count_statuses, make_case, stopped_by
from tests.simulation.checks import find_violations
from tests.simulation.machine import SimulatedCommand
from tests.simulation.scenarios import Scenario
from tests.simulation.simulator import OWNERS, Case, deal, simulate
from tests.virtual import now


def one_email_per_contact(contacts: int, op: Op = Op.LINK, **options: Any) -> Case:
    """Return a case of contacts with one email each."""
    present_deal = None if op is Op.LINK else "other"
    return make_case(
        [(n, OWNERS[0], op, 1) for n in range(contacts)], present_deal=present_deal, **options
    )


def find_fault_seed(reads: int) -> int:
    """Return a seed with which a fault hits none of the first `reads` reads and all of the next."""

    def hit_reads(seed: int) -> list[bool]:
        fault = Fault("CANNOT_PROCESS", share=0.5, seed=seed)
        return [should_fire(fault, number, 0) for number in range(2 * reads)]

    return next(n for n in range(10_000) if hit_reads(n) == [False] * reads + [True] * reads)


@pytest.mark.parametrize("in_flight", [1, 5, 20])
async def test_contacts_are_read_back_concurrently_within_the_limit_on_calls_in_flight(
    in_flight: int,
) -> None:
    settings = Settings(latency=0.5, concurrency=in_flight)
    started_at = now()
    outcome = await simulate(
        one_email_per_contact(20, canary=20, in_flight=in_flight, settings=settings)
    )
    assert outcome.calls == {"link": 20, "read": 20}
    assert now() - started_at == pytest.approx(0.5 + 0.5 * 40 / in_flight, abs=0.6)
    assert outcome.crm.state.answered_429 == 0


async def test_stale_reads_are_retried_after_a_single_wait() -> None:
    faults = [Fault("stale", op="read", seconds=9.0)]
    settings = Settings(latency=0.5)
    started_at = now()
    outcome = await simulate(one_email_per_contact(20, canary=20, settings=settings, faults=faults))
    assert outcome.canary_records[-1].state is CanaryState.PASSED
    assert outcome.calls == {"link": 20, "read": 40}
    assert now() - started_at == pytest.approx(0.5 + 1 + 10 + 1, abs=0.6)
    assert count_statuses(outcome) == {"done": 20}


@pytest.mark.parametrize("op", list(Op))
async def test_a_server_that_ignores_calls_is_detected_and_the_ledger_is_corrected(
    op: Op, tmp_path: Path
) -> None:
    ignored = Fault("ignored", op="unlink" if op is Op.UNLINK else "link", count=5)
    commands = (SimulatedCommand(), SimulatedCommand(), SimulatedCommand(retry=True))
    case = one_email_per_contact(
        300, op, canary=5, faults=[ignored], settings=Settings(latency=0.2)
    )
    first = await simulate(case)
    assert stopped_by(first) is StoppedBy.CANARY
    assert count_statuses(first) == {"failed": 5}
    assert {line["code"] for line in first.results.values()} == {"not-applied"}
    assert first.calls["link" if op is not Op.UNLINK else "unlink"] == 5
    assert find_violations(Scenario(0, case, (SimulatedCommand(),)), first) == []
    complete = await simulate(case, commands=commands, folder=tmp_path)
    assert count_statuses(complete) == {"done": 300}
    assert find_violations(Scenario(0, case, commands), complete) == []


class CaseWithReachableCrm(Case):
    """A case whose CRM the test can access during the run."""

    last_crm: Crm

    def make_crm(self) -> Crm:
        self.last_crm = super().make_crm()
        return self.last_crm


async def test_emails_read_before_the_prompt_are_reread_after_confirmation() -> None:
    """While the user decides, others can move emails that have not been sent yet."""
    ignored = Fault("ignored", op="link", count=1)
    groups = [(0, OWNERS[0], Op.RELINK, 45)]
    case = CaseWithReachableCrm(
        **vars(make_case(groups, present_deal="other", canary=5, faults=[ignored]))
    )
    moved, third = case.messages[44], deal(55)
    case.deals[third] = moved.contact_id

    def yes() -> bool:
        change = Change(moved.message_id, third)
        case.last_crm.state.apply(moved.contact_id, [change], now(), "user")
        return True

    case.answer_prompt = yes
    outcome = await simulate(case)
    assert outcome.stop.reason is None
    assert count_statuses(outcome) == {"failed": 20, "done": 25}
    assert outcome.results[45]["previous_deal_id"] == third
    assert outcome.canary_records[-1].state is CanaryState.CONFIRMED


@pytest.mark.parametrize("answer", [lambda: False, None])
async def test_nothing_more_is_sent_without_confirmation(answer: Any) -> None:
    ignored = Fault("ignored", op="link", count=1)
    groups = [(0, OWNERS[0], Op.RELINK, 45), (1, OWNERS[0], Op.RELINK, 5)]
    case = make_case(groups, present_deal="other", canary=5, faults=[ignored], answer_prompt=answer)
    outcome = await simulate(case)
    assert stopped_by(outcome) is StoppedBy.CANARY
    assert count_statuses(outcome) == {"failed": 20}
    assert (outcome.calls["unlink"], outcome.calls["link"]) == (1, 1)
    assert outcome.canary_records[-1].state is CanaryState.STOPPED


async def test_confirmation_resets_the_failure_count() -> None:
    ignored = Fault("ignored", op="link", count=5)
    case = one_email_per_contact(60, canary=5, faults=[ignored], max_failures=MaxFailures(count=3))
    case.answer_prompt = lambda: True
    outcome = await simulate(case)
    assert outcome.stop.reason is None
    assert count_statuses(outcome) == {"failed": 5, "done": 55}


async def test_a_read_that_may_be_stale_corrects_nothing(tmp_path: Path) -> None:
    """If a read differs and the later, trusted read is refused, stop but keep the results."""
    faults = [
        Fault("stale", op="read", seconds=9.0, count=3),
        Fault("CANNOT_PROCESS", op="read", share=0.5, seed=find_fault_seed(3)),
    ]
    outcome = await simulate(one_email_per_contact(3, canary=3, faults=faults))
    assert stopped_by(outcome) is StoppedBy.CANARY
    assert count_statuses(outcome) == {"done": 3}
