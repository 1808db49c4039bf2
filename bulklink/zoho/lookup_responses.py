"""Parsers for look-ups: org, module id, deals, users."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from bulklink.errors import RunStoppedError, StoppedBy
from bulklink.zoho.http import Answer
from bulklink.zoho.link_response import parse_id, parse_label, parse_name
from bulklink.zoho.page_info import RECORDS_PER_PAGE, may_have_more
from bulklink.zoho.requests import MAX_DEAL_IDS_LENGTH


class Org(msgspec.Struct, frozen=True):
    """The organisation of a token; a field that the CRM does not report is None.

    Args:
        id: id of the org.
        name: name of the org.
        type: production, sandbox, ... as reported by the CRM.
        paid_type: edition of its licence.
        users: number of licensed users, who add to its credits in 24 hours.
    """

    id: str | None = None
    name: str | None = None
    type: str | None = None
    paid_type: str | None = None
    users: int | None = None

    @property
    def sandbox(self) -> bool:
        """Whether it is known to be a sandbox."""
        return (self.type or "").lower() == "sandbox"

    @property
    def is_for_tests(self) -> bool:
        """Whether it is known to be a sandbox or a developer org."""
        return (self.type or "").lower() in ("sandbox", "developer")


class NamesPage(msgspec.Struct, frozen=True):
    """One page of names by id.

    Args:
        names: name by id; None for a name that is too long to be sent.
        has_more: whether there is another page.
    """

    names: dict[str, str | None]
    has_more: bool = False


class DealDetails(msgspec.Struct, frozen=True):
    """A deal as reported by the deals endpoint.

    `email_pages.LinkedDeal` is the deal that an email is linked to.

    Args:
        id: id of the deal.
        name: name of the deal; None if it is too long to be sent.
        contact_id: id of its contact; None without a contact.
        stage: stage of the deal; None without a stage.
    """

    id: str
    name: str | None
    contact_id: str | None = None
    stage: str | None = None


def parse_org(answer: Answer) -> Org | None:
    """Return the org; None if the answer has none."""
    org = _first_record(answer, "org")
    if org is None:
        return None
    licence = org.get("license_details")
    licence = licence if isinstance(licence, dict) else {}
    return Org(
        parse_id(org.get("id")),
        parse_label(org.get("company_name"), answer),
        parse_label(org.get("type"), answer),
        parse_label(licence.get("paid_type"), answer),
        _count(licence.get("users_license_purchased")),
    )


def require_org(answer: Answer) -> Org:
    """Return the org of a successful answer.

    Raises:
        RunStoppedError: if the answer is not from Zoho CRM.
    """
    org = parse_org(answer)
    if org is None:
        raise RunStoppedError(
            StoppedBy.FATAL,
            "The answer to the look-up of the org is not from the Zoho CRM API.",
            where="BULKLINK_DC, BULKLINK_API_URL",
            advice="Check the data centre, and BULKLINK_API_URL if it is set.",
        )
    return org


def parse_module_id(answer: Answer) -> str | None:
    """Return the id of the Deals module; None if the answer has none."""
    module = _first_record(answer, "modules")
    return parse_id(module.get("id")) if module else None


def parse_deals(answer: Answer) -> list[DealDetails] | None:
    """Return the deals that exist; None if the answer is not a list of deals.

    HTTP 204 means that none of the deals exists.
    """
    if answer.status == 204:
        return []
    records = _records(answer, "data")
    if records is None:
        return None
    return [deal for record in records if (deal := _deal(record, answer))]


def parse_user_names(answer: Answer) -> NamesPage | None:
    """Return a page of users' names; None if the answer is not a list of users."""
    return _names(answer, "users", "full_name")


def deal_batches(ids: Iterator[str]) -> Iterator[Sequence[str]]:
    """Split ids into look-ups of at most 1,024 characters, commas included."""
    batch: list[str] = []
    length = 0
    for deal_id in ids:
        if batch and length + 1 + len(deal_id) > MAX_DEAL_IDS_LENGTH:
            yield batch
            batch, length = [], 0
        length += len(deal_id) + (1 if batch else 0)
        batch.append(deal_id)
    if batch:
        yield batch


def _deal(record: dict[str, Any], answer: Answer) -> DealDetails | None:
    deal_id, name = parse_id(record.get("id")), record.get("Deal_Name")
    contact = record.get("Contact_Name")
    contact_id = parse_id(contact.get("id")) if isinstance(contact, dict) else None
    return (
        DealDetails(deal_id, parse_name(name), contact_id, parse_label(record.get("Stage"), answer))
        if deal_id and isinstance(name, str) and name
        else None
    )


def _names(answer: Answer, key: str, name_field: str) -> NamesPage | None:
    if answer.status == 204:
        return NamesPage({})
    records = _records(answer, key)
    if records is None:
        return None
    names: dict[str, str | None] = {}
    for record in records:
        record_id, name = parse_id(record.get("id")), record.get(name_field)
        if record_id and isinstance(name, str) and name:
            names[record_id] = parse_name(name)
    return NamesPage(names, may_have_more(answer.content, len(records), RECORDS_PER_PAGE))


def _first_record(answer: Answer, key: str) -> dict[str, Any] | None:
    records = _records(answer, key)
    return records[0] if records else None


def _records(answer: Answer, key: str) -> list[dict[str, Any]] | None:
    content = answer.content
    if not answer.ok or not isinstance(content, dict) or not isinstance(content.get(key), list):
        return None
    return [record for record in content[key] if isinstance(record, dict)]


def _count(value: object) -> int | None:
    """Return a count, which parts of the API write as text."""
    digits = parse_id(value) or ""
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 9 else None
