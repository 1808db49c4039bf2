"""Transport over real sockets: each request is sent once, each answer returned unchanged."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable
from contextlib import suppress

import pytest

from bulklink.cluster.lease import lease_error
from bulklink.errors import RunStoppedError
from bulklink.zoho.http import Answer, NoResponse
from bulklink.zoho.transport import HttpTransport
from tests.zoho.raw_server import RawRequest, Reply, serve_raw

SECRET = "1000.hush.hush"
HEADERS = {"Authorization": f"Zoho-oauthtoken {SECRET}"}
EMPTY_OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
MEGABYTE = 1024 * 1024


def reply_with(*parts: bytes, then: Callable[[RawRequest], None] = RawRequest.hang_up) -> Reply:
    """Return a reply with these bytes, which then ends the connection."""

    async def reply(request: RawRequest) -> None:
        await request.write(*parts)
        then(request)

    return reply


async def outcome_of(
    *parts: bytes, then: Callable[[RawRequest], None] = RawRequest.hang_up
) -> object:
    """Return the transport's outcome for an answer of these bytes."""
    async with serve_raw(reply_with(*parts, then=then)) as (server, transport):
        outcome = await transport.send("GET", f"{server.url}/crm/v8/org?s={SECRET}", HEADERS, None)
        assert len(server.requests) == 1
        return outcome


async def test_a_request_is_sent_and_its_answer_returned_unchanged() -> None:
    async with serve_raw(reply_with(b"HTTP/1.1 207 X\r\nContent-Length: 4\r\n\r\n[1]\n")) as (
        server,
        transport,
    ):
        outcome = await transport.send(
            "POST", f"{server.url}/a/b", {**HEADERS, "Content-Type": "application/json"}, b'{"x":1}'
        )
    assert outcome == Answer(207, b"[1]\n", None)
    (request,) = server.requests
    assert request.line == "POST /a/b HTTP/1.1"
    assert b"\r\nAuthorization: Zoho-oauthtoken 1000.hush.hush\r\n" in request.head
    assert b"\r\nContent-Type: application/json\r\n" in request.head
    assert request.body == b'{"x":1}'


async def test_commas_and_percent_signs_in_a_query_are_sent_unchanged() -> None:
    target = (
        "/crm/v8/Contacts/1/Emails/actions/link_record?owner_id=2&message_ids=a1,b2,c3&x=%2C+%20"
    )
    async with serve_raw(reply_with(EMPTY_OK)) as (server, transport):
        await transport.send("DELETE", server.url + target, HEADERS, None)
    assert server.requests[0].line == f"DELETE {target} HTTP/1.1"


@pytest.mark.parametrize("end", [RawRequest.hang_up, RawRequest.reset], ids=["closed", "reset"])
@pytest.mark.parametrize("method", ["DELETE", "GET", "POST"])
async def test_a_request_on_a_reused_connection_that_drops_is_not_resent(
    method: str, end: Callable[[RawRequest], None]
) -> None:
    async def reply(request: RawRequest) -> None:
        if request.nth == 1:
            await request.write(EMPTY_OK)
        else:
            end(request)

    async with serve_raw(reply) as (server, transport):
        body = b"{}" if method == "POST" else None
        first = await transport.send(method, f"{server.url}/1", HEADERS, body)
        second = await transport.send(method, f"{server.url}/2", HEADERS, body)
        await asyncio.sleep(0)
    assert first == Answer(200, b"{}")
    assert isinstance(second, NoResponse)
    assert second.sent
    assert [request.line.split()[:2] for request in server.requests] == [
        [method, "/1"],
        [method, "/2"],
    ]
    assert server.connections == 1


@pytest.mark.parametrize("method", ["DELETE", "GET", "POST"])
async def test_a_request_on_a_new_connection_that_drops_is_not_resent(method: str) -> None:
    async with serve_raw(reply_with()) as (server, transport):
        outcome = await transport.send(method, f"{server.url}/1", HEADERS, None)
    assert isinstance(outcome, NoResponse)
    assert outcome.sent
    assert len(server.requests) == 1


async def test_a_refused_connection_is_reported_as_not_sent() -> None:
    async with serve_raw(reply_with(EMPTY_OK)) as (server, _):
        pass
    async with HttpTransport() as transport:
        outcome = await transport.send("DELETE", f"{server.url}/?s={SECRET}", HEADERS, None)
    assert isinstance(outcome, NoResponse)
    assert not outcome.sent
    assert_shows_no_secret(outcome)


