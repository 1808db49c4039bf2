"""Access tokens: requested as documented, shared by all tasks, never shown."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulklink.errors import BulklinkError, RunStoppedError, StoppedBy
from bulklink.zoho.connection import Connection
from bulklink.zoho.http import Answer, NoResponse
from bulklink.zoho.tokens import Token, TokenProvider, TokenStore, TokenUnavailableError
from tests.zoho.fakes import FakeTransport, ManualClock, answer

CREDENTIALS = {
    "BULKLINK_CLIENT_ID": "1000.CLIENTID",
    "BULKLINK_CLIENT_SECRET": "hush&secret=1%",
    "BULKLINK_REFRESH_TOKEN": "1000.refresh.token",
}
GIVEN = "1000.given.token"
EU = {"BULKLINK_DC": "eu"}
SOON = ManualClock()() + 1800
SECRETS = (*CREDENTIALS.values(), GIVEN, "1000.fresh", "1000.fresh.1")
THROTTLED = answer(
    {
        "error": "Access Denied",
        "error_description": "You have made too many requests continuously. Try again later.",
    },
    400,
)
INVALID_CODE = answer({"error": "invalid_code"})
posix_only = pytest.mark.skipif(os.name == "nt", reason="Windows has no file modes")


def connect(**env: str) -> Connection:
    return Connection.from_environment({**EU, **CREDENTIALS, **env})


def token_answer(name: str = "1000.fresh", **fields: Any) -> Answer:
    """Return the documented answer of the accounts server."""
    return answer(
        {
            "access_token": name,
            "api_domain": "https://www.zohoapis.eu",
            "token_type": "Bearer",
            "expires_in": 3600,
            **fields,
        }
    )


class NumberedTokenTransport(FakeTransport):
    """Grants numbered tokens."""

    async def send(self, *args: Any) -> Answer | NoResponse:
        await super().send(*args)
        return token_answer(f"1000.fresh.{len(self.sent)}")


def make_tokens(
    transport: FakeTransport,
    *,
    connection: Connection | None = None,
    store: TokenStore | None = None,
    clock: ManualClock | None = None,
) -> TokenProvider:
    return TokenProvider(connection or connect(), transport, store, clock or ManualClock())


# Requests


async def test_a_token_request_is_a_form_with_the_documented_fields() -> None:
    transport = FakeTransport(token_answer())
    token = await make_tokens(transport).current()
    (sent,) = transport.sent
    assert (sent.method, sent.url) == ("POST", "https://accounts.zoho.eu/oauth/v2/token")
    assert sent.headers["Content-Type"] == "application/x-www-form-urlencoded"
    assert sent.headers["Connection"] == "close"
    assert sent.form == {
        "refresh_token": "1000.refresh.token",
        "client_id": "1000.CLIENTID",
        "client_secret": "hush&secret=1%",
        "grant_type": "refresh_token",
    }
    assert token.access_token == "1000.fresh"


async def test_no_secret_is_in_the_address_or_the_headers() -> None:
    transport = FakeTransport(token_answer())
    await make_tokens(transport).current()
    seen = transport.sent[0].url + repr(transport.sent[0].headers)
    assert not any(secret in seen for secret in CREDENTIALS.values())


async def test_a_valid_token_is_not_requested_again() -> None:
    transport = NumberedTokenTransport(token_answer())
    tokens = make_tokens(transport)
    assert [(await tokens.current()).access_token for _ in range(5)] == ["1000.fresh.1"] * 5
    assert len(transport.sent) == 1


# Answers without a token

REFUSALS = {
    "invalid_code under HTTP 200": INVALID_CODE,
    "throttled": THROTTLED,
    "invalid_client": answer({"error": "invalid_client"}),
    "an error with status 401": answer({"error": "unauthorized"}, 401),
    "an empty body": Answer(200),
    "html": Answer(200, b"<html>sign in</html>"),
    "a list": answer([token_answer().body.decode()]),
    "no access_token": answer({"api_domain": "https://www.zohoapis.eu", "expires_in": 3600}),
    "access_token null": token_answer(access_token=None),
    "access_token empty": token_answer(access_token=""),
    "access_token a number": token_answer(access_token=7),
    "a token under an error status": Answer(400, token_answer().body),
    "a redirect": Answer(302, token_answer().body),
}


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
async def test_an_answer_without_a_token_stops_the_run_after_one_request(
    refusal: Answer,
) -> None:
    transport = FakeTransport(refusal)
    with pytest.raises(RunStoppedError) as caught:
        await make_tokens(transport).current()
    assert caught.value.stopped_by is StoppedBy.FATAL
    assert caught.value.where == "https://accounts.zoho.eu/oauth/v2/token"
    assert caught.value.advice
    assert len(transport.sent) == 1


@pytest.mark.parametrize(
    ("refusal", "expected_text"),
    [(INVALID_CODE, "invalid_code"), (THROTTLED, "too many requests continuously")],
    ids=["invalid_code", "throttled"],
)
async def test_a_refusal_includes_the_message_of_the_accounts_server(
    refusal: Answer, expected_text: str
) -> None:
    with pytest.raises(RunStoppedError, match=expected_text):
        await make_tokens(FakeTransport(refusal)).current()


@pytest.mark.parametrize("failure", [NoResponse("the connection broke"), Answer(500), Answer(503)])
async def test_a_request_to_a_failing_accounts_server_is_retried_once(
    failure: Answer | NoResponse,
) -> None:
    transport = FakeTransport(failure, token_answer())
    assert (await make_tokens(transport).current()).access_token == "1000.fresh"
    assert len(transport.sent) == 2


async def test_a_run_stops_if_the_accounts_server_does_not_answer() -> None:
    transport = FakeTransport(NoResponse("the host name is unknown", sent=False))
    with pytest.raises(RunStoppedError, match="the host name is unknown") as caught:
        await make_tokens(transport).current()
    assert caught.value.stopped_by is StoppedBy.NO_ANSWER
    assert caught.value.advice
    assert len(transport.sent) <= 3


@pytest.mark.parametrize("secret", CREDENTIALS.values(), ids=CREDENTIALS)
@pytest.mark.parametrize("field", ["error", "error_description"])
async def test_a_secret_repeated_by_the_accounts_server_is_not_shown(
    field: str, secret: str
) -> None:
    content = {"error": "invalid_code", field: f"the value {secret} is not valid"}
    with pytest.raises(RunStoppedError) as caught:
        await make_tokens(FakeTransport(answer(content))).current()
    assert_shows_no_secret(caught.value)


def assert_shows_no_secret(error: BulklinkError) -> None:
    shown = f"{error} {error!r} {error.args} {error.where} {error.advice}"
    assert not any(secret in shown for secret in SECRETS)


async def test_the_text_of_a_refusal_is_truncated() -> None:
    content = {"error": "x" * 100_000, "error_description": "y" * 100_000}
    with pytest.raises(RunStoppedError) as caught:
        await make_tokens(FakeTransport(answer(content))).current()
    assert len(str(caught.value)) < 2000


@given(st.integers(200, 499), st.binary() | st.text().map(str.encode))
def test_arbitrary_bytes_of_an_accounts_server_stop_the_run(status: int, body: bytes) -> None:
    async def request_token() -> None:
        with pytest.raises(RunStoppedError):
            await TokenProvider(
                connect(), InstantTransport(Answer(status, body)), None, ManualClock()
            ).current()

    asyncio.run(request_token())


class InstantTransport(FakeTransport):
    """Answers immediately."""

    async def send(self, *args: Any) -> Answer | NoResponse:
        del args
        return self.answers[0]


@pytest.mark.parametrize(
    "lifetime", [None, "3600", "soon", [], True, 0, -5, 10**30, 1e300], ids=repr
)
async def test_a_token_with_an_invalid_lifetime_is_used(lifetime: Any) -> None:
    token = await make_tokens(FakeTransport(token_answer(expires_in=lifetime))).current()
    assert token.access_token == "1000.fresh"


# The API host


@pytest.mark.parametrize(
    ("env", "api_domain", "expected"),
    [
        ({}, "https://www.zohoapis.eu", "https://www.zohoapis.eu"),
        ({"BULKLINK_DC": "us"}, "https://www.zohoapis.eu", "https://www.zohoapis.eu"),
        (
            {"BULKLINK_ENVIRONMENT": "sandbox"},
            "https://www.zohoapis.eu",
            "https://sandbox.zohoapis.eu",
        ),
        (
            {"BULKLINK_ENVIRONMENT": "sandbox"},
            "https://sandbox.zohoapis.eu",
            "https://sandbox.zohoapis.eu",
        ),
        (
            {"BULKLINK_ENVIRONMENT": "developer"},
            "https://www.zohoapis.com.au",
            "https://developer.zohoapis.com.au",
        ),
        (
            {"BULKLINK_API_URL": "http://127.0.0.1:8080"},
            "https://www.zohoapis.eu",
            "http://127.0.0.1:8080",
        ),
        (
            {"BULKLINK_API_URL": "http://127.0.0.1:8080", "BULKLINK_ENVIRONMENT": "sandbox"},
            "https://www.zohoapis.eu",
            "http://127.0.0.1:8080",
        ),
        ({}, "http://www.zohoapis.eu", "https://www.zohoapis.eu"),
        ({}, None, "https://www.zohoapis.eu"),
        ({}, 7, "https://www.zohoapis.eu"),
        ({}, "https://[", "https://www.zohoapis.eu"),
    ],
    ids=[
        "as-named",
        "another-centre",
        "sandbox",
        "sandbox-named",
        "developer",
        "given-address",
        "given-address-and-sandbox",
        "plain-http",
        "null",
        "a-number",
        "no-address",
    ],
)
async def test_the_api_host_depends_on_answer_environment_and_given_address(
    env: dict[str, str], api_domain: Any, expected: str
) -> None:
    transport = FakeTransport(token_answer(api_domain=api_domain))
    assert (await make_tokens(transport, connection=connect(**env)).current()).api_url == expected


# One refresh for all tasks


async def test_fifty_tasks_that_need_a_token_send_one_request() -> None:
    transport = NumberedTokenTransport(token_answer())
    tokens = make_tokens(transport)
    current = await asyncio.gather(*(tokens.current() for _ in range(50)))
    assert {token.access_token for token in current} == {"1000.fresh.1"}
    assert len(transport.sent) == 1


async def test_fifty_tasks_with_a_refused_token_renew_it_once() -> None:
    transport = NumberedTokenTransport(token_answer())
    tokens = make_tokens(transport)
    refused = await tokens.current()
    await asyncio.gather(*(tokens.renew(refused) for _ in range(50)))
    assert (await tokens.current()).access_token == "1000.fresh.2"
    assert len(transport.sent) == 2


async def test_a_late_refusal_of_the_old_token_does_not_renew_the_new_one() -> None:
    transport = NumberedTokenTransport(token_answer())
    tokens = make_tokens(transport)
    refused = await tokens.current()
    await tokens.renew(refused)
    await tokens.renew(refused)
    assert (await tokens.current()).access_token == "1000.fresh.2"


async def test_a_token_is_available_during_a_renewal() -> None:
    transport = NumberedTokenTransport(token_answer())
    tokens = make_tokens(transport)
    refused = await tokens.current()
    renewing = asyncio.create_task(tokens.renew(refused))
    await asyncio.sleep(0.01)
    token = await tokens.current()
    await renewing
    assert token.access_token in ("1000.fresh.1", "1000.fresh.2")
    assert len(transport.sent) == 2


@pytest.mark.parametrize("refusal", [THROTTLED, INVALID_CODE], ids=["throttled", "invalid_code"])
async def test_a_refused_renewal_is_not_repeated_for_other_tasks(
    refusal: Answer,
) -> None:
    transport = FakeTransport(token_answer(), refusal)
    tokens = make_tokens(transport)
    refused = await tokens.current()
    outcomes = await asyncio.gather(
        *(tokens.renew(refused) for _ in range(50)), return_exceptions=True
    )
    assert all(isinstance(outcome, RunStoppedError) for outcome in outcomes)
    assert len(transport.sent) == 2


async def test_a_cancelled_renewal_does_not_block_the_next() -> None:
    transport = NumberedTokenTransport(token_answer())
    tokens = make_tokens(transport)
    refused = await tokens.current()
    renewing = asyncio.create_task(tokens.renew(refused))
    await asyncio.sleep(0.01)
    renewing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await renewing
    await tokens.renew(refused)
    assert (await tokens.current()).access_token != "1000.fresh.1"


# Given tokens and expiry


async def test_a_given_token_is_used_until_it_is_refused() -> None:
    transport = NumberedTokenTransport(token_answer())
    clock = ManualClock()
    tokens = make_tokens(transport, connection=connect(BULKLINK_ACCESS_TOKEN=GIVEN), clock=clock)
    clock.now += 365 * 24 * 3600
    given = await tokens.current()
    assert given.access_token == GIVEN
    assert given.api_url == "https://www.zohoapis.eu"
    assert transport.sent == []
    await tokens.renew(given)
    assert (await tokens.current()).access_token == "1000.fresh.1"


async def test_a_refused_given_token_without_credentials_stops_the_run() -> None:
    connection = Connection.from_environment({**EU, "BULKLINK_ACCESS_TOKEN": GIVEN})
    transport = FakeTransport(token_answer())
    tokens = make_tokens(transport, connection=connection)
    with pytest.raises(RunStoppedError) as caught:
        await tokens.renew(await tokens.current())
    assert caught.value.stopped_by is StoppedBy.FATAL
    assert "BULKLINK_ACCESS_TOKEN" in caught.value.where
    assert caught.value.advice
    assert_shows_no_secret(caught.value)
    assert transport.sent == []


async def test_a_token_is_renewed_before_it_expires() -> None:
    transport, clock = NumberedTokenTransport(token_answer()), ManualClock()
    tokens = make_tokens(transport, clock=clock)
    await tokens.current()
    clock.now += 3000
    assert (await tokens.current()).access_token == "1000.fresh.1"
    clock.now += 599
    current = await asyncio.gather(*(tokens.current() for _ in range(50)))
    assert {token.access_token for token in current} == {"1000.fresh.2"}
    assert len(transport.sent) == 2


# Storage


def stored_token_files(folder: Path) -> list[Path]:
    """Return the files of stored tokens; none if the folder is missing."""
    return list(folder.glob("*.json")) if folder.exists() else []


async def test_a_stored_token_is_used_by_the_next_run(tmp_path: Path) -> None:
    transport = NumberedTokenTransport(token_answer())
    for _ in range(3):
        token = await make_tokens(transport, store=TokenStore(tmp_path / "bulklink")).current()
        assert token.access_token == "1000.fresh.1"
        assert token.api_url == "https://www.zohoapis.eu"
    assert len(transport.sent) == 1


async def test_a_renewed_token_replaces_the_stored_one(tmp_path: Path) -> None:
    transport, store = NumberedTokenTransport(token_answer()), TokenStore(tmp_path)
    tokens = make_tokens(transport, store=store)
    await tokens.renew(await tokens.current())
    assert (await make_tokens(transport, store=store).current()).access_token == "1000.fresh.2"
    assert len(transport.sent) == 2


async def test_a_refused_stored_token_is_replaced(tmp_path: Path) -> None:
    transport, store = NumberedTokenTransport(token_answer()), TokenStore(tmp_path)
    await make_tokens(transport, store=store).current()
    tokens = make_tokens(transport, store=store)
    await tokens.renew(await tokens.current())
    assert (await tokens.current()).access_token == "1000.fresh.2"


@pytest.mark.parametrize("late", [-30, 0, 1, 10_000_000])
async def test_an_expired_stored_token_is_not_used(tmp_path: Path, late: float) -> None:
    transport, clock = NumberedTokenTransport(token_answer()), ManualClock()
    await make_tokens(transport, store=TokenStore(tmp_path), clock=clock).current()
    clock.now += 3600 + late
    token = await make_tokens(transport, store=TokenStore(tmp_path), clock=clock).current()
    assert token.access_token == "1000.fresh.2"


async def test_a_given_token_is_not_stored(tmp_path: Path) -> None:
    store = TokenStore(tmp_path)
    connection = connect(BULKLINK_ACCESS_TOKEN=GIVEN)
    await make_tokens(FakeTransport(token_answer()), connection=connection, store=store).current()
    assert stored_token_files(tmp_path) == []


@pytest.mark.parametrize(
    "other",
    [
        {"BULKLINK_CLIENT_ID": "1000.OTHER"},
        {"BULKLINK_REFRESH_TOKEN": "1000.other"},
        {"BULKLINK_DC": "us"},
        {"BULKLINK_ENVIRONMENT": "sandbox"},
        {"BULKLINK_API_URL": "http://127.0.0.1:8080"},
        {"BULKLINK_ACCOUNTS_URL": "http://127.0.0.1:8080"},
    ],
    ids=lambda env: next(iter(env)),
)
async def test_a_stored_token_is_only_used_for_its_connection(
    tmp_path: Path, other: dict[str, str]
) -> None:
    transport, store = NumberedTokenTransport(token_answer()), TokenStore(tmp_path)
    await make_tokens(transport, store=store).current()
    token = await make_tokens(transport, store=store, connection=connect(**other)).current()
    assert token.access_token == "1000.fresh.2"


@posix_only
@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077], ids=oct)
async def test_only_their_owner_can_read_stored_tokens(tmp_path: Path, mask: int) -> None:
    folder = tmp_path / "bulklink"
    before = os.umask(mask)
    try:
        tokens = make_tokens(NumberedTokenTransport(token_answer()), store=TokenStore(folder))
        await tokens.renew(await tokens.current())
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (file,) = stored_token_files(folder)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_a_stored_token_file_contains_no_credentials(tmp_path: Path) -> None:
    await make_tokens(FakeTransport(token_answer()), store=TokenStore(tmp_path)).current()
    (file,) = stored_token_files(tmp_path)
    seen = file.name + file.read_text("utf-8")
    assert not any(secret in seen for secret in CREDENTIALS.values())


CORRUPT = {
    "empty": b"",
    "truncated": b'{"access_token":"1000.old","api_url":"https://www.zoho',
    "another shape": b'{"token":"1000.old"}',
    "a list": b"[1,2,3]",
    "wrong types": b'{"access_token":1,"api_url":null,"ends_at":"never"}',
    "no utf-8": b'{"access_token":"\xff\xfe","api_url":"https://www.zohoapis.eu","ends_at":9e9}',
    "binary": bytes(range(256)),
    "deep": b'{"x":' + b"[" * 100_000,
}


@pytest.mark.parametrize("content", CORRUPT.values(), ids=CORRUPT)
async def test_a_corrupt_file_is_ignored_and_replaced(tmp_path: Path, content: bytes) -> None:
    transport, store = NumberedTokenTransport(token_answer()), TokenStore(tmp_path)
    await make_tokens(transport, store=store).current()
    (file,) = stored_token_files(tmp_path)
    file.write_bytes(content)
    assert (await make_tokens(transport, store=store).current()).access_token == "1000.fresh.2"
    assert (await make_tokens(transport, store=store).current()).access_token == "1000.fresh.2"


async def test_a_file_that_cannot_be_read_or_replaced_costs_only_a_refresh(tmp_path: Path) -> None:
    transport, store = NumberedTokenTransport(token_answer()), TokenStore(tmp_path)
    await make_tokens(transport, store=store).current()
    (file,) = stored_token_files(tmp_path)
    file.unlink()
    file.mkdir()
    (file / "in-the-way").touch()
    assert (await make_tokens(transport, store=store).current()).access_token == "1000.fresh.2"
    assert stored_token_files(tmp_path) == [file]


@pytest.mark.parametrize("below", ["", "bulklink"], ids=["a-file", "below-a-file"])
async def test_a_folder_that_cannot_be_created_costs_only_a_refresh(
    tmp_path: Path, below: str
) -> None:
    (tmp_path / "taken").touch()
    store = TokenStore(tmp_path / "taken" / below)
    assert (
        await make_tokens(NumberedTokenTransport(token_answer()), store=store).current()
    ).access_token == "1000.fresh.1"


def test_a_token_shows_no_secret() -> None:
    token = Token("1000.fresh", "https://www.zohoapis.eu", 1.0)
    assert "1000.fresh" not in f"{token!r} {token} {[token]}"


async def test_a_token_provider_shows_no_secret() -> None:
    tokens = make_tokens(
        FakeTransport(token_answer()), connection=connect(BULKLINK_ACCESS_TOKEN=GIVEN)
    )
    await tokens.current()
    assert not any(secret in repr(tokens) for secret in SECRETS)


def warned_tokens(transport: FakeTransport) -> tuple[TokenProvider, list[str]]:
    warnings: list[str] = []
    tokens = TokenProvider(connect(), transport, None, ManualClock(), warn=warnings.append)
    return tokens, warnings


@pytest.mark.parametrize("api_domain", ["https://www.example.com", 7, "x" * 5000], ids=repr)
async def test_a_foreign_api_host_causes_a_warning_and_never_receives_the_token(
    api_domain: object,
) -> None:
    tokens, warnings = warned_tokens(FakeTransport(token_answer(api_domain=api_domain)))
    assert (await tokens.current()).api_url == "https://www.zohoapis.eu"
    (warning,) = warnings
    assert str(api_domain)[:50] in warning
    assert "https://www.zohoapis.eu" in warning
    assert len(warning) < 400


@pytest.mark.parametrize("api_domain", [None, "https://www.zohoapis.com"])
async def test_a_zoho_host_or_no_host_causes_no_warning(api_domain: object) -> None:
    tokens, warnings = warned_tokens(FakeTransport(token_answer(api_domain=api_domain)))
    await tokens.current()
    assert warnings == []


@pytest.mark.parametrize(
    "stored",
    [
        Token("1000.stored", "https://www.example.com", SOON),
        Token("1000.stored", "https://www.zohoapis.eu@example.com", SOON),
        Token("1000.stored\r\nX-Other: 1", "https://www.zohoapis.eu", SOON),
        Token("1000.stored", "not an address", SOON),
        Token("1000.stored", "", SOON),
        Token("1000.stored", "https://www.zohoapis.eu", 1e300),
    ],
    ids=["foreign", "user", "line-break", "no-address", "empty", "for-ever"],
)
async def test_an_invalid_stored_token_is_replaced(tmp_path: Path, stored: Token) -> None:
    store = TokenStore(tmp_path)
    store.save(connect(), stored)
    token = await make_tokens(FakeTransport(token_answer()), store=store).current()
    assert (token.access_token, token.api_url) == ("1000.fresh", "https://www.zohoapis.eu")


async def test_a_stored_token_of_another_zoho_data_centre_is_used(tmp_path: Path) -> None:
    store, stored = TokenStore(tmp_path), Token("1000.stored", "https://www.zohoapis.in", SOON)
    store.save(connect(), stored)
    assert await make_tokens(FakeTransport(), store=store).current() == stored


@pytest.mark.parametrize(
    "token", ["1000\r\nX-Other: 1", "1000 x", "1000\x00", "1000\u0430"], ids=ascii
)
async def test_an_access_token_invalid_in_a_header_is_rejected(token: str) -> None:
    with pytest.raises(RunStoppedError, match="has characters that no token has") as caught:
        await make_tokens(FakeTransport(token_answer(token))).current()
    assert caught.value.where == "https://accounts.zoho.eu/oauth/v2/token"
    assert token not in str(caught.value)


@pytest.mark.parametrize(
    ("lifetime", "seconds"),
    [
        ("3600", 3600),
        (7200, 7200),
        (None, 3600),
        ("soon", 3600),
        (0, 60),
        (-5, 60),
        (1e300, 86_400),
    ],
    ids=repr,
)
async def test_a_lifetime_is_limited_to_between_a_minute_and_a_day(
    lifetime: object, seconds: float
) -> None:
    clock = ManualClock()
    tokens = make_tokens(FakeTransport(token_answer(expires_in=lifetime)), clock=clock)
    left = (await tokens.current()).ends_at - clock()
    assert left == max(60, seconds - min(60, seconds / 10))


@pytest.mark.parametrize("lifetime", [0, 1, 60, -(10**9), "7"], ids=repr)
async def test_a_short_lifetime_causes_at_most_ten_requests_in_ten_minutes(
    lifetime: object,
) -> None:
    clock, crm = ManualClock(), FakeTransport(token_answer(expires_in=lifetime))
    tokens = make_tokens(crm, clock=clock)
    for _ in range(600):
        await tokens.current()
        clock.now += 1
    assert len(crm.sent) <= 10


async def test_a_failing_accounts_server_is_retried_without_blaming_the_credentials() -> None:
    transport = FakeTransport(Answer(503), Answer(503), token_answer())
    tokens = make_tokens(transport)
    with pytest.raises(TokenUnavailableError, match="HTTP 503") as caught:
        await tokens.current()
    assert caught.value.stopped_by is StoppedBy.NO_ANSWER
    assert not any(word in str(caught.value) for word in ("client", "secret", "refresh token"))
    assert (await tokens.current()).access_token == "1000.fresh"


async def test_tasks_waiting_for_a_token_share_one_failure() -> None:
    transport = FakeTransport(NoResponse("the connection broke"))
    tokens = make_tokens(transport)
    outcomes = await asyncio.gather(*(tokens.current() for _ in range(5)), return_exceptions=True)
    assert all(isinstance(outcome, TokenUnavailableError) for outcome in outcomes)
    assert len(transport.sent) == 2


async def test_a_refused_token_is_not_used_again_after_a_failed_renewal() -> None:
    transport = FakeTransport(
        token_answer(), NoResponse("gone"), NoResponse("gone"), token_answer(access_token="1000.b")
    )
    tokens = make_tokens(transport)
    refused = await tokens.current()
    with pytest.raises(TokenUnavailableError):
        await tokens.renew(refused)
    assert (await tokens.current()).access_token == "1000.b"


async def test_an_answer_of_another_server_does_not_blame_the_credentials() -> None:
    with pytest.raises(RunStoppedError) as caught:
        await make_tokens(FakeTransport(Answer(200, b"<html>"))).current()
    assert "secret" not in caught.value.advice
    assert "network" in caught.value.advice
