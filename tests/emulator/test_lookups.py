"""Calls that look up the org, modules, deals, users and stages."""

from __future__ import annotations

import pytest

from tests.emulator.client import (
    ANA,
    FLEET,
    MODULE,
    OTHERS,
    TOM,
    TRAVEL,
    EmulatorClient,
    small_world,
)


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
        assert (response.status, response.code) == (400, "MANDATORY_NOT_FOUND")
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


async def test_a_stage_has_display_value_actual_value_and_forecast() -> None:
    response = await EmulatorClient().get("settings/pipeline", layout_id="5843104000000091023")
    maps = response.json["pipeline"][0]["maps"]
    lost = [entry for entry in maps if entry["forecast_type"] == "Closed Lost"]
    assert len(lost) == 2
    assert lost[1]["display_value"] != lost[1]["actual_value"]
    assert isinstance(lost[1]["forecast_category"]["name"], str)


async def test_the_pipeline_needs_a_layout_id() -> None:
    assert (await EmulatorClient().get("settings/pipeline")).code == "MANDATORY_NOT_FOUND"
