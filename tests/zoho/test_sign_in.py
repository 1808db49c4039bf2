"""Signing in by a code: what is sent, what each refusal says, what a token lacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from bulklink.errors import BulklinkError, ConfigError, ExitCode, RunStoppedError
from bulklink.zoho.connection import Connection
from bulklink.zoho.error_policy import SCOPES
from bulklink.zoho.http import Answer, NoResponse
from bulklink.zoho.sign_in import SelfClient, SignInResult, sign_in
from tests.zoho.fakes import FakeTransport, ManualClock, answer

SECRETS = ("hush&secret=1%", "1000.one.time", "1000.refresh.token", "1000.fresh")
GIVEN = SelfClient("1000.CLIENTID", SECRETS[0], code=SECRETS[1])
GRANT = {
    "access_token": "1000.fresh",
    "refresh_token": "1000.refresh.token",
    "api_domain": "https://www.zohoapis.eu",
    "token_type": "Bearer",
    "expires_in": 3600,
}
ORG = {"id": "77", "company_name": "Zylker", "type": "Sandbox"}
LICENSED = {**ORG, "license_details": {"paid_type": "enterprise"}}
NO_SCOPE = answer({"code": "OAUTH_SCOPE_MISMATCH", "status": "error", "message": "no"}, 401)
LOOKUPS = ("org", "settings/modules/Deals", "users", "Deals", "Contacts/1/Emails")


class Zoho(FakeTransport):
    """Answers the exchange of a code, each look-up, and a revocation."""

    def __init__(
        self,
        grant: Answer | NoResponse | None = None,
        lookups: Mapping[str, Answer | NoResponse] | None = None,
        revoked: Answer | NoResponse | None = None,
    ) -> None:
        super().__init__()
        self.grant = grant or answer(GRANT)
        self.lookups = {"org": answer({"org": [LICENSED]}), **(lookups or {})}
        self.revoked = revoked or answer({"status": "success"})

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer | NoResponse:
        path = url.partition("?")[0]
        lookup_path = path.partition("/crm/v8/")[2]
        self.answers = [self.lookups.get(lookup_path, Answer(204))]
        if path.endswith("/token"):
            self.answers = [self.grant]
        if path.endswith("/revoke"):
            self.answers = [self.revoked]
        return await super().send(method, url, headers, body)

    def asked(self, part: str) -> list[str]:
        return [one.url for one in self.sent if part in one.url]


def eu(**env: str) -> Connection:
    return Connection.endpoint_from({"BULKLINK_DC": "eu", **env})


async def sign_in_with(zoho: Zoho, self_client: SelfClient = GIVEN, **env: str) -> SignInResult:
    return await sign_in(eu(**env), self_client, zoho, ManualClock())


async def sign_in_error(zoho: Zoho) -> BulklinkError:
    with pytest.raises(BulklinkError) as caught:
        await sign_in_with(zoho)
    shown = f"{caught.value} {caught.value!r} {caught.value.args}"
    assert not [secret for secret in SECRETS if secret in shown]
    return caught.value


async def test_a_code_is_exchanged_in_a_form_body_at_the_data_centre() -> None:
    zoho = Zoho()
    found = await sign_in_with(zoho)
    exchange = zoho.sent[0]
    assert (exchange.method, exchange.url) == ("POST", "https://accounts.zoho.eu/oauth/v2/token")
    assert exchange.form == {
        "grant_type": "authorization_code",
        "client_id": "1000.CLIENTID",
        "client_secret": SECRETS[0],
        "code": SECRETS[1],
    }
    credentials = found.connection.credentials
    assert credentials is not None
    assert credentials.refresh_token == "1000.refresh.token"


async def test_the_org_its_type_and_edition_are_found() -> None:
    org = (await sign_in_with(Zoho())).org
    assert (org.id, org.name, org.type, org.paid_type) == ("77", "Zylker", "Sandbox", "enterprise")


async def test_each_look_up_of_a_run_is_tried_with_the_token_in_the_header() -> None:
    zoho = Zoho()
    await sign_in_with(zoho, BULKLINK_ENVIRONMENT="sandbox")
    tried = zoho.sent[1:]
    paths = [one.url.partition("?")[0] for one in tried]
    assert paths == [f"https://sandbox.zohoapis.eu/crm/v8/{path}" for path in LOOKUPS]
    assert {one.headers["Authorization"] for one in tried} == {"Zoho-oauthtoken 1000.fresh"}
    assert {one.method for one in tried} == {"GET"}


async def test_a_refresh_token_serves_in_place_of_a_code() -> None:
    grant = {key: value for key, value in GRANT.items() if key != "refresh_token"}
    zoho = Zoho(answer(grant))
    found = await sign_in_with(zoho, SelfClient("1000.CLIENTID", "s", refresh_token="1000.mine"))
    assert zoho.sent[0].form["grant_type"] == "refresh_token"
    assert found.connection.credentials is not None
    assert found.connection.credentials.refresh_token == "1000.mine"


REFUSALS: dict[str, tuple[Answer, tuple[str, ...], ExitCode]] = {
    "code": (answer({"error": "invalid_code"}), ("invalid_code", "3 to 10 minutes"), ExitCode(2)),
    "wrong data centre": (
        answer({"error": "invalid_client"}),
        ("invalid_client", "another data centre", "crm.zoho.eu"),
        ExitCode(2),
    ),
    "secret": (answer({"error": "invalid_client_secret"}), ("client secret",), ExitCode(2)),
    "throttled": (
        answer({"error": "Access Denied", "error_description": "You have made too many requests"
                " continuously. Please try again after some time."}, 400),
        ("Too many tokens", "ten minutes"),
        ExitCode(3),
    ),
    "html": (Answer(200, b"<html>"), ("not from Zoho's accounts server",), ExitCode(2)),
    "no refresh token": (
        answer({key: value for key, value in GRANT.items() if key != "refresh_token"}),
        ("no refresh token", "Generate Code"),
        ExitCode(2),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("grant", "expected_words", "code"), REFUSALS.values(), ids=REFUSALS)
async def test_each_refusal_has_a_message_of_its_own(
    grant: Answer, expected_words: tuple[str, ...], code: ExitCode
) -> None:
    error = await sign_in_error(Zoho(grant))
    assert error.exit_code is code
    assert error.where == "https://accounts.zoho.eu/oauth/v2/token"
    assert error.advice
    assert [word for word in expected_words if word not in str(error)] == []


@pytest.mark.parametrize(
    "outcome", [NoResponse("no answer within 40 seconds"), Answer(503)], ids=["silence", "503"]
)
async def test_a_code_is_sent_once_since_it_works_once(outcome: Answer | NoResponse) -> None:
    zoho = Zoho(outcome)
    await sign_in_error(zoho)
    assert len(zoho.sent) == 1


async def test_what_repeats_the_secrets_shows_none() -> None:
    body = {"error": "invalid_code", "error_description": " ".join(SECRETS[:2])}
    assert "[secret]" in str(await sign_in_error(Zoho(answer(body))))


NEEDED = {
    "settings/modules/Deals": ("ZohoCRM.settings.modules.READ",),
    "Deals": ("ZohoCRM.modules.deals.ALL",),
    "Contacts/1/Emails": ("ZohoCRM.modules.emails.ALL", "ZohoCRM.modules.contacts.ALL"),
}


@pytest.mark.parametrize(("path", "scopes"), NEEDED.items(), ids=NEEDED)
async def test_scopes_too_few_are_named_and_the_token_is_given_back(
    path: str, scopes: tuple[str, ...]
) -> None:
    zoho = Zoho(lookups={path: NO_SCOPE})
    error = await sign_in_error(zoho)
    assert isinstance(error, ConfigError)
    assert "without these required scopes" in error.message
    assert [scope for scope in SCOPES if scope in error.message] == [
        scope for scope in SCOPES if scope in scopes
    ]
    assert ",".join(SCOPES) in error.advice
    assert zoho.sent[-1].url == "https://accounts.zoho.eu/oauth/v2/token/revoke"
    assert zoho.sent[-1].form == {"token": "1000.refresh.token"}


async def test_a_refresh_token_that_was_brought_is_never_revoked() -> None:
    zoho = Zoho(lookups={"Deals": NO_SCOPE})
    with pytest.raises(ConfigError):
        await sign_in_with(zoho, SelfClient("1000.CLIENTID", "s", refresh_token="1000.mine"))
    assert zoho.asked("revoke") == []


async def test_the_message_stands_even_if_the_token_cannot_be_given_back() -> None:
    zoho = Zoho(lookups={"Deals": NO_SCOPE}, revoked=NoResponse("the connection broke"))
    assert "without these required scopes" in (await sign_in_error(zoho)).message


WITHOUT = {"users": "ZohoCRM.users.READ", "org": "ZohoCRM.org.READ"}


@pytest.mark.parametrize(("path", "scope"), WITHOUT.items(), ids=WITHOUT)
async def test_a_missing_optional_scope_is_reported(path: str, scope: str) -> None:
    found = await sign_in_with(Zoho(lookups={path: NO_SCOPE}))
    assert list(found.missing_scopes) == [scope]
    assert scope not in found.scopes


@pytest.mark.parametrize(
    "expected_words",
    [
        answer({"code": "INVALID_DATA", "status": "error", "message": "no"}, 400),
        answer({"code": "NO_PERMISSION", "status": "error", "message": "no"}, 403),
        Answer(404),
        Answer(429),
    ],
    ids=["unknown contact", "no permission", "404", "429"],
)
async def test_another_refusal_of_a_look_up_says_nothing_of_scopes(expected_words: Answer) -> None:
    found = await sign_in_with(Zoho(lookups={"Contacts/1/Emails": expected_words}))
    assert found.scopes == SCOPES


async def test_scopes_that_the_accounts_server_names_are_kept() -> None:
    named = "ZohoCRM.modules.ALL ZohoCRM.settings.ALL,ZohoCRM.users.READ"
    found = await sign_in_with(Zoho(answer({**GRANT, "scope": named})))
    assert found.scopes == ("ZohoCRM.modules.ALL", "ZohoCRM.settings.ALL", "ZohoCRM.users.READ")


async def test_a_fresh_token_that_the_crm_refuses_is_an_error_and_not_renewed() -> None:
    refusal = answer({"code": "INVALID_TOKEN", "status": "error", "message": "no"}, 401)
    zoho = Zoho(lookups={"org": refusal})
    assert "environment" in (await sign_in_error(zoho)).advice
    assert len(zoho.asked("/token")) - len(zoho.asked("/revoke")) == 1


@pytest.mark.parametrize(
    "expected_words",
    [NoResponse("the host name is unknown", sent=False), Answer(200, b"<html>")],
    ids=["silence", "html"],
)
async def test_an_api_that_is_not_there_ends_the_sign_in(
    expected_words: Answer | NoResponse,
) -> None:
    zoho = Zoho(lookups={"org": expected_words})
    assert isinstance(await sign_in_error(zoho), RunStoppedError)
    assert zoho.asked("/revoke")


async def test_without_an_accounts_address_nothing_is_sent() -> None:
    zoho = Zoho()
    place = Connection.endpoint_from({"BULKLINK_API_URL": "http://127.0.0.1:1"})
    with pytest.raises(ConfigError, match="accounts address is unknown"):
        await sign_in(place, GIVEN, zoho, ManualClock())
    assert zoho.sent == []


def test_neither_what_is_given_nor_what_is_found_shows_a_secret() -> None:
    shown: Any = f"{GIVEN!r} {[GIVEN]}"
    assert not [secret for secret in SECRETS if secret in shown]
