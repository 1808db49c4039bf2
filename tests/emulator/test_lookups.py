"""Calls that look up the org, modules, deals, users and stages."""

from __future__ import annotations

from typing import Any

import pytest

from bulklink.emulator.settings import DEFAULT_SCOPES, Settings
from tests.emulator.client import (
    ANA,
    FLEET,
    MODULE,
    OTHERS,
    PAT,
    TOM,
    TRAVEL,
    EmulatorClient,
    small_world,
)

LAYOUT = "5843104000000091023"


async def test_the_org_has_its_type_and_licence() -> None:
    org = (await EmulatorClient().get("org")).json["org"]
    assert len(org) == 1
    assert org[0]["type"] == "Sandbox"
    assert org[0]["license_details"] == {"paid_type": "enterprise", "users_license_purchased": 10}
    assert {"id", "company_name", "zgid", "time_zone"} < set(org[0])


async def test_the_deals_module_has_the_worlds_id() -> None:
    assert (await EmulatorClient().get("settings/modules/Deals")).json == {
        "modules": [{"api_name": "Deals", "id": MODULE}]
    }


async def test_an_unknown_module_is_refused() -> None:
    response = await EmulatorClient().get("settings/modules/Dealz")
    assert (response.status, response.code) == (400, "INVALID_MODULE")


async def test_deals_are_returned_by_id_with_the_requested_fields() -> None:
    response = await EmulatorClient().get(
        "Deals", ids=f"{FLEET},1,{TRAVEL}", fields="Deal_Name,Stage"
    )
    assert response.json["data"] == [
        {"Deal_Name": "Fleet Renewal", "Stage": "Qualification", "id": FLEET},
        {"Deal_Name": "Travel Insurance", "Stage": "Qualification", "id": TRAVEL},
    ]
    assert response.json["info"] == {"per_page": 200, "count": 2, "page": 1, "more_records": False}


async def test_only_unknown_deals_are_answered_with_204() -> None:
    assert (await EmulatorClient().get("Deals", ids="1,2", fields="Deal_Name")).status == 204


async def test_fields_are_mandatory() -> None:
    for path in ("Deals", f"Contacts/{ANA}/Deals"):
        response = await EmulatorClient().get(path)
        assert (response.status, response.code) == (400, "REQUIRED_PARAM_MISSING")
        assert response.json["details"] == {"param_name": "fields"}


async def test_ids_may_have_at_most_1024_characters() -> None:
    crm = EmulatorClient()
    ids = ",".join([TRAVEL] * 51)
    assert len(ids) == 1_019
    assert (await crm.get("Deals", ids=ids + ",1234", fields="Deal_Name")).status == 200
    assert (await crm.get("Deals", ids=ids + ",12345", fields="Deal_Name")).code == "INVALID_DATA"


async def test_deals_are_listed_in_pages() -> None:
    crm = EmulatorClient()
    first = (await crm.get("Deals", fields="Deal_Name", per_page="2")).json
    second = (await crm.get("Deals", fields="Deal_Name", per_page="2", page="2")).json
    assert (first["info"]["more_records"], second["info"]["more_records"]) == (True, False)
    assert [entry["id"] for entry in first["data"] + second["data"]] == [TRAVEL, FLEET, OTHERS]


@pytest.mark.parametrize("query", [{"page": "0"}, {"per_page": "201"}, {"page": "x"}])
async def test_an_invalid_page_is_refused(query: dict[str, str]) -> None:
    assert (await EmulatorClient().get("users", **query)).code == "INVALID_DATA"


async def test_a_contacts_deals_are_sorted_as_requested() -> None:
    world = small_world()
    world["deals"][0]["modified_time"] = "2026-03-01T00:00:00+00:00"
    world["deals"][1]["modified_time"] = "2026-04-01T00:00:00+00:00"
    crm = EmulatorClient(world=world)
    for order, expected in (("desc", [FLEET, TRAVEL]), ("asc", [TRAVEL, FLEET])):
        response = await crm.get(
            f"Contacts/{ANA}/Deals", fields="Modified_Time", sort_by="Modified_Time",
            sort_order=order,
        )  # fmt: skip
        assert [entry["id"] for entry in response.json["data"]] == expected
        assert response.json["info"]["more_records"] is False


async def test_a_contact_without_deals_is_answered_with_204() -> None:
    world = small_world()
    del world["deals"][2]
    response = await EmulatorClient(world=world).get(f"Contacts/{TOM}/Deals", fields="Deal_Name")
    assert response.status == 204


async def test_users_are_listed_in_pages_of_200() -> None:
    world = small_world(0, users=[{"id": str(n), "full_name": f"User {n}"} for n in range(201)])
    crm = EmulatorClient(world=world)
    first = (await crm.get("users", type="AllUsers")).json
    second = (await crm.get("users", type="AllUsers", page="2")).json
    assert (len(first["users"]), first["info"]["more_records"]) == (200, True)
    assert (len(second["users"]), second["info"]["more_records"]) == (1, False)
    assert set(first["users"][0]) >= {"id", "full_name", "email", "status"}


