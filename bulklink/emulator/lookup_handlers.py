"""Handlers of the look-ups of records: org, modules, users, deals, contacts."""

from __future__ import annotations

import msgspec

from bulklink.emulator.context import ApiRequest, CallContext, HandlerResult, refuse
from bulklink.emulator.errors import ParameterError, Problem, param_problem
from bulklink.emulator.http import json_answer
from bulklink.emulator.layouts import contact_role_id
from bulklink.emulator.link_rules import find_module_id
from bulklink.emulator.pages import page_result, parse_fields, parse_ids, parse_order
from bulklink.emulator.routing import CONTACTS_MODULE, DEALS_MODULE
from bulklink.emulator.world import Contact, Deal, User, parse_timestamp
from bulklink.zoho.error_codes import Code

CONTACT_ROLES_PER_PAGE = 100
_CONTACT_ROLE = "Decision Maker"
_TIME_FIELDS = ("Created_Time", "Modified_Time")
_NO_TOKENS = {"next_page_token": None, "previous_page_token": None, "page_token_expiry": None}


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
    return page_result("users", selected_users, api_request, _user_entry)


def _user_entry(user: User) -> dict[str, object]:
    return {
        "id": user.id,
        "full_name": user.full_name,
        "email": user.email,
        "status": user.status,
    }


def handle_records(context: CallContext, api_request: ApiRequest) -> HandlerResult:
    """Answer with a page of the requested deals or contacts, or of all of them."""
    module = api_request.call.module
    fields = parse_fields(api_request)
    records = context.records.select(module, parse_ids(api_request))
    return page_result(
        "data",
        records,
        api_request,
        lambda record: context.records.entry(module, record, fields),
    )


def handle_contact_deals(context: CallContext, api_request: ApiRequest) -> HandlerResult:
    """Answer with a page of one contact's deals."""
    fields, contact_id = parse_fields(api_request), api_request.call.record_id
    name, descending = _parse_sorting(api_request)
    deals = context.world.deals_by_contact.get(contact_id, ())
    if context.settings.role_deals == "listed":
        deals += context.world.deals_by_role.get(contact_id, ())
    return page_result(
        "data",
        sorted(deals, key=lambda deal: _sort_key(deal, name), reverse=descending),
        api_request,
        lambda deal: context.records.entry(DEALS_MODULE, deal, fields),
    )


def _parse_sorting(api_request: ApiRequest) -> tuple[str, bool]:
    """Return the field to sort by, and whether the order is descending."""
    name = api_request.query.get("sort_by", "id")
    if name not in {"id", *_TIME_FIELDS}:
        raise ParameterError(param_problem(Code.INVALID_DATA, "sort_by"))
    return name, parse_order(api_request)


def _sort_key(deal: Deal, name: str) -> float:
    if name == "id":
        return int(deal.id)
    return parse_timestamp(deal.created_time if name == "Created_Time" else deal.modified_time)


def handle_contact_roles(context: CallContext, api_request: ApiRequest) -> HandlerResult:
    """Answer with a page of the contacts that are on a deal by a contact role."""
    fields, ids = parse_fields(api_request), parse_ids(api_request)
    deal = context.world.deals[api_request.call.record_id]
    role = {"name": _CONTACT_ROLE, "id": contact_role_id(context.world)}

    def to_entry(contact: Contact) -> dict[str, object]:
        return context.records.entry(CONTACTS_MODULE, contact, fields) | {"Contact_Role": role}

    contacts = [
        context.world.contacts[contact_id]
        for contact_id in deal.contact_roles
        if ids is None or contact_id in ids
    ]
    return page_result("data", contacts, api_request, to_entry, CONTACT_ROLES_PER_PAGE, _NO_TOKENS)
