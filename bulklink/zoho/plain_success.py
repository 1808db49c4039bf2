"""Parser for the one answer that most calls get: success for every message, in order.

It accepts less than `link_response`, and what it accepts `link_response` reads alike. Anything else
is left to that module.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import msgspec

from bulklink.zoho.http import Answer
from bulklink.zoho.link_response import MAX_TEXT_LENGTH

_OK = 200


class _Details(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    message_id: str


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    code: Literal["SUCCESS"]
    status: Literal["success"]
    message: str
    details: _Details


class _PlainAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    entries: list[_Entry] = msgspec.field(name="Emails")


_decode = msgspec.json.Decoder(_PlainAnswer).decode


def parse_plain_success(message_ids: Sequence[str], answer: Answer) -> str | None:
    """Return the text of an answer that reports success for each message, in order, in one text.

    Args:
        message_ids: message ids in the order of the request.
        answer: the answer as received.

    Returns:
        Zoho's message with secrets masked, up to 300 characters; None if the answer is not plain.
    """
    if answer.status != _OK:
        return None
    try:
        entries = _decode(answer.body).entries
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if not entries or [entry.details.message_id for entry in entries] != message_ids:
        return None
    text = entries[0].message
    if any(entry.message != text for entry in entries):
        return None
    return answer.mask(text[: 2 * MAX_TEXT_LENGTH])[:MAX_TEXT_LENGTH]
