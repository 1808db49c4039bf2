"""The look-ups: org, modules, deals, users, stages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import msgspec

from bulklink.emulator.desk import Asked, Desk, Reply, refuse
from bulklink.emulator.errors import Problem, at_param
from bulklink.emulator.links import module_id
from bulklink.emulator.wire import NO_CONTENT, json_answer
from bulklink.emulator.world import Contact, Deal, User, moment
from bulklink.zoho.error_codes import Code

MOST_PER_PAGE = 200
LONGEST_IDS = 1_024
_T = TypeVar("_T")

_DEAL_FIELDS = {
    "Deal_Name": "name",
    "Stage": "stage",
    "Created_Time": "created_time",
    "Modified_Time": "modified_time",
}
_TIMES = ("Created_Time", "Modified_Time")


def org(desk: Desk, _asked: Asked) -> Reply:
    """Answer what the org is and what it has bought."""
    return Reply(json_answer({"org": [msgspec.to_builtins(desk.world.org)]}))


def modules(desk: Desk, asked: Asked) -> Reply:
    """Answer a module's id, or those of all modules."""
    wanted = [asked.call.module] if asked.call.module else ["Deals", "Contacts"]
    shapes = [{"api_name": name, "id": module_id(desk.world, name)} for name in wanted]
    if any(shape["id"] is None for shape in shapes):
        return refuse(Problem(Code.INVALID_MODULE, {"resource_path_index": 2}))
    return Reply(json_answer({"modules": shapes}))


def users(desk: Desk, asked: Asked) -> Reply:
    """Answer a page of the org's users."""
    kind = asked.query.get("type", "AllUsers")
    if kind not in {"AllUsers", "ActiveUsers"}:
        return refuse(at_param(Code.INVALID_DATA, "type"))
    everyone = list(desk.world.users.values())
    if kind == "ActiveUsers":
        everyone = [user for user in everyone if user.status == "active"]
    return _page_reply("users", everyone, asked, _user_shape)


def _user_shape(user: User) -> dict[str, object]:
    return {
        "id": user.id,
        "full_name": user.full_name,
        "email": user.email,
        "status": user.status,
    }


def records(desk: Desk, asked: Asked) -> Reply:
    """Answer deals by their ids, or a page of all deals."""
    if asked.call.module != "Deals":
        return refuse(Problem(Code.INVALID_MODULE, {"resource_path_index": 0}))
    fields = _fields(asked)
    if isinstance(fields, Problem):
        return refuse(fields)
    ids = asked.query.get("ids")
    if ids is None:
        chosen = list(desk.world.deals.values())
    elif len(ids) > LONGEST_IDS:
        details = {"param_name": "ids", "maximum_length": LONGEST_IDS}
        return refuse(Problem(Code.INVALID_DATA, details))
    else:
        wanted = dict.fromkeys(ids.split(","))
        chosen = [desk.world.deals[deal_id] for deal_id in wanted if deal_id in desk.world.deals]
    return _page_reply(
        "data", chosen, asked, lambda deal: _deal_shape(deal, fields, desk.world.contacts)
    )


def contact_deals(desk: Desk, asked: Asked) -> Reply:
    """Answer a page of one contact's deals."""
    fields = _fields(asked)
    if isinstance(fields, Problem):
        return refuse(fields)
    order = _sorting(asked)
    if isinstance(order, Problem):
        return refuse(order)
    name, descending = order
    deals = sorted(
        desk.world.deals_of.get(asked.call.record_id, ()),
        key=lambda deal: _sort_key(deal, name),
        reverse=descending,
    )
    return _page_reply(
        "data", deals, asked, lambda deal: _deal_shape(deal, fields, desk.world.contacts)
    )


def _fields(asked: Asked) -> list[str] | Problem:
    text = asked.query.get("fields")
    return text.split(",") if text else at_param(Code.MANDATORY_NOT_FOUND, "fields")


def _sorting(asked: Asked) -> tuple[str, bool] | Problem:
    name = asked.query.get("sort_by", "id")
    order = asked.query.get("sort_order", "desc")
    if name not in {"id", *_TIMES}:
        return at_param(Code.INVALID_DATA, "sort_by")
    if order not in {"asc", "desc"}:
        return at_param(Code.INVALID_DATA, "sort_order")
    return name, order == "desc"


def _sort_key(deal: Deal, name: str) -> float:
    if name == "id":
        return int(deal.id)
    return moment(deal.created_time if name == "Created_Time" else deal.modified_time)


def _deal_shape(
    deal: Deal, fields: Sequence[str], contacts: Mapping[str, Contact]
) -> dict[str, object]:
    known = [name for name in fields if name in _DEAL_FIELDS]
    shape: dict[str, object] = {name: getattr(deal, _DEAL_FIELDS[name]) for name in known}
    if "Contact_Name" in fields:
        shape["Contact_Name"] = {"name": contacts[deal.contact_id].name, "id": deal.contact_id}
    return shape | {"id": deal.id}


def pipeline(desk: Desk, asked: Asked) -> Reply:
    """Answer the stages of the pipeline."""
    if not asked.query.get("layout_id", "").isdigit():
        code = Code.INVALID_DATA if asked.query.get("layout_id") else Code.MANDATORY_NOT_FOUND
        return refuse(at_param(code, "layout_id"))
    maps = [
        {
            "display_value": stage.display_value,
            "actual_value": stage.actual_value,
            "forecast_type": stage.forecast_type,
            "forecast_category": {"name": _CATEGORIES[stage.forecast_type]},
        }
        for stage in desk.world.stages
    ]
    standard = {"display_value": "Standard", "actual_value": "Standard", "default": True}
    return Reply(json_answer({"pipeline": [standard | {"maps": maps}]}))


_CATEGORIES: Mapping[str, str] = {
    "Open": "Pipeline",
    "Closed Won": "Closed",
    "Closed Lost": "Omitted",
}


def _page_reply(
    key: str, everything: Sequence[_T], asked: Asked, shape: Callable[[_T], dict[str, object]]
) -> Reply:
    page = _whole(asked, "page", 1, None)
    per_page = _whole(asked, "per_page", MOST_PER_PAGE, MOST_PER_PAGE)
    if isinstance(page, Problem):
        return refuse(page)
    if isinstance(per_page, Problem):
        return refuse(per_page)
    start = (page - 1) * per_page
    shown = everything[start : start + per_page]
    if not shown:
        return Reply(NO_CONTENT)
    info = {
        "per_page": per_page,
        "count": len(shown),
        "page": page,
        "more_records": start + per_page < len(everything),
    }
    return Reply(json_answer({key: [shape(one) for one in shown], "info": info}))


def _whole(asked: Asked, name: str, default: int, most: int | None) -> int | Problem:
    text = asked.query.get(name, str(default))
    number = int(text) if text.isdecimal() and len(text) < 10 else 0
    if number < 1 or (most is not None and number > most):
        return at_param(Code.INVALID_DATA, name)
    return number
