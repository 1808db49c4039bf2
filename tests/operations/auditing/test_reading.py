"""What an audit reads of the CRM, what it costs, and what it does if the CRM refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bulklink import NotConfirmedError, RunCallbacks, StopController, UsageError
from bulklink.emulator.http import json_answer
from bulklink.errors import BadFileError, StoppedBy
from bulklink.finding.values import DealFacts
from bulklink.runs.forecast import CreditRange
from tests.operations.auditing.audit_world import (
    OWNER,
    AuditWorld,
    Read,
    at,
    contact_id,
    deal_id,
    read,
    refusal,
    serve,
)


class Warnings(RunCallbacks):
    """Keeps warnings."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def on_warning(self, text: str) -> None:
        self.texts.append(text)


def deals_of(result: Read, number: int = 0) -> tuple[DealFacts, ...]:
    """Return the deals of a contact."""
    return next(one.deals for one in result.contacts if one.id == contact_id(number))


async def test_each_contact_comes_with_its_emails_deals_and_the_histories_that_matter(
    tmp_path: Path,
) -> None:
    world = AuditWorld()
    several = world.add_contact(deals=2, emails=3)
    single = world.add_contact(deals=1, emails=1)
    world.add_contact(deals=2)
    without = world.add_contact(emails=2)
    world.add_email(several, day=2, minute=30, deal_id=deal_id(0))
    file = world.write(tmp_path / "emails.csv")
    async with serve(world) as crm:
        result = await read(file, crm)
    assert [contact.id for contact in result.contacts] == [several, single, without]
    facts, one = result.contacts[:2]
    assert [len(contact.emails) for contact in result.contacts] == [4, 1, 2]
    assert [len(contact.deals) for contact in result.contacts] == [2, 1, 0]
    assert facts.emails[-1].deal_id == deal_id(0)
    assert not facts.emails[0].deal_id
    deal = facts.deals[0]
    assert (deal.id, deal.name, deal.stage, deal.owner_id, deal.by_role) == (
        *(deal_id(0), "Deal 0", "Proposal", OWNER),
        False,
    )
    assert [(change.field, change.old, change.new) for change in deal.history or ()] == [
        ("Stage", "Qualification", "Proposal"),
        (None, None, None),
    ]
    assert deal.history is not None
    assert deal.history[-1].source == "workflow"
    assert deal.history[-1].time == deal.modified
    assert one.deals[0].history is None
    assert result.inputs.header is not None
    assert result.inputs.header.stages["Closed Lost"] == "lost"
    assert not (tmp_path / "emails.csv.auditing").exists()


async def test_fifty_contacts_take_a_query_and_a_deal_that_matters_a_timeline(
    tmp_path: Path,
) -> None:
    world = AuditWorld()
    for number in range(120):
        world.add_contact(deals=2 if number < 4 else 1, emails=1)
    for _ in range(30):
        world.add_contact(deals=3)  # without emails
    file = world.write(tmp_path / "emails.csv")
    async with serve(world) as crm:
        result = await read(file, crm)
    assert crm.count("coql") == 3
    assert crm.count("__timeline") == 8
    assert crm.count("Contacts/") == 0
    assert crm.requests.count("Contacts") == 1
    assert result.inputs.calls["lookup"] == len(crm.requests) == 15
    assert result.inputs.credits == 15
    assert (result.inputs.deals.contacts, result.inputs.deals.deals) == (120, 124)
    assert result.inputs.deals.with_history == 8


async def test_a_contact_with_more_deals_than_a_page_has_all_of_them(tmp_path: Path) -> None:
    world = AuditWorld()
    world.add_contact(emails=1, deals=201, history=[], modified_time=at(1))
    file = world.write(tmp_path / "emails.csv")
    async with serve(world) as crm:
        result = await read(file, crm)
        queries = crm.count("coql")
        spent = result.inputs.credits
    async with serve(world) as crm:
        crm.refusals["coql"] = refusal(401, "OAUTH_SCOPE_MISMATCH")
        file.with_suffix(".deals.jsonl").unlink()
        by_contact = await read(file, crm)
    assert [deal.id for deal in deals_of(result)] == [deal_id(number) for number in range(201)]
    assert deals_of(by_contact) == deals_of(result)
    assert queries == 2
    assert spent == 1 + 2 + 1 + 3 + 1  # org, stages, a page of 200, one of 2,000, an address
    assert crm.count("Deals") == 2


