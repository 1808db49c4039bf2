"""Sign-in with a code: requests, refusals, and missing scopes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from bulklink.errors import BulklinkError, ConfigError, ExitCode, RunStoppedError
from bulklink.zoho.connection import Connection
from bulklink.zoho.error_policy import SCOPES
from bulklink.zoho.http import Answer, NoResponse
from bulklink.zoho.sign_in import SelfClient, SignInResult, missing_optional_scopes, sign_in
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
LOOKUPS = (
    *("org", "settings/modules/Deals", "users", "Deals", "Contacts/1/Emails", "coql"),
    *("settings/layouts", "settings/pipeline"),
)


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

    def urls(self, part: str) -> list[str]:
        return [request.url for request in self.sent if part in request.url]


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


async def test_a_code_is_sent_in_a_form_to_the_accounts_server() -> None:
    zoho = Zoho()
    result = await sign_in_with(zoho)
    exchange = zoho.sent[0]
    assert (exchange.method, exchange.url) == ("POST", "https://accounts.zoho.eu/oauth/v2/token")
    assert exchange.form == {
        "grant_type": "authorization_code",
        "client_id": "1000.CLIENTID",
        "client_secret": SECRETS[0],
        "code": SECRETS[1],
    }
    credentials = result.connection.credentials
    assert credentials is not None
    assert credentials.refresh_token == "1000.refresh.token"


async def test_the_result_has_the_org_with_type_and_edition() -> None:
    org = (await sign_in_with(Zoho())).org
    assert (org.id, org.name, org.type, org.paid_type) == ("77", "Zylker", "Sandbox", "enterprise")


async def test_each_look_up_of_a_run_is_sent_with_the_token() -> None:
    zoho = Zoho()
    await sign_in_with(zoho, BULKLINK_ENVIRONMENT="sandbox")
    look_ups = zoho.sent[1:]
    paths = [request.url.partition("?")[0] for request in look_ups]
    assert paths == [f"https://sandbox.zohoapis.eu/crm/v8/{path}" for path in LOOKUPS]
    assert {request.headers["Authorization"] for request in look_ups} == {
        "Zoho-oauthtoken 1000.fresh"
    }
    queries = [request.url for request in look_ups if request.method != "GET"]
    assert queries == ["https://sandbox.zohoapis.eu/crm/v8/coql"]


async def test_a_refresh_token_can_replace_the_code() -> None:
    grant = {key: value for key, value in GRANT.items() if key != "refresh_token"}
    zoho = Zoho(answer(grant))
    result = await sign_in_with(zoho, SelfClient("1000.CLIENTID", "s", refresh_token="1000.mine"))
    assert zoho.sent[0].form["grant_type"] == "refresh_token"
    assert result.connection.credentials is not None
    assert result.connection.credentials.refresh_token == "1000.mine"


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
async def test_each_refusal_has_its_own_message(
    grant: Answer, expected_words: tuple[str, ...], code: ExitCode
) -> None:
    error = await sign_in_error(Zoho(grant))
    assert error.exit_code is code
    assert error.where == "https://accounts.zoho.eu/oauth/v2/token"
    assert error.advice
    assert [word for word in expected_words if word not in str(error)] == []


async def test_the_text_of_a_refusal_ends_with_one_full_stop() -> None:
    (throttled, _, _) = REFUSALS["throttled"]
    message = (await sign_in_error(Zoho(throttled))).message
    assert message.endswith("Please try again after some time.")


@pytest.mark.parametrize(
    "outcome", [NoResponse("no answer within 40 seconds"), Answer(503)], ids=["silence", "503"]
)
async def test_a_code_is_sent_only_once(outcome: Answer | NoResponse) -> None:
    zoho = Zoho(outcome)
    await sign_in_error(zoho)
    assert len(zoho.sent) == 1


async def test_secrets_repeated_by_the_server_are_masked() -> None:
    body = {"error": "invalid_code", "error_description": " ".join(SECRETS[:2])}
    assert "[secret]" in str(await sign_in_error(Zoho(answer(body))))


REQUIRED = {
    "settings/modules/Deals": ("ZohoCRM.settings.modules.READ",),
    "Deals": ("ZohoCRM.modules.deals.ALL",),
    "Contacts/1/Emails": ("ZohoCRM.modules.emails.ALL", "ZohoCRM.modules.contacts.ALL"),
}


@pytest.mark.parametrize(("path", "scopes"), REQUIRED.items(), ids=REQUIRED)
async def test_missing_required_scopes_are_named_and_the_token_is_revoked(
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


async def test_a_refresh_token_given_by_the_user_is_not_revoked() -> None:
    zoho = Zoho(lookups={"Deals": NO_SCOPE})
    with pytest.raises(ConfigError):
        await sign_in_with(zoho, SelfClient("1000.CLIENTID", "s", refresh_token="1000.mine"))
    assert zoho.urls("revoke") == []


async def test_a_failed_revocation_does_not_hide_the_error() -> None:
    zoho = Zoho(lookups={"Deals": NO_SCOPE}, revoked=NoResponse("the connection broke"))
    assert "without these required scopes" in (await sign_in_error(zoho)).message


OPTIONAL = {
    "users": "ZohoCRM.users.READ",
    "org": "ZohoCRM.org.READ",
    "coql": "ZohoCRM.coql.READ",
    "settings/layouts": "ZohoCRM.settings.layouts.READ",
    "settings/pipeline": "ZohoCRM.settings.pipeline.READ",
}


@pytest.mark.parametrize(("path", "scope"), OPTIONAL.items(), ids=OPTIONAL)
async def test_a_missing_optional_scope_is_reported(path: str, scope: str) -> None:
    result = await sign_in_with(Zoho(lookups={path: NO_SCOPE}))
    assert list(result.missing_scopes) == [scope]
    assert scope not in result.scopes


@pytest.mark.parametrize(
    "outcome",
    [
        answer({"code": "INVALID_DATA", "status": "error", "message": "no"}, 400),
        answer({"code": "NO_PERMISSION", "status": "error", "message": "no"}, 403),
        Answer(404),
        Answer(429),
    ],
    ids=["unknown contact", "no permission", "404", "429"],
)
async def test_another_refusal_of_a_look_up_does_not_mean_a_missing_scope(outcome: Answer) -> None:
    result = await sign_in_with(Zoho(lookups={"Contacts/1/Emails": outcome}))
    assert result.scopes == SCOPES


@pytest.mark.parametrize("status", [403, 404])
async def test_an_org_that_may_not_be_read_is_left_unknown(status: int) -> None:
    result = await sign_in_with(Zoho(lookups={"org": Answer(status)}))
    assert result.org.id is None
    assert result.scopes == SCOPES


async def test_scopes_named_by_the_accounts_server_are_reported() -> None:
    named = "ZohoCRM.modules.ALL ZohoCRM.settings.ALL,ZohoCRM.users.READ"
    result = await sign_in_with(Zoho(answer({**GRANT, "scope": named})))
    assert result.scopes == ("ZohoCRM.modules.ALL", "ZohoCRM.settings.ALL", "ZohoCRM.users.READ")


async def test_a_refused_new_token_is_an_error_and_not_renewed() -> None:
    refusal = answer({"code": "INVALID_TOKEN", "status": "error", "message": "no"}, 401)
    zoho = Zoho(lookups={"org": refusal})
    assert "environment" in (await sign_in_error(zoho)).advice
    assert len(zoho.urls("/token")) - len(zoho.urls("/revoke")) == 1


@pytest.mark.parametrize(
    "outcome",
    [
        NoResponse("the host name is unknown", sent=False),
        Answer(200, b"<html>"),
        Answer(502, b"<html>"),
        Answer(503),
        answer({"code": "INTERNAL_ERROR", "status": "error", "message": "no"}, 500),
        Answer(429),
    ],
    ids=["silence", "html", "html-of-a-proxy", "503", "500", "429"],
)
async def test_an_unreachable_api_stops_the_sign_in(
    outcome: Answer | NoResponse,
) -> None:
    zoho = Zoho(lookups={"org": outcome})
    assert isinstance(await sign_in_error(zoho), RunStoppedError)
    assert zoho.urls("/revoke")


async def test_without_an_accounts_address_nothing_is_sent() -> None:
    zoho = Zoho()
    endpoint = Connection.endpoint_from({"BULKLINK_API_URL": "http://127.0.0.1:1"})
    with pytest.raises(ConfigError, match="accounts address is unknown"):
        await sign_in(endpoint, GIVEN, zoho, ManualClock())
    assert zoho.sent == []


def test_a_self_client_shows_no_secret() -> None:
    shown: Any = f"{GIVEN!r} {[GIVEN]}"
    assert not [secret for secret in SECRETS if secret in shown]


@pytest.mark.parametrize(
    ("granted", "missing"),
    [
        (SCOPES, ()),
        (SCOPES[:6], SCOPES[6:]),
        (("ZohoCRM.settings.ALL", "ZohoCRM.users.ALL", "ZohoCRM.org.all"), SCOPES[6:7]),
        (("ZohoCRM.settings.layouts.CREATE", "ZohoCRM.coqlx.READ", "coql.READ"), SCOPES[4:]),
    ],
)
def test_an_optional_scope_can_be_part_of_a_wider_one(
    granted: tuple[str, ...], missing: tuple[str, ...]
) -> None:
    assert tuple(missing_optional_scopes(granted)) == missing
