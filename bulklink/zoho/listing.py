"""Reading a contact's emails for a person: what each is, and the deal it is on."""

from __future__ import annotations

from typing import Any

import msgspec

from bulklink.zoho.email_pages import Deal, emails_of, link_of, next_index_of
from bulklink.zoho.http import Answer
from bulklink.zoho.link_response import text_id


class ListedEmail(msgspec.Struct, frozen=True):
    """An email as a list shows it; None where the list does not tell.

    `deal` is UNSET where the list does not tell whether it is on a deal, None where it is on none.
    `received` tells its direction, `time` is as Zoho writes it.
    """

    message_id: str
    owner_id: str | None = None
    owner_name: str | None = None
    deal: Deal | msgspec.UnsetType | None = msgspec.UNSET
    subject: str | None = None
    time: str | None = None
    received: bool | None = None


class Listing(msgspec.Struct, frozen=True):
    """One page of a contact's emails.

    `nameless` counts entries without a message id, of which nothing can be done. `cut` tells that
    there is more, and no way to ask for it. `next_index` asks for the next page.
    """

    emails: tuple[ListedEmail, ...]
    nameless: int = 0
    cut: bool = False
    next_index: str | None = None


def read_listing(answer: Answer) -> Listing | None:
    """Read one page; None where the answer is no page of emails. 204 means no emails."""
    if answer.status == 204:
        return Listing(())
    content = emails_of(answer)
    if content is None:
        return None
    entries = content["Emails"]
    emails = tuple(email for email in map(_email, entries) if email is not None)
    info = content.get("info")
    following = next_index_of(info)
    more = isinstance(info, dict) and info.get("more_records") is True
    return Listing(emails, len(entries) - len(emails), more and following is None, following)


def _email(entry: Any) -> ListedEmail | None:
    message_id = text_id(entry.get("message_id")) if isinstance(entry, dict) else None
    if message_id is None:
        return None
    owner = entry.get("owner")
    owner = owner if isinstance(owner, dict) else {}
    sent = entry.get("sent")
    return ListedEmail(
        message_id,
        owner_id=text_id(owner.get("id")),
        owner_name=_text(owner.get("name")),
        deal=link_of(entry),
        subject=_text(entry.get("subject")),
        time=_text(entry.get("time")),
        received=not sent if isinstance(sent, bool) else None,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
