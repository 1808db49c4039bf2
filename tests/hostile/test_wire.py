"""With a hostile server, the transport is bounded in time and memory and invents no answer."""

from __future__ import annotations

import asyncio
import resource
import sys

import pytest

from bulklink.zoho.http import Answer, NoResponse
from tests.hostile.wire import DELETED, MISBEHAVIOURS, WireMisbehaviour, with_length
from tests.zoho.raw_server import RawRequest, serve_raw

MAX_GROWTH_KILOBYTES = 100 * 1024


def _peak_kilobytes() -> int:
    peak = 0
    if sys.platform != "win32":
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak


@pytest.mark.parametrize(
    "misbehaviour", MISBEHAVIOURS, ids=[misbehaviour.name for misbehaviour in MISBEHAVIOURS]
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_a_call_to_a_hostile_server_ends_with_a_reason(
    misbehaviour: WireMisbehaviour, method: str
) -> None:
    before = _peak_kilobytes()
    timeout = 0.3 if misbehaviour.says.startswith("no answer") else 30.0
    async with serve_raw(misbehaviour.send, timeout) as (server, transport):
        outcome = await transport.send(method, f"{server.url}/", {}, None)
        assert len(server.requests) == 1
        for visit in server.requests:
            visit.reset()
    assert _peak_kilobytes() - before < MAX_GROWTH_KILOBYTES
    if misbehaviour.answer is not None:
        assert isinstance(outcome, Answer)
        assert outcome.status == misbehaviour.answer
    else:
        assert isinstance(outcome, NoResponse)
        assert outcome.sent
        assert misbehaviour.says in outcome.reason


async def answer_in_turn(visit: RawRequest) -> None:
    """Answer each request with its own address."""
    await visit.write(with_length(body_of(visit.line.split()[1])))


def body_of(path: str) -> bytes:
    return b'{"Emails":[{"of":"%s"}]}' % path.encode()


UNASKED = {
    "the same answer": with_length(body_of("/1")),
    "another answer": with_length(DELETED),
    "the beginning of an answer": b"HTTP/1.1 200 OK\r\nContent-",
    "a byte": b"H",
    "many answers": with_length(DELETED) * 50,
    "garbage": b"\x00\xff" * 5000,
}


@pytest.mark.parametrize("unasked", UNASKED.values(), ids=UNASKED)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("passes", [0, 1, 5], ids="{} passes of the loop".format)
async def test_unrequested_bytes_on_an_idle_connection_do_not_answer_the_next_request(
    unasked: bytes, method: str, passes: int
) -> None:
    async with serve_raw(answer_in_turn) as (server, transport):
        first = await transport.send(method, f"{server.url}/1", {}, None)
        server.requests[0].writer.write(unasked)
        for _ in range(passes):
            await asyncio.sleep(0)
        second = await transport.send(method, f"{server.url}/2", {}, None)
    assert first == Answer(200, body_of("/1"))
    assert second == Answer(200, body_of("/2"))
    assert server.connections == 2


async def test_extra_bytes_after_an_answer_do_not_answer_the_next_request() -> None:
    async def twice(visit: RawRequest) -> None:
        await visit.write(with_length(body_of(visit.line.split()[1])) * 2)

    async with serve_raw(twice) as (server, transport):
        outcomes = [await transport.send("GET", f"{server.url}/{n}", {}, None) for n in range(3)]
    assert outcomes == [Answer(200, body_of(f"/{n}")) for n in range(3)]
    assert server.connections == 3


async def test_a_repeated_answer_after_the_next_request_is_marked() -> None:
    async def one_late(visit: RawRequest) -> None:
        if visit.nth == 2:
            await visit.write(with_length(body_of("/1")))
        await answer_in_turn(visit)

    async with serve_raw(one_late) as (server, transport):
        outcomes = [await transport.send("GET", f"{server.url}/{n}", {}, None) for n in (1, 2, 2)]
    assert outcomes == [
        Answer(200, body_of("/1")),
        Answer(200, body_of("/1"), repeated=True),
        Answer(200, body_of("/2")),
    ]
    assert server.connections == 2


@pytest.mark.parametrize("first", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("second", ["GET", "POST", "DELETE"])
async def test_links_unlinks_and_reads_have_connections_of_their_own(
    first: str, second: str
) -> None:
    async with serve_raw(answer_in_turn) as (server, transport):
        for method in (first, second, first, second):
            await transport.send(method, f"{server.url}/", {}, None)
    assert server.connections == len({first, second})


async def test_a_request_that_closes_its_connection_has_its_own() -> None:
    async with serve_raw(answer_in_turn) as (server, transport):
        await transport.send("POST", f"{server.url}/", {}, None)
        for _ in range(3):
            await transport.send("POST", f"{server.url}/", {"Connection": "close"}, None)
    assert server.connections == 4


async def test_an_open_connection_is_reused_for_all_requests() -> None:
    async with serve_raw(answer_in_turn) as (server, transport):
        for number in range(200):
            await transport.send("GET", f"{server.url}/{number}", {}, None)
    assert server.connections == 1
