"""Access checks: address, token, scopes, edition, profile, record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from bulklink.emulator.context import ApiRequest, CallContext
from bulklink.emulator.errors import Problem, path_problem
from bulklink.emulator.limits import effective_edition
from bulklink.emulator.routing import CONTACTS_MODULE, Endpoint, EndpointKind
from bulklink.emulator.settings import (
    CONTACTS_AREA,
    DEALS_AREA,
    EMAILS_AREA,
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
        Endpoint.RECORDS: (DEALS_AREA,),
        Endpoint.MODULES: ("ZohoCRM.settings.modules",),
        Endpoint.PIPELINE: ("ZohoCRM.settings.pipeline",),
        Endpoint.USERS: ("ZohoCRM.users",),
        Endpoint.ORG: ("ZohoCRM.org",),
    }
)

_REQUIRED_PERMISSIONS: Mapping[Endpoint, tuple[str, ...]] = MappingProxyType(
    {
        Endpoint.LINK: (VIEW_DEALS, VIEW_CONTACTS),
        Endpoint.UNLINK: (VIEW_DEALS, VIEW_CONTACTS),
        Endpoint.EMAILS: (VIEW_CONTACTS,),
        Endpoint.EMAIL: (VIEW_CONTACTS,),
        Endpoint.CONTACT_DEALS: (VIEW_DEALS, VIEW_CONTACTS),
        Endpoint.RECORDS: (VIEW_DEALS,),
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
    if api_request.call.kind in _WRITE_KINDS:
        operation = "CREATE" if api_request.call.kind is EndpointKind.LINK else "DELETE"
        required_areas = (EMAILS_AREA, CONTACTS_AREA)
        if context.settings.scope_rule == "openapi":
            operation, required_areas = "CREATE", (EMAILS_AREA, CONTACTS_AREA, DEALS_AREA)
    if all(_is_scope_granted(area, operation, context.settings.scopes) for area in required_areas):
        return None
    return Problem(Code.OAUTH_SCOPE_MISMATCH)


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
    if api_request.call.module != CONTACTS_MODULE:
        return Problem(Code.INVALID_MODULE, {"resource_path_index": 0})
    return None if api_request.call.record_id in context.world.contacts else path_problem(1)
