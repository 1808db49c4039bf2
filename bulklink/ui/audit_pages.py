"""Pages on which the proposals of an audit are reviewed and accepted."""

from __future__ import annotations

from functools import partial

from aiohttp import web

from bulklink.blocking import ThreadRunner
from bulklink.folder_files import open_to_read
from bulklink.html_pages.review.render import review_policy
from bulklink.ui.audits import Audit, Audits
from bulklink.ui.commands import PageError
from bulklink.ui.draft_pages import Shell

_PATH = "/audits"
_CHUNK_BYTES = 1 << 18


class AuditPages:
    """Pages of audits.

    A review page is shown in a frame without an origin. It runs only the script of this version,
    may fetch nothing, and does not know the token. What is accepted there reaches the server as an
    upload of the page around it, once a button there is pressed.

    Args:
        shell: what they take from the server.
        audits: the audits.
        max_bytes: maximum size of a mapping.
        run_blocking: runs blocking functions in threads.
    """

    def __init__(
        self, shell: Shell, audits: Audits, max_bytes: int, run_blocking: ThreadRunner
    ) -> None:
        self._shell = shell
        self._audits = audits
        self._max_bytes = max_bytes
        self._run_blocking = run_blocking

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add the routes of the pages."""
        router.add_get(_PATH, self._list)
        router.add_get(f"{_PATH}/{{audit}}", self._show)
        router.add_get(f"{_PATH}/{{audit}}/review", self._send_review)

    async def _list(self, request: web.Request) -> web.Response:
        del request
        audits = await self._run_blocking(self._audits.all)
        return self._shell.page("audits", section="audits", audits=audits)

    async def _show(self, request: web.Request) -> web.Response:
        audit = await self._audit(request)
        try:
            is_readable = await self._run_blocking(audit.is_readable)
        except FileNotFoundError:
            raise web.HTTPNotFound from None
        return self._shell.page(
            "audit",
            section="audit",
            audit=audit,
            is_readable=is_readable,
            max_bytes=self._max_bytes,
        )

    async def _send_review(self, request: web.Request) -> web.StreamResponse:
        audit = await self._audit(request)
        try:
            file = await self._run_blocking(partial(open_to_read, audit.path))
        except FileNotFoundError:
            raise web.HTTPNotFound from None
        with file:
            response = web.StreamResponse()
            response.content_type, response.charset = "text/html", "utf-8"
            response.headers["Content-Security-Policy"] = (
                f"{review_policy()}; sandbox allow-scripts allow-downloads; frame-ancestors 'self'"
            )
            response.headers["X-Frame-Options"] = "SAMEORIGIN"
            await response.prepare(request)
            while chunk := await self._run_blocking(partial(file.read, _CHUNK_BYTES)):
                await response.write(chunk)
            await response.write_eof()
        return response

    async def _audit(self, request: web.Request) -> Audit:
        """Return the audit that a request names.

        Raises:
            PageError: if none is listed.
        """
        find = partial(self._audits.find, request.match_info["audit"])
        audit = await self._run_blocking(find)
        if audit is None:
            raise PageError("There is no such audit: its review page is gone.", 404)
        return audit
