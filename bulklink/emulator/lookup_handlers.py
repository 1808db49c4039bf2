"""Handlers of the look-ups: org, modules, deals, users, stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import msgspec

from bulklink.emulator.context import ApiRequest, CallContext, HandlerResult, refuse
from bulklink.emulator.errors import ParameterError, Problem, param_problem
from bulklink.emulator.http import NO_CONTENT, json_answer
from bulklink.emulator.link_rules import find_module_id
from bulklink.emulator.routing import CONTACTS_MODULE, DEALS_MODULE
from bulklink.emulator.world import Contact, Deal, User, parse_timestamp
from bulklink.zoho.error_codes import Code

MAX_PER_PAGE = 200
MAX_IDS_CHARACTERS = 1_024
_T = TypeVar("_T")

_DEAL_FIELDS = {
    "Deal_Name": "name",
    "Stage": "stage",
    "Created_Time": "created_time",
    "Modified_Time": "modified_time",
}
_TIME_FIELDS = ("Created_Time", "Modified_Time")


def handle_org(context: CallContext, _api_request: ApiRequest) -> HandlerResult:
    """Answer with the org and its licence."""
    return HandlerResult(json_answer({"org": [msgspec.to_builtins(context.world.org)]}))


def handle_modules(context: CallContext, api_request: ApiRequest) -> HandlerResult:
    """Answer with the id of one module, or of all modules."""
    module = api_request.call.module
    names = [module] if module else [DEALS_MODULE, CONTACTS_MODULE]
    entries = [{"api_name": name, "id": find_module_id(context.world, name)} for name in names]
    if any(entry["id"] is None for entry in entries):
        return refuse(Problem(Code.INVALID_MODULE, {"resource_path_index": 2}))
    return HandlerResult(json_answer({"modules": entries}))


def handle_users(context: CallContext, api_request: ApiRequest) -> HandlerResult:
    """Answer with a page of the org's users."""
    kind = api_request.query.get("type", "AllUsers")
    if kind not in {"AllUsers", "ActiveUsers"}:
        return refuse(param_problem(Code.INVALID_DATA, "type"))
    selected_users = list(context.world.users.values())
    if kind == "ActiveUsers":
        selected_users = [user for user in selected_users if user.status == "active"]
    return _page_result("users", selected_users, api_request, _user_entry)


def _user_entry(user: User) -> dict[str, object]:
    return {
        "id": user.id,
        "full_name": user.full_name,
        "email": user.email,
        "status": user.status,
    }


def handle_records(context: CallContext, api_request: ApiRequest) -> HandlerResult:
    """Answer with a page of the requested deals, or of all deals."""
    if api_request.call.module != DEALS_MODULE:
        return refuse(Problem(Code.INVALID_MODULE, {"resource_path_index": 0}))
    fields = _parse_fields(api_request)
    ids = api_request.query.get("ids")
    if ids is None:
        deals = list(context.world.deals.values())
    elif len(ids) > MAX_IDS_CHARACTERS:
        details = {"param_name": "ids", "maximum_length": MAX_IDS_CHARACTERS}
        return refuse(Problem(Code.INVALID_DATA, details))
    else:
        requested_ids = dict.fromkeys(ids.split(","))
        deals = [
            context.world.deals[deal_id]
            for deal_id in requested_ids
            if deal_id in context.world.deals
        ]
    return _page_result(
        "data", deals, api_request, lambda deal: _deal_entry(deal, fields, context.world.contacts)
    )


def handle_contact_deals(context: CallContext, api_request: ApiRequest) -> HandlerResult:
    """Answer with a page of one contact's deals."""
    fields = _parse_fields(api_request)
    name, descending = _parse_sorting(api_request)
    deals = sorted(
        context.world.deals_by_contact.get(api_request.call.record_id, ()),
        key=lambda deal: _sort_key(deal, name),
        reverse=descending,
    )
    return _page_result(
        "data", deals, api_request, lambda deal: _deal_entry(deal, fields, context.world.contacts)
    )


def _parse_fields(api_request: ApiRequest) -> list[str]:
    text = api_request.query.get("fields")
    if not text:
        raise ParameterError(param_problem(Code.MANDATORY_NOT_FOUND, "fields"))
    return text.split(",")


def _parse_sorting(api_request: ApiRequest) -> tuple[str, bool]:
    """Return the field to sort by, and whether the order is descending."""
    name = api_request.query.get("sort_by", "id")
    order = api_request.query.get("sort_order", "desc")
    if name not in {"id", *_TIME_FIELDS}:
        raise ParameterError(param_problem(Code.INVALID_DATA, "sort_by"))
    if order not in {"asc", "desc"}:
        raise ParameterError(param_problem(Code.INVALID_DATA, "sort_order"))
    return name, order == "desc"


def _sort_key(deal: Deal, name: str) -> float:
    if name == "id":
        return int(deal.id)
    return parse_timestamp(deal.created_time if name == "Created_Time" else deal.modified_time)


def _deal_entry(
    deal: Deal, fields: Sequence[str], contacts: Mapping[str, Contact]
) -> dict[str, object]:
    known_fields = [name for name in fields if name in _DEAL_FIELDS]
    entry: dict[str, object] = {name: getattr(deal, _DEAL_FIELDS[name]) for name in known_fields}
    if "Contact_Name" in fields:
        entry["Contact_Name"] = {"name": contacts[deal.contact_id].name, "id": deal.contact_id}
    return entry | {"id": deal.id}


def handle_pipeline(context: CallContext, api_request: ApiRequest) -> HandlerResult:
    """Answer with the stages of the pipeline."""
    if not api_request.query.get("layout_id", "").isdigit():
        code = Code.INVALID_DATA if api_request.query.get("layout_id") else Code.MANDATORY_NOT_FOUND
        return refuse(param_problem(code, "layout_id"))
    maps = [
        msgspec.to_builtins(stage)
        | {"forecast_category": {"name": _FORECAST_CATEGORIES[stage.forecast_type]}}
        for stage in context.world.stages
    ]
    standard = {"display_value": "Standard", "actual_value": "Standard", "default": True}
    return HandlerResult(json_answer({"pipeline": [standard | {"maps": maps}]}))


_FORECAST_CATEGORIES: Mapping[str, str] = {
    "Open": "Pipeline",
    "Closed Won": "Closed",
    "Closed Lost": "Omitted",
}


def _page_result(
    key: str,
    items: Sequence[_T],
    api_request: ApiRequest,
    to_entry: Callable[[_T], dict[str, object]],
) -> HandlerResult:
    page = _parse_positive_int(api_request, "page", 1, None)
    per_page = _parse_positive_int(api_request, "per_page", MAX_PER_PAGE, MAX_PER_PAGE)
    start = (page - 1) * per_page
    page_items = items[start : start + per_page]
    if not page_items:
        return HandlerResult(NO_CONTENT)
    info = {
        "per_page": per_page,
        "count": len(page_items),
        "page": page,
        "more_records": start + per_page < len(items),
    }
    return HandlerResult(json_answer({key: [to_entry(item) for item in page_items], "info": info}))


def _parse_positive_int(
    api_request: ApiRequest, name: str, default: int, maximum: int | None
) -> int:
    text = api_request.query.get(name, str(default))
    number = int(text) if text.isdecimal() and len(text) < 10 else 0
    if number < 1 or (maximum is not None and number > maximum):
        raise ParameterError(param_problem(Code.INVALID_DATA, name))
    return number
