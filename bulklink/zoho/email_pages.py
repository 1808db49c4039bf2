"""Pages of a contact's emails: what a page says, and where each email is."""

from __future__ import annotations

from typing import Any

import msgspec

from bulklink.zoho.http import Answer
from bulklink.zoho.link_response import parse_id, parse_json


class LinkedDeal(msgspec.Struct, frozen=True):
    """A deal that an email is on; the name is None where the CRM tells none."""

    id: str
    name: str | None = None


class LinksPage(msgspec.Struct, frozen=True):
    """One page of a contact's emails.

    `links` holds the deal of each email that the page lists, None for an email on no deal. An
    email whose link the page does not tell is left out, as if it were not listed.
    `next_index` asks for the next page and is None on the last.
    """

    links: dict[str, LinkedDeal | None]
    next_index: str | None = None


def parse_links_page(answer: Answer) -> LinksPage | None:
    """Read one page; None where the answer is no page of emails. 204 means no emails."""
    if answer.status == 204:
        return LinksPage({})
    content = parse_emails(answer)
    if content is None:
        return None
    return LinksPage(_links(content["Emails"]), parse_next_index(content.get("info")))


def parse_emails(answer: Answer) -> dict[str, Any] | None:
    """Return the content of a page, with the list `Emails` in it; None where it is no page."""
    content = parse_json(answer.body)
    if answer.ok and isinstance(content, dict) and isinstance(content.get("Emails"), list):
        return content
    return None


def _links(emails: list[Any]) -> dict[str, LinkedDeal | None]:
    links: dict[str, LinkedDeal | None] = {}
    for email in emails:
        message_id = parse_id(email.get("message_id")) if isinstance(email, dict) else None
        deal = parse_link(email) if message_id is not None else msgspec.UNSET
        if message_id is not None and deal is not msgspec.UNSET:
            links[message_id] = deal
    return links


def parse_link(email: dict[str, Any]) -> LinkedDeal | msgspec.UnsetType | None:
    """Return the deal an email of a page is on, None for no deal, UNSET where it is not told."""
    if "linked_record" not in email:
        return msgspec.UNSET
    record = email["linked_record"]
    return None if record is None else _deal(record) or msgspec.UNSET


def _deal(record: Any) -> LinkedDeal | None:
    if not isinstance(record, dict):
        return None
    deal_id, name, module = parse_id(record.get("id")), record.get("name"), record.get("module")
    if isinstance(module, dict) and module.get("api_name", "Deals") != "Deals":
        return None
    return LinkedDeal(deal_id, name if isinstance(name, str) else None) if deal_id else None


def parse_next_index(info: Any) -> str | None:
    """Return what asks for the next page, by the `info` of this one; None on the last."""
    if not isinstance(info, dict) or info.get("more_records") is not True:
        return None
    return parse_id(info.get("next_index"))


class ListedEmail(msgspec.Struct, frozen=True):
    """An email as a list shows it; None where the list does not tell.

    `deal` is UNSET where the list does not tell whether it is on a deal, None where it is on none.
    `received` tells its direction, `time` is as Zoho writes it.
    """

    message_id: str
    owner_id: str | None = None
    owner_name: str | None = None
    deal: LinkedDeal | msgspec.UnsetType | None = msgspec.UNSET
    subject: str | None = None
    time: str | None = None
    received: bool | None = None


class EmailListPage(msgspec.Struct, frozen=True):
    """One page of a contact's emails.

    `nameless` counts entries without a message id, of which nothing can be done. `truncated` tells
    that there is more, and no way to ask for it. `next_index` asks for the next page.
    """

    emails: tuple[ListedEmail, ...]
    nameless: int = 0
    truncated: bool = False
    next_index: str | None = None


def parse_email_list(answer: Answer) -> EmailListPage | None:
    """Read one page; None where the answer is no page of emails. 204 means no emails."""
    if answer.status == 204:
        return EmailListPage(())
    content = parse_emails(answer)
    if content is None:
        return None
    entries = content["Emails"]
    emails = tuple(email for email in map(_email, entries) if email is not None)
    info = content.get("info")
    next_index = parse_next_index(info)
    has_more = isinstance(info, dict) and info.get("more_records") is True
    return EmailListPage(
        emails, len(entries) - len(emails), has_more and next_index is None, next_index
    )


def _email(entry: Any) -> ListedEmail | None:
    message_id = parse_id(entry.get("message_id")) if isinstance(entry, dict) else None
    if message_id is None:
        return None
    owner = entry.get("owner")
    owner = owner if isinstance(owner, dict) else {}
    sent = entry.get("sent")
    return ListedEmail(
        message_id,
        owner_id=parse_id(owner.get("id")),
        owner_name=_text(owner.get("name")),
        deal=parse_link(entry),
        subject=_text(entry.get("subject")),
        time=_text(entry.get("time")),
        received=not sent if isinstance(sent, bool) else None,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
