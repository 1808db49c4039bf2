"""Credits on a virtual clock: limits per command and per 24 hours, reserves, and a lack of them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import anyio
import pytest

from bulklink.emulator.settings import Settings
from bulklink.engine.quota.budget import CreditLimits
from bulklink.engine.shutdown import StopController
from bulklink.errors import RunStoppedError, StoppedBy
from bulklink.models import Op
from tests.simulation.cases import count_statuses, make_case, stopped_by
from tests.simulation.checks import find_violations
from tests.simulation.machine import SimulatedCommand
from tests.simulation.scenarios import Scenario
from tests.simulation.simulator import OWNERS, Case, SimulatedRun, simulate
from tests.virtual import now

DAY = 86_400.0


def link_case(contacts: int, **options: Any) -> Case:
    """Return a case that takes one call per contact."""
    return make_case([(n, OWNERS[0], Op.LINK, 2) for n in range(contacts)], **options)


def relink_case(contacts: int, emails: int = 2, **options: Any) -> Case:
    """Return a case that takes a read, an unlink and a link per contact."""
    groups = [(n, OWNERS[0], Op.RELINK, emails) for n in range(contacts)]
    return make_case(groups, present_deal="other", **options)


def count_calls(outcome: SimulatedRun) -> int:
    """Return the number of calls that the CRM counted, token requests excluded."""
    counts = outcome.crm.state.calls
    return sum(count for kind, count in counts.items() if kind != "token")


def max_requests_per_day(outcome: SimulatedRun) -> int:
    """Return the maximum of requests in any 24 hours, token requests excluded."""
    times = outcome.api_request_times
    return max(sum(end - DAY < time <= end for time in times) for end in times)


def half_done_rows(case: Case, outcome: SimulatedRun) -> list[int]:
    return [m.row for m in case.messages if outcome.deal_of(m) is None]


@pytest.mark.parametrize("limit", [1, 2, 7, 30])
async def test_a_command_spends_exactly_its_limit(limit: int, tmp_path: Path) -> None:
    case = link_case(30, limits=CreditLimits(per_invocation=limit), settings=Settings(latency=0.3))
    outcome = await simulate(case)
    assert stopped_by(outcome) is StoppedBy.MAX_CREDITS
    assert outcome.stop.reason is not None
    assert outcome.stop.reason.resume_at is None
    assert count_calls(outcome) == limit
    assert count_statuses(outcome).total() == 2 * (limit - 1)


@pytest.mark.parametrize("emails", [2, 45])
@pytest.mark.parametrize("in_flight", [1, 10])
async def test_no_credit_limit_leaves_a_relink_half_done(
    in_flight: int, emails: int, tmp_path: Path
) -> None:
    for limit in range(1, 16):
        commands = [SimulatedCommand() for _ in range(60)]
        case = relink_case(
            3,
            emails,
            in_flight=in_flight,
            limits=CreditLimits(per_invocation=limit),
            settings=Settings(latency=0.3),
        )
        first = await simulate(case)
        assert count_calls(first) <= limit
        assert half_done_rows(case, first) == []
        if limit >= 12 and emails == 2:  # enough for all reads and one complete relink
            outcome = await simulate(case, commands=commands, folder=tmp_path)
            assert count_statuses(outcome) == {"done": 3 * emails}


async def test_runs_within_24_hours_share_credits_and_later_runs_get_new_ones(
    tmp_path: Path,
) -> None:
    commands = [
        SimulatedCommand(),
        SimulatedCommand(pause=60),
        *[SimulatedCommand(pause=DAY + 60) for _ in range(2)],
    ]
    case = link_case(50, limits=CreditLimits(per_day=20), settings=Settings(latency=0.3))
    outcome = await simulate(case, commands=commands, folder=tmp_path)
    assert count_statuses(outcome) == {"done": 100}
    assert max_requests_per_day(outcome) == 20


async def test_a_run_that_waits_keeps_to_its_limit_in_any_24_hours() -> None:
    case = relink_case(20, limits=CreditLimits(per_day=25), wait_for_credits=True)
    started_at = now()
    outcome = await simulate(case)
    assert count_statuses(outcome) == {"done": 40}
    assert 2 * DAY < now() - started_at < 3 * DAY
    # A relink takes two credits, but starts only if three are left.
    assert 24 <= max_requests_per_day(outcome) <= 25


async def test_ten_days_of_credits_can_be_rehearsed_in_half_an_hour() -> None:
    case = link_case(
        100,
        limits=CreditLimits(per_day=20),
        wait_for_credits=True,
        settings=Settings(latency=0.3, credit_window=60),
    )
    started_at = now()
    outcome = await simulate(case)
    assert count_statuses(outcome) == {"done": 200}
    assert now() - started_at < 1800
    assert find_violations(Scenario(0, case, (SimulatedCommand(),)), outcome) == []


async def test_the_reserve_is_kept_by_the_credits_that_the_crm_reports() -> None:
    settings = Settings(latency=0.3, credits=100)
    case = link_case(200, limits=CreditLimits(reserve=20), settings=settings)
    outcome = await simulate(case)
    assert stopped_by(outcome) is StoppedBy.CREDITS
    assert outcome.crm.state.credits.used(now()) == 80
    assert outcome.crm.state.answered_429 == 0


async def test_the_reserve_is_kept_by_counting_until_the_crm_reports_credits() -> None:
    case = link_case(
        200,
        limits=CreditLimits(reserve=60, per_day_if_unreported=40),
        paid_type="unknown",
        settings=Settings(latency=0.3),
    )
    outcome = await simulate(case)
    assert stopped_by(outcome) is StoppedBy.CREDITS
    assert count_calls(outcome) == 40


@pytest.mark.parametrize("credits_", range(50, 66, 3))
async def test_no_relink_is_left_half_done_if_the_crm_reports_credits(credits_: int) -> None:
    """It reports them once half are used; by then, relinks that need 24 more may have started."""
    settings = Settings(latency=0.3, credits=credits_)
    case = relink_case(40, settings=settings, in_flight=4)
    outcome = await simulate(case)
    assert stopped_by(outcome) is StoppedBy.CREDITS
    assert half_done_rows(case, outcome) == []


@pytest.mark.parametrize(
    ("body", "text", "retry_after"),
    list(product(["current", "old", "stated"], ["told", "same"], ["off", "on"])),
)
@pytest.mark.parametrize("in_flight", [1, 4, 10])
async def test_credits_that_run_out_unreported_are_detected_with_few_calls(
    body: Any, text: Any, retry_after: Any, in_flight: int
) -> None:
    """Other programs spend credits, so the last report is too high."""
    settings = Settings(
        latency=0.3,
        credits=100,
        background_credits=40.0,
        too_many_body=body,
        too_many_text=text,
        retry_after=retry_after,
    )
    outcome = await simulate(link_case(300, settings=settings, in_flight=in_flight))
    assert stopped_by(outcome) is StoppedBy.CREDITS
    assert outcome.crm.state.answered_429 <= 1 + in_flight


@pytest.mark.parametrize("header", ["off", "on"])
async def test_a_wait_stated_in_the_body_is_respected(header: Any) -> None:
    settings = Settings(
        latency=0.5, concurrency=3, penalty=60.0, too_many_body="stated", retry_after=header
    )
    outcome = await simulate(link_case(60, settings=settings, in_flight=10))
    assert count_statuses(outcome) == {"done": 120}
    assert outcome.crm.state.answered_429 <= 8


@pytest.mark.parametrize("text", ["told", "same"])
async def test_too_many_calls_in_flight_are_not_mistaken_for_a_lack_of_credits(text: Any) -> None:
    settings = Settings(latency=0.5, concurrency=3, too_many_text=text)
    outcome = await simulate(link_case(60, settings=settings, in_flight=10))
    assert outcome.stop.reason is None
    assert count_statuses(outcome) == {"done": 120}


async def test_a_run_waits_until_used_credits_are_24_hours_old() -> None:
    settings = Settings(latency=0.3, credits=30)
    started_at = now()
    outcome = await simulate(link_case(50, settings=settings, wait_for_credits=True))
    assert count_statuses(outcome) == {"done": 100}
    assert DAY < now() - started_at < DAY + 300
    assert outcome.crm.state.answered_429 <= 2 * 11


async def test_an_early_resume_costs_one_call(tmp_path: Path) -> None:
    settings = Settings(latency=0.3, credits=30, too_many_text="same")
    commands = [SimulatedCommand(), *[SimulatedCommand(pause=60) for _ in range(5)]]
    first = await simulate(link_case(50, settings=settings))
    outcome = await simulate(link_case(50, settings=settings), commands=commands, folder=tmp_path)
    assert stopped_by(outcome) is StoppedBy.CREDITS
    assert count_calls(outcome) - count_calls(first) <= 5


@pytest.mark.parametrize("op", [Op.LINK, Op.RELINK])
@pytest.mark.parametrize("by_crm", [False, True])
async def test_ctrl_c_ends_the_wait_immediately(op: Op, by_crm: bool) -> None:
    limits = CreditLimits() if by_crm else CreditLimits(per_day=90)
    settings = Settings(latency=0.3, credits=90 if by_crm else 0)
    make_op_case: Callable[..., Case] = link_case if op is Op.LINK else relink_case
    case = make_op_case(100, settings=settings, limits=limits, wait_for_credits=True)
    stop, started_at, outcomes = StopController(), now(), []

    async def run_case() -> None:
        outcomes.append((await simulate(case, stop=stop), now()))

    async with anyio.create_task_group() as group:
        group.start_soon(run_case)
        await anyio.sleep(1_000)
        stop.request(RunStoppedError(StoppedBy.INTERRUPTED, "Ctrl-C"))
    ((outcome, ended_at),) = outcomes
    assert stopped_by(outcome) is StoppedBy.INTERRUPTED
    assert ended_at - started_at < 1_001
    assert 0 < count_statuses(outcome)["done"] < 200
    assert all(outcome.deal_of(m) for m in case.messages) or op is Op.LINK
