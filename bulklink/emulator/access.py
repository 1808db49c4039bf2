"""Who may make a call: address, token, scopes, profile, edition, and whether the record exists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from bulklink.emulator.context import ApiRequest, CallContext
from bulklink.emulator.errors import Problem, path_problem
from bulklink.emulator.limits import effective_edition
from bulklink.emulator.routing import Endpoint, EndpointKind
from bulklink.emulator.tokens import token_problem
from bulklink.zoho.error_codes import Code

_EMAILS_AREA = "ZohoCRM.modules.emails"
_CONTACTS_AREA = "ZohoCRM.modules.contacts"
_DEALS_AREA = "ZohoCRM.modules.deals"

_READ_SCOPES: Mapping[Endpoint, tuple[str, ...]] = MappingProxyType(
    {
        Endpoint.EMAILS: (_EMAILS_AREA, _CONTACTS_AREA),
        Endpoint.EMAIL: (_EMAILS_AREA, _CONTACTS_AREA),
        Endpoint.CONTACT_DEALS: (_CONTACTS_AREA, _DEALS_AREA),
        Endpoint.RECORDS: (_DEALS_AREA,),
        Endpoint.MODULES: ("ZohoCRM.settings.modules",),
        Endpoint.PIPELINE: ("ZohoCRM.settings.pipeline",),
        Endpoint.USERS: ("ZohoCRM.users",),
        Endpoint.ORG: ("ZohoCRM.org",),
    }
)
_VIEW_DEALS, _VIEW_CONTACTS = "Crm_Implied_View_Deals", "Crm_Implied_View_Contacts"
_REQUIRED_PERMISSIONS: Mapping[Endpoint, tuple[str, ...]] = MappingProxyType(
    {
        Endpoint.LINK: (_VIEW_DEALS, _VIEW_CONTACTS),
        Endpoint.UNLINK: (_VIEW_DEALS, _VIEW_CONTACTS),
        Endpoint.EMAILS: (_VIEW_CONTACTS,),
        Endpoint.EMAIL: (_VIEW_CONTACTS,),
        Endpoint.CONTACT_DEALS: (_VIEW_DEALS, _VIEW_CONTACTS),
        Endpoint.RECORDS: (_VIEW_DEALS,),
    }
)
_CONTACT_ENDPOINTS = (
    Endpoint.LINK,
    Endpoint.UNLINK,
    Endpoint.EMAILS,
    Endpoint.EMAIL,
    Endpoint.CONTACT_DEALS,
)
_WRITE_KINDS = (EndpointKind.LINK, EndpointKind.UNLINK)


def access_problem(context: CallContext, api_request: ApiRequest) -> Problem | None:
    """Return the first reason why the call is refused before it is looked into, or None."""
    return (
        api_request.call.problem
        or token_problem(context, api_request.raw)
        or _scope_problem(context, api_request)
        or _edition_problem(context, api_request)
        or _permission_problem(context, api_request)
        or _record_problem(context, api_request)
    )


def _scope_problem(context: CallContext, api_request: ApiRequest) -> Problem | None:
    operation = "READ"
    required_areas = _READ_SCOPES.get(api_request.call.endpoint, ())
    if api_request.call.kind in _WRITE_KINDS:
        operation = "CREATE" if api_request.call.kind is EndpointKind.LINK else "DELETE"
        required_areas = (_EMAILS_AREA, _CONTACTS_AREA)
        if context.settings.scope_rule == "openapi":
            operation, required_areas = "CREATE", (_EMAILS_AREA, _CONTACTS_AREA, _DEALS_AREA)
    if all(_is_scope_granted(area, operation, context.settings.scopes) for area in required_areas):
        return None
    return Problem(Code.OAUTH_SCOPE_MISMATCH)


def _is_scope_granted(area: str, operation: str, scopes: Sequence[str]) -> bool:
    """Tell whether a scope of the area, or of the wider area it lies in, is given."""
    wider_area = area.rpartition(".")[0]
    sufficient_scopes = {
        f"{scope_area}.{allowed_operation}"
        for scope_area in (area, wider_area)
        for allowed_operation in (operation, "ALL")
    }
    return any(scope in sufficient_scopes for scope in scopes)


def _edition_problem(context: CallContext, api_request: ApiRequest) -> Problem | None:
    is_free = effective_edition(context.settings, context.world) == "free"
    return (
        Problem(Code.FEATURE_NOT_SUPPORTED)
        if is_free and api_request.call.kind in _WRITE_KINDS
        else None
    )


def _permission_problem(context: CallContext, api_request: ApiRequest) -> Problem | None:
    missing_permissions = [
        permission
        for permission in _REQUIRED_PERMISSIONS.get(api_request.call.endpoint, ())
        if permission not in context.settings.permissions
    ]
    return (
        Problem(Code.NO_PERMISSION, {"permissions": missing_permissions})
        if missing_permissions
        else None
    )


def _record_problem(context: CallContext, api_request: ApiRequest) -> Problem | None:
    if api_request.call.endpoint not in _CONTACT_ENDPOINTS:
        return None
    if api_request.call.module != "Contacts":
        return Problem(Code.INVALID_MODULE, {"resource_path_index": 0})
    return None if api_request.call.record_id in context.world.contacts else path_problem(1)
