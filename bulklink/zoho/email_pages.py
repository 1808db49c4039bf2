"""Reading links back: what a page of a contact's emails says of the deal each email is on."""

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
