"""Extensible list of the bytes that a hostile server or a broken proxy sends to a request."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.zoho.raw_server import RawRequest

KILOBYTE, MEGABYTE = 1024, 1024 * 1024
OK = b"HTTP/1.1 200 OK\r\n"
DELETED = b'{"Emails":[{"code":"SUCCESS","details":{"message_id":"a1"},"status":"success"}]}'


def with_length(body: bytes, status: str = "200 OK", *headers: bytes) -> bytes:
    """Return a complete answer."""
    lines = [f"HTTP/1.1 {status}".encode(), *headers, b"Content-Length: %d" % len(body)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


@dataclass(frozen=True, slots=True)
class WireMisbehaviour:
    """Misbehaviour of a server, and the required outcome.

    Args:
        name: what the server does.
        send: function that sends the bytes.
        answer: status of the resulting answer; None if there must be no answer.
        says: text that the reason for the missing answer must contain.
    """

    name: str
    send: Callable[[RawRequest], Awaitable[None]]
    answer: int | None = None
    says: str = ""


def _sends(*parts: bytes, hangs_up: bool = True) -> Callable[[RawRequest], Awaitable[None]]:
    async def send(visit: RawRequest) -> None:
        await visit.write(*parts)
        if hangs_up:
            visit.hang_up()

    return send


def _endlessly(head: bytes, part: bytes) -> Callable[[RawRequest], Awaitable[None]]:
    """Return a function that sends until the client closes the connection."""

    async def send(visit: RawRequest) -> None:
        await visit.write(head)
        while not visit.writer.is_closing():
            await visit.write(part)

    return send


def _zeros(megabytes: int, wbits: int) -> bytes:
    """Return megabytes of zeros, compressed without an end: one block is compressed for all."""
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    block = bytes(MEGABYTE)
    first, other = (packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH) for _ in range(2))
    return first + other * (megabytes - 1)


GZIP_BOMB = _zeros(200, 31)
DEFLATE_BOMB = _zeros(200, 15)
GZIP_LAYERS = gzip.compress(gzip.compress(DELETED))

BROKE, TOO_LONG, HEAD = "the connection broke", "more than 8 MB", "not HTTP/1.1"
NO_ANSWER = "no answer within"

MISBEHAVIOURS = [
    WireMisbehaviour("nothing, for ever", _sends(hangs_up=False), says=NO_ANSWER),
    WireMisbehaviour("a status line, for ever", _sends(OK, hangs_up=False), says=NO_ANSWER),
    WireMisbehaviour(
        "headers, for ever",
        _sends(OK, b"X-A: 1\r\n", hangs_up=False),
        says=NO_ANSWER,
    ),
    WireMisbehaviour(
        "a body that stops",
        _sends(OK, b"Content-Length: 99\r\n\r\n{", hangs_up=False),
        says=NO_ANSWER,
    ),
    WireMisbehaviour(
        "a chunk that stops",
        _sends(OK, b"Transfer-Encoding: chunked\r\n\r\nff\r\n{", hangs_up=False),
        says=NO_ANSWER,
    ),
    WireMisbehaviour("endless headers", _endlessly(OK, b"X-A: " + b"a" * 8000 + b"\r\n")),
    WireMisbehaviour("an endless header", _endlessly(OK + b"X-A: ", b"a" * 60 * KILOBYTE)),
    WireMisbehaviour("endless small headers", _endlessly(OK, b"a:b\r\n" * 1000)),
    WireMisbehaviour(
        "endless answers that go on (1xx)",
        _endlessly(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
        says="headers are longer",
    ),
    WireMisbehaviour(
        "endless early hints",
        _endlessly(b"", b"HTTP/1.1 103 Early Hints\r\nLink: " + b"a" * 9000 + b"\r\n\r\n"),
        says="headers are longer",
    ),
    WireMisbehaviour("an endless body", _endlessly(OK + b"\r\n", b" " * MEGABYTE), says=TOO_LONG),
    WireMisbehaviour(
        "endless chunks",
        _endlessly(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n%s\r\n" % bytes(65536)),
        says=TOO_LONG,
    ),
    WireMisbehaviour(
        "a length of a terabyte",
        _endlessly(OK + b"Content-Length: 1099511627776\r\n\r\n", b" " * MEGABYTE),
        says=TOO_LONG,
    ),
    WireMisbehaviour(
        "a bomb of gzip",
        _sends(with_length(GZIP_BOMB, "200 OK", b"Content-Encoding: gzip")),
        says=TOO_LONG,
    ),
    WireMisbehaviour(
        "a bomb of deflate",
        _sends(with_length(DEFLATE_BOMB, "200 OK", b"Content-Encoding: deflate")),
        says=TOO_LONG,
    ),
    WireMisbehaviour(
        "endless gzip in chunks",
        _endlessly(
            OK + b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"%x\r\n%s\r\n" % (len(GZIP_BOMB), GZIP_BOMB),
        ),
        says=TOO_LONG,
    ),
    WireMisbehaviour(
        "gzip that is none",
        _sends(with_length(b"{}", "200 OK", b"Content-Encoding: gzip")),
        says=BROKE,
    ),
    WireMisbehaviour("a length that is too long", _sends(OK, b"Content-Length: 9\r\n\r\n{}")),
    WireMisbehaviour(
        "a length that is too short",
        _sends(OK, b"Content-Length: 1\r\n\r\n{}"),
        says=HEAD,
    ),
    WireMisbehaviour("a negative length", _sends(OK, b"Content-Length: -1\r\n\r\n{}"), says=HEAD),
    WireMisbehaviour(
        "two lengths", _sends(OK, b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}"), says=HEAD
    ),
    WireMisbehaviour(
        "a length and chunks",
        _sends(OK, b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
        says=HEAD,
    ),
    WireMisbehaviour(
        "a chunk of garbage",
        _sends(OK, b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n"),
    ),
    WireMisbehaviour(
        "a chunk of too many digits",
        _sends(OK, b"Transfer-Encoding: chunked\r\n\r\n", b"f" * 40, b"\r\n{}"),
    ),
    WireMisbehaviour("no status line", _sends(b"<html>hello</html>\r\n\r\n"), says=HEAD),
    WireMisbehaviour("TLS where none is asked for", _sends(b"\x16\x03\x01\x02\x00\x01"), says=HEAD),
    WireMisbehaviour("HTTP/2", _sends(b"\x00\x00\x12\x04\x00\x00\x00\x00\x00"), says=HEAD),
    WireMisbehaviour("a status of five digits", _sends(b"HTTP/1.1 20000 OK\r\n\r\n"), says=HEAD),
    WireMisbehaviour(
        "another protocol",
        _sends(b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
        answer=101,
    ),
    WireMisbehaviour(
        "a redirect to itself", _sends(with_length(b"", "302 Found", b"Location: /")), answer=302
    ),
    WireMisbehaviour(
        "150 headers of 5 KB",
        _sends(with_length(b"{}", "200 OK", *(b"X-%d: %s" % (n, b"a" * 5000) for n in range(150)))),
        answer=200,
    ),
    WireMisbehaviour(
        "a header of 60 KB",
        _sends(with_length(b"{}", "200 OK", b"X-A: " + b"a" * 60 * KILOBYTE)),
        answer=200,
    ),
    WireMisbehaviour(
        "gzip within gzip, called gzip",
        _sends(with_length(GZIP_LAYERS, "200 OK", b"Content-Encoding: gzip")),
        answer=200,
    ),
    WireMisbehaviour(
        "answers that go on, then one", _sends(b"HTTP/1.1 100 C\r\n\r\n", with_length(b"{}")), 200
    ),
]
