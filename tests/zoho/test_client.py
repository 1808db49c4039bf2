"""Client: address and headers of requests, and the handling of answers."""

from __future__ import annotations

import logging

import msgspec
import pytest

from bulklink.zoho import requests
from bulklink.zoho.client import Client, ClientResponse
from bulklink.zoho.connection import Connection
from bulklink.zoho.http import Answer, NoResponse, Request
from bulklink.zoho.link_response import parse_refusal
from bulklink.zoho.request_log import LOGGER
from bulklink.zoho.tokens import TokenProvider
from tests.zoho.fakes import FakeTransport, ManualClock, message

SECRET = "1000.0123456789abcdef.fedcba9876543210"
LINK = requests.link_request([message("a1")], [("7", "Deal")], "5")
UNLINK = requests.unlink_request([message("a1"), message("b2")])
PAGE = requests.emails_page_request("11", None)


def client_of(transport: FakeTransport) -> Client:
    connection = Connection.from_environment({"BULKLINK_DC": "eu", "BULKLINK_ACCESS_TOKEN": SECRET})
    return Client(TokenProvider(connection, transport, None, ManualClock()), transport)


async def send(transport: FakeTransport, request: Request) -> ClientResponse:
    client = client_of(transport)
    return await client.send(request, await client.tokens.current())


@pytest.mark.parametrize("request_sent", [LINK, UNLINK, PAGE], ids=["link", "unlink", "read"])
async def test_a_request_is_sent_once_and_unchanged_to_the_api_host(request_sent: Request) -> None:
    transport = FakeTransport(Answer(200, b"{}"))
    await send(transport, request_sent)
    (sent,) = transport.sent
    assert sent.method == request_sent.method
    assert sent.url == "https://www.zohoapis.eu" + request_sent.target
    assert sent.body == request_sent.body


@pytest.mark.parametrize("request_sent", [LINK, UNLINK, PAGE], ids=["link", "unlink", "read"])
async def test_the_token_is_only_in_the_authorization_header(request_sent: Request) -> None:
    transport = FakeTransport(Answer(200, b"{}"))
    await send(transport, request_sent)
    (sent,) = transport.sent
    assert sent.headers["Authorization"] == f"Zoho-oauthtoken {SECRET}"
    assert SECRET not in sent.url
    assert SECRET.encode() not in (sent.body or b"")


@pytest.mark.parametrize(
    ("request_sent", "content_type"),
    [(LINK, "application/json"), (UNLINK, None), (PAGE, None)],
    ids=["link", "unlink", "read"],
)
async def test_only_a_request_with_a_body_has_a_content_type(
    request_sent: Request, content_type: str | None
) -> None:
    transport = FakeTransport(Answer(200, b"{}"))
    await send(transport, request_sent)
    assert transport.sent[0].headers.get("Content-Type") == content_type


async def test_an_answer_is_returned_unchanged_with_the_token_of_its_request() -> None:
    outcome = Answer(429, b'{"code":"TOO_MANY_REQUESTS"}', 7.0)
    received = await send(FakeTransport(outcome), PAGE)
    assert isinstance(received.outcome, Answer)
    assert (received.outcome.status, received.outcome.retry_after) == (429, 7.0)
    assert received.outcome.body == outcome.body
    assert received.token.access_token == SECRET
    assert SECRET not in repr(received)


async def test_a_missing_answer_is_returned_unchanged() -> None:
    outcome = NoResponse("the connection broke")
    assert (await send(FakeTransport(outcome), LINK)).outcome == outcome


RECORDS = b'{"Emails":[{"message_id":"a1"}],"info":{"more_records":false}}'


@pytest.mark.parametrize("body", [RECORDS, b'{"users":[{"id":"1"}]}', b'{"data":[{"id":"1"}]}'])
async def test_records_that_repeat_another_answer_do_not_answer_a_read(body: bytes) -> None:
    repeated = Answer(200, body, repeated=True)
    outcome = (await send(FakeTransport(repeated), PAGE)).outcome
    assert outcome == NoResponse("the answer to another request arrived")


