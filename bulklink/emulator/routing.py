"""Routing of methods and paths to endpoints."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from bulklink.emulator.errors import Problem
from bulklink.zoho.error_codes import Code

API_VERSION = "v8"
DEALS_MODULE = "Deals"
CONTACTS_MODULE = "Contacts"
ACCOUNTS_MODULE = "Accounts"
USERS_MODULE = "Users"


class EndpointKind(StrEnum):
    """Kind of endpoint; calls are counted, limited and hit by faults per kind."""

    LINK = "link"
    UNLINK = "unlink"
    READ = "read"
    LOOKUP = "lookup"
    TOKEN = "token"  # noqa: S105 - a kind of call, not a secret
    OTHER = "other"
    CONTROL = "control"


class Endpoint(StrEnum):
    """Endpoint of the emulator."""

    LINK = "link"
    UNLINK = "unlink"
    EMAILS = "emails"
    EMAIL = "email"
    CONTACT_DEALS = "contact-deals"
    CONTACT_ROLES = "contact-roles"
    TIMELINE = "timeline"
    COQL = "coql"
    MODULES = "modules"
    RECORDS = "records"
    USERS = "users"
    ORG = "org"
    LAYOUTS = "layouts"
    PIPELINE = "pipeline"
    TOKEN = "token"  # noqa: S105 - a call, not a secret
    REVOKE = "revoke"
    CONTROL = "control"
    UNKNOWN = "unknown"


_KIND_BY_ENDPOINT = {
    Endpoint.LINK: EndpointKind.LINK,
    Endpoint.UNLINK: EndpointKind.UNLINK,
    Endpoint.EMAILS: EndpointKind.READ,
    Endpoint.EMAIL: EndpointKind.READ,
    Endpoint.TOKEN: EndpointKind.TOKEN,
    Endpoint.REVOKE: EndpointKind.TOKEN,
    Endpoint.CONTROL: EndpointKind.CONTROL,
    Endpoint.UNKNOWN: EndpointKind.OTHER,
}


class Call(msgspec.Struct, frozen=True):
    """An endpoint and its path parameters.

    Args:
        endpoint: the endpoint.
        module: the module in the path, as sent.
        record_id: the record in the path, as sent.
        message_id: the email in the path; None in calls for many emails.
        problem: why the path cannot be served; None if it can.
    """

    endpoint: Endpoint
    module: str = ""
    record_id: str = ""
    message_id: str | None = None
    problem: Problem | None = None

    @property
    def kind(self) -> EndpointKind:
        """The kind of the endpoint."""
        return _KIND_BY_ENDPOINT.get(self.endpoint, EndpointKind.LOOKUP)


_UNKNOWN_ADDRESS = Call(Endpoint.UNKNOWN, problem=Problem(Code.INVALID_URL_PATTERN))
_WRONG_METHOD = Call(Endpoint.UNKNOWN, problem=Problem(Code.INVALID_REQUEST_METHOD))
_UNSUPPORTED_VERSION = Call(Endpoint.UNKNOWN, problem=Problem(Code.API_NOT_SUPPORTED))


def match_call(method: str, path: str) -> Call:
    """Return the call of a method and path."""
    match path.strip("/").split("/"):
        case ["crm", version, *segments]:
            return _match_crm_call(method, version, segments)
        case ["oauth", "v2", "token"]:
            return Call(Endpoint.TOKEN) if method == "POST" else _WRONG_METHOD
        case ["oauth", "v2", "token", "revoke"]:
            return Call(Endpoint.REVOKE) if method == "POST" else _WRONG_METHOD
        case ["_emulator", resource]:
            return Call(Endpoint.CONTROL, module=resource)
        case _:
            return _UNKNOWN_ADDRESS


def _match_crm_call(method: str, version: str, segments: list[str]) -> Call:
    if not (version.startswith("v") and version[1:].replace(".", "").isdigit()):
        return _UNKNOWN_ADDRESS
    call = _match_resource(method, segments)
    if call.problem is None and version != API_VERSION:
        return _UNSUPPORTED_VERSION
    return call


def _match_resource(method: str, segments: list[str]) -> Call:
    match segments:
        case [module, record_id, "Emails", "actions", "link_record"]:
            return _match_link_call(method, module, record_id, None)
        case [module, record_id, "Emails", message_id, "actions", "link_record"]:
            return _match_link_call(method, module, record_id, message_id)
        case _:
            call = _match_get(segments)
    expected_method = "POST" if call.endpoint is Endpoint.COQL else "GET"
    if call.problem is None and method != expected_method:
        return _WRONG_METHOD
    return call


def _match_link_call(method: str, module: str, record_id: str, message_id: str | None) -> Call:
    endpoint = {"POST": Endpoint.LINK, "DELETE": Endpoint.UNLINK}.get(method)
    return Call(endpoint, module, record_id, message_id) if endpoint else _WRONG_METHOD


def _match_get(segments: list[str]) -> Call:
    match segments:
        case ["org"]:
            return Call(Endpoint.ORG)
        case ["users"]:
            return Call(Endpoint.USERS)
        case ["settings", "modules", module]:
            return Call(Endpoint.MODULES, module)
        case ["settings", "modules"]:
            return Call(Endpoint.MODULES)
        case ["settings", "pipeline"]:
            return Call(Endpoint.PIPELINE)
        case ["settings", "layouts"]:
            return Call(Endpoint.LAYOUTS)
        case ["settings", "layouts", layout_id]:
            return Call(Endpoint.LAYOUTS, record_id=layout_id)
        case ["coql"]:
            return Call(Endpoint.COQL)
        case [module, record_id, "Emails"]:
            return Call(Endpoint.EMAILS, module, record_id)
        case [module, record_id, "Emails", message_id]:
            return Call(Endpoint.EMAIL, module, record_id, message_id)
        case [module, record_id, "Deals"]:
            return Call(Endpoint.CONTACT_DEALS, module, record_id)
        case [module, record_id, "Contact_Roles"]:
            return Call(Endpoint.CONTACT_ROLES, module, record_id)
        case [module, record_id, "__timeline"]:
            return Call(Endpoint.TIMELINE, module, record_id)
        case [module] if module.isidentifier():
            return Call(Endpoint.RECORDS, module)
        case _:
            return _UNKNOWN_ADDRESS
