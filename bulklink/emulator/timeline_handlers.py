"""Handler of the call that shows the timeline of a deal."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Sequence
from itertools import groupby

from bulklink.emulator.context import ApiRequest, CallContext, HandlerResult
from bulklink.emulator.errors import ParameterError, Problem, param_problem
from bulklink.emulator.http import NO_CONTENT, json_answer
from bulklink.emulator.layouts import derived_id
from bulklink.emulator.pages import MAX_PER_PAGE, parse_order, parse_positive_int
from bulklink.emulator.routing import DEALS_MODULE
from bulklink.emulator.timeline_filters import parse_filters
from bulklink.emulator.world import Deal, HistoryEntry, World, parse_timestamp
from bulklink.zoho.error_codes import Code

_DEFAULT_SOURCE = "crm_ui"
_TOKEN_PREFIX = "t"  # noqa: S105 - an opaque position, not a secret


def handle_timeline(context: CallContext, api_request: ApiRequest) -> HandlerResult:
    """Answer with a page of the changes of a deal, the latest first unless asked otherwise."""
    if api_request.query.get("sort_by", "audited_time") != "audited_time":
        raise ParameterError(param_problem(Code.INVALID_DATA, "sort_by"))
    is_wanted = parse_filters(api_request.query.get("filters"))
    start, per_page = _parse_page(api_request)
    entries = _timeline_entries(context.world, context.world.deals[api_request.call.record_id])
    entries.sort(
        key=lambda entry: parse_timestamp(str(entry["audited_time"])),
        reverse=parse_order(api_request),
    )
    wanted = [entry for entry in entries if is_wanted(entry)]
    page = wanted[start : start + per_page]
    if not page:
        return HandlerResult(NO_CONTENT)
    info = _page_info(start, per_page, len(page), len(wanted))
    return HandlerResult(json_answer({"__timeline": page, "info": info}))


def _parse_page(api_request: ApiRequest) -> tuple[int, int]:
    """Return the position of the first entry, and the number of entries of a page.

    Raises:
        ParameterError: if a parameter is invalid, or both `per_page` and `page_token` are given.
    """
    token = api_request.query.get("page_token")
    if token is None:
        per_page = parse_positive_int(api_request, "per_page", MAX_PER_PAGE, MAX_PER_PAGE)
        return (parse_positive_int(api_request, "page", 1, None) - 1) * per_page, per_page
    if "per_page" in api_request.query:
        message = "per_page and page_token cannot be given together"
        details = {"param_names": ["per_page", "page_token"]}
        raise ParameterError(Problem(Code.AMBIGUITY_DURING_PROCESSING, details, message))
    position = _decode_token(token)
    if position is None:
        raise ParameterError(param_problem(Code.INVALID_DATA, "page_token"))
    return position


def _encode_token(start: int, per_page: int) -> str:
    return base64.urlsafe_b64encode(f"{_TOKEN_PREFIX}{start}.{per_page}".encode()).decode()


def _decode_token(token: str) -> tuple[int, int] | None:
    try:
        text = base64.urlsafe_b64decode(token).decode("ascii")
    except (binascii.Error, ValueError):
        return None
    start, _, per_page = text.removeprefix(_TOKEN_PREFIX).partition(".")
    if not (text.startswith(_TOKEN_PREFIX) and start.isdecimal() and per_page.isdecimal()):
        return None
    return int(start), max(1, int(per_page))


def _page_info(start: int, per_page: int, count: int, total: int) -> dict[str, object]:
    has_more = start + count < total
    return {
        "per_page": per_page,
        "page": start // per_page + 1,
        "count": count,
        "more_records": has_more,
        "next_page_token": _encode_token(start + count, per_page) if has_more else None,
        "previous_page_token": _encode_token(max(0, start - per_page), per_page) if start else None,
    }


def _timeline_entries(world: World, deal: Deal) -> list[dict[str, object]]:
    """Return an entry for each time and source of the history; one may change several fields."""
    groups = groupby(deal.history, key=lambda change: (change.time, change.source))
    return [
        _timeline_entry(world, deal, list(changes), number)
        for number, (_, changes) in enumerate(groups)
    ]


def _timeline_entry(
    world: World, deal: Deal, changes: Sequence[HistoryEntry], number: int
) -> dict[str, object]:
    user = world.users.get(deal.owner_id or "") or next(iter(world.users.values()), None)
    field_changes = [change for change in changes if change.field is not None]
    return {
        "audited_time": changes[0].time,
        "action": "updated",
        "id": f"{deal.id}{number:03}",
        "source": changes[0].source or _DEFAULT_SOURCE,
        "done_by": {"name": user.full_name, "id": user.id} if user else None,
        "related_record": None,
        "automation_details": None,
        "record": {
            "module": {"api_name": DEALS_MODULE, "id": world.module_id},
            "name": deal.name,
            "id": deal.id,
        },
        "field_history": [_field_entry(world, change) for change in field_changes] or None,
    }


def _field_entry(world: World, change: HistoryEntry) -> dict[str, object]:
    number = 2_000 + sum((change.field or "").encode())
    return {
        "api_name": change.field,
        "id": derived_id(world, number),
        "_value": {"old": _value_text(change.old), "new": _value_text(change.new)},
    }


def _value_text(value: object) -> str | None:
    """Return a value as the timeline shows it: as a text, or null."""
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value)
