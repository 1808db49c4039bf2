"""Log of a fetch: what the CRM showed of the selection, and the emails of each contact."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bulklink.ledger.records import Count, json_line
from bulklink.models import NO_DEAL
from bulklink.zoho.coql import DealRow
from bulklink.zoho.email_pages import ListedEmail
from bulklink.zoho.link_response import AnswerVerdict
from bulklink.zoho.lookup_responses import DealDetails

MAX_CELL_CHARACTERS = 32_767
"""Characters: the limit of a spreadsheet cell."""
_FLAGS = {True: "true", False: "false", None: None}


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
            "subject": (email.subject or "")[:MAX_CELL_CHARACTERS] or None,
            "time": email.time,
            "direction": direction,
            "from_address": email.from_address,
            "from_name": email.from_name,
            "to_addresses": _join(email.to_addresses),
            "cc_addresses": _join(email.cc_addresses),
            "source": email.source,
            "summary": (email.summary or "")[:MAX_CELL_CHARACTERS] or None,
            "has_attachment": _FLAGS[email.has_attachment],
            "intent": email.intent,
        }
    )


def _join(addresses: Sequence[str]) -> str | None:
    return "; ".join(addresses)[:MAX_CELL_CHARACTERS] or None


def candidate_line(
    contact_number: int,
    invocation: int,
    position: int,
    contact_id: str,
    deal: DealRow,
) -> bytes:
    """Return the line of a deal that the emails of a contact may belong to.

    Args:
        contact_number: number of the contact, from 0.
        invocation: number of the command.
        position: position of the deal in the contact's list, from 0.
        contact_id: id of the contact; a deal of another contact is listed for its role.
        deal: the deal as it was listed.
    """
    return json_line(
        {
            "event": "candidate",
            "n": contact_number,
            "life": invocation,
            "place": position,
            "deal_id": deal.id,
            "deal_name": deal.name,
            "stage": deal.stage,
            "by_role": None if deal.contact_id is None else deal.contact_id != contact_id,
        }
    )


def selected_line(selector: str, value: str | None, contact_id: str) -> bytes:
    """Return the line of a contact that a request or a condition selects.

    Args:
        selector: `address`, `name`, or a condition such as `contacts-where:0`.
        value: the address or the name that selects it; None for a condition.
        contact_id: id of the contact.
    """
    return json_line(
        {"event": "selected", "selector": selector, "value": value, "contact_id": contact_id}
    )


def deal_line(selector: str, deal: DealRow | DealDetails) -> bytes:
    """Return the line of a deal whose contacts are selected.

    Args:
        selector: `deal` for named deals, or a condition such as `deals-where:0`.
        deal: the deal.
    """
    return json_line(
        {
            "event": "deal",
            "selector": selector,
            "deal_id": deal.id,
            "deal_name": deal.name,
            "stage": deal.stage,
            "contact_id": deal.contact_id,
        }
    )


def role_line(deal_id: str, contact_id: str) -> bytes:
    """Return the line of a contact that has a role on a deal."""
    return json_line({"event": "role", "deal_id": deal_id, "contact_id": contact_id})


def roles_line(deal_id: str, verdict: AnswerVerdict | None) -> bytes:
    """Return the line that ends the roles of a deal; `verdict` says why they cannot be read."""
    failure = {} if verdict is None else {"code": verdict.shown_code, "message": verdict.text}
    return json_line({"event": "roles", "deal_id": deal_id, **failure})


def queried_line(query: str, after: str, *, done: bool) -> bytes:
    """Return the line that follows the rows of a page.

    Args:
        query: key of the query, such as `deals-where:0` or `address:12`.
        after: last id of the page.
        done: whether the query has no further page.
    """
    return json_line({"event": "queried", "query": query, "after": after, "done": done})


def contact_line(contact_number: int, invocation: int, nameless: int) -> bytes:
    """Return the line that ends a contact; `nameless` of its emails have no message id."""
    return json_line(
        {"event": "contact", "n": contact_number, "life": invocation, "nameless": nameless}
    )


def unread_line(
    contact_number: int, invocation: int, contact_id: str, verdict: AnswerVerdict
) -> bytes:
    """Return the line of a contact that could not be read."""
    fields = {"contact_id": contact_id, "code": verdict.shown_code, "message": verdict.text}
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
    from_address: str | None = None
    from_name: str | None = None
    to_addresses: str | None = None
    cc_addresses: str | None = None
    source: str | None = None
    summary: str | None = None
    has_attachment: str | None = None
    intent: str | None = None
    deal_id: str | None = None
    deal_name: str | None = None
    stage: str | None = None
    by_role: bool | None = None
    selector: str | None = None
    value: str | None = None
    query: str | None = None
    after: str | None = None
    done: bool = False
    code: str | None = None
    message: str | None = None
