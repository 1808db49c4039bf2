"""Decoder for the body of most answers to links and unlinks: successes and nothing else."""

from __future__ import annotations

from typing import Literal

import msgspec


class SuccessDetails(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Details of a success.

    Args:
        message_id: id of the message that was linked or unlinked.
    """

    message_id: str


class SuccessEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The success of one message.

    Args:
        code: Zoho's code.
        status: Zoho's status.
        message: Zoho's text.
        details: the message.
    """

    code: Literal["SUCCESS"]
    status: Literal["success"]
    message: str
    details: SuccessDetails


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    entries: list[SuccessEntry] = msgspec.field(name="Emails")


_decode = msgspec.json.Decoder(_Body).decode


def decode_success_entries(body: bytes) -> list[SuccessEntry] | None:
    """Return the entries of a body that has nothing but successes of messages; else None."""
    try:
        return _decode(body).entries
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