async def test_without_the_scope_for_queries_each_contact_takes_a_call(tmp_path: Path) -> None:
    world = AuditWorld()
    for _ in range(5):
        world.add_contact(deals=2, emails=1)
    file = world.write(tmp_path / "emails.csv")
    callbacks = Warnings()
    async with serve(world) as crm:
        crm.refusals["coql"] = refusal(401, "OAUTH_SCOPE_MISMATCH")
        result = await read(file, crm, callbacks=callbacks)
    assert crm.count("coql") == 1
    assert crm.count("/Deals") == 5
    assert len(result.contacts) == 5
    assert all(len(contact.deals) == 2 for contact in result.contacts)
    (text,) = callbacks.texts
    assert "ZohoCRM.coql.READ" in text
    assert "one by one" in text
    assert "select" not in text


async def test_a_field_that_the_org_lacks_is_refused_once(tmp_path: Path) -> None:
    world = AuditWorld()
    for _ in range(160):
        world.add_contact(deals=1, emails=1)
    file = world.write(tmp_path / "emails.csv")
    async with serve(world) as crm:
        crm.refusals["Account_Name"] = refusal(400, "INVALID_QUERY", "Account_Name is no column")
        result = await read(file, crm)
    assert crm.count("coql") == 5
    assert len(result.contacts) == 160
    assert deals_of(result)[0].closing_date is None


async def test_the_deals_own_numbers_are_read_from_the_field_that_the_user_names(
    tmp_path: Path,
) -> None:
    world = AuditWorld()
    world.add_contact(deals=1, emails=1, fields={"Deal_Number": "D-17"})
    file = world.write(tmp_path / "emails.csv")
    async with serve(world) as crm:
        result = await read(file, crm, number_field="Deal_Number")
    assert deals_of(result)[0].number == "D-17"
    assert result.inputs.header is not None
    assert result.inputs.header.number_field == "Deal_Number"


@pytest.mark.parametrize("name", ["Deal_Number", "id, Name", "", "1a", "x" * 101])
async def test_a_field_that_deals_do_not_have_is_a_usage_error(name: str, tmp_path: Path) -> None:
    world = AuditWorld()
    world.add_contact(deals=1, emails=1)
    file = world.write(tmp_path / "emails.csv")
    async with serve(world) as crm:
        with pytest.raises(UsageError, match="field") as caught:
            await read(file, crm, number_field=name)
    assert caught.value.where == "number_field"


async def test_addresses_are_read_of_contacts_with_several_deals(tmp_path: Path) -> None:
    world = AuditWorld()
    for number in range(120):
        world.add_contact(deals=1 + number % 2, emails=1, modified_time=at(1), history=[])
    file = world.write(tmp_path / "emails.csv")
    async with serve(world) as crm:
        result = await read(file, crm)
    assert [contact.addresses for contact in result.contacts[:3]] == [
        (), ("ann1@customer.example",), ()
    ]  # fmt: skip
    assert crm.requests.count("Contacts") == 2
    assert (await read(file, None)).contacts == result.contacts


async def test_addresses_that_are_refused_stay_unknown(tmp_path: Path) -> None:
    world = AuditWorld()
    for _ in range(120):
        world.add_contact(deals=2, emails=1, modified_time=at(1), history=[])
    file = world.write(tmp_path / "emails.csv")
    callbacks = Warnings()
    async with serve(world) as crm:
        crm.refusals["Contacts"] = refusal(403, "NO_PERMISSION")
        result = await read(file, crm, callbacks=callbacks)
    assert {contact.addresses for contact in result.contacts} == {()}
    assert any("addresses" in text for text in callbacks.texts)


async def test_deals_by_role_that_the_file_knows_are_read_by_their_ids(tmp_path: Path) -> None:
    world = AuditWorld()
    one, two = world.add_contact(deals=1), world.add_contact(deals=1)
    other = world.add_contact(deals=2)
    shared = world.add_deal(other, contact_roles=[one, two])
    for contact in (one, two):
        candidates = f'[{{"id":"{shared}","role":true}},{{"id":"{deal_id(999)}","role":true}}]'
        world.add_email(contact, day=2, candidates=candidates)
    file = world.write(tmp_path / "emails.csv")
    async with serve(world) as crm:
        result = await read(file, crm)
    for facts in result.contacts:
        assert [deal.by_role for deal in facts.deals] == [False, True]
        assert facts.deals[1].id == shared
        assert facts.deals[1].history is not None
    assert crm.requests.count("Deals") == 1
    assert crm.count(f"Deals/{shared}/__timeline") == 1


