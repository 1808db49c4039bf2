"""Requests for contacts: ids, addresses, names and deals, from arguments and lists."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from bulklink.advice import Advice, Keyword
from bulklink.errors import BadFileError, BulklinkError, UsageError
from bulklink.mapping.faults import explain_bad_id
from bulklink.mapping.id_cells import bare_id, find_id_inside
from bulklink.mapping.ignorable import strip_ignorable
from bulklink.mapping.schema import id_pattern, normalize_header

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_HEADERS = {
    normalize_header(header)
    for header in ("contact_id", "email", "contact_name", "full_name", "deal_id")
}
_ID = re.compile(id_pattern("contact_id"))
_ADDRESS = re.compile(r"[^\s@,;<>]+@[^\s@,;<>]+")
_MAX_ADDRESS_LENGTH = 255
"""Characters of a text that is looked up; Zoho's fields for addresses and names have fewer."""
_NAME = re.compile(r"[^\d@]*\S[ \u00a0]+\S[^\d@]*")
"""Two words without digits: one word or a digit is likelier a mistyped id than a name."""
_ID_ADVICE = "An id has only digits; export ids as text."


class RequestKind(StrEnum):
    """What a request names.

    `EMAILS_ON` requests the contacts of a deal, and of their emails only those on such deals.
    """

    CONTACT = "contact"
    ADDRESS = "address"
    NAME = "name"
    DEAL = "deal"
    EMAILS_ON = "emails-on"


class ContactRequest(NamedTuple):
    """A request for contacts.

    Args:
        kind: what it names.
        value: the id, address or name, without the characters that exports add.
        place: argument or line that it comes from, for messages.
    """

    kind: RequestKind
    value: str
    place: str


def parse_contact(text: str) -> tuple[RequestKind, str] | None:
    """Return the contact that a text names by id, address or name; None if it names none."""
    bare = bare_id(text)
    if _ID.fullmatch(bare):
        return RequestKind.CONTACT, bare
    stripped = strip_ignorable(text)
    if len(stripped) > _MAX_ADDRESS_LENGTH or find_id_inside(text) is not None:
        return None
    if "@" in stripped:
        return (RequestKind.ADDRESS, stripped) if _ADDRESS.fullmatch(stripped) else None
    is_name = _NAME.fullmatch(stripped) and stripped.replace("\u00a0", " ").isprintable()
    return (RequestKind.NAME, stripped) if is_name else None


def parse_contact_argument(text: str) -> ContactRequest:
    """Return the request of a command-line argument.

    Raises:
        UsageError: if it is no id, address or name.
    """
    contact = parse_contact(text)
    if contact is None:
        raise UsageError(
            _no_contact(text),
            where="CONTACTS",
            advice=Advice(
                "{} Pass a file of ids or addresses as @FILE, or a mapping with {}.",
                _ID_ADVICE,
                Keyword("from_mapping"),
            ),
        )
    return ContactRequest(*contact, text)


def read_contact_list(lines: Iterable[bytes], name: str) -> Iterator[ContactRequest]:
    """Yield the contacts of a list, one per line; skip blank lines and a header.

    Args:
        lines: lines of the list.
        name: the list as the user named it.

    Raises:
        BadFileError: if a line is no id, address or name.
    """
    for text, place in _list_lines(lines, name):
        contact = parse_contact(text)
        if contact is None:
            raise BadFileError(
                _no_contact(text),
                where=place,
                advice=Advice(
                    "Write one id, address or name per line. {} Pass a table with a column"
                    " contact_id with {}.",
                    _ID_ADVICE,
                    Keyword("from_mapping"),
                ),
            )
        yield ContactRequest(*contact, place)


def parse_deal_argument(text: str, kind: RequestKind, setting: Keyword) -> ContactRequest:
    """Return the request of a deal in an option.

    Args:
        text: the id.
        kind: DEAL or EMAILS_ON.
        setting: the option, for messages.

    Raises:
        UsageError: if it is not an id.
    """
    bare = bare_id(text)
    if not _ID.fullmatch(bare):
        raise _no_deal(UsageError, text, Advice("{}", setting))
    return ContactRequest(kind, bare, text)


def read_deal_list(
    lines: Iterable[bytes], name: str, kind: RequestKind
) -> Iterator[ContactRequest]:
    """Yield the deals of a list of ids, one per line; skip blank lines and a header.

    Args:
        lines: lines of the list.
        name: the list as the user named it.
        kind: DEAL or EMAILS_ON.

    Raises:
        BadFileError: if a line is not an id.
    """
    for text, place in _list_lines(lines, name):
        bare = bare_id(text)
        if not _ID.fullmatch(bare):
            raise _no_deal(BadFileError, text, place)
        yield ContactRequest(kind, bare, place)


def _list_lines(lines: Iterable[bytes], name: str) -> Iterator[tuple[str, str]]:
    """Yield the lines of a list that are neither blank nor a header, with their places."""
    for number, line in enumerate(lines, 1):
        text = strip_ignorable(line.decode("utf-8", "replace"))
        if text and not (number == 1 and normalize_header(text) in _HEADERS):
            yield text, f"{name}, line {number}"


def _no_contact(text: str) -> str:
    if "@" in text:
        return f"{text!r} is not the address of one contact."
    return f"The contact id is {explain_bad_id(text, 'contact_id')}."


def _no_deal(error: type[BulklinkError], text: str, where: str | Advice) -> BulklinkError:
    message = f"The deal id is {explain_bad_id(text, 'deal_id')}."
    return error(message, where=where, advice=f"{_ID_ADVICE} Pass a file of ids as @FILE.")
