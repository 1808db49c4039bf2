"""The thirteen documented errors of linking and unlinking, each caused by an input or a state."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bulklink.emulator.settings import DEFAULT_SCOPES, Settings
from tests.emulator.client import (
    ANA,
    FLEET,
    JACOB,
    OTHERS,
    PAT,
    EmulatorClient,
    JsonResponse,
    email,
    item,
    item_codes,
    small_world,
)

LINK = f"Contacts/{ANA}/Emails/actions/link_record"


async def invalid_data() -> JsonResponse:
    return await EmulatorClient().link(item(99))


async def invalid_module() -> JsonResponse:
    return await EmulatorClient().crm_call(
        "POST", f"Leads/{ANA}/Emails/actions/link_record", body={}
    )


async def feature_not_supported() -> JsonResponse:
    return await EmulatorClient(Settings(edition="free")).link(item(1))


async def mandatory_not_found() -> JsonResponse:
    return await EmulatorClient().crm_call("DELETE", LINK)


async def not_allowed() -> JsonResponse:
    return await EmulatorClient().link(item(1, OTHERS))


async def ambiguity() -> JsonResponse:
    wrong_module = item(1)
    wrong_module["linked_record"]["module"]["id"] = "1"
    return await EmulatorClient().link(wrong_module)


async def api_not_supported() -> JsonResponse:
    return await EmulatorClient().send("POST", f"/crm/v7/{LINK}")


async def already_linked() -> JsonResponse:
    crm = EmulatorClient()
    await crm.link(item(1))
    return await crm.link(item(1, FLEET))


async def scope_mismatch() -> JsonResponse:
    return await EmulatorClient(Settings(scopes=DEFAULT_SCOPES[1:])).link(item(1))


async def authentication_failure() -> JsonResponse:
    return await EmulatorClient().send("POST", f"/crm/v8/{LINK}")


async def no_permission() -> JsonResponse:
    return await EmulatorClient(Settings(permissions=())).link(item(1))


async def invalid_url_pattern() -> JsonResponse:
    return await EmulatorClient().send("POST", f"/crm/v8/{LINK}s")


async def internal_error() -> JsonResponse:
    crm = EmulatorClient()
    await crm.send("POST", "/_emulator/faults", body={"kind": "500"})
    return await crm.link(item(1))


@pytest.mark.parametrize(
    ("cause", "status", "code"),
    [
        (invalid_data, 400, "INVALID_DATA"),
        (invalid_module, 400, "INVALID_MODULE"),
        (feature_not_supported, 400, "FEATURE_NOT_SUPPORTED"),
        (mandatory_not_found, 400, "MANDATORY_NOT_FOUND"),
        (not_allowed, 400, "NOT_ALLOWED"),
        (ambiguity, 400, "AMBIGUITY_DURING_PROCESSING"),
        (api_not_supported, 400, "API_NOT_SUPPORTED"),
        (already_linked, 400, "ALREADY_LINKED"),
        (scope_mismatch, 401, "OAUTH_SCOPE_MISMATCH"),
        (authentication_failure, 401, "AUTHENTICATION_FAILURE"),
        (no_permission, 403, "NO_PERMISSION"),
        (invalid_url_pattern, 404, "INVALID_URL_PATTERN"),
        (internal_error, 500, "INTERNAL_ERROR"),
    ],
)
async def test_each_documented_code_has_its_status_and_shape(
    cause: Callable[[], Awaitable[JsonResponse]], status: int, code: str
) -> None:
    response = await cause()
    assert response.status == status
    error: Any = response.json["Emails"][0][0] if "Emails" in response.json else response.json
    assert error["code"] == code
    assert set(error) == {"code", "details", "message", "status"}
    assert (type(error["details"]), type(error["message"])) == (dict, str)
    assert error["status"] == "error"


async def test_a_wrong_owner_can_be_accepted() -> None:
    crm = EmulatorClient(Settings(wrong_owner="accept"))
    assert item_codes(await crm.link(item(1, owner=JACOB))) == ["SUCCESS"]
    assert item_codes(await crm.unlink(1, owner=JACOB)) == ["SUCCESS"]


async def test_several_owners_in_one_link_call_can_be_refused() -> None:
    emails = [email(1, owner_id=PAT), email(2, owner_id=JACOB)]
    accepting = EmulatorClient(world=small_world(0, emails=emails))
    assert (await accepting.link(item(1), item(2, owner=JACOB))).status == 200
    refusing = EmulatorClient(Settings(mixed_owners="invalid-data"), small_world(0, emails=emails))
    response = await refusing.link(item(1), item(2, owner=JACOB))
    assert response.json["Emails"][1][0]["details"]["json_path"] == "Emails[1].owner.id"


async def test_the_scopes_of_the_openapi_file_can_be_required() -> None:
    create = ("ZohoCRM.modules.emails.CREATE", "ZohoCRM.modules.contacts.CREATE")
    assert (await EmulatorClient(Settings(scopes=create)).link(item(1))).status == 200
    insufficient = EmulatorClient(Settings(scopes=create, scope_rule="openapi"))
    assert (await insufficient.link(item(1))).code == "OAUTH_SCOPE_MISMATCH"
    sufficient = Settings(scopes=(*create, "ZohoCRM.modules.deals.CREATE"), scope_rule="openapi")
    assert (await EmulatorClient(sufficient).link(item(1))).status == 200


async def test_the_openapi_wording_of_an_unlink_is_that_of_a_link() -> None:
    crm = EmulatorClient(Settings(wording="openapi"))
    for response in (await crm.link(item(1)), await crm.unlink(1)):
        assert response.json["Emails"][0]["message"] == "Email linked to the record successfully"
