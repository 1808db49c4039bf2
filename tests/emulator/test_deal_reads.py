"""Contact roles and timeline of a deal, and the deals of a contact by role."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bulklink.emulator.faults import Fault
from bulklink.emulator.settings import DEFAULT_SCOPES, Settings
from tests.emulator.client import (
    ANA,
    FLEET,
    JACOB,
    MODULE,
    OTHERS,
    TOM,
    TRAVEL,
    EmulatorClient,
    email,
    item,
    item_codes,
    small_world,
)

ROLES = f"Deals/{FLEET}/Contact_Roles"
TIMELINE = f"Deals/{FLEET}/__timeline"
HISTORY = [
    {"time": "2026-03-03T09:00:00+00:00", "field": "Amount", "old": None, "new": 1200.5},
    {
        "time": "2026-03-01T09:00:00+05:30",
        "field": "Stage",
        "old": None,
        "new": "Negotiation",
        "source": "crm_api",
    },
    {
        "time": "2026-03-01T09:00:00+05:30",
        "field": "Deal_Name",
        "old": "Fleet",
        "new": "Fleet Renewal",
        "source": "crm_api",
    },
    {"time": "2026-03-05T00:00:00+00:00", "field": None, "source": "workflow"},
]


def roles_world() -> dict[str, Any]:
    """Return a world in which Tom is on a deal of Ana's by role."""
    world = small_world(3)
    world["deals"][1] |= {
        "contact_roles": [TOM],
        "owner_id": JACOB,
        "stage": "Negotiation",
        "history": HISTORY,
    }
    world["emails"].append(email(50, contact_id=TOM))
    return world


async def test_contact_roles_are_the_contacts_of_a_deal_with_the_requested_fields() -> None:
    response = await EmulatorClient(world=roles_world()).get(ROLES, fields="Email,Department")
    (entry,) = response.json["data"]
    assert set(entry.pop("Contact_Role")) == {"name", "id"}
    assert entry == {"Email": "tom@customer.example", "id": TOM}
    assert response.json["info"] == {
        "per_page": 100,
        "count": 1,
        "page": 1,
        "more_records": False,
        "next_page_token": None,
        "previous_page_token": None,
        "page_token_expiry": None,
    }


async def test_contact_roles_can_be_limited_to_ids() -> None:
    crm = EmulatorClient(world=roles_world())
    assert (await crm.get(ROLES, fields="Email", ids=f"{TOM},{ANA}")).json["info"]["count"] == 1
    assert (await crm.get(ROLES, fields="Email", ids=ANA)).status == 204


async def test_contact_roles_are_listed_in_pages_of_100() -> None:
    contacts = [{"id": str(n + 1), "name": "x"} for n in range(101)]
    deal = {"id": "9000", "name": "x", "contact_id": "1"}
    deal["contact_roles"] = [contact["id"] for contact in contacts]  # type: ignore[assignment]
    crm = EmulatorClient(world=small_world(0, contacts=contacts, deals=[deal]))
    path = "Deals/9000/Contact_Roles"
    pages = [(await crm.get(path, fields="Email", page=page)).json for page in ("1", "2")]
    assert [page["info"]["count"] for page in pages] == [100, 1]
    assert [page["info"]["more_records"] for page in pages] == [True, False]
    assert (await crm.get(path, fields="Email", per_page="101")).code == "INVALID_DATA"


async def test_a_deal_without_contact_roles_is_answered_with_204() -> None:
    response = await EmulatorClient().get(ROLES, fields="Email")
    assert (response.status, response.answer.body) == (204, b"")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        (ROLES, 400, "REQUIRED_PARAM_MISSING"),
        ("Deals/1/Contact_Roles", 400, "INVALID_DATA"),
        (f"Contacts/{ANA}/Contact_Roles", 400, "INVALID_MODULE"),
        ("Deals/1/__timeline", 400, "INVALID_DATA"),
        (f"Leads/{ANA}/__timeline", 400, "INVALID_MODULE"),
    ],
)
async def test_an_invalid_call_is_refused(path: str, status: int, code: str) -> None:
    response = await EmulatorClient().get(path)
    assert (response.status, response.code) == (status, code)


