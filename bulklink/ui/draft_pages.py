"""Pages of a mapping that is uploaded, checked and sealed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from functools import partial
from typing import Any, Protocol
from urllib.parse import quote

import msgspec
from aiohttp import BodyPartReader, MultipartReader, web

from bulklink.blocking import ThreadRunner
from bulklink.errors import BulklinkError, InterruptedPlanningError
from bulklink.html_pages.report.plan_model import PlanSummary
from bulklink.mapping.column_choices import NO_CHOICES
from bulklink.runs.folder import RunFolder
from bulklink.ui.activity import Activity
from bulklink.ui.commands import PageError
from bulklink.ui.draft_check import FAULTS_PER_PAGE, DraftChecks, DraftResult
from bulklink.ui.draft_form import (
    OPTION_SETTINGS,
    READING_SETTINGS,
    TEXT_SETTINGS,
    FieldError,
    form_fields,
    headers_mark,
    read_settings,
)
from bulklink.ui.drafts import OWN_CONNECTION, Draft, Drafts, Upload, large_upload_error
from bulklink.ui.form_reading import form_errors, read_form
from bulklink.ui.live_values import LiveValues
from bulklink.ui.wording import CHOICES, LABELS, ShownError

UPLOAD_PATH = "/new"
_CHUNK_BYTES = 1 << 18
_MAX_FIELD_BYTES = 1024
_MAX_FIELDS = 10
_FORM_BYTES = 4096
"""Bytes of an upload that are not of its file: its other fields and the headers of all."""
_LONGEST_POLL_SECONDS = 20.0
_BAD_REQUEST = 400
_parts: ContextVar[MultipartReader | None] = ContextVar("parts", default=None)
"""What is left of an upload once its token is read."""


class Shell(Protocol):
    """What the pages take from the server."""

    def link(self, path: str) -> str:
        """Return the address of a path, with the token."""
        ...

    def link_alone(self, path: str) -> str:
        """Return the address of a page that must not know the token."""
        ...

    def page(self, template: str, *, status: int = 200, **values: Any) -> web.Response:
        """Return a page."""
        ...

    async def wait_for_change(self, activity: Activity, request: web.Request) -> int:
        """Wait until an activity has another version than the page has; return it."""
        ...

    async def live(self, folder: RunFolder) -> LiveValues:
        """Return what changes while a run goes on."""
        ...


class DraftPages:
    """Pages of drafts.

    Args:
        shell: what they take from the server.
        drafts: the drafts.
        checks: their checks.
        profile_names: returns the names of the stored profiles; blocks.
        run_blocking: runs blocking functions in threads.
    """

    def __init__(
        self,
        shell: Shell,
        drafts: Drafts,
        checks: DraftChecks,
        profile_names: Callable[[], list[str]],
        run_blocking: ThreadRunner,
    ) -> None:
        self._shell = shell
        self._drafts = drafts
        self._checks = checks
        self._profile_names = profile_names
        self._run_blocking = run_blocking

    async def upload_token(self, request: web.Request) -> str | None:
        """Return the token of an upload, its first field; nothing else of it is read."""
        _parts.set(None)
        if request.content_type != "multipart/form-data":
            return None
        try:
            with form_errors():
                parts = await request.multipart()
                part = await parts.next()
            if not isinstance(part, BodyPartReader) or part.name != "token" or part.filename:
                return None
            _parts.set(parts)
            return await _field(part)
        except PageError:
            return None

    def add_routes(self, router: web.UrlDispatcher) -> None:
        """Add the routes of the pages."""
        router.add_get(UPLOAD_PATH, self._show_new)
        router.add_post(UPLOAD_PATH, self._upload)
        router.add_get("/new/{draft}", self._show_draft)
        router.add_get("/new/{draft}/state", self._send_state)
        router.add_post("/new/{draft}/check", self._check)
        router.add_post("/new/{draft}/stop", self._stop)
        router.add_post("/new/{draft}/seal", self._seal)
        router.add_post("/new/{draft}/discard", self._discard)

    async def _show_new(self, request: web.Request) -> web.Response:
        del request
        await self._run_blocking(self._drafts.remove_old)
        drafts = await self._run_blocking(self._drafts.all)
        return self._shell.page(
            "new",
            section="new",
            drafts=drafts,
            max_bytes=self._drafts.max_bytes,
            labels=LABELS,
            words=CHOICES,
        )

    async def _upload(self, request: web.Request) -> web.Response:
        size, most = request.content_length, self._drafts.max_bytes
        if size is not None and size > most + _FORM_BYTES:
            raise large_upload_error(most)
        with form_errors():
            parts = _parts.get() or await request.multipart()
        draft = await self._receive(parts)
        await self._checks.start(draft, draft.record.settings)
        raise self._to(draft)

    async def _receive(self, parts: MultipartReader) -> Draft:
        fields: dict[str, str] = {}
        for _ in range(_MAX_FIELDS):
            with form_errors():
                part = await parts.next()
            if not isinstance(part, BodyPartReader):
                break
            if part.name == "mapping":
                return await self._store(part, fields)
            fields[part.name or ""] = await _field(part)
        raise PageError("No file was chosen. Choose or drop a mapping.", _BAD_REQUEST)

    async def _store(self, part: BodyPartReader, fields: dict[str, str]) -> Draft:
        if not part.filename:
            raise PageError("No file was chosen. Choose or drop a mapping.", _BAD_REQUEST)
        settings = read_settings(fields)
        upload: Upload = await self._run_blocking(self._drafts.begin)
        try:
            while chunk := await _read_chunk(part, _CHUNK_BYTES):
                await self._run_blocking(partial(upload.write, chunk))
            return await self._run_blocking(partial(upload.complete, part.filename, settings))
        except BaseException:
            upload.discard()
            raise

    async def _show_draft(self, request: web.Request) -> web.Response:
        draft = await self._draft(request)
        return await self._page(draft, page_number(request.query.get("page", "")))

    async def _page(
        self,
        draft: Draft,
        page: int = 1,
        *,
        fields: Mapping[str, str] | None = None,
        field_error: FieldError | None = None,
    ) -> web.Response:
        """Return the page of a draft.

        Args:
            draft: the draft.
            page: page of its faults, from 1.
            fields: fields of its form; None for those of its settings.
            field_error: an invalid value of the form.
        """
        activity, result = self._checks.activity_of(draft), self._checks.result_of(draft)
        faults = (
            [] if result is None else await self._run_blocking(partial(result.faults.read, page))
        )
        error = activity.error if activity is not None and not activity.is_active else None
        return self._shell.page(
            "draft",
            status=200 if field_error is None else field_error.status,
            section="new",
            draft=draft,
            live=_state(activity),
            stopping=activity is not None and activity.is_stopping,
            result=result,
            error=_shown_error(error) if error is not None else None,
            values=form_fields(draft.record.settings) | dict(fields or {}),
            field_error=field_error,
            invalid=_invalid_fields(result, field_error),
            known_deals=_known_deals(result.summary) if result and result.summary else {},
            profiles=await self._run_blocking(self._profile_names),
            own_connection=OWN_CONNECTION,
            warnings=activity.progress.warnings if activity is not None else (),
            faults=faults,
            fault_page=page,
            per_page=FAULTS_PER_PAGE,
            headers_mark=headers_mark(result.choices) if result is not None else "",
            labels=LABELS,
            words=CHOICES,
            text_settings=TEXT_SETTINGS,
            option_settings=OPTION_SETTINGS,
            reading_settings=READING_SETTINGS,
            path=lambda action: quote(f"/new/{draft.id}/{action}"),
        )

    async def _send_state(self, request: web.Request) -> web.Response:
        draft = await self._draft(request)
        activity, version = self._checks.activity_of(draft), 0
        if activity is not None:
            version = await self._shell.wait_for_change(activity, request)
        body = msgspec.json.encode({**_state(activity), "version": version})
        return web.Response(body=body, content_type="application/json")

    async def _check(self, request: web.Request) -> web.Response:
        draft, fields = await self._draft(request), await _form(request)
        result = self._checks.result_of(draft)
        profiles = await self._run_blocking(self._profile_names)
        try:
            settings = read_settings(fields, result.choices if result else NO_CHOICES, profiles)
            if "headers" not in fields:  # the form shows no columns, so it keeps them
                kept = draft.record.settings
                settings = msgspec.structs.replace(
                    settings, columns=kept.columns, defaults=kept.defaults
                )
            await self._checks.start(draft, settings)
        except FieldError as error:
            return await self._page(draft, fields=_all_fields(fields), field_error=error)
        raise self._to(draft)

    async def _stop(self, request: web.Request) -> web.Response:
        draft = await self._draft(request)
        await self._checks.stop(draft)
        raise self._to(draft)

    async def _seal(self, request: web.Request) -> web.Response:
        draft, fields = await self._draft(request), await _form(request)
        name = await self._checks.seal(draft, fields.get("digest", ""))
        raise web.HTTPSeeOther(self._shell.link(f"/runs/{name}"))

    async def _discard(self, request: web.Request) -> web.Response:
        await self._checks.discard(await self._draft(request))
        raise web.HTTPSeeOther(self._shell.link(UPLOAD_PATH))

    async def _draft(self, request: web.Request) -> Draft:
        """Return the draft that a request names.

        Raises:
            PageError: if there is none.
        """
        draft = await self._run_blocking(partial(self._drafts.find, request.match_info["draft"]))
        if draft is None:
            raise PageError(
                "This mapping is gone: it was sealed or discarded, perhaps in another window, or it"
                " was older than a day.",
                web.HTTPNotFound.status_code,
            )
        return draft

    def _to(self, draft: Draft) -> web.HTTPSeeOther:
        return web.HTTPSeeOther(self._shell.link(f"/new/{draft.id}"))


async def _read_chunk(part: BodyPartReader, size: int) -> bytes:
    with form_errors():
        return await part.read_chunk(size)


async def _field(part: BodyPartReader) -> str:
    """Return a field of an upload.

    Raises:
        PageError: if it is longer than any field of the form.
    """
    value = b""
    while chunk := await _read_chunk(part, _MAX_FIELD_BYTES):
        value += chunk
        if len(value) > _MAX_FIELD_BYTES:
            raise PageError("A field of the form is too long.", _BAD_REQUEST)
    return value.decode("utf-8", "replace")


async def _form(request: web.Request) -> dict[str, str]:
    return {
        name: value for name, value in (await read_form(request)).items() if isinstance(value, str)
    }


def _all_fields(fields: Mapping[str, str]) -> dict[str, str]:
    """Return the fields of a form with its empty checkboxes, which a browser does not send."""
    return {"allow_round_ids": "", "keep_none": "", **fields}


def _invalid_fields(result: DraftResult | None, error: FieldError | None) -> dict[str, str]:
    """Return what is wrong with settings, by their keywords."""
    if error is not None:
        return {error.setting: error.message}
    problem = result.problem if result is not None else None
    return {problem.setting: problem.message} if problem is not None and problem.setting else {}


def _known_deals(summary: PlanSummary) -> dict[str, str]:
    """Return the names of the deals that a plan names, by their ids."""
    deals = [count.record for count in summary.deals] + [row.deal for row in summary.sample]
    return {deal.id: deal.name for deal in deals if deal is not None and deal.name is not None}


def _shown_error(error: BulklinkError) -> ShownError:
    """Return why a check did not end."""
    if isinstance(error, InterruptedPlanningError):
        return ShownError("The check was stopped.", advice="Check again to see the plan.")
    return ShownError.of(error)


def page_number(text: str) -> int:
    """Return the number of a page that an address names; the first one if it is no number."""
    return max(1, int(text)) if text.isascii() and text.isdigit() and len(text) < 10 else 1


def _state(activity: Activity | None) -> dict[str, Any]:
    """Return what changes while a draft is checked."""
    if activity is None or not activity.is_active:
        return {"active": False, "phase": "", "share": 0.0}
    progress = activity.progress
    reading = progress.reading
    share = reading.done / reading.total if reading is not None and reading.total else 0.0
    phase = "Stopping" if activity.is_stopping else progress.phase
    return {"active": True, "phase": f"{phase} …", "share": share}
