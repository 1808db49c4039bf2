"""`bulklink fetch` by selection: addresses, names, deals, conditions, filters and candidates."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.command import Command, CommandResult
from tests.e2e.servers import ReceivedRequest, Reply, StandIn
from tests.e2e.world import UNKNOWN_ID, Contact, World

QUICK = ("--rate", "off")
LAST_ID = re.compile(r"\(id > '?(\d+)'?\)")


class Crm:
    """Answers queries, contact roles, deals of contacts and stages for a scripted CRM.

    The shapes are those of Zoho's pages.

    Args:
        world: the CRM's contacts, with two deals each.
        rows: rows that a page of a query has at most.
    """

    def __init__(self, world: World, rows: int = 2000) -> None:
        self.world = world
        self.rows = rows
        self.roles: dict[str, list[str]] = {}
        self.queries: list[str] = []
        self.refused_queries: dict[str, Reply] = {}

    async def __call__(self, seen: ReceivedRequest) -> Reply | None:
        parts = seen.path.split("/")
        if parts[-1] == "coql":
            return self._answer_query(json.loads(seen.body)["select_query"])
        if parts[-1] == "Contact_Roles":
            assert "fields" in seen.query
            rows = [
                {"id": contact, "Contact_Role": {"name": "Decision Maker", "id": "9"}}
                for contact in self.roles.get(parts[-2], [])
            ]
            return (
                Reply(body={"data": rows, "info": {"more_records": False}}) if rows else Reply(204)
            )
        if parts[-1] == "Deals" and "Contacts" in parts:
            rows = [self._deal(deal) for deal in self._deals() if deal[1].id == parts[-2]]
            return (
                Reply(body={"data": rows, "info": {"more_records": False}}) if rows else Reply(204)
            )
        if parts[-1] == "Deals" and "ids" in seen.query:
            ids = seen.query["ids"].split(",")
            rows = [self._deal(deal) for deal in self._deals() if deal[0] in ids]
            return (
                Reply(body={"data": rows, "info": {"more_records": False}}) if rows else Reply(204)
            )
        if parts[-1] == "layouts":
            return Reply(body={"layouts": [{"id": "77", "name": "Standard", "sections": []}]})
        if parts[-1] == "pipeline":
            maps = [
                {"display_value": "Talks", "actual_value": "Negotiation", "forecast_type": "Open"},
                {"display_value": "Lost", "actual_value": "Gone", "forecast_type": "Closed Lost"},
            ]
            return Reply(body={"pipeline": [{"display_value": "Standard", "maps": maps}]})
        return None

    def _deals(self) -> list[tuple[str, Contact]]:
        return [(deal, one) for one in self.world.contacts for deal in (one.a, one.b)]

    def _deal(self, deal: tuple[str, Contact]) -> dict[str, Any]:
        deal_id, contact = deal
        stage = "Talks" if deal_id == contact.a else "Gone"
        return {
            "id": deal_id,
            "Deal_Name": self.world.deal_names()[deal_id],
            "Stage": stage,
            "Contact_Name": {"name": "?", "id": contact.id},
        }

    def _answer_query(self, query: str) -> Reply:
        self.queries.append(query)
        for part, reply in self.refused_queries.items():
            if part in query:
                return reply
        last = LAST_ID.search(query)
        assert last is not None, query
        if " from Deals " in query:
            rows = [self._deal(deal) for deal in self._deals()]
            if "Stage = 'Talks'" in query:
                rows = [row for row in rows if row["Stage"] == "Talks"]
        else:
            rows = [
                {"id": one.id, "Full_Name": f"Ann Contact {number}", "Email": f"{number}@x.example"}
                for number, one in enumerate(self.world.contacts, 1)
            ]
            if " in (" in query:
                rows = [row for row in rows if f"'{row['Email']}'" in query.lower()]
        rows = sorted((row for row in rows if int(row["id"]) > int(last[1])), key=lambda r: r["id"])
        page = rows[: self.rows]
        info = {"count": len(page), "more_records": len(rows) > len(page)}
        return Reply(body={"data": page, "info": info}) if page else Reply(204)


@pytest.fixture
def crm(standin: StandIn, world: World) -> Crm:
    """A scripted CRM that answers all reads of a selection."""
    crm = Crm(world)
    standin.script = crm
    return crm


@pytest.fixture
def fetch(bulklink: Command, standin: StandIn) -> Callable[..., CommandResult]:
    """Run `fetch` into f.csv."""
    return lambda *arguments: bulklink.with_env(**standin.env())(
        "fetch", *arguments, "-o", "f.csv", "--json", *QUICK
    )


def rows_of(bulklink: Command, name: str = "f.csv") -> list[dict[str, str]]:
    with Path(bulklink.folder, name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def contacts_of(bulklink: Command) -> list[str]:
    """Return the contacts of the file, each once, in its order."""
    return list(dict.fromkeys(row["contact_id"] for row in rows_of(bulklink)))


def test_addresses_are_looked_up_together_and_keep_their_place(
    bulklink: Command, world: World, crm: Crm, fetch: Callable[..., CommandResult]
) -> None:
    one, two, three = (world.add(free=1) for _ in range(3))
    (bulklink.folder / "people.txt").write_text("Email\n3@x.example\n", "utf-8")
    result = fetch("2@X.example", one.id, "@people.txt", two.id)
    assert result.code == 0, result
    assert contacts_of(bulklink) == [two.id, one.id, three.id]
    assert len(crm.queries) == 1


def test_an_address_that_nobody_has_is_named_with_its_place(
    bulklink: Command, world: World, crm: Crm, fetch: Callable[..., CommandResult]
) -> None:
    one = world.add(free=1)
    (bulklink.folder / "people.txt").write_text("1@x.example\nnobody@x.example\n", "utf-8")
    result = fetch("@people.txt", "--contacts-of-deals", UNKNOWN_ID)
    assert result.code == 1, result
    assert contacts_of(bulklink) == [one.id]
    assert result.object["unresolved"] == [
        {
            "value": "nobody@x.example",
            "place": "people.txt, line 2",
            "message": "No contact has this address.",
        },
        {"value": UNKNOWN_ID, "place": UNKNOWN_ID, "message": "The CRM shows no such deal."},
    ]
    assert "people.txt, line 2: nobody@x.example: No contact has this address." in result.err


@pytest.mark.parametrize("address", ["o'neil@x.example", "back\\slash@x.example"])
def test_an_address_with_a_quote_is_never_put_into_a_query(
    standin: StandIn, fetch: Callable[..., CommandResult], address: str
) -> None:
    result = fetch(address)
    assert result.code == 2
    assert result.object["error"]["where"] == address
    assert standin.requests == []


def test_contacts_of_deals_include_those_with_a_role(
    bulklink: Command, world: World, crm: Crm, fetch: Callable[..., CommandResult]
) -> None:
    one, two, three = (world.add(free=1) for _ in range(3))
    crm.roles[one.a] = [three.id]
    assert fetch("--contacts-of-deals", one.a, "--contacts-of-deals", two.b).code == 0
    assert contacts_of(bulklink) == [one.id, three.id, two.id]
    assert fetch("--contacts-of-deals", one.a, "--roles", "no", "--force").code == 0
    assert contacts_of(bulklink) == [one.id]


def test_a_condition_on_deals_is_paged_by_id_and_shown_whole(
    bulklink: Command, standin: StandIn, world: World, crm: Crm, fetch: Callable[..., CommandResult]
) -> None:
    contacts = [world.add(free=1) for _ in range(5)]
    crm.rows = 2
    result = fetch("--deals-where", "Stage = 'Talks'")
    assert result.code == 0, result
    assert contacts_of(bulklink) == [one.id for one in contacts]
    assert len(crm.queries) == 3
    assert f"Query: {crm.queries[0]}" in result.err
    assert "(Stage = 'Talks')" in crm.queries[0]
    assert not any(request.path.endswith("Contact_Roles") for request in standin.requests)


def test_the_credits_of_queries_are_shown_next_to_the_calls(
    bulklink: Command, standin: StandIn, world: World, crm: Crm, fetch: Callable[..., CommandResult]
) -> None:
    for _ in range(3):
        world.add(free=1)
    shown = fetch("--deals-where", "Stage = 'Talks'").object
    calls = {"read": 3, "lookup": 2, "retried": 0}
    assert (shown["calls"], shown["credits"]) == (calls, 3 + 1 + 3), "a query takes three"
    command = bulklink.with_env(**standin.env())
    text = command("fetch", "--deals-where", "Stage = 'Talks'", "-o", "other.csv").err
    assert "Calls: 3 read, 2 look-up, 0 retried; 7 credits.\n" in text
    by_id = command("fetch", world.contacts[0].id, "-o", "third.csv").err
    assert "Calls: 1 read, 1 look-up, 0 retried.\n" in by_id


def test_roles_of_a_conditions_deals_are_read_on_request(
    bulklink: Command, world: World, crm: Crm, fetch: Callable[..., CommandResult]
) -> None:
    one, two = world.add(free=1), world.add(free=1)
    crm.roles[one.a] = [two.id]
    crm.roles[one.b] = [UNKNOWN_ID]
    result = fetch("--deals-where", "Stage = 'Talks'", "--roles", "yes")
    assert result.code == 0, result
    assert contacts_of(bulklink) == [one.id, two.id]


def test_all_selectors_add_up_and_each_contact_is_read_once(
    bulklink: Command, standin: StandIn, world: World, crm: Crm, fetch: Callable[..., CommandResult]
) -> None:
    one, two, three = (world.add(free=1) for _ in range(3))
    result = fetch(three.id, "--contacts-of-deals", two.a, "--contacts-where", "Email is not null")
    assert result.code == 0, result
    assert contacts_of(bulklink) == [three.id, two.id, one.id]
    assert result.object["calls"]["read"] == 3


@pytest.mark.parametrize(
    ("condition", "word"),
    [
        ("Stage = 'x') or (id > 0", "bracket"),
        ("Stage = 'open", "quote"),
        ("Stage = 'x' limit 5", "limit"),
        ("Stage = 'x' order by id", "order"),
        ("id in (select id from Deals)", "select"),
        ("  ", "empty"),
    ],
)
def test_a_condition_that_is_none_is_refused_before_any_call(
    standin: StandIn, fetch: Callable[..., CommandResult], condition: str, word: str
) -> None:
    result = fetch("--deals-where", condition)
    assert result.code == 2
    error = result.object["error"]
    assert error["where"] == "--deals-where"
    assert word in error["message"].lower()
    assert standin.requests == []


def test_a_condition_that_zoho_refuses_is_reported_with_its_words_and_the_query(
    bulklink: Command, crm: Crm, fetch: Callable[..., CommandResult]
) -> None:
    refusal = {"code": "INVALID_QUERY", "message": "column given seems to be invalid"}
    crm.refused_queries["Stge"] = Reply(400, {**refusal, "details": {}, "status": "error"})
    result = fetch("--deals-where", "Stge = 'x'")
    assert result.code == 2, result
    message = result.object["error"]["message"]
    assert "column given seems to be invalid" in message
    assert crm.queries[0] in message


def test_filters_leave_emails_out_and_say_how_many(
    bulklink: Command, world: World, crm: Crm, fetch: Callable[..., CommandResult]
) -> None:
    one = world.add(free=3, linked=2)
    result = fetch(one.id, "--on-no-deal")
    assert result.code == 0, result
    assert {row["from_deal_id"] for row in rows_of(bulklink)} == {"none"}
    assert (result.object["emails"], result.object["filtered_out"]) == (3, 2)


def test_emails_on_a_deal_are_those_of_its_contacts(
    bulklink: Command, world: World, crm: Crm, fetch: Callable[..., CommandResult]
) -> None:
    one, two = world.add(free=3, linked=2), world.add(free=1)
    crm.roles[one.a] = [two.id]
    result = fetch("--emails-on", one.a)
    assert result.code == 0, result
    assert [row["from_deal_id"] for row in rows_of(bulklink)] == [one.a, one.a]
    assert (result.object["contacts"], result.object["filtered_out"]) == (2, 4)
    assert fetch("--emails-on", one.a, "--on-no-deal", "--force").object["emails"] == 6


def test_candidates_are_the_deals_of_the_contact(
    bulklink: Command, world: World, crm: Crm, fetch: Callable[..., CommandResult]
) -> None:
    one = world.add(free=1)
    result = fetch(one.id, "--candidates")
    assert result.code == 0, result
    names = world.deal_names()
    (row,) = rows_of(bulklink)
    assert json.loads(row["candidates"]) == [
        {"id": one.a, "name": names[one.a], "stage": "Talks", "open": True, "role": False},
        {"id": one.b, "name": names[one.b], "stage": "Gone", "open": False, "role": False},
    ]


def test_deals_by_role_are_candidates_even_if_zoho_does_not_list_them(
    bulklink: Command, world: World, crm: Crm, fetch: Callable[..., CommandResult]
) -> None:
    one, two = world.add(free=1), world.add(free=1)
    crm.roles[one.b] = [two.id]
    assert fetch("--contacts-of-deals", one.b, "--candidates").code == 0
    found = {
        row["contact_id"]: [
            (deal["id"], deal["open"], deal["role"]) for deal in json.loads(row["candidates"])
        ]
        for row in rows_of(bulklink)
    }
    assert found == {
        one.id: [(one.a, True, False), (one.b, False, False)],
        two.id: [(two.a, True, False), (two.b, False, False), (one.b, False, True)],
    }


def test_a_selection_that_was_stopped_continues_after_its_last_page(
    bulklink: Command, world: World, crm: Crm, fetch: Callable[..., CommandResult]
) -> None:
    contacts = [world.add(free=1) for _ in range(4)]
    crm.rows = 2
    stopped = fetch("--contacts-where", "Email is not null", "--max-credits", "4")
    assert stopped.code == 4, stopped
    assert len(crm.queries) == 1
    crm.world.contacts.reverse()
    result = fetch("--contacts-where", "Email is not null")
    assert result.code == 0, result
    assert contacts_of(bulklink) == [one.id for one in sorted(contacts, key=lambda one: one.id)]
    assert len(crm.queries) == 2


def test_the_selected_list_is_frozen_once_it_is_complete(
    bulklink: Command, world: World, crm: Crm, fetch: Callable[..., CommandResult]
) -> None:
    contacts = [world.add(free=1) for _ in range(3)]
    stopped = fetch("--contacts-where", "Email is not null", "--max-credits", "6")
    assert stopped.code == 4, stopped
    world.add(free=1)
    result = fetch()
    assert result.code == 0, result
    assert contacts_of(bulklink) == [one.id for one in contacts]
    assert len(crm.queries) == 1


def test_contact_roles_that_were_read_are_not_read_again(
    bulklink: Command, standin: StandIn, world: World, crm: Crm, fetch: Callable[..., CommandResult]
) -> None:
    deals = [world.add(free=1).a for _ in range(4)]
    options = [word for deal in deals for word in ("--contacts-of-deals", deal)]
    stopped = fetch(*options, "--max-credits", "4", "--concurrency", "1")
    assert stopped.code == 4, stopped
    result = fetch(*options)
    assert result.code == 0, result
    paths = [request.path for request in standin.requests]
    read = [path.split("/")[-2] for path in paths if path.endswith("Contact_Roles")]
    assert sorted(read) == sorted(deals)


def test_a_condition_that_nothing_meets_gives_an_empty_file(
    bulklink: Command, crm: Crm, fetch: Callable[..., CommandResult]
) -> None:
    result = fetch("--contacts-where", "Email is null")
    assert result.code == 0, result
    assert rows_of(bulklink) == []
    assert result.object["contacts"] == 0


def test_an_unfinished_fetch_that_is_only_continued_gets_no_other_columns(
    bulklink: Command, world: World, crm: Crm, fetch: Callable[..., CommandResult]
) -> None:
    for _ in range(3):
        world.add(free=1)
    assert fetch("--contacts-where", "Email is not null", "--max-credits", "6").code == 4
    for options in (["--candidates"], ["--roles", "yes"]):
        refused = fetch(*options)
        assert refused.code == 2, refused
        assert "another file" in refused.object["error"]["advice"]
    assert fetch().code == 0


def test_an_unfinished_fetch_of_another_condition_is_kept(
    bulklink: Command, world: World, crm: Crm, fetch: Callable[..., CommandResult]
) -> None:
    for _ in range(3):
        world.add(free=1)
    assert fetch("--contacts-where", "Email is not null", "--max-credits", "6").code == 4
    refused = fetch("--contacts-where", "Email is null")
    assert refused.code == 2, refused
    assert "another" in refused.object["error"]["advice"]
