"""Parsers for pages of a contact's emails, with only the links or all fields."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec

from bulklink.zoho.http import Answer
from bulklink.zoho.link_response import MAX_NAME_LENGTH, parse_id, parse_name, parse_text
from bulklink.zoho.page_info import EMAILS_PER_PAGE, may_have_more

_MAX_INDEX_LENGTH = 2000
"""Maximum characters of a page index, which becomes part of an address."""
_MAX_TIME_LENGTH = 100
_MAX_SUMMARY_LENGTH = 1_000
_MAX_LABEL_LENGTH = 100
"""Maximum characters of a source or an intent, which are words of Zoho's."""
_MAX_ADDRESS_LENGTH = 320
MAX_ADDRESSES = 100
"""Maximum addresses kept of one list of recipients."""


class LinkedDeal(msgspec.Struct, frozen=True):
    """The deal an email is linked to, as reported by the page of emails.

    `lookup_responses.DealDetails` is a deal as the deals endpoint reports it.

    Args:
        id: id of the deal.
        name: name of the deal; None if the CRM reports none that can be sent.
    """

    id: str
    name: str | None = None


class LinksPage(msgspec.Struct, frozen=True):
    """One page of a contact's links.

    An email whose link the page does not report, or of which it reports several, is left out, as if
    it were not listed.

    Args:
        links: deal of each email by message id; None for no deal.
        next_index: index of the next page; None on the last.
        truncated: whether there are, or may be, more emails but no index to request them.
    """

    links: dict[str, LinkedDeal | None]
    next_index: str | None = None
    truncated: bool = False

    @property
    def message_ids(self) -> Collection[str]:
        """Ids of the emails listed."""
        return self.links.keys()


def parse_links_page(answer: Answer) -> LinksPage | None:
    """Parse the links of a page; None if the answer is not a page of emails.

    HTTP 204 means no emails.
    """
    if answer.status == 204:
        return LinksPage({})
    content = _parse_emails(answer)
    if content is None:
        return None
    return LinksPage(_links(content["Emails"]), *_next_page(content))


def _next_page(content: dict[str, Any]) -> tuple[str | None, bool]:
    """Return the index of the next page, and whether there may be one without an index."""
    next_index = _parse_next_index(content.get("info"))
    more = may_have_more(content, len(content["Emails"]), EMAILS_PER_PAGE)
    return next_index, more and next_index is None


def _parse_emails(answer: Answer) -> dict[str, Any] | None:
    """Return the content of a page, including its `Emails` list; None if it is not a page."""
    content = answer.content
    if answer.ok and isinstance(content, dict) and isinstance(content.get("Emails"), list):
        return content
    return None


def _links(emails: list[Any]) -> dict[str, LinkedDeal | None]:
    links: dict[str, LinkedDeal | None] = {}
    contradicted: set[str] = set()
    for email in emails:
        message_id = parse_id(email.get("message_id")) if isinstance(email, dict) else None
        deal = _parse_link(email) if message_id is not None else msgspec.UNSET
        if message_id is not None and deal is not msgspec.UNSET:
            first = links.setdefault(message_id, deal)
            if (first and first.id) != (deal and deal.id):
                contradicted.add(message_id)
    return {
        message_id: deal for message_id, deal in links.items() if message_id not in contradicted
    }


def _parse_link(email: dict[str, Any]) -> LinkedDeal | msgspec.UnsetType | None:
    """Return the deal of an email, None for no deal, UNSET if the page does not report it."""
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
    return LinkedDeal(deal_id, parse_name(name)) if deal_id else None


def _parse_next_index(info: Any) -> str | None:
    """Return the index of the next page from the `info` of this one; None on the last."""
    if not isinstance(info, dict) or info.get("more_records") is not True:
        return None
    index = info.get("next_index")
    return parse_text(index, _MAX_INDEX_LENGTH) if isinstance(index, str) else parse_id(index)


class ListedEmail(msgspec.Struct, frozen=True):
    """An email as listed on a page; a field that the page does not report is None.

    Args:
        message_id: id of the email.
        owner_id: id of the user who owns it.
        owner_name: name of that user.
        deal: its deal, None for no deal, UNSET if the page does not report it.
        subject: subject of the email.
        time: time as Zoho writes it.
        received: True for a received email, False for a sent one.
        from_name: name of the sender, up to 255 characters.
        from_address: address of the sender.
        to_addresses: addresses of the recipients, up to 100.
        cc_addresses: addresses of the recipients of a copy, up to 100.
        source: how the email came into the CRM, as Zoho calls it.
        summary: Zoho's summary, up to 1,000 characters.
        has_attachment: whether it has an attachment.
        intent: intent that Zoho detected: request, query, purchase, …
    """

    message_id: str
    owner_id: str | None = None
    owner_name: str | None = None
    deal: LinkedDeal | msgspec.UnsetType | None = msgspec.UNSET
    subject: str | None = None
    time: str | None = None
    received: bool | None = None
    from_name: str | None = None
    from_address: str | None = None
    to_addresses: tuple[str, ...] = ()
    cc_addresses: tuple[str, ...] = ()
    source: str | None = None
    summary: str | None = None
    has_attachment: bool | None = None
    intent: str | None = None


