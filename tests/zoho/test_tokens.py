"""Access tokens: asked for as Zoho's pages say, once for all, and never shown."""

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
    """The accounts server's answer as the pages show it."""
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
    """Grants token after token, each with its own name."""

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


# Asking


async def test_a_token_request_is_a_form_with_the_fields_of_the_api() -> None:
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
    kept = make_tokens(transport)
    assert [(await kept.current()).access_token for _ in range(5)] == ["1000.fresh.1"] * 5
    assert len(transport.sent) == 1


# Answers that give none

REFUSALS = {
    "invalid_code under HTTP 200": INVALID_CODE,
    "throttled": THROTTLED,
    "invalid_client": answer({"error": "invalid_client"}),
    "an error beside a status of 401": answer({"error": "unauthorized"}, 401),
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
    ("refusal", "says"),
    [(INVALID_CODE, "invalid_code"), (THROTTLED, "too many requests continuously")],
    ids=["invalid_code", "throttled"],
)
async def test_the_refusal_says_what_the_accounts_server_said(refusal: Answer, says: str) -> None:
    with pytest.raises(RunStoppedError, match=says):
        await make_tokens(FakeTransport(refusal)).current()


@pytest.mark.parametrize("failure", [NoResponse("the connection broke"), Answer(500), Answer(503)])
async def test_a_request_to_a_failing_accounts_server_is_retried_once(
    failure: Answer | NoResponse,
) -> None:
    transport = FakeTransport(failure, token_answer())
    assert (await make_tokens(transport).current()).access_token == "1000.fresh"
    assert len(transport.sent) == 2


async def test_an_accounts_server_that_stays_silent_stops_the_run() -> None:
    transport = FakeTransport(NoResponse("the host name is unknown", sent=False))
    with pytest.raises(RunStoppedError, match="the host name is unknown") as caught:
        await make_tokens(transport).current()
    assert caught.value.stopped_by is StoppedBy.NO_ANSWER
    assert caught.value.advice
    assert len(transport.sent) <= 3


@pytest.mark.parametrize("secret", CREDENTIALS.values(), ids=CREDENTIALS)
@pytest.mark.parametrize("field", ["error", "error_description"])
async def test_a_secret_that_the_accounts_server_repeats_is_not_shown(
    field: str, secret: str
) -> None:
    content = {"error": "invalid_code", field: f"what you sent, {secret}, is not valid"}
    with pytest.raises(RunStoppedError) as caught:
        await make_tokens(FakeTransport(answer(content))).current()
    assert_shows_nothing_secret(caught.value)


def assert_shows_nothing_secret(error: BulklinkError) -> None:
    shown = f"{error} {error!r} {error.args} {error.where} {error.advice}"
    assert not any(secret in shown for secret in SECRETS)


async def test_the_text_of_a_refusal_is_bounded() -> None:
    content = {"error": "x" * 100_000, "error_description": "y" * 100_000}
    with pytest.raises(RunStoppedError) as caught:
        await make_tokens(FakeTransport(answer(content))).current()
    assert len(str(caught.value)) < 2000


@given(st.integers(200, 499), st.binary() | st.text().map(str.encode))
def test_no_bytes_of_an_accounts_server_make_it_fail_in_another_way(
    status: int, body: bytes
) -> None:
    async def ask() -> None:
        with pytest.raises(RunStoppedError):
            await TokenProvider(
                connect(), InstantTransport(Answer(status, body)), None, ManualClock()
            ).current()

    asyncio.run(ask())


class InstantTransport(FakeTransport):
    """Answers at once."""

    async def send(self, *args: Any) -> Answer | NoResponse:
        del args
        return self.answers[0]


@pytest.mark.parametrize("lasts", [None, "3600", "soon", [], True, 0, -5, 10**30, 1e300], ids=repr)
async def test_a_lifetime_that_is_none_still_gives_a_token(lasts: Any) -> None:
    token = await make_tokens(FakeTransport(token_answer(expires_in=lasts))).current()
    assert token.access_token == "1000.fresh"


# The API host