async def test_contacts_are_returned_by_id_with_the_requested_fields() -> None:
    account = {"id": "5843104000004390001", "name": "Ferreira Ltd"}
    world = small_world(0, accounts=[account])
    world["contacts"][0] |= {"name": "Ana Maria Ferreira", "account_id": account["id"]}
    world["contacts"][1] |= {"name": "Tom", "email": ""}
    fields = "Full_Name,First_Name,Last_Name,Email,Account_Name,Colour"
    crm = EmulatorClient(world=world)
    response = await crm.get("Contacts", ids=f"{TOM},1,{ANA}", fields=fields)
    assert response.json["data"] == [
        {
            "Full_Name": "Tom",
            "First_Name": None,
            "Last_Name": "Tom",
            "Email": None,
            "Account_Name": None,
            "id": TOM,
        },
        {
            "Full_Name": "Ana Maria Ferreira",
            "First_Name": "Ana Maria",
            "Last_Name": "Ferreira",
            "Email": "ana@customer.example",
            "Account_Name": {"name": "Ferreira Ltd", "id": account["id"]},
            "id": ANA,
        },
    ]


async def test_reading_contacts_needs_their_scope_and_permission() -> None:
    scopes = tuple(scope for scope in DEFAULT_SCOPES if "contacts" not in scope)
    for settings, code in (
        (Settings(scopes=scopes), "OAUTH_SCOPE_MISMATCH"),
        (Settings(permissions=("Crm_Implied_View_Deals",)), "NO_PERMISSION"),
    ):
        crm = EmulatorClient(settings)
        assert (await crm.get("Contacts", fields="Email")).code == code
        assert (await crm.get("Deals", fields="Deal_Name")).status == 200


async def test_records_of_another_module_are_refused() -> None:
    response = await EmulatorClient().get("Leads", fields="Email")
    assert (response.status, response.code) == (400, "INVALID_MODULE")


async def test_a_deal_shows_the_fields_that_the_world_gives_it() -> None:
    account = {"id": "5843104000004390001", "name": "Zylker"}
    world = small_world(0, accounts=[account])
    world["deals"][0] |= {
        "owner_id": PAT,
        "account_id": account["id"],
        "pipeline": "Fleet",
        "layout_id": LAYOUT,
        "closing_date": "2026-03-01",
        "fields": {"Amount": 12.5, "Stage": "not this one"},
    }
    names = "Owner,Account_Name,Contact_Name,Pipeline,Layout,Closing_Date,Amount,Stage"
    response = await EmulatorClient(world=world).get("Deals", ids=TRAVEL, fields=names)
    entry = response.json["data"][0]
    assert entry.pop("Layout")["id"] == LAYOUT
    assert entry == {
        "Owner": {"name": "Patricia Boyle", "id": PAT, "email": f"{PAT}@us.example"},
        "Account_Name": {"name": "Zylker", "id": account["id"]},
        "Contact_Name": {"name": "Ana Ferreira", "id": ANA},
        "Pipeline": "Fleet",
        "Closing_Date": "2026-03-01",
        "Amount": 12.5,
        "Stage": "Qualification",
        "id": TRAVEL,
    }


async def test_what_a_deal_lacks_is_null_and_its_pipeline_and_layout_the_standard_ones() -> None:
    names = "Owner,Account_Name,Closing_Date,Pipeline,Layout"
    response = await EmulatorClient().get("Deals", ids=TRAVEL, fields=names)
    entry = response.json["data"][0]
    assert [entry[name] for name in ("Owner", "Account_Name", "Closing_Date")] == [None] * 3
    assert (entry["Pipeline"], entry["Layout"]["name"]) == ("Standard", "Standard")


async def stages_of(crm: EmulatorClient) -> list[dict[str, Any]]:
    layouts = (await crm.get("settings/layouts", module="Deals")).json["layouts"]
    response = await crm.get("settings/pipeline", layout_id=layouts[0]["id"])
    stages: list[dict[str, Any]] = response.json["pipeline"][0]["maps"]
    return stages


async def test_a_stage_has_display_value_actual_value_and_forecast() -> None:
    maps = await stages_of(EmulatorClient())
    lost = [entry for entry in maps if entry["forecast_type"] == "Closed Lost"]
    assert len(lost) == 2
    assert lost[1]["display_value"] != lost[1]["actual_value"]
    assert isinstance(lost[1]["forecast_category"]["name"], str)
    assert [entry["sequence_number"] for entry in maps] == list(range(1, 7))


async def test_each_layout_has_the_pipelines_of_its_deals() -> None:
    world = small_world()
    world["deals"][0] |= {"layout_id": LAYOUT, "pipeline": "Fleet"}
    world["deals"][1] |= {"layout_id": LAYOUT}
    crm = EmulatorClient(world=world)
    layouts = (await crm.get("settings/layouts", module="Deals")).json["layouts"]
    assert [layout["name"] == "Standard" for layout in layouts] == [False, True]
    names = [
        [entry["actual_value"] for entry in response.json["pipeline"]]
        for response in [
            await crm.get("settings/pipeline", layout_id=layout["id"]) for layout in layouts
        ]
    ]
    assert names == [["Fleet", "Standard"], ["Standard"]]


async def test_one_layout_can_be_read() -> None:
    crm = EmulatorClient()
    (layout,) = (await crm.get("settings/layouts", module="Deals")).json["layouts"]
    one = await crm.get(f"settings/layouts/{layout['id']}", module="Deals")
    assert one.json == {"layouts": [layout]}
    assert (await crm.get("settings/layouts/1", module="Deals")).status == 204


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        ("settings/pipeline", {}, "REQUIRED_PARAM_MISSING"),
        ("settings/pipeline", {"layout_id": "1"}, "INVALID_DATA"),
        ("settings/layouts", {}, "REQUIRED_PARAM_MISSING"),
        ("settings/layouts", {"module": "Dealz"}, "INVALID_MODULE"),
    ],
)
async def test_an_invalid_query_of_settings_is_refused(
    path: str, query: dict[str, str], code: str
) -> None:
    response = await EmulatorClient().get(path, **query)
    assert (response.status, response.code) == (400, code)
