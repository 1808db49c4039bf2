"""A browser without JavaScript for the page: it follows links, and sends forms."""

from __future__ import annotations

import io
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from html import unescape
from pathlib import Path
from typing import Any

from aiohttp import ClientSession, FormData

from bulklink.errors import ConfigError
from bulklink.operations.environment import real_environment
from bulklink.ui.commands import Commands
from bulklink.ui.server import serve_page
from bulklink.zoho.connection import Connection


class Shown:
    """An answer of the page.

    Args:
        status: HTTP status.
        path: path of the page, after redirections.
        html: its HTML.
    """

    def __init__(self, status: int, path: str, html: str) -> None:
        self.status = status
        self.path = path
        self.html = html

    @property
    def text(self) -> str:
        """Text of the page, with single spaces."""
        return " ".join(unescape(re.sub("<[^>]*>", " ", self.html)).split())

    def field(self, name: str) -> str:
        """Return the value of a hidden field of a form."""
        found = re.search(f'type="hidden" name="{name}" value="([^"]*)"', self.html)
        assert found, f"no field {name}"
        return found[1]

    @property
    def can_seal(self) -> bool:
        return 'name="digest"' in self.html


class PageClient:
    """Client of a page.

    Args:
        session: HTTP session.
        url: address of the page, with the token.
    """

    def __init__(self, session: ClientSession, url: str) -> None:
        self.session = session
        self.base, _, self.token = url.partition("/?token=")

    async def get(self, path: str, **query: str) -> Shown:
        """Open a page."""
        params = {"token": self.token, **query}
        async with self.session.get(self.base + path, params=params) as response:
            return Shown(response.status, response.url.path, await response.text())

    async def post(self, path: str, **fields: str) -> Shown:
        """Send a form."""
        return await self._send(path, {"token": self.token, **fields})

    async def upload(self, content: Any, name: str = "mapping.csv", **fields: str) -> Shown:
        """Send a mapping, and return its page once it is checked."""
        form = FormData(quote_fields=False)
        for key, value in {"token": self.token, "op": "link", **fields}.items():
            form.add_field(key, value)
        body = io.BytesIO(content) if isinstance(content, bytes) else content
        form.add_field("mapping", body, filename=name)
        return await self.checked(await self._send("/new", form))

    async def check(self, shown: Shown, **fields: str) -> Shown:
        """Check a draft with other settings, and return its page once it is checked."""
        return await self.checked(await self.post(f"{shown.path}/check", **fields))

    async def checked(self, shown: Shown) -> Shown:
        """Return a page as it is after the check that it shows."""
        version = -1
        while shown.status == 200 and 'id="progress"' in shown.html:
            params = {"token": self.token, "after": str(version)}
            url = f"{self.base}{shown.path}/state"
            async with self.session.get(url, params=params) as response:
                version = (await response.json())["version"]
            shown = await self.get(shown.path)
        return shown

    async def _send(self, path: str, data: Any) -> Shown:
        async with self.session.post(self.base + path, data=data) as response:
            return Shown(response.status, response.url.path, await response.text())


@asynccontextmanager
async def page_client(
    runs_dir: Path, connect: Callable[[str | None], Connection] | None = None, **parts: Any
) -> AsyncIterator[PageClient]:
    """Serve the page of a folder, and yield a client.

    Args:
        runs_dir: the folder.
        connect: returns the connection of its commands; None if they have none.
        **parts: further arguments of `serve_page`.
    """
    async with (
        serve_page(
            Commands(runs_dir, connect or no_connection, real_environment()), **parts
        ) as url,
        ClientSession() as session,
    ):
        yield PageClient(session, url)


def no_connection(profile: str | None) -> Connection:
    raise ConfigError(f"There is no connection for {profile}.")