@pytest.mark.parametrize(
    ("env", "api_domain", "wanted"),
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
async def test_the_api_host_follows_the_answer_the_environment_and_the_given_address(
    env: dict[str, str], api_domain: Any, wanted: str
) -> None:
    transport = FakeTransport(token_answer(api_domain=api_domain))
    assert (await make_tokens(transport, connection=connect(**env)).current()).api_url == wanted


# One refresh for all


async def test_fifty_tasks_that_need_a_token_ask_once() -> None:
    transport = NumberedTokenTransport(token_answer())
    kept = make_tokens(transport)
    found = await asyncio.gather(*(kept.current() for _ in range(50)))
    assert {token.access_token for token in found} == {"1000.fresh.1"}
    assert len(transport.sent) == 1


async def test_fifty_tasks_that_find_the_token_refused_have_it_renewed_once() -> None:
    transport = NumberedTokenTransport(token_answer())
    kept = make_tokens(transport)
    refused = await kept.current()
    await asyncio.gather(*(kept.renew(refused) for _ in range(50)))
    assert (await kept.current()).access_token == "1000.fresh.2"
    assert len(transport.sent) == 2


async def test_a_task_that_comes_late_with_the_old_token_does_not_renew_the_new_one() -> None:
    transport = NumberedTokenTransport(token_answer())
    kept = make_tokens(transport)
    refused = await kept.current()
    await kept.renew(refused)
    await kept.renew(refused)
    assert (await kept.current()).access_token == "1000.fresh.2"


async def test_a_task_that_asks_during_a_renewal_gets_a_token() -> None:
    transport = NumberedTokenTransport(token_answer())
    kept = make_tokens(transport)
    refused = await kept.current()
    renewing = asyncio.create_task(kept.renew(refused))
    await asyncio.sleep(0.01)
    found = await kept.current()
    await renewing
    assert found.access_token in ("1000.fresh.1", "1000.fresh.2")
    assert len(transport.sent) == 2


@pytest.mark.parametrize("refusal", [THROTTLED, INVALID_CODE], ids=["throttled", "invalid_code"])
async def test_fifty_tasks_whose_renewal_is_refused_ask_once_since_asking_lengthens_the_penalty(
    refusal: Answer,
) -> None:
    transport = FakeTransport(token_answer(), refusal)
    kept = make_tokens(transport)
    refused = await kept.current()
    outcomes = await asyncio.gather(
        *(kept.renew(refused) for _ in range(50)), return_exceptions=True
    )
    assert all(isinstance(outcome, RunStoppedError) for outcome in outcomes)
    assert len(transport.sent) == 2


async def test_a_renewal_that_is_given_up_leaves_the_way_free_for_the_next() -> None:
    transport = NumberedTokenTransport(token_answer())
    kept = make_tokens(transport)
    refused = await kept.current()
    renewing = asyncio.create_task(kept.renew(refused))
    await asyncio.sleep(0.01)
    renewing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await renewing
    await kept.renew(refused)
    assert (await kept.current()).access_token != "1000.fresh.1"


# A given token, and its end


async def test_a_given_token_is_used_until_it_is_refused() -> None:
    transport = NumberedTokenTransport(token_answer())
    clock = ManualClock()
    kept = make_tokens(transport, connection=connect(BULKLINK_ACCESS_TOKEN=GIVEN), clock=clock)
    clock.now += 365 * 24 * 3600
    given = await kept.current()
    assert given.access_token == GIVEN
    assert given.api_url == "https://www.zohoapis.eu"
    assert transport.sent == []
    await kept.renew(given)
    assert (await kept.current()).access_token == "1000.fresh.1"


async def test_a_given_token_that_is_refused_and_cannot_be_renewed_stops_the_run() -> None:
    connection = Connection.from_environment({**EU, "BULKLINK_ACCESS_TOKEN": GIVEN})
    transport = FakeTransport(token_answer())
    kept = make_tokens(transport, connection=connection)
    with pytest.raises(RunStoppedError) as caught:
        await kept.renew(await kept.current())
    assert caught.value.stopped_by is StoppedBy.FATAL
    assert "BULKLINK_ACCESS_TOKEN" in caught.value.where
    assert caught.value.advice
    assert_shows_nothing_secret(caught.value)
    assert transport.sent == []


async def test_a_token_is_renewed_before_it_ends() -> None:
    transport, clock = NumberedTokenTransport(token_answer()), ManualClock()
    kept = make_tokens(transport, clock=clock)
    await kept.current()
    clock.now += 3000
    assert (await kept.current()).access_token == "1000.fresh.1"
    clock.now += 599
    found = await asyncio.gather(*(kept.current() for _ in range(50)))
    assert {token.access_token for token in found} == {"1000.fresh.2"}
    assert len(transport.sent) == 2


# Keeping


def stored_token_files(folder: Path) -> list[Path]:
    """What lies in the folder of kept tokens; nothing where it is missing."""
    return list(folder.glob("*.json")) if folder.exists() else []


async def test_a_kept_token_serves_the_next_run(tmp_path: Path) -> None:
    transport = NumberedTokenTransport(token_answer())
    for _ in range(3):
        found = await make_tokens(transport, store=TokenStore(tmp_path / "bulklink")).current()
        assert found.access_token == "1000.fresh.1"
        assert found.api_url == "https://www.zohoapis.eu"
    assert len(transport.sent) == 1


async def test_a_renewed_token_is_the_one_that_is_kept(tmp_path: Path) -> None:
    transport, store = NumberedTokenTransport(token_answer()), TokenStore(tmp_path)
    kept = make_tokens(transport, store=store)
    await kept.renew(await kept.current())
    assert (await make_tokens(transport, store=store).current()).access_token == "1000.fresh.2"
    assert len(transport.sent) == 2


async def test_a_kept_token_that_is_refused_is_replaced(tmp_path: Path) -> None:
    transport, store = NumberedTokenTransport(token_answer()), TokenStore(tmp_path)
    await make_tokens(transport, store=store).current()
    kept = make_tokens(transport, store=store)
    await kept.renew(await kept.current())
    assert (await kept.current()).access_token == "1000.fresh.2"


@pytest.mark.parametrize("late", [-30, 0, 1, 10_000_000])
async def test_a_kept_token_that_has_ended_is_not_used(tmp_path: Path, late: float) -> None:
    transport, clock = NumberedTokenTransport(token_answer()), ManualClock()
    await make_tokens(transport, store=TokenStore(tmp_path), clock=clock).current()
    clock.now += 3600 + late
    found = await make_tokens(transport, store=TokenStore(tmp_path), clock=clock).current()
    assert found.access_token == "1000.fresh.2"


async def test_a_given_token_is_not_kept(tmp_path: Path) -> None:
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
async def test_a_kept_token_serves_only_the_connection_it_was_given_for(
    tmp_path: Path, other: dict[str, str]
) -> None:
    transport, store = NumberedTokenTransport(token_answer()), TokenStore(tmp_path)
    await make_tokens(transport, store=store).current()
    found = await make_tokens(transport, store=store, connection=connect(**other)).current()
    assert found.access_token == "1000.fresh.2"


@posix_only
@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077], ids=oct)
async def test_only_their_owner_can_read_kept_tokens(tmp_path: Path, mask: int) -> None:
    folder = tmp_path / "bulklink"
    before = os.umask(mask)
    try:
        kept = make_tokens(NumberedTokenTransport(token_answer()), store=TokenStore(folder))
        await kept.renew(await kept.current())
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (file,) = stored_token_files(folder)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_the_name_and_content_of_the_file_hold_no_credential(tmp_path: Path) -> None:
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
async def test_a_folder_that_cannot_be_made_costs_only_a_refresh(
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


async def test_the_tokens_of_a_run_show_no_secret() -> None:
    kept = make_tokens(
        FakeTransport(token_answer()), connection=connect(BULKLINK_ACCESS_TOKEN=GIVEN)
    )
    await kept.current()
    assert not any(secret in repr(kept) for secret in SECRETS)


def warned_tokens(transport: FakeTransport) -> tuple[TokenProvider, list[str]]:
    warnings: list[str] = []
    tokens = TokenProvider(connect(), transport, None, ManualClock(), warn=warnings.append)
    return tokens, warnings


@pytest.mark.parametrize("api_domain", ["https://www.example.com", 7, "x" * 5000], ids=repr)
async def test_a_host_that_is_not_zohos_is_named_in_a_warning_and_never_has_the_token(
    api_domain: object,
) -> None:
    tokens, warnings = warned_tokens(FakeTransport(token_answer(api_domain=api_domain)))
    assert (await tokens.current()).api_url == "https://www.zohoapis.eu"
    (warning,) = warnings
    assert str(api_domain)[:50] in warning
    assert "https://www.zohoapis.eu" in warning
    assert len(warning) < 400


@pytest.mark.parametrize("api_domain", [None, "https://www.zohoapis.com"])
async def test_a_host_of_zohos_and_none_at_all_bring_no_warning(api_domain: object) -> None:
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
async def test_a_stored_token_that_no_request_may_have_is_asked_for_anew(
    tmp_path: Path, stored: Token
) -> None:
    store = TokenStore(tmp_path)
    store.save(connect(), stored)
    token = await make_tokens(FakeTransport(token_answer()), store=store).current()
    assert (token.access_token, token.api_url) == ("1000.fresh", "https://www.zohoapis.eu")


async def test_a_stored_token_of_another_data_centre_of_zohos_is_used(tmp_path: Path) -> None:
    store, stored = TokenStore(tmp_path), Token("1000.stored", "https://www.zohoapis.in", SOON)
    store.save(connect(), stored)
    assert await make_tokens(FakeTransport(), store=store).current() == stored


@pytest.mark.parametrize(
    "token", ["1000\r\nX-Other: 1", "1000 x", "1000\x00", "1000\u0430"], ids=ascii
)
async def test_an_access_token_that_no_header_can_hold_is_no_token(token: str) -> None:
    with pytest.raises(RunStoppedError, match="has characters that no token has") as caught:
        await make_tokens(FakeTransport(token_answer(token))).current()
    assert caught.value.where == "https://accounts.zoho.eu/oauth/v2/token"
    assert token not in str(caught.value)


@pytest.mark.parametrize(
    ("lasts", "seconds"),
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
async def test_a_lifetime_is_a_number_or_its_text_between_a_minute_and_a_day(
    lasts: object, seconds: float
) -> None:
    clock = ManualClock()
    tokens = make_tokens(FakeTransport(token_answer(expires_in=lasts)), clock=clock)
    left = (await tokens.current()).ends_at - clock()
    assert left == max(60, seconds - min(60, seconds / 10))


@pytest.mark.parametrize("lasts", [0, 1, 60, -(10**9), "7"], ids=repr)
async def test_a_token_of_seconds_costs_ten_requests_in_ten_minutes_at_most(lasts: object) -> None:
    clock, crm = ManualClock(), FakeTransport(token_answer(expires_in=lasts))
    tokens = make_tokens(crm, clock=clock)
    for _ in range(600):
        await tokens.current()
        clock.now += 1
    assert len(crm.sent) <= 10


async def test_an_accounts_server_that_fails_blames_no_credentials_and_is_asked_again() -> None:
    transport = FakeTransport(Answer(503), Answer(503), token_answer())
    tokens = make_tokens(transport)
    with pytest.raises(TokenUnavailableError, match="HTTP 503") as caught:
        await tokens.current()
    assert caught.value.stopped_by is StoppedBy.NO_ANSWER
    assert not any(word in str(caught.value) for word in ("client", "secret", "refresh token"))
    assert (await tokens.current()).access_token == "1000.fresh"


async def test_those_that_wait_for_a_token_share_one_failure() -> None:
    transport = FakeTransport(NoResponse("the connection broke"))
    tokens = make_tokens(transport)
    outcomes = await asyncio.gather(*(tokens.current() for _ in range(5)), return_exceptions=True)
    assert all(isinstance(outcome, TokenUnavailableError) for outcome in outcomes)
    assert len(transport.sent) == 2


async def test_a_refused_token_is_not_used_again_when_no_other_could_be_asked_for() -> None:
    transport = FakeTransport(
        token_answer(), NoResponse("gone"), NoResponse("gone"), token_answer(access_token="1000.b")
    )
    tokens = make_tokens(transport)
    refused = await tokens.current()
    with pytest.raises(TokenUnavailableError):
        await tokens.renew(refused)
    assert (await tokens.current()).access_token == "1000.b"


async def test_an_answer_that_is_not_zohos_blames_no_credentials() -> None:
    with pytest.raises(RunStoppedError) as caught:
        await make_tokens(FakeTransport(Answer(200, b"<html>"))).current()
    assert "secret" not in caught.value.advice
    assert "network" in caught.value.advice
