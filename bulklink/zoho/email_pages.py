"""Pages of a contact's emails: what a page says, and where each email is."""

from __future__ import annotations

from typing import Any

import msgspec

from bulklink.zoho.http import Answer
from bulklink.zoho.link_response import json_of, text_id


class Deal(msgspec.Struct, frozen=True):
    """A deal that an email is on; the name is None where the CRM tells none."""

    id: str
    name: str | None = None


class Page(msgspec.Struct, frozen=True):
    """One page of a contact's emails.

    `links` holds the deal of each email that the page lists, None for an email on no deal. An
    email whose link the page does not tell is left out, as if it were not listed.
    `next_index` asks for the next page and is None on the last.
    """

    links: dict[str, Deal | None]
    next_index: str | None = None


def read_page(answer: Answer) -> Page | None:
    """Read one page; None where the answer is no page of emails. 204 means no emails."""
    if answer.status == 204:
        return Page({})
    content = emails_of(answer)
    if content is None:
        return None
    return Page(_links(content["Emails"]), next_index_of(content.get("info")))


def emails_of(answer: Answer) -> dict[str, Any] | None:
    """Return the content of a page, with the list `Emails` in it; None where it is no page."""
    content = json_of(answer.body)
    if answer.ok and isinstance(content, dict) and isinstance(content.get("Emails"), list):
        return content
    return None


def _links(emails: list[Any]) -> dict[str, Deal | None]:
    links: dict[str, Deal | None] = {}
    for email in emails:
        message_id = text_id(email.get("message_id")) if isinstance(email, dict) else None
        deal = link_of(email) if message_id is not None else msgspec.UNSET
        if message_id is not None and deal is not msgspec.UNSET:
            links[message_id] = deal
    return links


def link_of(email: dict[str, Any]) -> Deal | msgspec.UnsetType | None:
    """Return the deal an email of a page is on, None for no deal, UNSET where it is not told."""
    if "linked_record" not in email:
        return msgspec.UNSET
    record = email["linked_record"]
    return None if record is None else _deal(record) or msgspec.UNSET


def _deal(record: Any) -> Deal | None:
    if not isinstance(record, dict):
        return None
    deal_id, name, module = text_id(record.get("id")), record.get("name"), record.get("module")
    if isinstance(module, dict) and module.get("api_name", "Deals") != "Deals":
        return None
    return Deal(deal_id, name if isinstance(name, str) else None) if deal_id else None


def next_index_of(info: Any) -> str | None:
    """Return what asks for the next page, by the `info` of this one; None on the last."""
    if not isinstance(info, dict) or info.get("more_records") is not True:
        return None
    return text_id(info.get("next_index"))


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
