"""A proxy between workers and the database, which fails in the ways in which networks fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class _Catch:
    content: bytes
    forwards: bool
    caught: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class DatabaseProxy:
    """Forwards connections to a server.

    Args:
        server_port: port of the server on this machine.
        port: port of the proxy.
        is_lost: returns whether an answer is lost, with its connection.
    """

    server_port: int
    port: int = 0
    is_lost: Callable[[], bool] = lambda: False
    _open: asyncio.Event = field(default_factory=asyncio.Event)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _catch: _Catch | None = None

    def cut(self) -> None:
        """Forward nothing more in either direction; connections stay open, and new ones wait."""
        self._open.clear()

    def restore(self) -> None:
        """Forward new connections again; those of before are broken."""
        self.break_all()
        self._open.set()

    def break_all(self) -> None:
        """Break all connections."""
        for writer in self._writers:
            writer.transport.abort()

    def catch(self, content: bytes, *, forwards: bool) -> _Catch:
        """Freeze the connection of the next request that has some content.

        Args:
            content: the content.
            forwards: whether the request is forwarded, so that only its answer is held.

        Returns:
            What tells when it is caught, and what releases it.
        """
        self._catch = _Catch(content, forwards)
        return self._catch

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Forward one connection."""
        self._writers.add(writer)
        try:
            await self._open.wait()
            server_reader, server_writer = await asyncio.open_connection(
                "127.0.0.1", self.server_port
            )
            try:
                await self._forward(reader, writer, server_reader, server_writer)
            finally:
                server_writer.close()
        except OSError:
            pass  # the server is away, or the client
        finally:
            writer.close()
            self._writers.discard(writer)

    async def _forward(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        server_reader: asyncio.StreamReader,
        server_writer: asyncio.StreamWriter,
    ) -> None:
        held: list[_Catch] = []

        async def send_requests() -> None:
            while request := await reader.read(1 << 20):
                await self._open.wait()
                catch = self._catch
                if catch is not None and catch.content in request:
                    self._catch = None
                    held.append(catch)
                    if not catch.forwards:
                        catch.caught.set()
                        await catch.released.wait()
                server_writer.write(request)

        async def send_answers() -> None:
            while answer := await server_reader.read(1 << 20):
                for catch in held:
                    catch.caught.set()
                    await catch.released.wait()
                held.clear()
                await self._open.wait()
                if self.is_lost():
                    return
                writer.write(answer)

        tasks = {asyncio.create_task(send_requests()), asyncio.create_task(send_answers())}
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def database_proxy(server_port: int) -> AsyncIterator[DatabaseProxy]:
    """Serve a proxy of a server."""
    proxy = DatabaseProxy(server_port)
    connections: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(proxy.serve(reader, writer))
        connections.add(task)
        task.add_done_callback(connections.discard)

    proxy.restore()
    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
