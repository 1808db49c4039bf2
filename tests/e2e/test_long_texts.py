"""Texts of the CRM beyond Zoho's limits are truncated when stored and never sent truncated."""

from __future__ import annotations

import pytest

from tests.e2e.audit import audit_run
from tests.e2e.command import Command, rows, write_mapping
from tests.e2e.servers import ReceivedRequest, Reply, StandIn
from tests.e2e.world import PAT, Contact, World

LONG = "Long name " * 30_000
LONGEST = "n" * 255
"""The longest name that a link can hold."""


def serve_names(standin: StandIn, contact: Contact, name: str, owner_name: str) -> None:
    """Answer look-ups and reads with these names."""

    async def script(request: ReceivedRequest) -> Reply | None:
        if request.kind == "deals":
            deals = [{"id": d, "Deal_Name": name} for d in request.query["ids"].split(",")]
            return Reply(200, {"data": deals, "info": {"more_records": False}})
        if request.kind == "users":
            users = [{"id": PAT, "full_name": owner_name}]
            return Reply(200, {"users": users, "info": {"more_records": False}})
        if request.kind == "org":
            return Reply(200, {"org": [{"id": "58", "company_name": LONG, "type": "Sandbox"}]})
        if request.kind == "read" and not standin.requests_of("unlink"):
            deal = {"id": contact.a, "name": name, "module": {"api_name": "Deals", "id": "5"}}
            emails = [{"message_id": e.message, "linked_record": deal} for e in contact.linked]
            return Reply(200, {"Emails": emails, "info": {"more_records": False}})
        return None

    standin.script = script


def total_size(command: Command) -> int:
    return sum(file.stat().st_size for file in command.folder.rglob("*") if file.is_file())


@pytest.mark.parametrize(
    ("name", "owner_name"), [(LONG, "Pat"), ("A deal", LONG), (LONGEST + "n", "Pat")]
)
def test_a_name_too_long_for_a_link_rejects_its_row_with_one_warning(
    bulklink: Command, standin: StandIn, world: World, name: str, owner_name: str
) -> None:
    contact = world.add(free=3)
    serve_names(standin, contact, name, owner_name)
    write_mapping(bulklink.folder / "m.csv", rows(contact.free, contact.a))
    result = bulklink.with_env(**standin.env())("link", "m.csv", "--run-dir", "run")
    assert result.code == 2, result
    assert result.err.count("more than 255 characters") == 1
    assert "--no-names" in result.err
    assert standin.requests_of("link") == []
    assert total_size(bulklink) < 300_000
    assert len(result.output) < 20_000


def test_a_name_of_255_characters_is_sent_whole(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(free=1)
    serve_names(standin, contact, LONGEST, "Pat")
    write_mapping(bulklink.folder / "m.csv", rows(contact.free, contact.a))
    audit_run(bulklink.with_env(**standin.env())("link", "m.csv", "--json"), bulklink.folder, 1)
    (request,) = standin.requests_of("link")
    assert request.body["Emails"][0]["linked_record"]["name"] == LONGEST


def test_an_overlong_name_of_the_previous_deal_is_recorded_as_unknown(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    contact = world.add(linked=2)
    serve_names(standin, contact, LONG, "Pat")
    given = rows(contact.linked, contact.b, deal_name="New deal", owner_name="Pat")
    write_mapping(bulklink.folder / "m.csv", given)
    command = bulklink.with_env(**standin.env())
    run = audit_run(command("relink", "m.csv", "--json", "--canary", "0"), bulklink.folder, 2)
    assert run.result(contact.linked[0].message)["previous_deal_id"] == contact.a
    assert run.result(contact.linked[0].message)["previous_deal_name"] is None
    assert total_size(bulklink) < 300_000
