"""Credits on the virtual clock: caps, days, reserves, and a CRM that has none left."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import anyio
import pytest

from bulklink.emulator.settings import Settings
from bulklink.engine.quota.budget import Limits
from bulklink.engine.shutdown import Stopping
from bulklink.errors import RunStoppedError, StoppedBy
from bulklink.models import Op
from tests.simulation.machine import Life
from tests.simulation.simulated import OWNERS, Case, Outcome, run
from tests.virtual import now

from .test_behaviours import case_of, statuses

DAY = 86_400.0


def links(contacts: int, **changed: Any) -> Case:
    """A call for each contact."""
    return case_of([(n, OWNERS[0], Op.LINK, 2) for n in range(contacts)], **changed)


def relinks(contacts: int, emails: int = 2, **changed: Any) -> Case:
    """A read, an unlink and a link for each contact."""
    groups = [(n, OWNERS[0], Op.RELINK, emails) for n in range(contacts)]
    return case_of(groups, on="other", **changed)


def calls(outcome: Outcome) -> int:
    """What the CRM counted."""
    seen = outcome.crm.state.calls
    return sum(count for kind, count in seen.items() if kind != "token")


def most_in_a_day(outcome: Outcome) -> int:
    """The most requests in any 24 hours, token requests apart."""
    moments = outcome.api_moments
    return max(sum(end - DAY < moment <= end for moment in moments) for end in moments)


def torn(case: Case, outcome: Outcome) -> list[int]:
    return [m.row for m in case.messages if outcome.deal_of(m) is None]


def stopped_by(outcome: Outcome) -> StoppedBy | None:
    return outcome.stopping.reason.by if outcome.stopping.reason else None


@pytest.mark.parametrize("most", [1, 2, 7, 30])
async def test_a_command_spends_no_more_than_it_may_and_all_of_it(
    most: int, tmp_path: Path
) -> None:
    case = links(30, look_up=True, limits=Limits(most=most), settings=Settings(latency=0.3))
    outcome = await run(case)
    assert stopped_by(outcome) is StoppedBy.MAX_CREDITS
    assert outcome.stopping.reason is not None
    assert outcome.stopping.reason.resume_at is None
    assert calls(outcome) == most
    assert statuses(outcome).total() == 2 * (most - 1)


@pytest.mark.parametrize("emails", [2, 45])
@pytest.mark.parametrize("in_flight", [1, 10])
async def test_no_relink_is_torn_by_a_cap_wherever_it_falls(
    in_flight: int, emails: int, tmp_path: Path
) -> None:
    for most in range(1, 16):
        lives = [Life() for _ in range(60)]
        case = relinks(
            3, emails, in_flight=in_flight, limits=Limits(most=most), settings=Settings(latency=0.3)
        )
        once = await run(case)
        assert calls(once) <= most
        assert torn(case, once) == []
        if most >= 12 and emails == 2:  # what all contacts read at once, and a unit of three
            outcome = await run(case, lives=lives, folder=tmp_path)
            assert statuses(outcome) == {"done": 3 * emails}


async def test_runs_of_a_day_share_its_credits_and_a_later_day_has_new_ones(
    tmp_path: Path,
) -> None:
    lives = [Life(), Life(pause=60), *[Life(pause=DAY + 60) for _ in range(2)]]
    case = links(50, limits=Limits(a_day=20), settings=Settings(latency=0.3))
    outcome = await run(case, lives=lives, folder=tmp_path)
    assert statuses(outcome) == {"done": 100}
    assert most_in_a_day(outcome) == 20


async def test_a_run_that_waits_spends_no_more_in_any_24_hours_and_ends() -> None:
    case = relinks(20, limits=Limits(a_day=25), wait_for_credits=True)
    began = now()
    outcome = await run(case)
    assert statuses(outcome) == {"done": 40}
    assert 2 * DAY < now() - began < 3 * DAY
    assert most_in_a_day(outcome) == 25


async def test_what_is_reserved_is_left_as_the_crm_counts() -> None:
    settings = Settings(latency=0.3, credits=100)
    case = links(200, limits=Limits(reserve=20), settings=settings)
    outcome = await run(case)
    assert stopped_by(outcome) is StoppedBy.CREDITS
    assert outcome.crm.state.credits.used(now()) == 80
    assert outcome.crm.state.answered_429 == 0


async def test_before_the_crm_tells_the_reserve_is_kept_by_counting() -> None:
    case = links(200, limits=Limits(reserve=60, untold=40), settings=Settings(latency=0.3))
    outcome = await run(case)
    assert stopped_by(outcome) is StoppedBy.CREDITS
    assert calls(outcome) == 40


@pytest.mark.parametrize("credits_", range(50, 66, 3))
async def test_no_relink_is_torn_where_the_crm_tells_what_is_left(credits_: int) -> None:
    """It tells so from half of them on: by then the run may have begun what takes 24."""
    settings = Settings(latency=0.3, credits=credits_)
    case = relinks(40, settings=settings, in_flight=4)
    outcome = await run(case)
    assert stopped_by(outcome) is StoppedBy.CREDITS
    assert torn(case, outcome) == []


@pytest.mark.parametrize(
    ("body", "text", "retry_after"),
    list(product(["current", "old"], ["told", "same"], ["off", "on"])),
)
@pytest.mark.parametrize("in_flight", [1, 4, 10])
async def test_credits_that_go_without_a_word_are_found_out_with_few_calls(
    body: Any, text: Any, retry_after: Any, in_flight: int
) -> None:
    """Others spend them, so that what was told is too much."""
    settings = Settings(
        latency=0.3,
        credits=100,
        background_credits=40.0,
        too_many_body=body,
        too_many_text=text,
        retry_after=retry_after,
    )
    outcome = await run(links(300, settings=settings, in_flight=in_flight))
    assert stopped_by(outcome) is StoppedBy.CREDITS
    assert outcome.crm.state.answered_429 <= 1 + in_flight


@pytest.mark.parametrize("text", ["told", "same"])
async def test_too_many_calls_in_flight_are_not_taken_for_credits(text: Any) -> None:
    settings = Settings(latency=0.5, concurrency=3, too_many_text=text)
    outcome = await run(links(60, settings=settings, in_flight=10))
    assert outcome.stopping.reason is None
    assert statuses(outcome) == {"done": 120}


async def test_a_crm_without_credits_is_waited_for_until_they_are_a_day_old() -> None:
    settings = Settings(latency=0.3, credits=30)
    began = now()
    outcome = await run(links(50, settings=settings, wait_for_credits=True))
    assert statuses(outcome) == {"done": 100}
    assert DAY < now() - began < DAY + 300
    assert outcome.crm.state.answered_429 <= 2 * 11


async def test_a_resume_before_its_time_costs_one_call(tmp_path: Path) -> None:
    settings = Settings(latency=0.3, credits=30, too_many_text="same")
    lives = [Life(), *[Life(pause=60) for _ in range(5)]]
    once = await run(links(50, settings=settings))
    outcome = await run(links(50, settings=settings), lives=lives, folder=tmp_path)
    assert stopped_by(outcome) is StoppedBy.CREDITS
    assert calls(outcome) - calls(once) <= 5


@pytest.mark.parametrize("op", [Op.LINK, Op.RELINK])
@pytest.mark.parametrize("by_crm", [False, True])
async def test_ctrl_c_ends_the_wait_at_once(op: Op, by_crm: bool) -> None:
    limits = Limits() if by_crm else Limits(a_day=90)
    settings = Settings(latency=0.3, credits=90 if by_crm else 0)
    make: Callable[..., Case] = links if op is Op.LINK else relinks
    case = make(100, settings=settings, limits=limits, wait_for_credits=True)
    stop, began, ended = Stopping(), now(), []

    async def work() -> None:
        ended.append((await run(case, stop=stop), now()))

    async with anyio.create_task_group() as group:
        group.start_soon(work)
        await anyio.sleep(1_000)
        stop.stop(RunStoppedError(StoppedBy.INTERRUPTED, "told"))
    ((outcome, at),) = ended
    assert stopped_by(outcome) is StoppedBy.INTERRUPTED
    assert at - began < 1_001
    assert 0 < statuses(outcome)["done"] < 200
    assert all(outcome.deal_of(m) for m in case.messages) or op is Op.LINK
