"""Parser for the one answer that most calls get: success for every message, in order.

It accepts less than `link_response`, and what it accepts `link_response` reads alike. Anything else
is left to that module.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import msgspec
import orjson

from bulklink.decoding import json_decoder
from bulklink.zoho.http import Answer
from bulklink.zoho.link_response import MAX_TEXT_LENGTH

PLAIN_STATUS = 200
"""HTTP status of plain success."""
_PROBES = ('"a"', '"b"', '"c"')


class _Details(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    message_id: str


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    code: Literal["SUCCESS"]
    status: Literal["success"]
    message: str
    details: _Details


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    entries: list[_Entry] = msgspec.field(name="Emails")


_decode = json_decoder(_Body).decode


class _Form(NamedTuple):
    """What is around the message ids in a body, and the text of its entries."""

    head: str
    separator: str
    tail: str
    text: str

    def body(self, ids: Sequence[str]) -> bytes:
        """Return the body with these ids, given as JSON."""
        return f"{self.head}{self.separator.join(ids)}{self.tail}".encode()


@dataclass(slots=True)
class PlainSuccessParser:
    """Parses plain answers; it recognises those of the same form as the last one by comparison."""

    _form: _Form | None = field(default=None, init=False)

    def parse(self, message_ids: Sequence[str], answer: Answer) -> str | None:
        """Return the text of an answer that reports success for each message, in order.

        Args:
            message_ids: message ids in the order of the request, as JSON.
            answer: the answer as received.

        Returns:
            Zoho's message with secrets masked, up to 300 characters; None if the answer is not
            plain.
        """
        if answer.status != PLAIN_STATUS:
            return None
        if self._form is None or self._form.body(message_ids) != answer.body:
            text = _plain_text(message_ids, answer.body)
            if text is None:
                return None
            self._form = _find_form(message_ids, answer.body, text)
        else:
            text = self._form.text
        return answer.mask(text[: 2 * MAX_TEXT_LENGTH])[:MAX_TEXT_LENGTH]


def _plain_text(message_ids: Sequence[str], body: bytes) -> str | None:
    """Return the one text of a body with a success for each message, in order."""
    try:
        entries = _decode(body).entries
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if not entries or [entry.details.message_id for entry in entries] != _texts(message_ids):
        return None
    texts = {entry.message for entry in entries}
    return texts.pop() if len(texts) == 1 else None


def _texts(ids: Sequence[str]) -> list[str]:
    return [orjson.loads(value) for value in ids]


def _find_form(ids: Sequence[str], body: bytes, text: str) -> _Form | None:
    """Return the form of a plain body; None if it has too few ids, or each entry another form."""
    if len(ids) == 1:
        return None
    head, _, rest = body.decode().partition(ids[0])
    separator, _, _ = rest.partition(ids[1])
    _, _, tail = rest.rpartition(ids[-1])
    form = _Form(head, separator, tail, text)
    # An id may occur elsewhere too, such as in a text: the form must hold for any ids.
    holds = form.body(ids) == body and _plain_text(_PROBES, form.body(_PROBES)) == text
    return form if holds else None
