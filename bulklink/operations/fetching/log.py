"""Log of a fetch: a line for each email as it was listed, and for each contact that was read."""

from __future__ import annotations

import msgspec

from bulklink.ledger.records import Count, json_line
from bulklink.models import NO_DEAL
from bulklink.zoho.email_pages import ListedEmail
from bulklink.zoho.link_response import AnswerVerdict

_MAX_SUBJECT_LENGTH = 32_767
"""Characters: the limit of a spreadsheet cell."""


def email_line(
    contact_number: int, invocation: int, position: int, contact_id: str, email: ListedEmail
) -> bytes:
    """Return the line of one email.

    Args:
        contact_number: number of its contact, from 0.
        invocation: number of the command; lines of a command killed amid the contact do not count.
        position: position of the email in the contact's list, from 0.
        contact_id: id of the contact.
        email: the email as it was listed.
    """
    # An email on no deal has `none` as its guard: an empty cell would guard nothing.
    deal = email.deal
    known_deal = deal if deal is not msgspec.UNSET else None
    direction = {True: "received", False: "sent", None: None}[email.received]
    return json_line(
        {
            "event": "email",
            "n": contact_number,
            "life": invocation,
            "place": position,
            "contact_id": contact_id,
            "owner_id": email.owner_id,
            "owner_name": email.owner_name,
            "message_id": email.message_id,
            "from_deal_id": NO_DEAL if deal is None else known_deal.id if known_deal else None,
            "from_deal_name": known_deal.name if known_deal else None,
            "subject": (email.subject or "")[:_MAX_SUBJECT_LENGTH] or None,
            "time": email.time,
            "direction": direction,
        }
    )


def contact_line(contact_number: int, invocation: int, nameless: int) -> bytes:
    """Return the line that ends a contact; `nameless` of its emails have no message id."""
    return json_line(
        {"event": "contact", "n": contact_number, "life": invocation, "nameless": nameless}
    )


def unread_line(
    contact_number: int, invocation: int, contact_id: str, verdict: AnswerVerdict
) -> bytes:
    """Return the line of a contact that could not be read."""
    fields = {"contact_id": contact_id, "code": verdict.code, "message": verdict.text}
    return json_line({"event": "unread", "n": contact_number, "life": invocation, **fields})


class FetchLine(msgspec.Struct):
    """Types of all fields of a line."""

    event: str
    n: Count = 0
    life: Count = 0
    place: Count = 0
    nameless: Count = 0
    contact_id: str | None = None
    owner_id: str | None = None
    owner_name: str | None = None
    message_id: str | None = None
    from_deal_id: str | None = None
    from_deal_name: str | None = None
    subject: str | None = None
    time: str | None = None
    direction: str | None = None