@pytest.mark.parametrize(("path", "areas"), [(ROLES, "contacts deals"), (TIMELINE, "deals")])
async def test_roles_and_timeline_need_the_scopes_and_permissions_of_their_modules(
    path: str, areas: str
) -> None:
    for area in areas.split():
        scopes = tuple(scope for scope in DEFAULT_SCOPES if area not in scope)
        response = await EmulatorClient(Settings(scopes=scopes)).get(path, fields="Email")
        assert (response.status, response.code) == (401, "OAUTH_SCOPE_MISMATCH")
        permissions = tuple(
            f"Crm_Implied_View_{name}" for name in ("Deals", "Contacts") if name.lower() != area
        )
        crm = EmulatorClient(Settings(permissions=permissions))
        assert (await crm.get(path, fields="Email")).code == "NO_PERMISSION"


async def test_the_deals_of_a_contact_include_those_by_role_unless_set_otherwise() -> None:
    for role_deals, expected in (("listed", [OTHERS, FLEET]), ("hidden", [OTHERS])):
        crm = EmulatorClient(Settings(role_deals=role_deals), roles_world())  # type: ignore[arg-type]
        response = await crm.get(f"Contacts/{TOM}/Deals", fields="Deal_Name")
        assert [entry["id"] for entry in response.json["data"]] == expected


async def test_an_email_can_be_linked_to_a_deal_by_role_unless_set_otherwise() -> None:
    crm = EmulatorClient(world=roles_world())
    assert (await crm.link(item(50, FLEET), contact=TOM)).status == 200
    assert await crm.deal_of(50) == FLEET
    refusing = EmulatorClient(Settings(role_links="refused"), roles_world())
    assert item_codes(await refusing.link(item(50, FLEET), contact=TOM)) == ["NOT_ALLOWED"]
    assert item_codes(await crm.link(item(50, TRAVEL), contact=TOM)) == ["NOT_ALLOWED"]


async def timeline(crm: EmulatorClient, **query: str) -> Any:
    return (await crm.get(TIMELINE, **query)).json


async def test_the_timeline_shows_the_history_latest_first() -> None:
    shown = await timeline(EmulatorClient(world=roles_world()))
    assert [entry["audited_time"] for entry in shown["__timeline"]] == [
        "2026-03-05T00:00:00+00:00",
        "2026-03-03T09:00:00+00:00",
        "2026-03-01T09:00:00+05:30",
    ]
    assert [entry["source"] for entry in shown["__timeline"]] == ["workflow", "crm_ui", "crm_api"]
    for entry in shown["__timeline"]:
        assert entry["done_by"] == {"name": "Jacob Lindner", "id": JACOB}
        assert entry["record"] == {
            "module": {"api_name": "Deals", "id": MODULE},
            "name": "Fleet Renewal",
            "id": FLEET,
        }
    assert len({entry["id"] for entry in shown["__timeline"]}) == 3


async def test_an_entry_of_the_timeline_has_the_old_and_new_value_of_each_field() -> None:
    touch, amount, both = (await timeline(EmulatorClient(world=roles_world())))["__timeline"]
    assert touch["field_history"] is None
    assert [change["_value"] for change in amount["field_history"]] == [
        {"old": None, "new": "1200.5"}
    ]
    assert {change["api_name"]: change["_value"] for change in both["field_history"]} == {
        "Stage": {"old": None, "new": "Negotiation"},
        "Deal_Name": {"old": "Fleet", "new": "Fleet Renewal"},
    }


async def test_the_timeline_can_be_in_order_of_time() -> None:
    shown = await timeline(
        EmulatorClient(world=roles_world()), sort_by="audited_time", sort_order="asc"
    )
    assert [entry["source"] for entry in shown["__timeline"]] == ["crm_api", "crm_ui", "workflow"]


def condition(name: str, comparator: str, value: object) -> dict[str, object]:
    return {"field": {"api_name": name}, "comparator": comparator, "value": value}


def span(first: str, last: str) -> dict[str, object]:
    return condition("audited_time", "between", [first, last])


@pytest.mark.parametrize(
    ("filters", "sources"),
    [
        (condition("source", "equal", "crm_ui"), ["crm_ui"]),
        (condition("source", "in", ["crm_ui", "workflow"]), ["workflow", "crm_ui"]),
        (span("2026-03-01T03:30:00+00:00", "2026-03-04T00:00:00+00:00"), ["crm_ui", "crm_api"]),
        (condition("done_by.id", "in", [JACOB]), ["workflow", "crm_ui", "crm_api"]),
        (condition("record.module.api_name", "equal", "Deals"), ["workflow", "crm_ui", "crm_api"]),
        (
            {
                "group_operator": "AND",
                "group": [
                    condition("source", "in", ["crm_ui", "workflow"]),
                    span("2026-03-04T00:00:00+00:00", "2026-04-01T00:00:00+00:00"),
                ],
            },
            ["workflow"],
        ),
        (
            {
                "group_operator": "OR",
                "group": [
                    condition("source", "equal", "crm_api"),
                    condition("source", "equal", "workflow"),
                ],
            },
            ["workflow", "crm_api"],
        ),
    ],
)
async def test_the_timeline_can_be_filtered(filters: object, sources: list[str]) -> None:
    shown = await timeline(EmulatorClient(world=roles_world()), filters=json.dumps(filters))
    assert [entry["source"] for entry in shown["__timeline"]] == sources


