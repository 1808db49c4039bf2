"""Who may make a call: address, token, scopes, profile, edition, and whether the record exists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from bulklink.emulator.calls import Kind, Name
from bulklink.emulator.desk import Asked, Desk
from bulklink.emulator.errors import Problem, at_path
from bulklink.emulator.limits import edition_of
from bulklink.emulator.tokens import token_problem
from bulklink.zoho.error_codes import Code

_EMAILS = "ZohoCRM.modules.emails"
_CONTACTS = "ZohoCRM.modules.contacts"
_DEALS = "ZohoCRM.modules.deals"

_READ_SCOPES: Mapping[Name, tuple[str, ...]] = MappingProxyType(
    {
        Name.EMAILS: (_EMAILS, _CONTACTS),
        Name.EMAIL: (_EMAILS, _CONTACTS),
        Name.CONTACT_DEALS: (_CONTACTS, _DEALS),
        Name.RECORDS: (_DEALS,),
        Name.MODULES: ("ZohoCRM.settings.modules",),
        Name.PIPELINE: ("ZohoCRM.settings.pipeline",),
        Name.USERS: ("ZohoCRM.users",),
        Name.ORG: ("ZohoCRM.org",),
    }
)
_VIEW_DEALS, _VIEW_CONTACTS = "Crm_Implied_View_Deals", "Crm_Implied_View_Contacts"
_PERMISSIONS: Mapping[Name, tuple[str, ...]] = MappingProxyType(
    {
        Name.LINK: (_VIEW_DEALS, _VIEW_CONTACTS),
        Name.UNLINK: (_VIEW_DEALS, _VIEW_CONTACTS),
        Name.EMAILS: (_VIEW_CONTACTS,),
        Name.EMAIL: (_VIEW_CONTACTS,),
        Name.CONTACT_DEALS: (_VIEW_DEALS, _VIEW_CONTACTS),
        Name.RECORDS: (_VIEW_DEALS,),
    }
)
_OF_A_CONTACT = (Name.LINK, Name.UNLINK, Name.EMAILS, Name.EMAIL, Name.CONTACT_DEALS)
_CHANGES = (Kind.LINK, Kind.UNLINK)


def access_problem(desk: Desk, asked: Asked) -> Problem | None:
    """Return the first reason why the call is refused before it is looked into, or None."""
    return (
        asked.call.problem
        or token_problem(desk, asked.request)
        or _scope_problem(desk, asked)
        or _edition_problem(desk, asked)
        or _permission_problem(desk, asked)
        or _record_problem(desk, asked)
    )


def _scope_problem(desk: Desk, asked: Asked) -> Problem | None:
    operation = "READ"
    needed = _READ_SCOPES.get(asked.call.name, ())
    if asked.call.kind in _CHANGES:
        operation = "CREATE" if asked.call.kind is Kind.LINK else "DELETE"
        needed = (_EMAILS, _CONTACTS)
        if desk.settings.scope_rule == "openapi":
            operation, needed = "CREATE", (_EMAILS, _CONTACTS, _DEALS)
    if all(_covered(area, operation, desk.settings.scopes) for area in needed):
        return None
    return Problem(Code.OAUTH_SCOPE_MISMATCH)


def _covered(area: str, operation: str, scopes: Sequence[str]) -> bool:
    """Tell whether a scope of the area, or of the wider area it lies in, is given."""
    wider = area.rpartition(".")[0]
    wanted = {f"{place}.{right}" for place in (area, wider) for right in (operation, "ALL")}
    return any(scope in wanted for scope in scopes)


def _edition_problem(desk: Desk, asked: Asked) -> Problem | None:
    free = edition_of(desk.settings, desk.world) == "free"
    return Problem(Code.FEATURE_NOT_SUPPORTED) if free and asked.call.kind in _CHANGES else None


def _permission_problem(desk: Desk, asked: Asked) -> Problem | None:
    lacking = [
        permission
        for permission in _PERMISSIONS.get(asked.call.name, ())
        if permission not in desk.settings.permissions
    ]
    return Problem(Code.NO_PERMISSION, {"permissions": lacking}) if lacking else None


def _record_problem(desk: Desk, asked: Asked) -> Problem | None:
    if asked.call.name not in _OF_A_CONTACT:
        return None
    if asked.call.module != "Contacts":
        return Problem(Code.INVALID_MODULE, {"resource_path_index": 0})
    return None if asked.call.record_id in desk.world.contacts else at_path(1)
