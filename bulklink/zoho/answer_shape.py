"""Shape of the answer to a link or unlink call, which Zoho documents only in part.

`link_response` finds out what an answer says about each message, whatever its shape. A probe asks
which shape an org uses, and finds it here.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from bulklink.zoho.error_codes import Code
from bulklink.zoho.http import Answer
from bulklink.zoho.link_response import parse_id, parse_refusal

_INDEX = re.compile(r"^(?:Emails|message_ids)\[(\d{1,6})\]")
_CODE = re.compile("[A-Z][A-Z_]{0,59}")


class EntryShape(msgspec.Struct, frozen=True):
    """The entry of one email in an answer.

    Args:
        code: its code; empty for an entry without one, such as an empty list.
        nested: whether it is a list, of which this is the first object.
        is_echo: whether it repeats the request and has no code.
        message_id: the message that it names; None if it names none.
        index: position in the request that its `json_path` names; None if it names none.
        text: Zoho's message; empty if there is none.
    """

    code: str = ""
    nested: bool = False
    is_echo: bool = False
    message_id: str | None = None
    index: int | None = None
    text: str = ""

    @property
    def is_success(self) -> bool:
        """Whether it reports a success."""
        return self.code == Code.SUCCESS

    @property
    def is_error(self) -> bool:
        """Whether it reports an error."""
        return bool(self.code) and not self.is_success


class AnswerShape(msgspec.Struct, frozen=True):
    """The shape of an answer.

    Args:
        status: HTTP status.
        call_error: single object that refuses the whole call; None if there is none.
        entries: the entries of the emails, in order; empty if there is no list of emails.
    """

    status: int
    call_error: EntryShape | None = None
    entries: tuple[EntryShape, ...] = ()

    @property
    def codes(self) -> tuple[str, ...]:
        """The different codes of the answer, in order of appearance."""
        entries = self.entries if self.call_error is None else (self.call_error,)
        return tuple(dict.fromkeys(entry.code for entry in entries if entry.code))


def parse_shape(answer: Answer) -> AnswerShape:
    """Return the shape of the answer to a link or unlink call."""
    content = answer.content
    emails = content.get("Emails") if isinstance(content, dict) else None
    if isinstance(emails, list):
        return AnswerShape(answer.status, entries=tuple(map(_entry, emails)))
    code = visible_code(parse_refusal(answer).code)
    error = msgspec.structs.replace(_entry(content), code=code, nested=False) if code else None
    return AnswerShape(answer.status, error)


def visible_code(code: str) -> str:
    """Return a code of Zoho's; `?` for a text that does not look like one."""
    return code if not code or _CODE.fullmatch(code) else "?"


def _entry(item: Any) -> EntryShape:
    nested = isinstance(item, list)
    first = (item[0] if item else None) if isinstance(item, list) else item
    if not isinstance(first, dict):
        return EntryShape(nested=nested)
    details = first.get("details")
    details = details if isinstance(details, dict) else {}
    code, path, text = first.get("code"), details.get("json_path"), first.get("message")
    match = _INDEX.match(path) if isinstance(path, str) else None
    return EntryShape(
        visible_code(code) if isinstance(code, str) else "",
        nested,
        "code" not in first and isinstance(first.get("linked_record"), dict),
        parse_id(details.get("message_id")),
        int(match[1]) if match else None,
        text if isinstance(text, str) else "",
    )
