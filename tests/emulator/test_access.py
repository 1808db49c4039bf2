"""Tokens, scopes, permissions, edition and addresses: checks made before a call is handled."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest

from bulklink.emulator.settings import DEFAULT_SCOPES, Settings
from tests.emulator.client import ANA, EmulatorClient, item, small_world

EMAILS = f"Contacts/{ANA}/Emails"
GRANT = {
    "refresh_token": "demo",
    "client_id": "demo",
    "client_secret": "demo",
    "grant_type": "refresh_token",
}


async def test_a_refresh_token_gives_an_access_token_for_an_hour() -> None:
    response = await EmulatorClient().grant()
    assert response.status == 200
    assert response.json | {"access_token": ""} == {
        "access_token": "",
        "api_domain": "http://127.0.0.1",
        "token_type": "Bearer",
        "expires_in": 3600,
    }


async def test_a_token_request_may_carry_its_parameters_in_the_query() -> None:
    response = await EmulatorClient().send("POST", "/oauth/v2/token", GRANT)
    assert "access_token" in response.json


async def test_an_authorization_code_is_exchanged_for_both_tokens() -> None:
    crm = EmulatorClient()
    response = await crm.grant(grant_type="authorization_code", code="demo")
    refresh_token = response.json["refresh_token"]
    assert refresh_token != "demo"
    crm.token = response.json["access_token"]
    assert (await crm.get("org")).status == 200
    assert "access_token" in (await crm.grant(refresh_token=refresh_token)).json


async def test_each_code_exchange_issues_a_separately_revocable_refresh_token() -> None:
    crm = EmulatorClient()
    exchanged = {"grant_type": "authorization_code", "code": "demo"}
    first, second = [(await crm.grant(**exchanged)).json["refresh_token"] for _ in range(2)]
    assert first != second
    body = urlencode({"token": first}).encode()
    assert (await crm.send("POST", "/oauth/v2/token/revoke", body=body)).status == 200
    assert (await crm.grant(refresh_token=first)).json == {"error": "invalid_code"}
    assert "access_token" in (await crm.grant(refresh_token=second)).json


async def test_an_invalid_or_expired_code_is_refused_with_http_200() -> None:
    response = await EmulatorClient().grant(grant_type="authorization_code", code="ended")
    assert (response.status, response.json) == (200, {"error": "invalid_code"})


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"refresh_token": "other"}, "invalid_code"),
        ({"client_id": "other"}, "invalid_client"),
        ({"client_secret": "other"}, "invalid_client_secret"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
    ],
)
async def test_a_wrong_grant_is_refused_with_http_200(changed: dict[str, str], error: str) -> None:
    response = await EmulatorClient().grant(**changed)
    assert (response.status, response.json) == (200, {"error": error})


async def test_a_token_expires() -> None:
    crm = EmulatorClient(Settings(expires_in=60))
    assert (await crm.get("org")).status == 200
    crm.time.now += 60
    response = await crm.get("org")
    assert (response.status, response.code) == (401, "INVALID_TOKEN")


async def test_revoking_a_refresh_token_revokes_its_access_tokens() -> None:
    crm = EmulatorClient()
    await crm.get("org")
    body = urlencode({"token": "demo"}).encode()
    response = await crm.send("POST", "/oauth/v2/token/revoke", body=body)
    assert response.json == {"status": "success"}
    assert (await crm.get("org")).code == "INVALID_TOKEN"
    assert (await crm.grant()).json == {"error": "invalid_code"}


async def test_revoking_an_unknown_token_is_refused() -> None:
    response = await EmulatorClient().send("POST", "/oauth/v2/token/revoke", {"token": "x"})
    assert (response.status, response.json) == (400, {"error": "invalid_token"})


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "AUTHENTICATION_FAILURE"),
        ("Bearer {token}", "AUTHENTICATION_FAILURE"),
        ("Zoho-oauthtoken 1000.x.y", "INVALID_TOKEN"),
    ],
)
async def test_a_call_without_a_valid_token_is_refused(header: str | None, code: str) -> None:
    crm = EmulatorClient()
    await crm.get("org")
    headers = {"authorization": header.format(token=crm.token)} if header else {}
    response = await crm.send("GET", "/crm/v8/org", headers=headers)
    assert (response.status, response.code) == (401, code)


SCOPE_OF_PATH = {
    EMAILS: "ZohoCRM.modules.emails.ALL",
    "Contacts": "ZohoCRM.modules.contacts.ALL",
    "Deals": "ZohoCRM.modules.deals.ALL",
    "settings/modules/Deals": "ZohoCRM.settings.modules.READ",
    "settings/layouts": "ZohoCRM.settings.layouts.READ",
    "settings/pipeline": "ZohoCRM.settings.pipeline.READ",
    "users": "ZohoCRM.users.READ",
    "org": "ZohoCRM.org.READ",
    "coql": "ZohoCRM.coql.READ",
}


def test_every_default_scope_is_needed_by_a_call() -> None:
    assert sorted(SCOPE_OF_PATH.values()) == sorted(DEFAULT_SCOPES)


@pytest.mark.parametrize("path", SCOPE_OF_PATH)
async def test_a_call_is_refused_without_its_scope(path: str) -> None:
    method = "POST" if path == "coql" else "GET"
    for scopes in (
        (SCOPE_OF_PATH[path], "ZohoCRM.modules.contacts.READ"),
        tuple(scope for scope in DEFAULT_SCOPES if scope != SCOPE_OF_PATH[path]),
    ):
        response = await EmulatorClient(Settings(scopes=scopes)).crm_call(method, path)
        assert (response.status == 401) == (SCOPE_OF_PATH[path] not in scopes)


@pytest.mark.parametrize("scope", ["ZohoCRM.modules.emails.READ", "ZohoCRM.modules.contacts.READ"])
async def test_read_scopes_do_not_allow_linking(scope: str) -> None:
    scopes = (
        scope,
        *(s for s in DEFAULT_SCOPES if s.rpartition(".")[0] != scope.rpartition(".")[0]),
    )
    crm = EmulatorClient(Settings(scopes=scopes))
    assert (await crm.get(EMAILS)).status == 200
    for response in (await crm.link(item(1)), await crm.unlink(1)):
        assert (response.status, response.code) == (401, "OAUTH_SCOPE_MISMATCH")


async def test_a_wider_scope_includes_narrower_scopes() -> None:
    crm = EmulatorClient(Settings(scopes=("ZohoCRM.modules.ALL",)))
    assert (await crm.link(item(1))).status == 200


@pytest.mark.parametrize("granted", ["Crm_Implied_View_Deals", "Crm_Implied_View_Contacts"])
async def test_linking_needs_both_view_permissions(granted: str) -> None:
    response = await EmulatorClient(Settings(permissions=(granted,))).link(item(1))
    assert (response.status, response.code) == (403, "NO_PERMISSION")


async def test_the_free_edition_cannot_link_emails() -> None:
    world = small_world(org={"license_details": {"paid_type": "free"}})
    crm = EmulatorClient(world=world)
    for response in (await crm.link(item(1)), await crm.unlink_one(1)):
        assert (response.status, response.code) == (400, "FEATURE_NOT_SUPPORTED")
    assert (await crm.get(EMAILS)).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/", 404, "INVALID_URL_PATTERN"),
        ("GET", "/crm/v8/Contacts/1/Emails/2/3", 404, "INVALID_URL_PATTERN"),
        ("POST", "/crm/v8/Contacts/1/Emails", 400, "INVALID_REQUEST_METHOD"),
        ("PUT", f"/crm/v8/{EMAILS}/actions/link_record", 400, "INVALID_REQUEST_METHOD"),
        ("POST", f"/crm/v7/{EMAILS}/actions/link_record", 400, "API_NOT_SUPPORTED"),
        ("DELETE", f"/crm/v2.1/{EMAILS}/actions/link_record", 400, "API_NOT_SUPPORTED"),
        ("GET", "/crm/latest/org", 404, "INVALID_URL_PATTERN"),
        ("GET", "/oauth/v2/token", 400, "INVALID_REQUEST_METHOD"),
    ],
)
async def test_an_invalid_address_is_refused(
    method: str, path: str, status: int, code: str
) -> None:
    response = await EmulatorClient().send(method, path)
    assert (response.status, response.code) == (status, code)


@pytest.mark.parametrize("module", ["Leads", "Deals"])
async def test_emails_are_linked_only_under_contacts(module: str) -> None:
    response = await EmulatorClient().crm_call("POST", f"{module}/{ANA}/Emails/actions/link_record")
    assert (response.status, response.code) == (400, "INVALID_MODULE")