class EmailListPage(msgspec.Struct, frozen=True):
    """One page of a contact's emails.

    Args:
        emails: the emails in the order of the page.
        nameless: number of entries without a message id, which cannot be linked.
        truncated: whether there are, or may be, more emails but no index to request them.
        next_index: index of the next page; None on the last.
    """

    emails: tuple[ListedEmail, ...]
    nameless: int = 0
    truncated: bool = False
    next_index: str | None = None

    @property
    def message_ids(self) -> Collection[str]:
        """Ids of the emails listed."""
        return [email.message_id for email in self.emails]


def parse_email_list(answer: Answer) -> EmailListPage | None:
    """Parse the emails of a page; None if the answer is not a page of emails.

    HTTP 204 means no emails.
    """
    if answer.status == 204:
        return EmailListPage(())
    content = _parse_emails(answer)
    if content is None:
        return None
    entries = content["Emails"]
    emails = tuple(email for email in map(_email, entries) if email is not None)
    next_index, truncated = _next_page(content)
    return EmailListPage(emails, len(entries) - len(emails), truncated, next_index)


class EmailDetails(msgspec.Struct, frozen=True):
    """What the look-up of a single email reports.

    Args:
        message_id: id of the email.
        thread_id: id of its conversation; None if the CRM reports none.
        deal: its deal, None for no deal, UNSET if the look-up does not report it.
    """

    message_id: str
    thread_id: str | None = None
    deal: LinkedDeal | msgspec.UnsetType | None = msgspec.UNSET


def parse_email_details(answer: Answer, message_id: str) -> EmailDetails | None:
    """Parse a single email; None if the answer is not about this email.

    Zoho's samples have a list of one email under `Emails`; a single object is accepted too.
    """
    content = answer.content
    emails = content.get("Emails") if answer.ok and isinstance(content, dict) else None
    for entry in emails if isinstance(emails, list) else [emails]:
        if isinstance(entry, dict) and parse_id(entry.get("message_id")) == message_id:
            return EmailDetails(message_id, parse_id(entry.get("thread_id")), _parse_link(entry))
    return None


def _email(entry: Any) -> ListedEmail | None:
    message_id = parse_id(entry.get("message_id")) if isinstance(entry, dict) else None
    if message_id is None:
        return None
    owner = entry.get("owner")
    owner = owner if isinstance(owner, dict) else {}
    sent, has_attachment = entry.get("sent"), entry.get("has_attachment")
    from_name, from_address = _sender(entry.get("from"))
    return ListedEmail(
        message_id,
        owner_id=parse_id(owner.get("id")),
        owner_name=parse_name(owner.get("name")),
        deal=_parse_link(entry),
        subject=parse_text(entry.get("subject")),
        time=parse_text(entry.get("time"), _MAX_TIME_LENGTH),
        received=not sent if isinstance(sent, bool) else None,
        from_name=from_name,
        from_address=from_address,
        to_addresses=_addresses(entry.get("to")),
        cc_addresses=_addresses(entry.get("cc")),
        source=parse_text(entry.get("source"), _MAX_LABEL_LENGTH),
        summary=_cut(entry.get("summary"), _MAX_SUMMARY_LENGTH),
        has_attachment=has_attachment if isinstance(has_attachment, bool) else None,
        intent=parse_text(entry.get("intent"), _MAX_LABEL_LENGTH),
    )


def _sender(value: Any) -> tuple[str | None, str | None]:
    """Return name and address of a sender, an object `{user_name, email}`."""
    sender = value[0] if isinstance(value, list) and value else value
    name = sender.get("user_name") if isinstance(sender, dict) else None
    return _cut(name, MAX_NAME_LENGTH), _address(sender)


def _addresses(value: Any) -> tuple[str, ...]:
    """Return the addresses of a list of recipients; a single one may stand in place of a list."""
    recipients = value[:MAX_ADDRESSES] if isinstance(value, list) else [value]
    return tuple(address for item in recipients if (address := _address(item)) is not None)


def _address(value: Any) -> str | None:
    address = value.get("email") if isinstance(value, dict) else value
    return parse_text(address, _MAX_ADDRESS_LENGTH)


def _cut(value: Any, max_length: int) -> str | None:
    """Return the start of a text that is only shown or compared."""
    text = parse_text(value)
    return None if text is None else text[:max_length]
