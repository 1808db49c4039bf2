"""Pages of the failures of a run."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from aiohttp import web

from bulklink.blocking import ThreadRunner
from bulklink.operations.report.failure_pages import MAX_ROWS_PER_CODE, ROWS_PER_PAGE
from bulklink.runs.folder import RunFolder
from bulklink.ui.draft_pages import Shell, page_number
from bulklink.ui.failures import Failures
from bulklink.ui.run_view import view_run
from bulklink.ui.wording import page_text

FindRun = Callable[[web.Request], Awaitable[RunFolder]]


class FailurePages:
    """Pages of the failures of a run, by code and by row.

    Args:
        shell: what they take from the server.
        failures: the failures.
        find_run: returns the run that a request names.
        run_blocking: runs blocking functions in threads.
    """

    def __init__(
        self, shell: Shell, failures: Failures, find_run: FindRun, run_blocking: ThreadRunner
    ) -> None:
        self._shell = shell
        self._failures = failures
        self._find_run = find_run
        self._run_blocking = run_blocking

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add the routes of the pages."""
        router.add_get("/runs/{run}/failures", self._show)

    async def _show(self, request: web.Request) -> web.Response:
        folder = await self._find_run(request)
        read = partial(
            self._failures.page,
            folder,
            key=request.query.get("code", ""),
            page=page_number(request.query.get("page", "")),
            stage=request.query.get("stage", ""),
        )
        failures = await self._run_blocking(read)
        if failures is None:
            raise web.HTTPNotFound
        return self._shell.page(
            "failures",
            section="run",
            run=await self._run_blocking(partial(view_run, folder)),
            live=await self._shell.live(folder),
            failures=failures,
            say=page_text,
            per_page=ROWS_PER_PAGE,
            most=MAX_ROWS_PER_CODE,
        )
