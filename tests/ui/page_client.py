"""Client of the page, as a browser or a hostile program would be one."""

from __future__ import annotations

from typing import Any

import aiohttp
import msgspec
from yarl import URL


class PageAnswer(msgspec.Struct, frozen=True):
    """An answer of the page.

    Args:
        status: HTTP status.
        text: body.
        headers: its headers.
    """

    status: int
    text: str
    headers: dict[str, str]


class PageClient:
    """Sends requests to the page.

    Args:
        session: HTTP session.
        url: address that the page was served at, with its token.
    """

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self.base = URL(url).origin()
        self.token = URL(url).query["token"]

    async def request(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
        data: Any = None,
    ) -> PageAnswer:
        """Send a request as it is, without the token."""
        url = URL(f"{self.base}{path}", encoded=True).update_query(query or {})
        async with self._session.request(
            method, url, headers=headers, data=data, allow_redirects=False
        ) as response:
            return PageAnswer(response.status, await response.text(), dict(response.headers))

    async def get(self, path: str, **query: str) -> PageAnswer:
        """Open a page with the token."""
        return await self.request("GET", path, query={"token": self.token, **query})

    async def post(self, path: str, **form: str) -> PageAnswer:
        """Send a form of the page."""
        return await self.request("POST", path, data={"token": self.token, **form})
