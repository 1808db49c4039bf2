"""An audit of contacts: their emails are fetched first, then what belongs to them is read."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest

from bulklink import RunCallbacks, StopController
from bulklink.emulator.http import json_answer
from bulklink.errors import ExitCode, InterruptedPlanningError, RunStoppedError, StoppedBy
from bulklink.operations.audit import audit
from bulklink.operations.environment import real_environment
from bulklink.operations.explain import explain
from bulklink.operations.fetching.emails import prepare_fetch
from tests.guard import off_loop
from tests.operations.auditing.audit_world import (
    AuditWorld,
    contact_id,
    message_id,
    read,
    refusal,
    serve,
    write_rows,
)


async def test_deals_by_role_that_the_selection_shows_reach_the_judge(tmp_path: Path) -> None:
    world = AuditWorld()
    one, two = world.add_contact(deals=1, emails=2), world.add_contact(emails=1)
    shared = world.add_deal(one, contact_roles=[two])
    file = tmp_path / "mapping.emails.parquet"
    async with serve(world) as crm:
        fetch = prepare_fetch(
            (),
            file,
            crm.connection,
            contacts_of_deals=[shared],
            role_candidates=True,
            environment=real_environment(),
            rate=None,
        )
        fetched = await fetch.run(RunCallbacks(), StopController())
        assert (fetched.contacts, fetched.emails) == (2, 3)
        assert crm.count("/Deals") == 0
        result = await read(file, crm)
    assert result.inputs.deals_path == tmp_path / "mapping.emails.deals.jsonl"
    assert [contact.id for contact in result.contacts] == [contact_id(0), contact_id(1)]
    (deal,) = result.contacts[1].deals
    assert (deal.id, deal.by_role) == (shared, True)


async def test_the_table_of_a_fetch_without_candidates_has_no_such_column(tmp_path: Path) -> None:
    world = AuditWorld()
    contact = world.add_contact(deals=1, emails=2)
    file = tmp_path / "emails.csv"
    async with serve(world) as crm:
        fetch = prepare_fetch(
            [contact], file, crm.connection, environment=real_environment(), rate=None
        )
        await fetch.run(RunCallbacks(), StopController())
    assert "candidates" not in file.read_text("utf-8")


async def test_contacts_without_emails_take_no_call(tmp_path: Path) -> None:
    world = AuditWorld()
    file = world.write(tmp_path / "emails.csv")
    result = await read(file, None)
    assert (result.contacts, result.inputs.header, result.inputs.deals_path) == ([], None, None)
    assert result.inputs.complete


async def test_an_audit_that_is_stopped_while_it_sorts_says_that_it_can_continue(
    tmp_path: Path,
) -> None:
    world = AuditWorld()
    world.add_contact(deals=2, emails=2)
    file = world.write(tmp_path / "emails.csv")
    stop = StopController()
    stop.request(RunStoppedError(StoppedBy.INTERRUPTED, "It was asked to stop."))
    with pytest.raises(InterruptedPlanningError, match="before the mapping was written") as caught:
        await audit((), tmp_path / "mapping.csv", None, fetched=file, stop=stop)
    assert "continue" in str(caught.value.advice)
    assert not (tmp_path / "mapping.csv").exists()


async def test_deals_without_a_history_are_counted_also_by_an_audit_that_makes_no_call(
    tmp_path: Path,
) -> None:
    world = AuditWorld()
    world.add_contact(deals=2, emails=2)
    file, mapping = world.write(tmp_path / "emails.csv"), tmp_path / "mapping.csv"
    async with serve(world) as crm:
        crm.refusals["__timeline"] = refusal(400, "INVALID_DATA")
        first = await audit((), mapping, crm.connection, fetched=file, rate=None)
    second = await audit((), mapping, None, fetched=file, force=True)
    for result in (first, second):
        assert result.without_history == {"INVALID_DATA": 2}
        assert (result.proposals, result.exit_code) == (0, ExitCode.ROWS_NOT_DONE)


async def test_emails_without_a_message_id_are_counted_also_when_the_audit_continues(
    tmp_path: Path,
) -> None:
    world = AuditWorld()
    contact = world.add_contact(deals=1, emails=1)
    emails = [{"message_id": number, "subject": "Offer"} for number in (message_id(0), None, None)]
    mapping = tmp_path / "mapping.csv"
    async with serve(world) as crm:
        crm.refusals["/Emails"] = json_answer({"Emails": emails, "info": {"more_records": False}})
        stopped = await audit([contact], mapping, crm.connection, rate=None, max_credits=2)
        result = await audit([contact], mapping, crm.connection, rate=None)
    assert (stopped.stopped_by, stopped.nameless) == (StoppedBy.MAX_CREDITS, 2)
    assert (result.emails, result.nameless) == (1, 2)


@pytest.mark.parametrize("links", list(permutations(["none", "deal", ""])))
async def test_an_email_whose_rows_name_different_deals_is_counted_and_left_alone(
    links: tuple[str, ...], tmp_path: Path
) -> None:
    world = AuditWorld()
    contact = world.add_contact(deals=1, history=[])
    world.add_email(contact, day=5, subject="Deal 0")
    world.add_email(contact, day=6, subject="Deal 0")
    one, other = world.rows()
    deal = world.deals[0]["id"]
    rows = [one | {"from_deal_id": deal if link == "deal" else link} for link in links]
    file, mapping = tmp_path / "emails.csv", tmp_path / "mapping.csv"
    write_rows(file, [other, *rows])
    async with serve(world) as crm:
        result = await audit((), mapping, crm.connection, fetched=file, rate=None)
    assert (result.emails, result.contradicted) == (2, 1)
    assert result.exit_code == ExitCode.ROWS_NOT_DONE
    text = mapping.read_text("utf-8")
    assert (one["message_id"] in text, other["message_id"] in text) == (False, True)
    (explanation,) = await off_loop(lambda: explain(mapping, one["message_id"]))
    assert explanation.from_deal_id is None
    assert explanation.uncertainty == "rows of the file name different deals that the email is on"
