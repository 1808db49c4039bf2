"""Server that sends raw bytes, and a transport connected to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from bulklink.zoho.transport import ANSWER_TIMEOUT_SECONDS, HttpTransport

Reply = Callable[["RawRequest"], Awaitable[None]]


class RawRequest:
    """A request received by a raw server, and the connection to its sender."""

    def __init__(self, head: bytes, body: bytes, nth: int, writer: asyncio.StreamWriter) -> None:
        self.head = head
        self.body = body
        self.nth = nth
        self.writer = writer

    @property
    def line(self) -> str:
        return self.head.split(b"\r\n", 1)[0].decode()

    @property
    def method(self) -> str:
        return self.line.split()[0]

    async def write(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)
            await self.writer.drain()

    def hang_up(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        self.writer.transport.abort()


class Server:
    """Answers every request with a function, and records the requests."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self.requests: list[RawRequest] = []
        self.connections = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        nth = 0
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                length = _content_length(head)
                nth += 1
                request = RawRequest(head, await reader.readexactly(length), nth, writer)
                self.requests.append(request)
                await self._reply(request)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.split(b":")[1])
    return 0


@asynccontextmanager
async def serve_raw(
    reply: Reply, answer_timeout: float = ANSWER_TIMEOUT_SECONDS
) -> AsyncIterator[tuple[Server, HttpTransport]]:
    """Yield a raw server on this machine and a transport."""
    server = Server(reply)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    try:
        async with HttpTransport(answer_timeout) as transport:
            yield server, transport
    finally:
        listening.close()
        await listening.wait_closed()
