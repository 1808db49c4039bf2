"""Forms that are none, and clients that go away: no traceback, and nothing is left."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import web
from yarl import URL

from bulklink.ui import server
from bulklink.ui.commands import Commands
from bulklink.ui.drafts import Upload
from bulklink.ui.server import serve_page
from tests.guard import off_loop
from tests.ui.page_client import PageClient
from tests.ui.planned import SECONDS, seal_plan

_RESET = struct.pack("ii", 1, 0)
_LARGE = 64 << 20
_MULTIPART = {"Content-Type": "multipart/form-data; boundary=x"}


def part(*headers: str) -> bytes:
    """Return a form of one field that names the token."""
    lines = ('Content-Disposition: form-data; name="token"', *headers)
    return b"--x\r\n" + "\r\n".join(lines).encode() + b"\r\n\r\nz\r\n--x--\r\n"


MALFORMED = [
    pytest.param({"Content-Encoding": "gzip"}, b"token=x", id="not gzip"),
    pytest.param({"Content-Encoding": "deflate"}, b"token=x", id="not deflate"),
    pytest.param(_MULTIPART, part("Content-Transfer-Encoding: bogus"), id="transfer encoding"),
    pytest.param(_MULTIPART, part("Content-Transfer-Encoding: base64"), id="not base64"),
    pytest.param(_MULTIPART, part("Content-Encoding: bogus"), id="content encoding"),
    pytest.param(_MULTIPART, part("Content-Encoding: gzip"), id="a part is not gzip"),
    pytest.param(_MULTIPART, part("nocolon"), id="header without a colon"),
    pytest.param(_MULTIPART, part("Content-Length: x"), id="no length"),
    pytest.param(_MULTIPART, part("Content-Type: text/plain; charset=x"), id="charset"),
    pytest.param(_MULTIPART, part(f"X: {'y' * 70_000}"), id="long header"),
    pytest.param({"Content-Type": "multipart/form-data"}, part(), id="no boundary"),
]


@pytest.fixture(autouse=True)
def no_tracebacks(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Check that no request ends in a traceback; the page has ended by then."""
    yield
    assert not [record for record in caplog.get_records("call") if record.exc_info]


@pytest.mark.parametrize("path", ["/runs/march/stop", "/runs/march/apply", "/new"])
@pytest.mark.parametrize(("headers", "body"), MALFORMED)
async def test_a_malformed_form_is_refused(
    page: PageClient, runs: Path, path: str, headers: dict[str, str], body: bytes
) -> None:
    await seal_plan(runs)
    form = {"Content-Type": "application/x-www-form-urlencoded", **headers}
    answer = await page.request("POST", path, headers=form, data=body)
    assert answer.status in (400, 401, 403)
    with_token = {**form, "X-Bulklink-Token": page.token}
    if path != "/runs/march/stop":  # needs nothing but the token
        answer = await page.request("POST", path, headers=with_token, data=body)
        assert answer.status == 400


async def wait_for(event: threading.Event) -> None:
    assert await anyio.to_thread.run_sync(event.wait, SECONDS)


def open_socket(url: str) -> socket.socket:
    """Connect to the page; closing the connection resets it."""
    client = socket.create_connection(("127.0.0.1", URL(url).port or 0), SECONDS)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    return client


def send_start_of_upload(url: str, content: bytes) -> socket.socket:
    """Send the first bytes of an upload that says it is large."""
    host, token = URL(url).authority, URL(url).query["token"]
    fields = {"token": token, "op": "link"}
    form = "".join(
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in fields.items()
    )
    form += '--x\r\nContent-Disposition: form-data; name="mapping"; filename="m.csv"\r\n\r\n'
    head = (
        f"POST /new HTTP/1.1\r\nHost: {host}\r\nContent-Length: {_LARGE}\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n"
    )
    client = open_socket(url)
    client.sendall((head + form).encode() + content)
    return client


async def test_an_upload_that_is_cut_off_leaves_no_draft(
    commands: Commands, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written, discarded = threading.Event(), threading.Event()
    write, discard = Upload.write, Upload.discard

    def note_write(self: Upload, chunk: bytes) -> None:
        write(self, chunk)
        written.set()

    def note_discard(self: Upload) -> None:
        discard(self)
        discarded.set()

    monkeypatch.setattr(Upload, "write", note_write)
    monkeypatch.setattr(Upload, "discard", note_discard)
    async with serve_page(commands) as url:
        client = await off_loop(partial(send_start_of_upload, url, bytes(1 << 20)))
        await wait_for(written)
        client.close()
        await wait_for(discarded)
    assert not await off_loop(lambda: list((runs / ".drafts").iterdir()))


async def test_a_form_that_is_cut_off_is_no_error(
    commands: Commands, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, ended, read = threading.Event(), threading.Event(), web.BaseRequest.post

    async def note_read(self: web.BaseRequest) -> Any:
        asked.set()
        try:
            return await read(self)
        finally:
            ended.set()

    monkeypatch.setattr(web.BaseRequest, "post", note_read)
    async with serve_page(commands) as url:
        client = await off_loop(open_socket, url)
        head = (
            f"POST /runs/x/stop HTTP/1.1\r\nHost: {URL(url).authority}\r\nContent-Length: 99\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\n"
        )
        await off_loop(client.sendall, f"{head}\r\ntoken=".encode())
        await wait_for(asked)
        client.close()
        await wait_for(ended)


async def test_a_download_that_is_cut_off_is_no_error(
    commands: Commands, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders: list[Path] = []

    def export_much(run: Path, path: Path, **options: Any) -> None:
        del run, options
        folders.append(path.parent)
        path.write_bytes(bytes(_LARGE))

    monkeypatch.setattr(server, "export", export_much)
    await seal_plan(runs)
    async with serve_page(commands) as url:
        client = await off_loop(open_socket, url)
        address = f"/runs/march/export/rows.csv?token={URL(url).query['token']}"
        head = f"GET {address} HTTP/1.1\r\nHost: {URL(url).authority}\r\n\r\n"
        await off_loop(client.sendall, head.encode())
        assert (await off_loop(client.recv, 64)).startswith(b"HTTP/1.1 200")
        client.close()
    assert folders
    assert not await off_loop(folders[0].exists)
