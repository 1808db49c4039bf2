"""Parsers for the records related to a record: contact roles of a deal, deals of a contact."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import msgspec

from bulklink.zoho.coql import DealRow, parse_deal_row, parse_record_id
from bulklink.zoho.http import Answer
from bulklink.zoho.link_response import parse_label, parse_text
from bulklink.zoho.page_info import RECORDS_PER_PAGE, ROLES_PER_PAGE, may_have_more
from bulklink.zoho.requests import ADDRESS_FIELDS

T = TypeVar("T")
_MAX_ADDRESS_LENGTH = 320


class ContactRole(msgspec.Struct, frozen=True):
    """A contact with a role on a deal.

    Args:
        contact_id: id of the contact.
        role: name of the role; None if the CRM reports none.
    """

    contact_id: str
    role: str | None = None


class RelatedPage(msgspec.Struct, Generic[T], frozen=True):
    """One page of the records related to a record.

    Args:
        items: the records by id.
        more: whether there is another page.
    """

    items: dict[str, T]
    more: bool = False


def parse_contact_roles(answer: Answer) -> RelatedPage[ContactRole] | None:
    """Parse a page of contact roles; None if the answer is not a page. HTTP 204 means none."""
    records = _records(answer)
    if records is None:
        return None
    roles = {
        contact_id: ContactRole(contact_id, _role(record.get("Contact_Role"), answer))
        for contact_id, record in records.items()
    }
    return RelatedPage(roles, _has_more(answer, ROLES_PER_PAGE))


def parse_contact_deals(
    answer: Answer, *, number_field: str | None = None
) -> RelatedPage[DealRow] | None:
    """Parse a page of a contact's deals; None if the answer is not a page. HTTP 204 means none.

    Args:
        answer: the answer as received.
        number_field: API name of a field with the deal's own number; None for none.
    """
    records = _records(answer)
    if records is None:
        return None
    deals = {
        deal_id: parse_deal_row(deal_id, record, answer, number_field=number_field)
        for deal_id, record in records.items()
    }
    return RelatedPage(deals, _has_more(answer, RECORDS_PER_PAGE))


def parse_addresses(answer: Answer) -> RelatedPage[tuple[str, ...]] | None:
    """Parse the addresses of contacts; None if the answer is not a page. HTTP 204 means none."""
    records = _records(answer)
    if records is None:
        return None
    return RelatedPage({record_id: _addresses(record) for record_id, record in records.items()})


def _addresses(record: dict[str, Any]) -> tuple[str, ...]:
    """Return the addresses of a contact, in lower case."""
    texts = (parse_text(record.get(name), _MAX_ADDRESS_LENGTH) for name in ADDRESS_FIELDS)
    return tuple(text.lower() for text in texts if text is not None)


def _records(answer: Answer) -> dict[str, dict[str, Any]] | None:
    """Return the records of a page by id; entries without an id are left out."""
    if answer.status == 204:
        return {}
    content = answer.content
    if not answer.ok or not isinstance(content, dict) or not isinstance(content.get("data"), list):
        return None
    return {
        record_id: record
        for record in content["data"]
        if isinstance(record, dict) and (record_id := parse_record_id(record.get("id"))) is not None
    }


def _has_more(answer: Answer, per_page: int) -> bool:
    content = answer.content
    if answer.status == 204 or not isinstance(content, dict):
        return False
    return may_have_more(content, len(content["data"]), per_page)


def _role(value: Any, answer: Answer) -> str | None:
    """Return the name of a role: an object since version 3, a text before."""
    return parse_label(value.get("name") if isinstance(value, dict) else value, answer)
