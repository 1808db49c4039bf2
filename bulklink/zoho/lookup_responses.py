"""Reading the answers to look-ups: org, module id, names of deals and users."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from bulklink.zoho.http import Answer
from bulklink.zoho.link_response import parse_id, parse_json
from bulklink.zoho.requests import MAX_DEAL_IDS_LENGTH


class Org(msgspec.Struct, frozen=True):
    """The organisation a token belongs to; fields are None where the CRM tells nothing.

    `users` is how many its licence is for; they add to its credits a day.
    """

    id: str | None = None
    name: str | None = None
    type: str | None = None
    paid_type: str | None = None
    users: int | None = None

    @property
    def sandbox(self) -> bool:
        """Tell whether it is known to be a sandbox."""
        return (self.type or "").lower() == "sandbox"


class NamesPage(msgspec.Struct, frozen=True):
    """Names by id from one look-up; `has_more` tells that a next page holds more."""

    names: dict[str, str]
    has_more: bool = False


class DealDetails(msgspec.Struct, frozen=True):
    """A deal that exists. Contact and stage are None where the CRM tells none."""

    id: str
    name: str
    contact_id: str | None = None
    stage: str | None = None


def parse_org(answer: Answer) -> Org | None:
    """Read the org; None where the answer tells none."""
    org = _first_record(answer, "org")
    if org is None:
        return None
    licence = org.get("license_details")
    licence = licence if isinstance(licence, dict) else {}
    return Org(
        parse_id(org.get("id")),
        _text(org.get("company_name")),
        _text(org.get("type")),
        _text(licence.get("paid_type")),
        _count(licence.get("users_license_purchased")),
    )


def parse_module_id(answer: Answer) -> str | None:
    """Read the id of the module Deals; None where the answer tells none."""
    module = _first_record(answer, "modules")
    return parse_id(module.get("id")) if module else None


def parse_deals(answer: Answer) -> list[DealDetails] | None:
    """Read deals; 204 means that none of them exists. None for an answer that is none."""
    if answer.status == 204:
        return []
    records = _records(answer, "data")
    return None if records is None else [deal for deal in map(_deal, records) if deal]


def parse_user_names(answer: Answer) -> NamesPage | None:
    """Read a page of users' names. None for an answer that is none."""
    return _names(answer, "users", "full_name")


def deal_batches(ids: Iterator[str]) -> Iterator[Sequence[str]]:
    """Cut ids into look-ups of at most 1,024 characters, commas included."""
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


def _deal(record: dict[str, Any]) -> DealDetails | None:
    deal_id, name = parse_id(record.get("id")), _text(record.get("Deal_Name"))
    contact = record.get("Contact_Name")
    contact_id = parse_id(contact.get("id")) if isinstance(contact, dict) else None
    return (
        DealDetails(deal_id, name, contact_id, _text(record.get("Stage")))
        if deal_id and name
        else None
    )


def _names(answer: Answer, key: str, name_field: str) -> NamesPage | None:
    if answer.status == 204:
        return NamesPage({})
    records = _records(answer, key)
    if records is None:
        return None
    names = {}
    for record in records:
        record_id, name = parse_id(record.get("id")), record.get(name_field)
        if record_id and isinstance(name, str) and name:
            names[record_id] = name
    info = parse_json(answer.body).get("info")
    return NamesPage(names, isinstance(info, dict) and info.get("more_records") is True)


def _first_record(answer: Answer, key: str) -> dict[str, Any] | None:
    records = _records(answer, key)
    return records[0] if records else None


def _records(answer: Answer, key: str) -> list[dict[str, Any]] | None:
    content = parse_json(answer.body)
    if not answer.ok or not isinstance(content, dict) or not isinstance(content.get(key), list):
        return None
    return [record for record in content[key] if isinstance(record, dict)]


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _count(value: object) -> int | None:
    """Return a number of things, which other parts of the API write as text."""
    digits = parse_id(value) or ""
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 9 else None
