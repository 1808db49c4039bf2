"""Loopback-only web server for an emulated CRM, in process or as a program."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import signal
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from aiohttp import web

from bulklink.emulator.crm import Crm
from bulklink.emulator.faults import Fault
from bulklink.emulator.http import Answer, DeliveryMode, Request
from bulklink.emulator.settings import Settings
from bulklink.emulator.world import World

_MAX_BODY_BYTES = 4 << 20
_WRITE_CHUNK_BYTES = 1 << 20
_SHUTDOWN_SECONDS = 1.0


def check_loopback(host: str) -> None:
    """Refuse a host that other machines can reach.

    Raises:
        ValueError: if `host` is not a loopback address.
    """
    if host == "localhost":
        return
    try:
        if ipaddress.ip_address(host).is_loopback:
            return
    except ValueError:
        pass
    raise ValueError(f"{host} is not a loopback address; the emulator serves only this machine")


def create_app(crm: Crm) -> web.Application:
    """Create a web application that serves `crm`."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return await _send_answer(request, await crm.handle(await _read_request(request)))

    app = web.Application(client_max_size=_MAX_BODY_BYTES)
    app.router.add_route("*", "/{path:.*}", answer)
    return app


async def _read_request(request: web.Request) -> Request:
    return Request(
        method=request.method,
        path=request.path,
        query=request.rel_url.raw_query_string,
        headers={name.lower(): value for name, value in request.headers.items()},
        body=await request.read() if request.can_read_body else b"",
    )


async def _send_answer(request: web.Request, answer: Answer) -> web.StreamResponse:
    if answer.delivery is DeliveryMode.DROPPED:
        _close_connection(request)
    headers = dict(answer.headers)
    if answer.body:
        headers["Content-Type"] = answer.content_type
    if answer.delivery is DeliveryMode.CUT or len(answer.body) > _WRITE_CHUNK_BYTES:
        return await _send_in_chunks(request, answer, headers)
    return web.Response(status=answer.status, body=answer.body or None, headers=headers)


async def _send_in_chunks(
    request: web.Request, answer: Answer, headers: dict[str, str]
) -> web.StreamResponse:
    """Send a large body without copying it, or the first half of a body to be cut."""
    is_cut = answer.delivery is DeliveryMode.CUT
    headers["Content-Length"] = str(len(answer.body))
    response = web.StreamResponse(status=answer.status, headers=headers)
    await response.prepare(request)
    view = memoryview(answer.body)[: len(answer.body) // 2 if is_cut else None]
    for start in range(0, len(view), _WRITE_CHUNK_BYTES):
        await response.write(view[start : start + _WRITE_CHUNK_BYTES])
    if is_cut:
        _close_connection(request)
    return response


def _close_connection(request: web.Request) -> None:
    """Close the connection, after which aiohttp sends nothing more."""
    if request.transport is not None:
        request.transport.close()


class Emulator:
    """An emulator that serves while its context is open.

    Args:
        world: content of the CRM before the first call.
        settings: its behaviour.
        faults: the faults active from the start.
        host: a loopback address.
        port: the port; 0 for a free one.

    Attributes:
        crm: the emulated CRM.
        url: its address, while the context is open.
    """

    def __init__(
        self,
        world: World,
        settings: Settings | None = None,
        faults: Sequence[Fault] = (),
        *,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        check_loopback(host)
        self.crm = Crm(world, settings, faults)
        self.url = ""
        self._host = host
        self._port = port
        self._runner = web.AppRunner(
            create_app(self.crm),
            access_log=None,
            shutdown_timeout=_SHUTDOWN_SECONDS,
            handle_signals=False,
        )

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError:
            await self._runner.cleanup()
            raise
        host = f"[{self._host}]" if ":" in self._host else self._host
        self.url = f"http://{host}:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._runner.cleanup()


def serve(
    world: World,
    settings: Settings | None = None,
    faults: Sequence[Fault] = (),
    *,
    host: str = "127.0.0.1",
    port: int = 0,
) -> None:
    """Print the address, then serve until the process is interrupted or terminated.

    Raises:
        ValueError: if `host` is not a loopback address.
        OSError: if the port is not available.
    """
    check_loopback(host)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_serve(Emulator(world, settings, faults, host=host, port=port)))


async def _serve(emulator: Emulator) -> None:
    stop_event = _create_stop_event()
    async with emulator:
        sys.stdout.write(json.dumps({"url": emulator.url}, separators=(",", ":")) + "\n")
        sys.stdout.flush()
        await stop_event.wait()


def _create_stop_event() -> asyncio.Event:
    """Return an event set by SIGINT and SIGTERM, even if the loop cannot handle signals."""
    stop_event, loop = asyncio.Event(), asyncio.get_running_loop()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(signal_number, stop_event.set)
        except NotImplementedError:
            signal.signal(signal_number, lambda *_: loop.call_soon_threadsafe(stop_event.set))
    return stop_event
