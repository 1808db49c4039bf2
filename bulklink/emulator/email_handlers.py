"""Handlers of the calls that list a contact's emails or show one email."""

from __future__ import annotations

import base64
import binascii

from bulklink.emulator.context import ApiRequest, CallContext, HandlerResult, refuse
from bulklink.emulator.errors import Problem, param_problem, path_problem
from bulklink.emulator.faults import FaultKind, is_hidden
from bulklink.emulator.http import NO_CONTENT, json_answer
from bulklink.emulator.routing import DEALS_MODULE
from bulklink.emulator.state import ContactView
from bulklink.emulator.world import Email, Participant, World
from bulklink.zoho.error_codes import Code

CONTACT_EMAILS_PER_PAGE = 10
FIRST_INDEX = "0"
_TYPES = ("sent_from_crm", "scheduled_in_crm", "drafts", "user_emails")


def handle_emails(context: CallContext, api_request: ApiRequest) -> HandlerResult:
    """Answer with ten emails of a contact, newest first."""
    problem = _query_problem(context, api_request) or _mailbox_problem(context, api_request)
    if problem:
        return refuse(problem)
    view = _contact_view(context, api_request.call.record_id)
    matching = _filter_emails(context, view.mailbox.emails, api_request)
    start = decode_index(api_request.query.get("index", FIRST_INDEX), len(matching))
    if start is None:
        return refuse(param_problem(Code.INVALID_DATA, "index"))
    page = matching[start : start + CONTACT_EMAILS_PER_PAGE]
    if not page:
        return HandlerResult(NO_CONTENT)
    entries = [email_entry(email, view, context.world) for email in page]
    return HandlerResult(
        json_answer({"Emails": entries, "info": _page_info(start, len(page), len(matching))})
    )


def _query_problem(context: CallContext, api_request: ApiRequest) -> Problem | None:
    kind, owner_id = api_request.query.get("type"), api_request.query.get("owner_id")
    if kind is not None and kind not in _TYPES:
        return param_problem(Code.INVALID_DATA, "type")
    if owner_id is not None and (kind != "user_emails" or owner_id not in context.world.users):
        return param_problem(Code.INVALID_DATA, "owner_id")
    return None


def _mailbox_problem(context: CallContext, api_request: ApiRequest) -> Problem | None:
    """Return the problem if the requested mailbox cannot be synchronised, or None."""
    is_broken = api_request.query.get("owner_id") in context.settings.broken_mailboxes
    return Problem(Code.CANNOT_PROCESS) if is_broken else None


def _contact_view(context: CallContext, contact_id: str) -> ContactView:
    """Return the contact's emails as this call sees them, which a fault may make stale."""
    staleness = sum(fault.duration for fault in context.faults if fault.kind == FaultKind.STALE)
    if not staleness:
        return context.state.view(contact_id)
    return context.state.view_at(contact_id, context.now - staleness)


def _filter_emails(
    context: CallContext, emails: tuple[Email, ...], api_request: ApiRequest
) -> tuple[Email, ...]:
    """Return the emails that match the query; all are synchronised from users' mailboxes."""
    if api_request.query.get("type", "user_emails") != "user_emails":
        return ()
    owner_id = api_request.query.get("owner_id")
    if owner_id is not None:
        emails = tuple(email for email in emails if email.owner_id == owner_id)
    for fault in context.faults:
        if fault.kind == FaultKind.HIDDEN:
            emails = tuple(email for email in emails if not is_hidden(fault, email.message_id))
    return emails


def _page_info(start: int, count: int, total: int) -> dict[str, object]:
    has_more = start + count < total
    previous = (
        encode_index(max(0, start - CONTACT_EMAILS_PER_PAGE), total)
        if start > CONTACT_EMAILS_PER_PAGE
        else FIRST_INDEX
    )
    return {
        "per_page": CONTACT_EMAILS_PER_PAGE,
        "count": count,
        "next_index": encode_index(start + count, total) if has_more else None,
        "prev_index": previous,
        "more_records": has_more,
    }


def encode_index(start: int, total: int) -> str:
    """Return the index of a position, counted from the oldest: new emails do not shift it."""
    return base64.urlsafe_b64encode(f"o{total - start}".encode()).decode().rstrip("=")


def decode_index(index: str, total: int) -> int | None:
    """Return the position that `index` stands for, or None if it is not valid."""
    if index == FIRST_INDEX:
        return 0
    try:
        text = base64.urlsafe_b64decode(index + "=" * (-len(index) % 4)).decode("ascii")
    except (binascii.Error, ValueError):
        return None
    if not (text.startswith("o") and text[1:].isdigit()):
        return None
    return max(0, total - int(text[1:]))


def email_entry(email: Email, view: ContactView, world: World) -> dict[str, object]:
    """Return the list entry of an email, with every key of the published sample."""
    user, details = world.users[email.owner_id], email.known_details
    return {
        "cc": _people_entries(details.cc),
        "summary": details.summary,
        "owner": {"name": user.full_name, "id": user.id},
        "read": True,
        "subject": email.subject,
        "message_id": email.message_id,
        "has_attachment": bool(details.has_attachment),
        "has_thread_attachment": bool(details.has_attachment),
        "source": details.source or "imap",
        "sent": not email.received,
        "intent": details.intent,
        "sentiment_info": None,
        "linked_record": _linked_record(view.deal_of(email), world),
        "emotion": None,
        **_sender_and_recipients(email, world),
        "time": email.time,
        "status": [{"type": "received" if email.received else "sent"}],
        "activity_info": None,
    }


def _sender_and_recipients(email: Email, world: World) -> dict[str, object]:
    """Return who the world says, or else the contact and the owner of the mailbox."""
    user, contact = world.users[email.owner_id], world.contacts[email.contact_id]
    people = [Participant(contact.email, contact.name), Participant(user.email, user.full_name)]
    sender, recipient = people if email.received else reversed(people)
    details = email.known_details
    return {
        "from": _person_entry(details.sender or sender),
        "to": _people_entries((recipient,) if details.to is None else details.to),
    }


def _person_entry(person: Participant) -> dict[str, object]:
    return {"user_name": person.user_name, "email": person.email}


def _people_entries(people: tuple[Participant, ...] | None) -> list[dict[str, object]] | None:
    return None if people is None else [_person_entry(person) for person in people]


def _linked_record(deal_id: str | None, world: World) -> dict[str, object] | None:
    if deal_id is None:
        return None
    module = {"api_name": DEALS_MODULE, "id": world.module_id}
    return {"id": deal_id, "name": world.deals[deal_id].name, "module": module}


def handle_email(context: CallContext, api_request: ApiRequest) -> HandlerResult:
    """Answer with one email and its content, and no link unless the settings say so."""
    view = _contact_view(context, api_request.call.record_id)
    email = view.mailbox.by_id.get(api_request.call.message_id or "")
    if email is None:
        return refuse(path_problem(3))
    entry = email_entry(email, view, context.world)
    if context.settings.single_view == "hidden":
        del entry["linked_record"]
    content = f"<p>{email.subject}</p>"
    entry |= {"content": content, "mail_format": "html", "attachments": [], "reply_to": None}
    if email.known_details.thread_id is not None:
        entry["thread_id"] = email.known_details.thread_id
    return HandlerResult(json_answer({"Emails": [entry]}))