async def test_a_deal_that_got_another_contact_since_the_fetch_is_none_of_its_former_contact(
    tmp_path: Path,
) -> None:
    world = AuditWorld()
    former, present = world.add_contact(deals=1), world.add_contact(deals=1)
    former_deal, role_deal, unlisted_deal = (world.add_deal(present) for _ in range(3))
    candidates = f'[{{"id":"{former_deal}","role":false}},{{"id":"{role_deal}","role":null}}]'
    for deal in (former_deal, role_deal, unlisted_deal):
        world.add_email(former, day=2, candidates=candidates, deal_id=deal)
    file = world.write(tmp_path / "emails.csv")
    async with serve(world) as crm:
        result = await read(file, crm)
    assert [(deal.id, deal.by_role) for deal in deals_of(result)] == [
        (deal_id(0), False),
        (role_deal, True),
        (unlisted_deal, True),
    ]


@pytest.mark.parametrize("text", ["[", "5", '{"id":"1"}', '[5, {"role":true}]', '[{"id":"a b"}]'])
async def test_candidates_that_are_no_list_of_deals_are_left_out(text: str, tmp_path: Path) -> None:
    world = AuditWorld()
    contact = world.add_contact(deals=1)
    world.add_email(contact, day=2, candidates=text)
    file = world.write(tmp_path / "emails.csv")
    async with serve(world) as crm:
        result = await read(file, crm)
    assert len(deals_of(result)) == 1


