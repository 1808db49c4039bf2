"""Server of the page: routes, answers, and the checks and headers of all of them."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any
from urllib.parse import quote

import anyio
import anyio.to_thread
import msgspec
from aiohttp import web

from bulklink.advice import Advice, Keyword
from bulklink.errors import BulklinkError, UsageError
from bulklink.file_names import file_name_text
from bulklink.html_pages.ui.render import render_ui, ui_asset
from bulklink.models import Status
from bulklink.operations.export import export
from bulklink.runs.folder import RunFolder
from bulklink.ui.access import Access, Refusal, RequestOrigin
from bulklink.ui.activity import Activity
from bulklink.ui.addresses import path_of, quote_path, run_name_of
from bulklink.ui.audit_pages import AuditPages
from bulklink.ui.audits import Audits
from bulklink.ui.commands import Commands, PageError
from bulklink.ui.connection_pages import ConnectionPages
from bulklink.ui.connections import Connections
from bulklink.ui.draft_check import DraftChecks
from bulklink.ui.draft_pages import UPLOAD_PATH, DraftPages
from bulklink.ui.drafts import Drafts
from bulklink.ui.failure_pages import FailurePages
from bulklink.ui.failures import Failures
from bulklink.ui.form_reading import has_left, read_form
from bulklink.ui.live_values import LiveValues, live_values
from bulklink.ui.run_view import STATUSES, list_runs, report_of, view_run
from bulklink.ui.timeline_follower import TimelineFollowers
from bulklink.ui.wording import ShownError, page_text

TOKEN_BYTES = 16
TOKEN_HEADER = "X-Bulklink-Token"  # noqa: S105 - the name of a header
_MAX_FORM_BYTES = 64 * 1024
_LONGEST_POLL_SECONDS = 20.0
_MAX_WATCHERS = 64
"""Maximum windows that wait for changes at a time; each occupies a thread."""
_FOLLOW_SECONDS = 1.0
"""Pause between two readings of the files of a run that another process works on."""
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self';"
    " frame-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_REPORT_POLICY = "sandbox allow-scripts allow-downloads; frame-ancestors 'none'; base-uri 'none'"
"""A report allows its own style and script by their hashes; it has no origin, so it can use neither
the page nor its token."""
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_REASONS = {404: "There is no such page.", 405: "The page has no such form."}
_NOT_DONE = (Status.FAILED, Status.IN_DOUBT, Status.REJECTED)
_EXPORTS = {"rows.csv": (), "rows.xlsx": (), "not-done.csv": _NOT_DONE}
"""Files with the rows of a run, and the statuses of these rows; none for all."""
_CONTENT_TYPES = {
    ".csv": "text/csv",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
_CHUNK_BYTES = 1 << 18
_ACTIONS = ("apply", "resume", "retry", "verify")
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class PageServer:
    """The page of one folder of runs.

    Args:
        commands: what the page does.
        access: who may use it.
        drafts: mappings that are being looked at.
        checks: their checks.
        connections: the stored profiles.
        failures: failures of the runs.
        audits: audits whose proposals are reviewed.
    """

    def __init__(
        self,
        commands: Commands,
        access: Access,
        drafts: Drafts,
        checks: DraftChecks,
        connections: Connections,
        failures: Failures,
        audits: Audits,
    ) -> None:
        self._commands = commands
        self._access = access
        self._followers = TimelineFollowers()
        self._watchers = anyio.CapacityLimiter(_MAX_WATCHERS)
        self._connections = connections
        self._run_blocking = commands.environment.run_blocking
        self._draft_pages = DraftPages(self, drafts, checks, connections.names, self._run_blocking)
        self._connection_pages = ConnectionPages(self, connections, self._run_blocking)
        self._failures = failures
        self._audit_pages = AuditPages(self, audits, drafts.max_bytes, self._run_blocking)
        self._failure_pages = FailurePages(self, failures, self._folder, self._run_blocking)

    def create_app(self) -> web.Application:
        """Create the web application."""
        app = web.Application(client_max_size=_MAX_FORM_BYTES, middlewares=[self._guard])
        app.router.add_get("/", self._show_runs)
        app.router.add_get("/assets/{name}", self._send_asset)
        app.router.add_get("/runs/{run}", self._show_run)
        app.router.add_get("/runs/{run}/state", self._send_state)
        app.router.add_get("/runs/{run}/report", self._send_report)
        app.router.add_get("/runs/{run}/export/{name}", self._send_export)
        app.router.add_post("/runs/{run}/stop", self._stop)
        app.router.add_post("/runs/{run}/answer", self._answer)
        app.router.add_post("/runs/{run}/cancel", self._cancel)
        app.router.add_post("/runs/{run}/undo", self._plan_undo)
        app.router.add_post("/runs/{run}/{action}", self._start)
        self._draft_pages.add_routes(app.router)
        self._connection_pages.add_routes(app.router)
        self._failure_pages.add_routes(app.router)
        self._audit_pages.add_routes(app.router)
        app.on_response_prepare.append(_add_headers)
        return app

    def link(self, path: str) -> str:
        """Return the address of a path, with the token."""
        return f"{quote_path(path)}?token={self._access.token}"

    def link_alone(self, path: str) -> str:
        """Return the address of a page that must not know the token."""
        return f"{quote_path(path)}?ticket={self._access.ticket(path)}"

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Check who asks, show errors as pages, and give up on clients that went away."""
        try:
            return await self._check_and_handle(request, handler)
        except ConnectionError:
            if not has_left(request):
                raise
            return _plain(Refusal(400, "The client went away."))

    async def _check_and_handle(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        origin = RequestOrigin(
            method=request.method,
            hosts=tuple(request.headers.getall("Host", ())),
            origin=request.headers.get("Origin"),
            site=request.headers.get("Sec-Fetch-Site"),
            mode=request.headers.get("Sec-Fetch-Mode"),
        )
        refusal = self._access.refuse_origin(origin)
        if refusal is None and "Content-Encoding" in request.headers:
            refusal = Refusal(400, "The form is compressed. Send it as it is.")
        try:
            if refusal is None:
                token = await self._token_of(request)
                refusal = self._access.refuse_token(
                    msgspec.structs.replace(
                        origin,
                        token=token,
                        path=path_of(request),
                        ticket=request.query.get("ticket"),
                    )
                )
        except web.HTTPRequestEntityTooLarge:
            refusal = Refusal(413, "The form is too large.")
        if refusal is not None:
            return _plain(refusal)
        try:
            return await handler(request)
        except PageError as error:
            return self._message(
                error.status, "This cannot be done", error.message, request=request
            )
        except BulklinkError as error:
            shown = ShownError.of(error)
            return self._message(
                409,
                "This cannot be done",
                shown.message,
                shown.advice,
                where=shown.where,
                request=request,
            )
        except web.HTTPRedirection:
            raise
        except web.HTTPException as error:
            return self._message(error.status, error.reason, _REASONS.get(error.status, ""))

    async def _show_runs(self, request: web.Request) -> web.Response:
        places = await self._run_blocking(self._commands.queue_places)
        runs = await self._run_blocking(partial(list_runs, self._commands.runs_dir, places))
        return self.page("runs", section="runs", runs=runs)

    async def _send_asset(self, request: web.Request) -> web.Response:
        asset = ui_asset(request.match_info["name"])
        if asset is None:
            raise web.HTTPNotFound
        content_type, text = asset
        return web.Response(text=text, content_type=content_type, charset="utf-8")

    async def _show_run(self, request: web.Request) -> web.Response:
        folder = await self._folder(request)
        name = folder.path.name
        activity = self._commands.activity_of(name)
        places = await self._run_blocking(self._commands.queue_places)
        run = await self._run_blocking(partial(view_run, folder, places.get(name)))
        live = await self.live(folder)
        ended = activity is not None and not activity.is_active
        glance = partial(self._failures.glance, folder)
        return self.page(
            "run",
            section="run",
            run=run,
            live=live,
            own=activity is not None and activity.is_active,
            question=activity.progress.question if activity else None,
            error=ShownError.of(activity.error) if activity and ended and activity.error else None,
            profiles=await self._run_blocking(self._connections.names),
            outcome=self._commands.outcome_of(name) if ended else None,
            failures=None if live.active else await self._run_blocking(glance),
            say=page_text,
            statuses=STATUSES,
            path=lambda action: quote_path(f"/runs/{name}/{action}"),
        )

    async def _send_state(self, request: web.Request) -> web.Response:
        """Send what changed since the version that the page has, once something did."""
        folder = await self._folder(request)
        activity = self._commands.activity_of(folder.path.name)
        if activity is None:
            await anyio.sleep(_FOLLOW_SECONDS if _known_version(request) >= 0 else 0)
            version = 0
        else:
            version = await self.wait_for_change(activity, request)
        values = msgspec.to_builtins(await self.live(folder))
        body = msgspec.json.encode({**values, "version": version})
        return web.Response(body=body, content_type="application/json")

    async def wait_for_change(self, activity: Activity, request: web.Request) -> int:
        """Wait until an activity has another version than the page has; return it."""
        return await anyio.to_thread.run_sync(
            activity.wait_for_change,
            _known_version(request),
            _LONGEST_POLL_SECONDS,
            abandon_on_cancel=True,
            limiter=self._watchers,
        )

    async def _send_report(self, request: web.Request) -> web.Response:
        folder = await self._folder(request)
        body = await self._run_blocking(partial(report_of, folder))
        response = web.Response(body=body, content_type="text/html", charset="utf-8")
        response.headers["Content-Security-Policy"] = _REPORT_POLICY
        return response

    async def _send_export(self, request: web.Request) -> web.StreamResponse:
        """Send the rows of a run as a file, which exists only while it is sent."""
        name = request.match_info["name"]
        if name not in _EXPORTS:
            raise web.HTTPNotFound
        folder = await self._folder(request)
        with tempfile.TemporaryDirectory(prefix="bulklink-") as scratch:
            path = Path(scratch) / name
            is_csv = path.suffix == ".csv"
            work = partial(export, folder.path, path, status=_EXPORTS[name], spreadsheet=is_csv)
            await self._run_blocking(work)
            response = web.StreamResponse()
            response.content_type = _CONTENT_TYPES[path.suffix]
            response.content_length = path.stat().st_size
            file_name = quote(file_name_text(f"{folder.path.name}-{name}"))
            response.headers["Content-Disposition"] = f"attachment; filename*=UTF-8''{file_name}"
            await response.prepare(request)
            async with await anyio.open_file(path, "rb") as file:
                while chunk := await file.read(_CHUNK_BYTES):
                    await response.write(chunk)
            await response.write_eof()
            return response

    async def _start(self, request: web.Request) -> web.Response:
        action = request.match_info["action"]
        if action not in _ACTIONS:
            raise web.HTTPNotFound
        folder, form = await self._folder(request), await read_form(request)
        await self._commands.start(
            action,
            folder,
            digest=_text_of(form.get("digest")),
            accept_canary=form.get("accept_canary") == "yes",
            profile=_text_of(form.get("profile")),
        )
        raise self._to_run(folder.path.name)

    async def _stop(self, request: web.Request) -> web.Response:
        folder = await self._folder(request)
        await self._run_blocking(partial(self._commands.stop, folder.path.name))
        raise self._to_run(folder.path.name)

    async def _cancel(self, request: web.Request) -> web.Response:
        folder = await self._folder(request)
        await self._run_blocking(partial(self._commands.cancel, folder))
        raise self._to_run(folder.path.name)

    async def _answer(self, request: web.Request) -> web.Response:
        folder, form = await self._folder(request), await read_form(request)
        self._commands.answer(
            folder.path.name,
            question=str(form.get("question", "")),
            typed=str(form.get("typed", "")),
            confirmed=form.get("confirmed") == "yes",
        )
        raise self._to_run(folder.path.name)

    async def _plan_undo(self, request: web.Request) -> web.Response:
        folder = await self._folder(request)
        raise self._to_run(await self._commands.plan_undo(folder))

    async def live(self, folder: RunFolder) -> LiveValues:
        """Return what changes while a run goes on."""
        activity = self._commands.activity_of(folder.path.name)
        work = partial(live_values, folder, activity, self._followers)
        return await self._run_blocking(work)

    async def _folder(self, request: web.Request) -> RunFolder:
        """Return the run that a request names, which is one of those that the page lists.

        Raises:
            HTTPNotFound: if there is none.
        """
        name = run_name_of(request)
        folder = await self._run_blocking(partial(self._commands.find, name))
        if folder is None:
            raise web.HTTPNotFound
        return folder

    async def _token_of(self, request: web.Request) -> str | None:
        """Return the token of a request; that of a POST is in its header or its form."""
        if (token := request.headers.get(TOKEN_HEADER)) is not None:
            return token
        if request.method == "GET":
            return request.query.get("token")
        if request.path == UPLOAD_PATH:
            return await self._draft_pages.upload_token(request)
        try:
            return _text_of((await read_form(request)).get("token"))
        except PageError:
            return None

    def _to_run(self, name: str) -> web.HTTPSeeOther:
        return web.HTTPSeeOther(self.link(f"/runs/{name}"))

    def page(self, template: str, *, status: int = 200, **values: Any) -> web.Response:
        """Return a page."""
        text = render_ui(
            template,
            link=self.link,
            link_alone=self.link_alone,
            token=self._access.token,
            place=str(self._commands.runs_dir),
            **values,
        )
        return web.Response(text=text, status=status, content_type="text/html", charset="utf-8")

    def _message(
        self,
        status: int,
        title: str,
        message: str,
        advice: str = "",
        *,
        where: str = "",
        request: web.Request | None = None,
    ) -> web.Response:
        return self.page(
            "message",
            status=status,
            section="",
            title=title,
            message=message,
            where=where,
            advice=advice,
            back="/" if request is None else _back(request, status),
        )


@asynccontextmanager
async def serve_page(
    commands: Commands,
    port: int = 0,
    *,
    drafts: Drafts | None = None,
    connections: Connections | None = None,
    audits: Audits | None = None,
) -> AsyncIterator[str]:
    """Serve the page at a loopback address while the block runs, and yield its address.

    Args:
        commands: what the page does.
        port: the port; 0 for a free one.
        drafts: mappings that are being looked at; None for those of the folder of runs.
        connections: the stored profiles; None for the user's.
        audits: audits whose proposals are reviewed; None for those beside the folder of runs.

    Raises:
        UsageError: if the port is taken.
    """
    listener = _listen(port)
    access = Access(listener.getsockname()[1], token_hex(TOKEN_BYTES))
    environment = commands.environment
    drafts = drafts or Drafts(commands.runs_dir, environment.clock.wall)
    await environment.run_blocking(drafts.remove_old)
    checks = DraftChecks(drafts, commands.runs_dir, environment, commands.connect)
    connections = connections or Connections(environment)
    failures, audits = Failures(), audits or Audits.near(commands.runs_dir)
    server = PageServer(commands, access, drafts, checks, connections, failures, audits)
    runner = web.AppRunner(
        server.create_app(), access_log=None, shutdown_timeout=1.0, auto_decompress=False
    )
    await runner.setup()
    try:
        await web.SockSite(runner, listener).start()
        yield f"http://127.0.0.1:{access.port}{server.link('/')}"
    finally:
        with anyio.CancelScope(shield=True):
            await checks.close()
            await environment.run_blocking(failures.close)
            await runner.cleanup()


def _text_of(value: object) -> str | None:
    """Return the text of a field of a form; None if it is missing, empty or a file."""
    return value if isinstance(value, str) and value else None


def _known_version(request: web.Request) -> int:
    """Return the version that the page has; -1 if it has none."""
    after = request.query.get("after", "")
    return int(after) if after.isascii() and after.isdigit() and len(after) < 10 else -1


def _back(request: web.Request, status: int) -> str:
    """Return the path that an error leads back to."""
    draft = request.match_info.get("draft")
    if "run" in request.match_info:
        return f"/runs/{run_name_of(request)}"
    if draft is not None and status != web.HTTPNotFound.status_code:
        return f"/new/{draft}"
    return UPLOAD_PATH if request.path.startswith(UPLOAD_PATH) else "/"


def _listen(port: int) -> socket.socket:
    try:
        return socket.create_server(("127.0.0.1", port))
    except OSError as error:
        raise UsageError(
            f"Cannot serve the page: {error.strerror or error}.",
            where=f"127.0.0.1:{port}",
            advice=Advice("Use another {}, or omit it.", Keyword("port")),
        ) from None


def _plain(refusal: Refusal) -> web.Response:
    return web.Response(text=f"{refusal.reason}\n", status=refusal.status)


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    del request
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers.pop("Server", None)
