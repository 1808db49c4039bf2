"""Parser for the one answer that most calls get: success for every message, in order.

It accepts less than `link_response`, and what it accepts `link_response` reads alike. Anything else
is left to that module.
"""

from __future__ import annotations

from collections.abc import Sequence

from bulklink.zoho.http import Answer
from bulklink.zoho.link_response import MAX_TEXT_LENGTH

_OK = 200


def parse_plain_success(message_ids: Sequence[str], answer: Answer) -> str | None:
    """Return the text of an answer that reports success for each message, in order, in one text.

    Args:
        message_ids: message ids in the order of the request.
        answer: the answer as received.

    Returns:
        Zoho's message with secrets masked, up to 300 characters; None if the answer is not plain.
    """
    entries = answer.success_entries
    if answer.status != _OK or not entries:
        return None
    if [entry.details.message_id for entry in entries] != message_ids:
        return None
    text = entries[0].message
    if {entry.message for entry in entries} != {text}:
        return None
    return answer.mask(text[: 2 * MAX_TEXT_LENGTH])[:MAX_TEXT_LENGTH]
