"""Parser of the body of a link call."""

from __future__ import annotations

import msgspec
import orjson

from bulklink.emulator.errors import Problem
from bulklink.zoho.error_codes import Code


class Owner(msgspec.Struct, frozen=True):
    """The owner of a mailbox, as sent.

    Args:
        id: id of the user.
        name: name of the user.
    """

    id: str
    name: str | None = None


class Module(msgspec.Struct, frozen=True):
    """The module of a record, as sent.

    Args:
        api_name: API name of the module.
        id: id of the module.
    """

    api_name: str
    id: str


class LinkedRecord(msgspec.Struct, frozen=True):
    """The record to link to, as sent.

    Args:
        module: its module.
        id: id of the record.
        name: name of the record.
    """

    module: Module
    id: str
    name: str | None = None


class LinkItem(msgspec.Struct, frozen=True):
    """One email of a link call.

    Args:
        owner: owner of its mailbox.
        linked_record: the deal to link it to.
        message_id: its message id; None in a single call, which names it in the path.
    """

    owner: Owner
    linked_record: LinkedRecord
    message_id: str | None = None


class _Body(msgspec.Struct, frozen=True):
    Emails: list[LinkItem]


ParsedItem = LinkItem | tuple[Problem, ...]

_DECODER = msgspec.json.Decoder(_Body)
_REQUIRED_FIELDS = (
    "owner.id",
    "linked_record.id",
    "linked_record.module.api_name",
    "linked_record.module.id",
)
_OPTIONAL_FIELDS = ("owner.name", "linked_record.name", "message_id")


def parse_link_body(body: bytes) -> list[ParsedItem] | Problem:
    """Return the emails of a link call in order, or the problem with the whole body.

    An invalid email is replaced by its problems.
    """
    try:
        return [*_DECODER.decode(body).Emails] or _missing_emails()
    except msgspec.DecodeError:
        return _parse_leniently(body)


def missing_field(index: int, field: str) -> Problem:
    """Return the problem for a missing mandatory field."""
    return Problem(Code.MANDATORY_NOT_FOUND, field_details(index, field), f"{field} is mandatory")


def invalid_field(index: int, field: str) -> Problem:
    """Return the problem for an invalid field."""
    return Problem(Code.INVALID_DATA, field_details(index, field))


def field_details(index: int, field: str) -> dict[str, object]:
    """Return details that name a field of an email, as in the published samples."""
    return {"api_name": field, "json_path": f"Emails[{index}].{field}"}


def _missing_emails() -> Problem:
    return Problem(
        Code.MANDATORY_NOT_FOUND,
        {"api_name": "Emails", "json_path": "Emails"},
        "Emails is mandatory",
    )


def _parse_leniently(body: bytes) -> list[ParsedItem] | Problem:
    if not body.strip():
        return Problem(Code.REQUEST_BODY_IS_EMPTY)
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return Problem(Code.INVALID_DATA, message="the body is not valid JSON")
    if not isinstance(document, dict):
        return Problem(Code.INVALID_DATA, {"expected_data_type": "jsonobject"})
    emails = document.get("Emails")
    if emails is None or emails == []:
        return _missing_emails()
    if not isinstance(emails, list):
        return Problem(
            Code.INVALID_DATA,
            {"expected_data_type": "jsonarray", "api_name": "Emails", "json_path": "Emails"},
        )
    return [_parse_item(item, index) for index, item in enumerate(emails)]


def _parse_item(item: object, index: int) -> ParsedItem:
    try:
        return msgspec.convert(item, LinkItem)
    except msgspec.ValidationError:
        return tuple(_item_problems(item, index))


def _item_problems(item: object, index: int) -> list[Problem]:
    if not isinstance(item, dict):
        details = {"expected_data_type": "jsonobject", "json_path": f"Emails[{index}]"}
        return [Problem(Code.INVALID_DATA, details)]
    missing_problems = [
        missing_field(index, field)
        for field in _REQUIRED_FIELDS
        if _nested_value(item, field) is None
    ]
    type_problems = [
        invalid_field(index, field)
        for field in (*_REQUIRED_FIELDS, *_OPTIONAL_FIELDS)
        if not isinstance(_nested_value(item, field), str | None)
    ]
    return missing_problems + type_problems


def _nested_value(item: object, dotted_path: str) -> object:
    for name in dotted_path.split("."):
        if not isinstance(item, dict):
            return item if item is None else ()  # None: missing; (): wrong type
        item = item.get(name)
    return item