@pytest.mark.parametrize("requests_before", [0, 1], ids=["new", "kept alive"])
async def test_a_request_that_may_no_longer_leave_when_it_has_its_connection_is_not_sent(
    requests_before: int,
) -> None:
    checks = iter([True] * requests_before + [False])

    def may_leave() -> None:
        if not next(checks):
            raise lease_error()

    async with serve_raw(reply_with(EMPTY_OK)) as (server, _):
        async with HttpTransport(may_leave=may_leave) as transport:
            for _ in range(requests_before):
                await transport.send("GET", f"{server.url}/1", HEADERS, None)
            with pytest.raises(RunStoppedError):
                await transport.send("GET", f"{server.url}/2", HEADERS, None)
        assert len(server.requests) == requests_before


@pytest.mark.parametrize(
    "host", ["a..b", "www..example.com", "a" * 64 + ".example.com"], ids=lambda host: host[:16]
)
async def test_an_invalid_host_name_is_reported_as_not_sent(host: str) -> None:
    async with HttpTransport() as transport:
        outcome = await transport.send("GET", f"https://{host}/?s={SECRET}", HEADERS, None)
    assert isinstance(outcome, NoResponse)
    assert not outcome.sent
    assert_shows_no_secret(outcome)


async def test_a_server_without_tls_is_reported_as_not_sent() -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\nThis is no TLS.")
        writer.close()

    listening = await asyncio.start_server(plain, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    async with listening, HttpTransport() as transport:
        outcome = await transport.send("GET", f"https://127.0.0.1:{port}/{SECRET}", HEADERS, None)
    assert isinstance(outcome, NoResponse)
    assert not outcome.sent
    assert_shows_no_secret(outcome)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_returned_and_not_followed(status: int) -> None:
    async with (
        serve_raw(reply_with(EMPTY_OK)) as (other, _),
        serve_raw(
            reply_with(
                f"HTTP/1.1 {status} Moved\r\nLocation: {other.url}/elsewhere\r\n"
                "Content-Length: 0\r\n\r\n".encode()
            )
        ) as (server, transport),
    ):
        outcome = await transport.send("GET", f"{server.url}/here", HEADERS, None)
        assert outcome == Answer(status, b"")
        assert [request.line for request in server.requests] == ["GET /here HTTP/1.1"]
        assert other.requests == []


def assert_shows_no_secret(outcome: object) -> None:
    text = repr(outcome)
    assert SECRET not in text
    assert "http:" not in text
    assert "https:" not in text
    assert "/crm" not in text
    assert "127.0.0.1" not in text


BROKEN = {
    "a body shorter than its length": (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{}",),
    "an incomplete head": (b"HTTP/1.1 200 OK\r\nContent-",),
    "no status line": (b"<html>hello</html>\r\n\r\n",),
    "a status of letters": (b"HTTP/1.1 OK fine\r\n\r\n",),
    "a broken header": (b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n",),
    "a length of letters": (b"HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\n{}",),
    "an incomplete chunk": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}",),
    "an invalid chunk size": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    ),
    "a body that is not gzip": (
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 8\r\n\r\nnot gzip",
    ),
    "a very long header": (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",),
    "nothing": (),
}


@pytest.mark.parametrize("parts", BROKEN.values(), ids=BROKEN)
async def test_a_broken_answer_is_reported_as_no_response_to_a_sent_request(
    parts: tuple[bytes, ...],
) -> None:
    outcome = await outcome_of(*parts)
    assert isinstance(outcome, NoResponse)
    assert outcome.sent
    assert outcome.reason
    assert_shows_no_secret(outcome)


async def test_an_answer_of_exactly_eight_megabytes_is_accepted() -> None:
    body = b" " * (8 * MEGABYTE)
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    outcome = await outcome_of(head, body)
    assert isinstance(outcome, Answer)
    assert len(outcome.body) == 8 * MEGABYTE


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
async def test_an_answer_of_more_than_eight_megabytes_is_no_response(packed: bool) -> None:
    body = b" " * (8 * MEGABYTE + 1)
    head = b"HTTP/1.1 200 OK\r\n"
    if packed:
        body = gzip.compress(body, 1)
        head += b"Content-Encoding: gzip\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n".encode()
    outcome = await outcome_of(head, body)
    assert isinstance(outcome, NoResponse)
    assert outcome.sent
    assert_shows_no_secret(outcome)


async def test_an_endless_answer_is_abandoned_at_eight_megabytes() -> None:
    async def reply(request: RawRequest) -> None:
        await request.write(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(100):
            await request.write(b" " * MEGABYTE)

    async with serve_raw(reply) as (server, transport):
        outcome = await transport.send("GET", f"{server.url}/", HEADERS, None)
    assert isinstance(outcome, NoResponse)
    assert outcome.sent


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        ("7", 7.0),
        ("84", 84.0),
        ("  30  ", 30.0),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("soon", None),
        ("9" * 300, 86_400.0),
        ("86401", 86_400.0),
        ("-5", None),
        ("", None),
        ("nan", None),
        ("inf", None),
        ("1e9", None),
    ],
)
async def test_retry_after_is_parsed_in_seconds(value: str, seconds: float | None) -> None:
    outcome = await outcome_of(
        f"HTTP/1.1 429 Too Many\r\nRetry-After: {value}\r\nContent-Length: 0\r\n\r\n".encode()
    )
    assert outcome == Answer(429, b"", seconds)


async def test_without_the_header_retry_after_is_none() -> None:
    assert await outcome_of(EMPTY_OK) == Answer(200, b"{}", None)


@pytest.mark.parametrize(
    ("value", "left"),
    [("0", 0), ("4999", 4999), (" 12 ", 12), ("-1", None), ("many", None), ("", None)],
)
async def test_the_credits_left_are_parsed(value: str, left: int | None) -> None:
    outcome = await outcome_of(
        f"HTTP/1.1 204 No Content\r\nX-API-CREDITS-REMAINING: {value}\r\n\r\n".encode()
    )
    assert outcome == Answer(204, b"", credits_left=left)


async def test_http_204_is_an_answer_without_a_body() -> None:
    assert await outcome_of(b"HTTP/1.1 204 No Content\r\n\r\n") == Answer(204, b"", None)


async def test_a_chunked_gzip_answer_is_decoded() -> None:
    packed = gzip.compress(b'{"Emails":[]}')
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n\r\n"
    chunks = [b"%x\r\n%s\r\n" % (1, packed[n : n + 1]) for n in range(len(packed))]
    assert await outcome_of(head, *chunks, b"0\r\n\r\n") == Answer(200, b'{"Emails":[]}', None)


async def test_cookies_are_not_kept_between_requests() -> None:
    answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: session=hush; Path=/\r\nContent-Length: 0\r\n\r\n"
    async with serve_raw(reply_with(answer, then=lambda request: None)) as (server, transport):
        for _ in range(2):
            await transport.send("GET", f"{server.url}/", HEADERS, None)
    assert len(server.requests) == 2
    assert all(b"cookie" not in request.head.lower() for request in server.requests)


async def test_a_header_value_cannot_add_another_header() -> None:
    async with serve_raw(reply_with(EMPTY_OK)) as (server, transport):
        headers = {"Authorization": "Zoho-oauthtoken x\r\nX-Smuggled: 1"}
        with suppress(ValueError):
            await transport.send("GET", f"{server.url}/", headers, None)
    assert all(b"X-Smuggled" not in request.head for request in server.requests)


async def test_concurrent_requests_do_not_wait_for_each_other() -> None:
    waiting = asyncio.Semaphore(0)

    async def reply(request: RawRequest) -> None:
        waiting.release()
        if len(server.requests) < 30:
            await everyone.wait()
        everyone.set()
        await request.write(EMPTY_OK)
        request.hang_up()

    everyone = asyncio.Event()
    async with serve_raw(reply) as (server, transport):
        outcomes = await asyncio.gather(
            *(transport.send("GET", f"{server.url}/{n}", HEADERS, None) for n in range(30))
        )
    assert outcomes == [Answer(200, b"{}")] * 30
    assert len(server.requests) == 30


async def test_a_transport_that_is_not_open_raises_an_error() -> None:
    with pytest.raises(RuntimeError, match="not open"):
        await HttpTransport().send("GET", "http://127.0.0.1:9/", {}, None)


async def test_a_query_shares_no_connection_with_a_link() -> None:
    async def reply(request: RawRequest) -> None:
        await request.write(EMPTY_OK)

    async with serve_raw(reply) as (server, transport):
        for path in ("coql", "Contacts/1/Emails/actions/link_record", "coql"):
            await transport.send("POST", f"{server.url}/crm/v8/{path}", HEADERS, b"{}")
    assert server.connections == 2
