"""Snapshots: what a run makes of the deal that an email is on before it is changed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from bulklink.emulator.faults import Fault
from bulklink.emulator.settings import Settings
from bulklink.models import Op
from tests.simulation.simulator import (
    OWNERS,
    Case,
    SimulatedRun,
    contact,
    deal,
    email,
    message,
    simulate,
)

WANTED, OTHER = deal(0), deal(1)
HIDDEN = (Fault("hidden"),)


def make_case(op: Op, *present_deals: str | None, guard: str | None = None, **options: Any) -> Case:
    """Return a case with one email on each of these deals, all to go the same way."""
    emails = [
        email(n, contact(0), OWNERS[0], present_deal)
        for n, present_deal in enumerate(present_deals)
    ]
    messages = [
        msgspec.structs.replace(message(n, world_email, op, WANTED), from_deal_id=guard)
        for n, world_email in enumerate(emails, 1)
    ]
    return Case(emails, messages, {WANTED: contact(0), OTHER: contact(0)}, **options)


def statuses_and_codes(outcome: SimulatedRun) -> list[tuple[str, str | None]]:
    return [(line["status"], line["code"]) for _, line in sorted(outcome.results.items())]


async def test_an_unlink_of_what_is_on_no_deal_is_unchanged_and_not_sent() -> None:
    outcome = await simulate(make_case(Op.UNLINK, None, OTHER))
    assert statuses_and_codes(outcome) == [("unchanged", None), ("done", "SUCCESS")]
    sent = [line for line in outcome.lines() if line["event"] == "call" and line["op"] == "unlink"]
    assert [line["rows"] for line in sent] == [[2]]
    assert outcome.results[2]["previous_deal_id"] == OTHER


async def test_a_relink_of_what_is_on_no_deal_costs_no_unlink() -> None:
    outcome = await simulate(make_case(Op.RELINK, None, WANTED))
    assert statuses_and_codes(outcome) == [("done", "SUCCESS"), ("unchanged", None)]
    assert (outcome.calls["unlink"], outcome.calls["link"]) == (0, 1)


async def test_a_link_of_what_is_on_another_deal_has_failed_without_a_call() -> None:
    outcome = await simulate(make_case(Op.LINK, OTHER, WANTED, snapshot=True))
    assert statuses_and_codes(outcome) == [("failed", "already-linked"), ("unchanged", None)]
    assert outcome.results[1]["current_deal_id"] == OTHER
    assert "relink" in outcome.results[1]["message"]
    assert outcome.calls["link"] == 0


async def test_without_a_snapshot_nothing_is_read() -> None:
    for op in (Op.LINK, Op.UNLINK, Op.RELINK):
        present = None if op is Op.LINK else OTHER
        case = make_case(op, present, snapshot=False, no_put_back=True)
        outcome = await simulate(case)
        assert statuses_and_codes(outcome) == [("done", "SUCCESS")]
        assert outcome.calls["read"] == 0
        assert "previous_deal_id" not in outcome.results[1]


@pytest.mark.parametrize("guard", [None, OTHER])
@pytest.mark.parametrize("no_put_back", [False, True])
@pytest.mark.parametrize("op", [Op.UNLINK, Op.RELINK])
async def test_what_no_page_lists_is_sent_only_where_nothing_forbids_it(
    op: Op, no_put_back: bool, guard: str | None
) -> None:
    case = make_case(op, OTHER, guard=guard, faults=HIDDEN, no_put_back=no_put_back)
    outcome = await simulate(case)
    if guard is None and (op is Op.UNLINK or no_put_back):
        assert statuses_and_codes(outcome) == [("done", "SUCCESS")]
        assert "previous_deal_id" not in outcome.results[1]
    else:
        assert statuses_and_codes(outcome) == [("in_doubt", "not-listed")]
        assert outcome.calls["unlink"] == 0


@pytest.mark.parametrize("op", [Op.UNLINK, Op.RELINK])
async def test_what_is_not_on_its_from_deal_has_failed_and_both_deals_are_named(op: Op) -> None:
    third = deal(2)
    case = make_case(op, OTHER, third, guard=OTHER)
    outcome = await simulate(replace(case, deals={**case.deals, third: contact(0)}))
    assert statuses_and_codes(outcome) == [("done", "SUCCESS"), ("failed", "changed-since")]
    assert OTHER in outcome.results[2]["message"]
    assert third in outcome.results[2]["message"]
    assert outcome.results[2]["current_deal_id"] == third
    assert outcome.deal_of(case.messages[1]) == third


async def test_what_is_to_be_on_no_deal_and_is_on_one_has_failed() -> None:
    outcome = await simulate(make_case(Op.RELINK, None, OTHER, guard="none"))
    assert statuses_and_codes(outcome) == [("done", "SUCCESS"), ("failed", "changed-since")]


async def test_what_is_as_wanted_is_unchanged_whatever_its_guard_says() -> None:
    for op, present in ((Op.UNLINK, None), (Op.RELINK, WANTED)):
        outcome = await simulate(make_case(op, present, guard=OTHER))
        assert statuses_and_codes(outcome) == [("unchanged", None)]


async def test_a_guard_that_names_several_lets_each_be() -> None:
    outcome = await simulate(make_case(Op.RELINK, None, OTHER, guard=f"{OTHER}|none"))
    assert statuses_and_codes(outcome) == [("done", "SUCCESS")] * 2


async def test_a_refused_relink_that_cannot_be_put_back_says_that_it_is_off_its_deal() -> None:
    faults = [Fault("NOT_ALLOWED", op="link")]
    outcome = await simulate(
        make_case(Op.RELINK, OTHER, snapshot=False, no_put_back=True, faults=faults)
    )
    assert statuses_and_codes(outcome) == [("failed", "NOT_ALLOWED")]
    assert "no longer on its previous deal" in outcome.results[1]["message"]


async def test_what_a_page_shows_is_recorded_when_it_came() -> None:
    """The status holds at its time: the later pages of a large contact take minutes."""
    case = make_case(Op.UNLINK, *[None] * 30, settings=Settings(latency=5.0))
    outcome = await simulate(case)
    assert len({line["ts"] for line in outcome.results.values()}) == 3


async def test_the_pages_of_a_contact_with_thousands_of_emails_are_read_once() -> None:
    case = make_case(Op.UNLINK, *[OTHER, None] * 1100, read_pages=1000)
    outcome = await simulate(case)
    assert outcome.calls == Counter(read=220, unlink=55)
    assert Counter(statuses_and_codes(outcome)) == {
        ("done", "SUCCESS"): 1100,
        ("unchanged", None): 1100,
    }
