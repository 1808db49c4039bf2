"""Access checks: address, token, scopes, edition, profile, record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from bulklink.emulator.context import ApiRequest, CallContext
from bulklink.emulator.errors import Problem, path_problem
from bulklink.emulator.limits import effective_edition
from bulklink.emulator.routing import (
    ACCOUNTS_MODULE,
    CONTACTS_MODULE,
    DEALS_MODULE,
    USERS_MODULE,
    Endpoint,
    EndpointKind,
)
from bulklink.emulator.settings import (
    ACCOUNTS_AREA,
    CONTACTS_AREA,
    COQL_AREA,
    DEALS_AREA,
    EMAILS_AREA,
    USERS_AREA,
    VIEW_CONTACTS,
    VIEW_DEALS,
)
from bulklink.emulator.tokens import token_problem
from bulklink.zoho.error_codes import Code

_READ_SCOPES: Mapping[Endpoint, tuple[str, ...]] = MappingProxyType(
    {
        Endpoint.EMAILS: (EMAILS_AREA, CONTACTS_AREA),
        Endpoint.EMAIL: (EMAILS_AREA, CONTACTS_AREA),
        Endpoint.CONTACT_DEALS: (CONTACTS_AREA, DEALS_AREA),
        Endpoint.CONTACT_ROLES: (CONTACTS_AREA, DEALS_AREA),
        Endpoint.TIMELINE: (DEALS_AREA,),
        Endpoint.COQL: (COQL_AREA,),
        Endpoint.MODULES: ("ZohoCRM.settings.modules",),
        Endpoint.LAYOUTS: ("ZohoCRM.settings.layouts",),
        Endpoint.PIPELINE: ("ZohoCRM.settings.pipeline",),
        Endpoint.USERS: (USERS_AREA,),
        Endpoint.ORG: ("ZohoCRM.org",),
    }
)
_MODULE_SCOPES: Mapping[str, str] = MappingProxyType(
    {
        DEALS_MODULE: DEALS_AREA,
        CONTACTS_MODULE: CONTACTS_AREA,
        ACCOUNTS_MODULE: ACCOUNTS_AREA,
        USERS_MODULE: USERS_AREA,
    }
)

_REQUIRED_PERMISSIONS: Mapping[Endpoint, tuple[str, ...]] = MappingProxyType(
    {
        Endpoint.LINK: (VIEW_DEALS, VIEW_CONTACTS),
        Endpoint.UNLINK: (VIEW_DEALS, VIEW_CONTACTS),
        Endpoint.EMAILS: (VIEW_CONTACTS,),
        Endpoint.EMAIL: (VIEW_CONTACTS,),
        Endpoint.CONTACT_DEALS: (VIEW_DEALS, VIEW_CONTACTS),
        Endpoint.CONTACT_ROLES: (VIEW_DEALS, VIEW_CONTACTS),
        Endpoint.TIMELINE: (VIEW_DEALS,),
    }
)
_MODULE_PERMISSIONS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {DEALS_MODULE: (VIEW_DEALS,), CONTACTS_MODULE: (VIEW_CONTACTS,)}
)
_MODULE_BY_ENDPOINT: Mapping[Endpoint, str] = MappingProxyType(
    {
        Endpoint.LINK: CONTACTS_MODULE,
        Endpoint.UNLINK: CONTACTS_MODULE,
        Endpoint.EMAILS: CONTACTS_MODULE,
        Endpoint.EMAIL: CONTACTS_MODULE,
        Endpoint.CONTACT_DEALS: CONTACTS_MODULE,
        Endpoint.CONTACT_ROLES: DEALS_MODULE,
        Endpoint.TIMELINE: DEALS_MODULE,
    }
)
"""Module of the records that the path of a call may name."""
_WRITE_KINDS = (EndpointKind.LINK, EndpointKind.UNLINK)


def access_problem(context: CallContext, api_request: ApiRequest) -> Problem | None:
    """Return the first problem that keeps a call from reaching its handler, or None."""
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
    if api_request.call.endpoint is Endpoint.RECORDS:
        return _module_scope_problem(context, api_request.call.module)
    if api_request.call.kind in _WRITE_KINDS:
        operation = "CREATE" if api_request.call.kind is EndpointKind.LINK else "DELETE"
        required_areas = (EMAILS_AREA, CONTACTS_AREA)
        if context.settings.scope_rule == "openapi":
            operation, required_areas = "CREATE", (EMAILS_AREA, CONTACTS_AREA, DEALS_AREA)
    if all(_is_scope_granted(area, operation, context.settings.scopes) for area in required_areas):
        return None
    return Problem(Code.OAUTH_SCOPE_MISMATCH)


def _module_scope_problem(context: CallContext, module: str) -> Problem | None:
    area = _MODULE_SCOPES.get(module)
    if area is None or _is_scope_granted(area, "READ", context.settings.scopes):
        return None
    return Problem(Code.OAUTH_SCOPE_MISMATCH)


def module_read_problem(context: CallContext, module: str) -> Problem | None:
    """Return the problem that keeps a query from reading a module, or None."""
    return _module_scope_problem(context, module) or _missing_permission_problem(
        context, _MODULE_PERMISSIONS.get(module, ())
    )


def _is_scope_granted(area: str, operation: str, scopes: Sequence[str]) -> bool:
    """Return whether a scope of the area, or of the wider area that contains it, is granted."""
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
    call = api_request.call
    if call.endpoint is Endpoint.RECORDS:
        return _missing_permission_problem(context, _MODULE_PERMISSIONS.get(call.module, ()))
    return _missing_permission_problem(context, _REQUIRED_PERMISSIONS.get(call.endpoint, ()))


def _missing_permission_problem(context: CallContext, permissions: Sequence[str]) -> Problem | None:
    missing = [name for name in permissions if name not in context.settings.permissions]
    return Problem(Code.NO_PERMISSION, {"permissions": missing}) if missing else None


def _record_problem(context: CallContext, api_request: ApiRequest) -> Problem | None:
    call = api_request.call
    if call.endpoint is Endpoint.RECORDS:
        is_served = call.module in _MODULE_PERMISSIONS
        return None if is_served else Problem(Code.INVALID_MODULE, {"resource_path_index": 0})
    module = _MODULE_BY_ENDPOINT.get(call.endpoint)
    if module is None:
        return None
    if call.module != module:
        return Problem(Code.INVALID_MODULE, {"resource_path_index": 0})
    return None if context.records.find(module, call.record_id) is not None else path_problem(1)
