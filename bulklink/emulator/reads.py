"""Reading emails: the list of a contact, and one email."""

from __future__ import annotations

import base64
import binascii

from bulklink.emulator.desk import Asked, Desk, Reply, refuse
from bulklink.emulator.errors import Problem, at_param, at_path
from bulklink.emulator.faults import FaultKind, is_hidden
from bulklink.emulator.state import ContactView
from bulklink.emulator.wire import NO_CONTENT, json_answer
from bulklink.emulator.world import Email, World
from bulklink.zoho.error_codes import Code

PER_PAGE = 10
FIRST_INDEX = "0"
_TYPES = ("sent_from_crm", "scheduled_in_crm", "drafts", "user_emails")


def emails(desk: Desk, asked: Asked) -> Reply:
    """Answer ten emails of a contact, newest first."""
    problem = _query_problem(desk, asked) or _mailbox_problem(desk, asked)
    if problem:
        return refuse(problem)
    view = _seen(desk, asked.call.record_id)
    chosen = _chosen(desk, view.mailbox.emails, asked)
    start = read_index(asked.query.get("index", FIRST_INDEX), len(chosen))
    if start is None:
        return refuse(at_param(Code.INVALID_DATA, "index"))
    page = chosen[start : start + PER_PAGE]
    if not page:
        return Reply(NO_CONTENT)
    shapes = [email_shape(email, view, desk.world) for email in page]
    return Reply(json_answer({"Emails": shapes, "info": _info(start, len(page), len(chosen))}))


def _query_problem(desk: Desk, asked: Asked) -> Problem | None:
    kind, owner_id = asked.query.get("type"), asked.query.get("owner_id")
    if kind is not None and kind not in _TYPES:
        return at_param(Code.INVALID_DATA, "type")
    if owner_id is not None and (kind != "user_emails" or owner_id not in desk.world.users):
        return at_param(Code.INVALID_DATA, "owner_id")
    return None


def _mailbox_problem(desk: Desk, asked: Asked) -> Problem | None:
    """A mailbox whose sync is broken cannot be read on its own."""
    broken = asked.query.get("owner_id") in desk.settings.broken_mailboxes
    return Problem(Code.CANNOT_PROCESS) if broken else None


def _seen(desk: Desk, contact_id: str) -> ContactView:
    """Return the contact's emails as this call sees them: as they are, or as they were."""
    ago = sum(fault.lasts for fault in desk.faults if fault.kind == FaultKind.STALE)
    if not ago:
        return desk.state.view(contact_id)
    return desk.state.view_at(contact_id, desk.now - ago)


def _chosen(desk: Desk, emails: tuple[Email, ...], asked: Asked) -> tuple[Email, ...]:
    """Choose by the query; every email of a world is a user's, from the mailbox sync."""
    if asked.query.get("type", "user_emails") != "user_emails":
        return ()
    owner_id = asked.query.get("owner_id")
    if owner_id is not None:
        emails = tuple(email for email in emails if email.owner_id == owner_id)
    for fault in desk.faults:
        if fault.kind == FaultKind.HIDDEN:
            emails = tuple(email for email in emails if not is_hidden(fault, email.message_id))
    return emails


def _info(start: int, count: int, total: int) -> dict[str, object]:
    more = start + count < total
    previous = make_index(max(0, start - PER_PAGE), total) if start > PER_PAGE else FIRST_INDEX
    return {
        "per_page": PER_PAGE,
        "count": count,
        "next_index": make_index(start + count, total) if more else None,
        "prev_index": previous,
        "more_records": more,
    }


def make_index(start: int, total: int) -> str:
    """Name a place in a list. It counts from the oldest email: new ones do not shift it."""
    return base64.urlsafe_b64encode(f"o{total - start}".encode()).decode().rstrip("=")


def read_index(index: str, total: int) -> int | None:
    """Return the place that `index` names, or None where it was not made here."""
    if index == FIRST_INDEX:
        return 0
    try:
        text = base64.urlsafe_b64decode(index + "=" * (-len(index) % 4)).decode("ascii")
    except (binascii.Error, ValueError):
        return None
    if not (text.startswith("o") and text[1:].isdigit()):
        return None
    return max(0, total - int(text[1:]))


def email_shape(email: Email, view: ContactView, world: World) -> dict[str, object]:
    """Return an email as the list shows it, with every key of the published sample."""
    user = world.users[email.owner_id]
    owner_end = {"user_name": user.full_name, "email": user.email}
    contact = world.contacts[email.contact_id]
    contact_end = {"user_name": contact.name, "email": contact.email}
    return {
        "cc": None,
        "summary": None,
        "owner": {"name": user.full_name, "id": user.id},
        "read": True,
        "subject": email.subject,
        "message_id": email.message_id,
        "has_attachment": False,
        "has_thread_attachment": False,
        "source": "imap",
        "sent": not email.received,
        "intent": None,
        "sentiment_info": None,
        "linked_record": _linked_record(view.deal_of(email), world),
        "emotion": None,
        "from": contact_end if email.received else owner_end,
        "to": [owner_end if email.received else contact_end],
        "time": email.time,
        "status": [{"type": "received" if email.received else "sent"}],
        "activity_info": None,
    }


def _linked_record(deal_id: str | None, world: World) -> dict[str, object] | None:
    if deal_id is None:
        return None
    module = {"api_name": "Deals", "id": world.module_id}
    return {"id": deal_id, "name": world.deals[deal_id].name, "module": module}


def email(desk: Desk, asked: Asked) -> Reply:
    """Answer one email with its content; the published sample of it shows no link."""
    view = _seen(desk, asked.call.record_id)
    found = view.mailbox.by_id.get(asked.call.message_id or "")
    if found is None:
        return refuse(at_path(3))
    shape = email_shape(found, view, desk.world)
    del shape["linked_record"]
    content = f"<p>{found.subject}</p>"
    shape |= {"content": content, "mail_format": "html", "attachments": [], "reply_to": None}
    return Reply(json_answer({"Emails": [shape]}))