def long_history(entries: int) -> list[dict[str, Any]]:
    """Return touches of the 3rd of January, and a stage before."""
    touches = [
        {"time": at(3 + number // 1000, number % 1000), "field": None} for number in range(entries)
    ]
    stage = {"time": at(1, 5), "field": "Stage", "old": "Qualification", "new": "Proposal"}
    return [stage, *touches]


async def test_a_timeline_of_several_pages_is_read_back_to_the_oldest_email(
    tmp_path: Path,
) -> None:
    world = AuditWorld()
    old = world.add_contact(deals=2, emails=1, history=long_history(450))
    late = world.add_contact(deals=2, history=long_history(450))
    world.add_email(late, day=3, minute=400)
    file = world.write(tmp_path / "emails.csv")
    async with serve(world) as crm:
        result = await read(file, crm)
    first, second = deals_of(result, 0)[0], deals_of(result, 1)[0]
    assert first.history is not None
    assert second.history is not None
    assert (len(first.history), first.history_since) == (451, None)
    assert len(second.history) == 200
    assert second.history_since == second.history[0].time
    assert second.history_since < (result.contacts[1].emails[0].time or 0)
    assert old != late
    assert crm.count("__timeline") == 2 * 3 + 2 * 1


async def test_a_field_that_changes_from_another_value_than_it_had_leaves_the_history_usable(
    tmp_path: Path,
) -> None:
    world = AuditWorld()
    contact = world.add_contact(deals=1, emails=1)
    world.add_deal(
        contact,
        history=[
            {"time": at(3), "field": "Probability", "old": 0, "new": 50},
            {"time": at(4), "field": "Probability", "old": 30, "new": 60},
        ],
    )
    file = world.write(tmp_path / "emails.csv")
    async with serve(world) as crm:
        result = await read(file, crm)
    assert [deal.history is None for deal in deals_of(result)] == [False, False]
    assert result.inputs.deals.without_history == {}


async def test_a_timeline_that_is_refused_leaves_its_deal_without_a_history(
    tmp_path: Path,
) -> None:
    world = AuditWorld()
    for _ in range(3):
        world.add_contact(deals=2, emails=2)
    file = world.write(tmp_path / "emails.csv")
    async with serve(world) as crm:
        crm.refusals[f"{deal_id(0)}/__timeline"] = refusal(400, "INVALID_DATA")
        result = await read(file, crm)
    assert deals_of(result)[0].history is None
    assert result.inputs.deals.with_history == 5
    assert result.inputs.deals.without_history == {"INVALID_DATA": 1}


async def test_timelines_are_not_requested_on_once_three_are_refused_before_any_is_read(
    tmp_path: Path,
) -> None:
    world = AuditWorld()
    for _ in range(40):
        world.add_contact(deals=2, emails=1)
    file = world.write(tmp_path / "emails.csv")
    callbacks = Warnings()
    async with serve(world) as crm:
        crm.refusals["__timeline"] = refusal(403, "NO_PERMISSION")
        result = await read(file, crm, callbacks=callbacks, job=None)
    assert crm.count("__timeline") < 40
    assert len(result.contacts) == 40
    assert result.inputs.deals.without_history == {"NO_PERMISSION": 80}
    assert any("timelines" in text for text in callbacks.texts)


async def test_contacts_whose_deals_cannot_be_read_are_named(tmp_path: Path) -> None:
    world = AuditWorld()
    for _ in range(3):
        world.add_contact(deals=1, emails=1)
    file = world.write(tmp_path / "emails.csv")
    async with serve(world) as crm:
        crm.refusals["coql"] = refusal(401, "OAUTH_SCOPE_MISMATCH")
        crm.refusals[f"{contact_id(1)}/Deals"] = refusal(400, "INVALID_DATA", "is gone")
        result = await read(file, crm)
    assert [contact.id for contact in result.contacts] == [contact_id(0), contact_id(2)]
    (unread,) = result.inputs.deals.unread_contacts
    assert (unread.contact_id, unread.code) == (contact_id(1), "INVALID_DATA")
    assert result.inputs.complete


async def test_without_the_scope_for_layouts_the_error_names_it(tmp_path: Path) -> None:
    world = AuditWorld()
    world.add_contact(deals=1, emails=1)
    file = world.write(tmp_path / "emails.csv")
    stop = StopController()
    async with serve(world) as crm:
        crm.refusals["layouts"] = refusal(401, "OAUTH_SCOPE_MISMATCH")
        result = await read(file, crm, stop=stop)
    assert stop.reason is not None
    assert stop.reason.stopped_by is StoppedBy.FATAL
    assert "ZohoCRM.settings.layouts.READ" in stop.reason.message
    assert not result.inputs.complete
    assert result.contacts == []


class Terminal(RunCallbacks):
    """Answers questions about costs, and keeps them."""

    can_ask = True

    def __init__(self, *, answer: bool) -> None:
        self.answer = answer
        self.asked: list[tuple[str, int]] = []

    def confirm_cost(self, description: str, credit_range: CreditRange) -> bool:
        self.asked.append((description, credit_range.likely))
        return self.answer


async def test_the_user_is_asked_before_much_is_spent_and_a_refusal_loses_nothing(
    tmp_path: Path,
) -> None:
    world = AuditWorld()
    for _ in range(501):
        world.add_contact(deals=2, emails=1)
    file = world.write(tmp_path / "emails.csv")
    async with serve(world) as crm:
        terminal = Terminal(answer=False)
        with pytest.raises(NotConfirmedError, match=r"timelines of 1,002 deals"):
            await read(file, crm, callbacks=terminal)
        assert terminal.asked == [("the timelines of 1,002 deals", 1002)]
        queries = crm.count("coql")
        result = await read(file, crm, callbacks=Terminal(answer=True))
    assert crm.count("coql") == queries == 11
    assert crm.count("__timeline") == 1002
    assert result.inputs.complete


async def test_an_org_that_shows_no_stage_is_not_audited(tmp_path: Path) -> None:
    world = AuditWorld()
    world.add_contact(deals=2, emails=1)
    file = world.write(tmp_path / "emails.csv")
    stop = StopController()
    async with serve(world) as crm:
        crm.refusals["settings/layouts"] = json_answer({"layouts": []})
        result = await read(file, crm, stop=stop)
    assert not result.inputs.complete
    assert stop.reason is not None
    assert stop.reason.stopped_by is StoppedBy.FATAL
    assert "no stage" in stop.reason.message
    assert not (tmp_path / "emails.deals.jsonl").exists()


async def test_a_file_whose_ids_a_spreadsheet_rewrote_is_refused(tmp_path: Path) -> None:
    world = AuditWorld()
    contact = world.add_contact(deals=2, emails=2)
    file = world.write(tmp_path / "emails.csv")
    file.write_text(file.read_text("utf-8").replace(contact, "5.8431E+18"), "utf-8")
    with pytest.raises(BadFileError, match="2 rows") as caught:
        await read(file, None)
    assert caught.value.where == str(file)
    assert "spreadsheet" in str(caught.value.advice)