@pytest.mark.parametrize(
    "outcome",
    [
        Answer(200, RECORDS),
        Answer(200, b'{"Emails":[],"info":{}}', repeated=True),
        Answer(200, b"<html>", repeated=True),
        Answer(204, repeated=True),
        Answer(429, RECORDS, repeated=True),
    ],
    ids=["not repeated", "nothing listed", "no JSON", "no content", "a refusal"],
)
async def test_content_that_two_reads_can_share_is_an_answer(outcome: Answer) -> None:
    assert isinstance((await send(FakeTransport(outcome), PAGE)).outcome, Answer)


async def test_a_repeated_answer_to_a_link_is_still_an_answer() -> None:
    repeated = Answer(200, RECORDS, repeated=True)
    assert isinstance((await send(FakeTransport(repeated), LINK)).outcome, Answer)


@pytest.mark.parametrize(("header", "wait"), [(None, 60.0), (10.0, 60.0), (90.0, 90.0)])
async def test_the_longer_wait_of_body_and_header_applies(
    header: float | None, wait: float
) -> None:
    body = b'{"code":"TOO_MANY_REQUESTS","status":"error","details":{"retry_after":60}}'
    outcome = (await send(FakeTransport(Answer(429, body, header)), PAGE)).outcome
    assert isinstance(outcome, Answer)
    assert outcome.retry_after == wait


async def test_a_token_repeated_by_a_server_is_masked_only_in_texts() -> None:
    body = f'{{"code":"{SECRET}","message":"{SECRET}","name":"{SECRET}"}}'.encode()
    outcome = (await send(FakeTransport(Answer(400, body, 3.0)), PAGE)).outcome
    assert isinstance(outcome, Answer)
    assert outcome.body == body
    assert SECRET not in outcome.excerpt(1000)
    verdict = parse_refusal(outcome)
    assert (verdict.code, verdict.text) == ("[secret]", "[secret]")
    assert SECRET not in repr(outcome.mask)


async def test_an_earlier_token_is_masked_too() -> None:
    transport = FakeTransport(Answer(200, b"{}"), Answer(400, SECRET.encode()))
    client = client_of(transport)
    token = await client.tokens.current()
    await client.send(PAGE, token)
    later = msgspec.structs.replace(token, access_token="1000.another.token.of.this.run")
    outcome = (await client.send(PAGE, later)).outcome
    assert isinstance(outcome, Answer)
    assert outcome.excerpt(100) == "[secret]"


@pytest.mark.parametrize("before", range(270, 310, 4))
async def test_a_text_is_masked_before_it_is_truncated(before: int) -> None:
    body = f'{{"code":"X","message":"{"m" * before}{SECRET}"}}'.encode()
    outcome = (await send(FakeTransport(Answer(400, body)), PAGE)).outcome
    assert isinstance(outcome, Answer)
    assert SECRET[:4] not in parse_refusal(outcome).text
    assert SECRET[:4] not in outcome.excerpt(before + 30)


async def test_an_existing_token_is_used_without_a_request() -> None:
    transport = FakeTransport(Answer(500))
    assert (await client_of(transport).tokens.current()).api_url == "https://www.zohoapis.eu"
    assert transport.sent == []


async def test_the_log_contains_the_duration_of_each_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, LOGGER.name)
    connection = Connection.from_values(
        dc="eu", client_id="id", client_secret=SECRET, refresh_token=SECRET
    )
    grant = Answer(200, b'{"access_token": "token", "expires_in": 3600}')
    transport = FakeTransport(grant, Answer(200, b"{}"))
    client = Client(TokenProvider(connection, transport, None, ManualClock()), transport)
    await client.send(PAGE, await client.tokens.current())
    durations = [vars(record)["noted"].duration for record in caplog.records]
    assert durations == pytest.approx(
        [0.1, 0.1], abs=0.001
    )  # duration of the fake's calls, in virtual time


@pytest.mark.parametrize("body", [b'{"Emails": [{"message_id": "a', b'{"Emails": []', b"[{}"])
async def test_a_read_whose_answer_was_cut_off_has_no_answer(body: bytes) -> None:
    transport = FakeTransport(Answer(200, body))
    response = await send(transport, PAGE)
    assert response.outcome == NoResponse("the answer was cut off on its way")
    assert isinstance((await send(transport, LINK)).outcome, Answer)


@pytest.mark.parametrize("body", [b"", b"<html>", b' {"Emails": []}\n', b"[]"])
async def test_any_other_answer_to_a_read_is_kept(body: bytes) -> None:
    response = await send(FakeTransport(Answer(200, body)), PAGE)
    assert isinstance(response.outcome, Answer)
