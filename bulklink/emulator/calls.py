"""Which call a request is: method and path read once, by one pure function."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from bulklink.emulator.errors import Problem
from bulklink.zoho.error_codes import Code

VERSION = "v8"


class Kind(StrEnum):
    """The kinds that calls are counted, limited and disturbed by."""

    LINK = "link"
    UNLINK = "unlink"
    READ = "read"
    LOOKUP = "lookup"
    TOKEN = "token"  # noqa: S105 - a kind of call, no secret
    OTHER = "other"
    CONTROL = "control"


class Name(StrEnum):
    """The calls that the emulator answers."""

    LINK = "link"
    UNLINK = "unlink"
    EMAILS = "emails"
    EMAIL = "email"
    CONTACT_DEALS = "contact-deals"
    MODULES = "modules"
    RECORDS = "records"
    USERS = "users"
    ORG = "org"
    PIPELINE = "pipeline"
    TOKEN = "token"  # noqa: S105 - a call, no secret
    REVOKE = "revoke"
    CONTROL = "control"
    UNKNOWN = "unknown"


_KINDS = {
    Name.LINK: Kind.LINK,
    Name.UNLINK: Kind.UNLINK,
    Name.EMAILS: Kind.READ,
    Name.EMAIL: Kind.READ,
    Name.TOKEN: Kind.TOKEN,
    Name.REVOKE: Kind.TOKEN,
    Name.CONTROL: Kind.CONTROL,
    Name.UNKNOWN: Kind.OTHER,
}


class Call(msgspec.Struct, frozen=True):
    """One call, told by its method and path.

    Args:
        name: which call it is.
        module: the module in the path, as sent.
        record_id: the record in the path, as sent.
        message_id: the email in the path; None in the calls for many emails.
        problem: why the address cannot be served at all; None if it can.
    """

    name: Name
    module: str = ""
    record_id: str = ""
    message_id: str | None = None
    problem: Problem | None = None

    @property
    def kind(self) -> Kind:
        """The kind that this call counts as."""
        return _KINDS.get(self.name, Kind.LOOKUP)


_NO_SUCH_ADDRESS = Call(Name.UNKNOWN, problem=Problem(Code.INVALID_URL_PATTERN))
_WRONG_METHOD = Call(Name.UNKNOWN, problem=Problem(Code.INVALID_REQUEST_METHOD))
_OLD_VERSION = Call(Name.UNKNOWN, problem=Problem(Code.API_NOT_SUPPORTED))


def read_call(method: str, path: str) -> Call:
    """Tell which call `method` and `path` make."""
    match path.strip("/").split("/"):
        case ["crm", version, *rest]:
            return _crm_call(method, version, rest)
        case ["oauth", "v2", "token"]:
            return Call(Name.TOKEN) if method == "POST" else _WRONG_METHOD
        case ["oauth", "v2", "token", "revoke"]:
            return Call(Name.REVOKE) if method == "POST" else _WRONG_METHOD
        case ["_emulator", what]:
            return Call(Name.CONTROL, module=what)
        case _:
            return _NO_SUCH_ADDRESS


def _crm_call(method: str, version: str, rest: list[str]) -> Call:
    if not (version.startswith("v") and version[1:].replace(".", "").isdigit()):
        return _NO_SUCH_ADDRESS
    call = _resource(method, rest)
    if call.problem is None and version != VERSION:
        return _OLD_VERSION
    return call


def _resource(method: str, rest: list[str]) -> Call:
    match rest:
        case [module, record_id, "Emails", "actions", "link_record"]:
            return _link_call(method, module, record_id, None)
        case [module, record_id, "Emails", message_id, "actions", "link_record"]:
            return _link_call(method, module, record_id, message_id)
        case _:
            call = _readable(rest)
    if call.problem is None and method != "GET":
        return _WRONG_METHOD
    return call


def _link_call(method: str, module: str, record_id: str, message_id: str | None) -> Call:
    name = {"POST": Name.LINK, "DELETE": Name.UNLINK}.get(method)
    return Call(name, module, record_id, message_id) if name else _WRONG_METHOD


def _readable(rest: list[str]) -> Call:
    match rest:
        case ["org"]:
            return Call(Name.ORG)
        case ["users"]:
            return Call(Name.USERS)
        case ["settings", "modules", module]:
            return Call(Name.MODULES, module)
        case ["settings", "modules"]:
            return Call(Name.MODULES)
        case ["settings", "pipeline"]:
            return Call(Name.PIPELINE)
        case [module, record_id, "Emails"]:
            return Call(Name.EMAILS, module, record_id)
        case [module, record_id, "Emails", message_id]:
            return Call(Name.EMAIL, module, record_id, message_id)
        case [module, record_id, "Deals"]:
            return Call(Name.CONTACT_DEALS, module, record_id)
        case [module] if module.isidentifier():
            return Call(Name.RECORDS, module)
        case _:
            return _NO_SUCH_ADDRESS
