"""Pages of the connections."""

from __future__ import annotations

from aiohttp import web

from bulklink.blocking import ThreadRunner
from bulklink.ui.connections import Connections
from bulklink.ui.draft_pages import Shell

_PATH = "/connections"


class ConnectionPages:
    """Pages of the stored profiles.

    Args:
        shell: what they take from the server.
        connections: the profiles.
        run_blocking: runs blocking functions in threads.
    """

    def __init__(self, shell: Shell, connections: Connections, run_blocking: ThreadRunner) -> None:
        self._shell = shell
        self._connections = connections
        self._run_blocking = run_blocking

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add the routes of the pages."""
        router.add_get(_PATH, self._show)
        router.add_post(f"{_PATH}/{{profile}}/check", self._check)

    async def _show(self, request: web.Request) -> web.Response:
        del request
        profiles = await self._run_blocking(self._connections.all)
        return self._shell.page("connections", section="connections", profiles=profiles)

    async def _check(self, request: web.Request) -> web.Response:
        if not await self._connections.check(request.match_info["profile"]):
            raise web.HTTPNotFound
        raise web.HTTPSeeOther(self._shell.link(_PATH))
