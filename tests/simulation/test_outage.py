"""While nothing answers, the whole run waits, and no email fails."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import anyio
import pytest

from bulklink.emulator.faults import Fault
from bulklink.emulator.settings import Settings
from bulklink.engine.quota.budget import CreditLimits
from bulklink.engine.shutdown import StopController
from bulklink.errors import RunStoppedError, StoppedBy
from bulklink.models import Op
from tests.simulation.cases import count_statuses, make_case, stopped_by
from tests.simulation.checks import find_violations
from tests.simulation.environment import Downtime, Failure
from tests.simulation.machine import SimulatedCommand
from tests.simulation.scenarios import Scenario
from tests.simulation.simulator import OWNERS, Case, SimulatedRun, simulate
from tests.virtual import now

EMAILS = 400


def outage_case(*downtimes: Downtime, op: Op = Op.LINK, **options: Any) -> Case:
    """Return a case of 20 contacts with 20 emails each, whose calls take 0.7 seconds."""
    groups = [(n, OWNERS[0], op, 20) for n in range(EMAILS // 20)]
    present_deal = None if op is Op.LINK else "other"
    settings = Settings(latency=0.7)
    return make_case(
        groups, present_deal=present_deal, settings=settings, downtimes=downtimes, **options
    )


def assert_nothing_broken(case: Case, outcome: SimulatedRun) -> None:
    commands = (SimulatedCommand(),) * outcome.commands_run
    assert find_violations(Scenario(0, case, commands), outcome) == []


@pytest.mark.parametrize("seconds", [8.0, 15.0, 200.0])
@pytest.mark.parametrize("failure", Failure)
@pytest.mark.parametrize("op", Op)
async def test_no_email_fails_in_an_outage(op: Op, failure: Failure, seconds: float) -> None:
    case = outage_case(Downtime(2.0, seconds, failure), op=op)
    outcome = await simulate(case)
    assert count_statuses(outcome) == {"done": EMAILS}
    assert_nothing_broken(case, outcome)


@pytest.mark.parametrize("in_flight", [1, 3, 20])
async def test_no_email_fails_in_many_short_outages(in_flight: int) -> None:
    downtimes = [Downtime(2.0 + 15.0 * n, 8.0) for n in range(40)]
    case = outage_case(*downtimes, op=Op.RELINK, in_flight=in_flight)
    outcome = await simulate(case)
    assert count_statuses(outcome) == {"done": EMAILS}
    assert_nothing_broken(case, outcome)


@pytest.mark.parametrize("failure", Failure)
async def test_the_last_call_of_a_run_waits_out_an_outage_too(failure: Failure) -> None:
    case = make_case(
        [(0, OWNERS[0], Op.LINK, 3)],
        settings=Settings(latency=0.7),
        downtimes=[Downtime(1.5, 200.0, failure)],
    )
    outcome = await simulate(case)
    assert count_statuses(outcome) == {"done": 3}
    assert_nothing_broken(case, outcome)


@pytest.mark.parametrize("op", Op)
async def test_an_outage_longer_than_the_limit_stops_the_run_and_leaves_rows_pending(
    op: Op,
) -> None:
    case = outage_case(Downtime(2.0, 1000.0), op=op, outage=60.0)
    outcome = await simulate(case, commands=(SimulatedCommand(), SimulatedCommand(pause=2000.0)))
    first_stop = outcome.records[-1].invocations[0]
    assert first_stop.stopped_by == StoppedBy.NO_ANSWER
    assert first_stop.exit_code == 3
    assert 60.0 <= (first_stop.seconds or 0.0) <= 70.0
    assert outcome.commands_run == 2
    assert count_statuses(outcome) == {"done": EMAILS}
    assert_nothing_broken(case, outcome)


async def test_the_pauses_between_trial_calls_grow_to_30_seconds() -> None:
    case = outage_case(Downtime(2.0, 250.0))
    outcome = await simulate(case)
    times = [time - outcome.started_at for time in outcome.api_request_times]
    trial_times = [time for time in times if 4.0 < time < 252.0]
    pauses = [after - before for before, after in pairwise(trial_times)]
    assert len(pauses) >= 8
    for pause, longest in zip(pauses, [4, 8, 16, *[30] * len(pauses)], strict=False):
        assert 0.75 * longest <= pause <= longest + 0.1


async def test_without_an_outage_limit_each_call_has_its_own_attempts() -> None:
    case = outage_case(Downtime(2.0, 40.0), outage=0.0)
    outcome = await simulate(case)
    assert stopped_by(outcome) is StoppedBy.NO_ANSWER
    assert now() - outcome.started_at < 40.0


async def test_a_run_gives_up_within_15_seconds_on_a_host_that_never_answered() -> None:
    case = outage_case(Downtime(0.0, 1000.0))
    outcome = await simulate(case)
    assert stopped_by(outcome) is StoppedBy.NO_ANSWER
    assert now() - outcome.started_at <= 15.0
    assert outcome.results == {}


@pytest.mark.parametrize("op", Op)
@pytest.mark.parametrize("failure", Failure)
async def test_ctrl_c_stops_the_run_immediately(op: Op, failure: Failure) -> None:
    stop = StopController()
    stopped_at: list[float] = []
    case = outage_case(Downtime(2.0, 250.0, failure), op=op)

    def on_request(method: str) -> None:
        if now() - started_at > 100.0 and not stopped_at:
            stopped_at.append(now())
            stop.request(RunStoppedError(StoppedBy.INTERRUPTED, "Ctrl-C"))

    started_at = now()
    outcome = await simulate(case, stop=stop, on_request=on_request)
    assert stopped_by(outcome) is StoppedBy.INTERRUPTED
    assert now() - stopped_at[0] < 0.1
    assert outcome.violations == []


async def test_failures_of_only_one_kind_of_call_are_not_an_outage() -> None:
    groups = [(n, OWNERS[0], Op.LINK, 20) for n in range(3)]
    case = make_case(groups, faults=[Fault("lost-answer", op="link")])
    outcome = await simulate(case)
    assert count_statuses(outcome) == {"done": 60}
    assert now() - outcome.started_at < 120.0


async def test_only_the_contact_whose_calls_fail_fails() -> None:
    case = outage_case()
    contact_id = case.messages[0].contact_id
    case.faults = [Fault("lost-request", op="link", contact_id=contact_id)]
    outcome = await simulate(case)
    assert count_statuses(outcome) == {"done": EMAILS - 20, "failed": 20}


@pytest.mark.parametrize("failure", [Failure.REFUSED, Failure.GATEWAY])
async def test_an_accounts_server_that_is_down_when_the_token_expires_is_an_outage(
    failure: Failure,
) -> None:
    downtime = Downtime(1.0, 200.0, failure, accounts_only=True)
    case = outage_case(downtime)
    case.settings = Settings(latency=0.7, expires_in=65)
    outcome = await simulate(case)
    assert count_statuses(outcome) == {"done": EMAILS}


@pytest.mark.parametrize("max_credits", [5, 12, 30])
async def test_trial_calls_respect_the_credit_limit(max_credits: int) -> None:
    limits = CreditLimits(per_invocation=max_credits)
    case = outage_case(Downtime(1.0, 100.0), limits=limits)
    outcome = await simulate(case)
    assert len(outcome.api_request_times) <= max_credits
    assert not any(result["status"] == "failed" for result in outcome.results.values())
    assert_nothing_broken(case, outcome)


async def test_a_call_that_met_an_outage_is_not_retried_forever_after_429s() -> None:
    case = make_case(
        [(n, OWNERS[0], Op.LINK, 60) for n in range(6)],
        settings=Settings(
            latency=0.7, concurrency=3, background_plan=("12=3",), too_many_text="told"
        ),
        downtimes=[Downtime(2.0, 15.0)],
        in_flight=1,
    )
    with anyio.fail_after(10_000):
        outcome = await simulate(case)
    assert outcome.stop.reason is not None
    assert outcome.stop.reason.stopped_by is StoppedBy.NO_ANSWER
