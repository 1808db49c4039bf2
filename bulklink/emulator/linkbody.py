"""Reads the body of a link call: what is well formed, and what is wrong with the rest."""

from __future__ import annotations

import msgspec
import orjson

from bulklink.emulator.errors import Problem
from bulklink.zoho.error_codes import Code


class Owner(msgspec.Struct, frozen=True):
    """The owner of the mailbox, as sent."""

    id: str
    name: str | None = None


class Module(msgspec.Struct, frozen=True):
    """The module of the record, as sent."""

    api_name: str
    id: str


class LinkedRecord(msgspec.Struct, frozen=True):
    """The record to link to, as sent."""

    module: Module
    id: str
    name: str | None = None


class Wanted(msgspec.Struct, frozen=True):
    """One email of a link call; single calls name the message in the address instead."""

    owner: Owner
    linked_record: LinkedRecord
    message_id: str | None = None


class _Body(msgspec.Struct, frozen=True):
    Emails: list[Wanted]


Item = Wanted | tuple[Problem, ...]

_DECODER = msgspec.json.Decoder(_Body)
_MANDATORY = (
    "owner.id",
    "linked_record.id",
    "linked_record.module.api_name",
    "linked_record.module.id",
)
_OPTIONAL = ("owner.name", "linked_record.name", "message_id")


def read_link_body(body: bytes) -> list[Item] | Problem:
    """Return the emails of a link call in order, or what is wrong with the whole body.

    An email that is not well formed is given as the problems it has.
    """
    try:
        return [*_DECODER.decode(body).Emails] or _no_emails()
    except msgspec.DecodeError:
        return _explain(body)


def missing(index: int, field: str) -> Problem:
    """Say that a mandatory field of an email is not there."""
    return Problem(Code.MANDATORY_NOT_FOUND, place(index, field), f"{field} is mandatory")


def wrong(index: int, field: str) -> Problem:
    """Say that the value of a field of an email is wrong."""
    return Problem(Code.INVALID_DATA, place(index, field))


def place(index: int, field: str) -> dict[str, object]:
    """Return the details that name a field of an email, as the published samples do."""
    return {"api_name": field, "json_path": f"Emails[{index}].{field}"}


def _no_emails() -> Problem:
    return Problem(
        Code.MANDATORY_NOT_FOUND,
        {"api_name": "Emails", "json_path": "Emails"},
        "Emails is mandatory",
    )


def _explain(body: bytes) -> list[Item] | Problem:
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
        return _no_emails()
    if not isinstance(emails, list):
        return Problem(
            Code.INVALID_DATA,
            {"expected_data_type": "jsonarray", "api_name": "Emails", "json_path": "Emails"},
        )
    return [_read_item(item, index) for index, item in enumerate(emails)]


def _read_item(item: object, index: int) -> Item:
    try:
        return msgspec.convert(item, Wanted)
    except msgspec.ValidationError:
        return tuple(_problems(item, index))


def _problems(item: object, index: int) -> list[Problem]:
    if not isinstance(item, dict):
        details = {"expected_data_type": "jsonobject", "json_path": f"Emails[{index}]"}
        return [Problem(Code.INVALID_DATA, details)]
    absent = [missing(index, field) for field in _MANDATORY if _value(item, field) is None]
    mistyped = [
        wrong(index, field)
        for field in (*_MANDATORY, *_OPTIONAL)
        if not isinstance(_value(item, field), str | None)
    ]
    return absent + mistyped


def _value(item: object, dotted: str) -> object:
    for name in dotted.split("."):
        if not isinstance(item, dict):
            return item if item is None else ()  # nothing, or wrong: a text is no object
        item = item.get(name)
    return item