@pytest.mark.parametrize(
    "filters",
    [condition("record.module.api_name", "in", ["Notes"]), condition("done_by.id", "equal", "1")],
)
async def test_a_timeline_without_entries_is_answered_with_204(filters: object) -> None:
    crm = EmulatorClient(world=roles_world())
    assert (await crm.get(TIMELINE, filters=json.dumps(filters))).status == 204
    assert (await crm.get(f"Deals/{TRAVEL}/__timeline")).status == 204


async def test_the_timeline_is_read_in_pages_by_token() -> None:
    crm = EmulatorClient(world=roles_world())
    first = await timeline(crm, per_page="2")
    assert first["info"] | {"next_page_token": ""} == {
        "per_page": 2,
        "page": 1,
        "count": 2,
        "more_records": True,
        "next_page_token": "",
        "previous_page_token": None,
    }
    second = await timeline(crm, page_token=first["info"]["next_page_token"])
    assert [entry["source"] for entry in second["__timeline"]] == ["crm_api"]
    assert (second["info"]["more_records"], second["info"]["next_page_token"]) == (False, None)
    back = await timeline(crm, page_token=second["info"]["previous_page_token"])
    assert back == first


@pytest.mark.parametrize(
    ("query", "code", "details"),
    [
        ({"filters": "x"}, "INVALID_DATA", {"param_name": "filters"}),
        ({"filters": "[]"}, "INVALID_DATA", {"param_name": "filters"}),
        ({"filters": '{"group": []}'}, "INVALID_DATA", {"param_name": "filters"}),
        (
            {"filters": json.dumps(condition("source", "between", ["a", "b"]))},
            "INVALID_DATA",
            {"param_name": "filters"},
        ),
        (
            {"filters": json.dumps(condition("audited_time", "equal", "2026"))},
            "INVALID_DATA",
            {"param_name": "filters"},
        ),
        (
            {"filters": json.dumps(condition("action", "equal", "updated"))},
            "INVALID_DATA",
            {"param_name": "filters"},
        ),
        ({"filters": json.dumps(span("a", "b"))}, "INVALID_DATA", {"param_name": "filters"}),
        ({"sort_by": "id"}, "INVALID_DATA", {"param_name": "sort_by"}),
        ({"sort_order": "up"}, "INVALID_DATA", {"param_name": "sort_order"}),
        ({"per_page": "201"}, "INVALID_DATA", {"param_name": "per_page"}),
        ({"page_token": "%"}, "INVALID_DATA", {"param_name": "page_token"}),
        ({"page_token": "dDE="}, "INVALID_DATA", {"param_name": "page_token"}),
        (
            {"page_token": "dDAuMg==", "per_page": "2"},
            "AMBIGUITY_DURING_PROCESSING",
            {"param_names": ["per_page", "page_token"]},
        ),
    ],
)
async def test_an_invalid_query_of_the_timeline_is_refused(
    query: dict[str, str], code: str, details: dict[str, object]
) -> None:
    response = await EmulatorClient(world=roles_world()).get(TIMELINE, **query)
    assert (response.status, response.code) == (400, code)
    assert response.json["details"] == details


@pytest.mark.parametrize("path", [ROLES, TIMELINE, "coql", "settings/layouts"])
async def test_a_fault_of_look_ups_hits_the_call(path: str) -> None:
    crm = EmulatorClient(world=roles_world())
    crm.crm.state.faults.add(Fault("503", op="lookup", count=1))
    crm.crm.state.faults.add(Fault("500", op="read"))
    method = "POST" if path == "coql" else "GET"
    body = {"select_query": "select id from Deals where id > 1"}
    query = {"fields": "Email", "module": "Deals"}
    answers = [
        await crm.crm_call(method, path, query, body if path == "coql" else None) for _ in range(2)
    ]
    assert [answer.status for answer in answers] == [503, 200]
