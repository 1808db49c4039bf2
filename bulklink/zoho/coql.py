"""Queries in COQL, the query language of Zoho CRM: builders, request, and parsers of the rows.

A query is paged by id (`id > LAST … order by id asc`), as an offset ends at 100,000 rows. COQL
wants brackets in pairs, so our condition and the user's are each between brackets, and so are both
together.

Zoho documents for API version 8: 2,000 rows and 1, 2 or 3 credits a call, and the scope
`ZohoCRM.coql.READ`; for `in`, 50 values on one page and 100 on another, so 50 are sent.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

import msgspec
import orjson

from bulklink.zoho.coql_condition import Condition
from bulklink.zoho.error_policy import COQL_SCOPE
from bulklink.zoho.http import Answer, CallKind, Request
from bulklink.zoho.link_response import parse_id, parse_label, parse_name, parse_text
from bulklink.zoho.page_info import may_have_more

COQL_TARGET = "/crm/v8/coql"
MAX_ROWS = 2_000
"""Maximum rows of one call."""
MAX_IN_VALUES = 50
"""Maximum values of one `in`: the stricter of the two numbers that Zoho documents."""
MAX_VALUES_LENGTH = 10_000
"""Maximum characters of the values of one `in`, quotes and commas included; Zoho documents none."""
_MAX_VALUE_LENGTH = 320
"""Maximum characters of a value: the length of the longest email address."""
_MAX_TIME_LENGTH = 100
_MAX_ID_DIGITS = 100
_ROWS_BY_CREDITS = (200, 1_000, MAX_ROWS)
"""Maximum limits that cost 1, 2 and 3 credits."""
_DEAL_FIELDS = (
    "id",
    "Deal_Name",
    "Stage",
    "Contact_Name",
    "Owner",
    "Account_Name",
    "Closing_Date",
    "Created_Time",
    "Modified_Time",
)
_CONTACT_FIELDS = ("id", "Full_Name", "Email")
DISPENSABLE_FIELDS = frozenset({"Account_Name", "Closing_Date"})
"""Fields that an org, or a profile, can be without: accounts can be hidden, and any field but the
name, stage and contact of a deal left out of all layouts or closed to a profile."""
_FIELD_NAME = re.compile("[A-Za-z][A-Za-z0-9_]{0,99}")

R = TypeVar("R", bound="Row")


class Query(msgspec.Struct, frozen=True):
    """A query of one page.

    Args:
        fields: API names of the fields selected.
        rest: the query after its fields, with module, condition, order and limit.
        limit: maximum rows of the page.
        by_user: whether it has a condition that the user wrote.
        number_field: a field that the user named; the query can do without it too.
        key_field: a field that the user named, without which the query means nothing.
    """

    fields: tuple[str, ...]
    rest: str
    limit: int
    by_user: bool = False
    number_field: str | None = None
    key_field: str | None = None

    @property
    def text(self) -> str:
        """The whole query."""
        return f"select {', '.join(self.fields)} {self.rest}"

    @property
    def credits(self) -> int:
        """Credits of the call: 1, 2 or 3 for limits to 200, 1,000 and 2,000."""
        return 1 + sum(self.limit > rows for rows in _ROWS_BY_CREDITS[:-1])

    @property
    def dispensable_fields(self) -> frozenset[str]:
        """Fields that the query can do without, if the CRM refuses them."""
        number_field = () if self.number_field is None else (self.number_field,)
        return DISPENSABLE_FIELDS.union(number_field).intersection(self.fields)

    def without(self, fields: Iterable[str]) -> Query:
        """Return the query without some of its fields."""
        left_out = set(fields)
        kept = tuple(field for field in self.fields if field not in left_out)
        return msgspec.structs.replace(self, fields=kept)


class Row(msgspec.Struct, frozen=True):
    """A row of a page; a field that the CRM does not report is None.

    Args:
        id: id of the record, in digits.
    """

    id: str


class DealRow(Row, frozen=True):
    """A deal; what the CRM does not report is None.

    Args:
        id: id of the deal.
        name: name of the deal; None if it is too long to be sent.
        stage: stage of the deal, as displayed.
        contact_id: id of its contact.
        owner_id: id of the user who owns it.
        account_id: id of its account.
        closing_date: date as Zoho writes it.
        created_time: time as Zoho writes it.
        modified_time: time as Zoho writes it.
        number: the deal's own number, from a field that the user names.
    """

    name: str | None = None
    stage: str | None = None
    contact_id: str | None = None
    owner_id: str | None = None
    account_id: str | None = None
    closing_date: str | None = None
    created_time: str | None = None
    modified_time: str | None = None
    number: str | None = None


class ContactRow(Row, frozen=True):
    """A contact; what the CRM does not report is None.

    Args:
        id: id of the contact.
        name: full name of the contact.
        email: email address of the contact.
    """

    name: str | None = None
    email: str | None = None


class CoqlPage(msgspec.Struct, Generic[R], frozen=True):
    """One page of a query.

    Args:
        rows: the rows in the order of the page; entries without an id are left out.
        more: whether there may be another page.
    """

    rows: tuple[R, ...]
    more: bool = False


def select_deals(condition: Condition, after: str) -> Query:
    """Return the query for the next 2,000 deals that fulfil a condition.

    Pipeline and layout are not selected: an org without pipelines has no such field.

    Args:
        condition: the user's condition.
        after: the last id of the previous page; "0" for the first page.
    """
    return _page("Deals", _DEAL_FIELDS, condition.text, after, MAX_ROWS, by_user=True)


def select_deals_of_contacts(
    contact_ids: Sequence[str], after: str, *, rows: int, number_field: str | None = None
) -> Query:
    """Return the query for the next deals of some contacts, without those by a contact role.

    Args:
        contact_ids: up to 50 ids of contacts.
        after: the last id of the previous page; "0" for the first page.
        rows: rows that are expected; the page has the next limit that costs a credit more.
        number_field: API name of a field with the deal's own number; None for none.

    Raises:
        ValueError: if there are more than 50 contacts, or something is not an id.
    """
    clause = _in_clause("Contact_Name", [_digits(contact_id) for contact_id in contact_ids])
    limit = next((limit for limit in _ROWS_BY_CREDITS if limit >= rows), MAX_ROWS)
    query = _page("Deals", _DEAL_FIELDS, clause, after, limit)
    if number_field is None or number_field in _DEAL_FIELDS:
        return query
    return msgspec.structs.replace(
        query, fields=(*_DEAL_FIELDS, number_field), number_field=number_field
    )


def select_deals_with_key(field: str, after: str) -> Query:
    """Return the query for the next 2,000 deals that have a key of another system.

    Args:
        field: API name of the field with the key.
        after: the last id of the previous page; "0" for the first page.

    Raises:
        ValueError: if it is not the name of a field.
    """
    if not is_field_name(field):
        raise ValueError("a text that is not the name of a field")
    fields = tuple(dict.fromkeys(("id", "Deal_Name", field)))
    query = _page("Deals", fields, f"{field} is not null", after, MAX_ROWS)
    return msgspec.structs.replace(query, key_field=field)


def is_field_name(text: str) -> bool:
    """Return whether a text can be the API name of a field, and so part of a query."""
    return _FIELD_NAME.fullmatch(text) is not None


def select_first_deal() -> Query:
    """Return the cheapest query there is, which shows whether queries are permitted."""
    return _page("Deals", ("id",), None, "0", 1)


def select_quoted_text(escaped_quote: str) -> Query:
    """Return a query for a contact whose name has a quote, to try how quotes are escaped.

    Args:
        escaped_quote: the quote as it is written within a text.
    """
    rest = f"from Contacts where Last_Name = 'bulklink{escaped_quote}s' limit 0, 1"
    return Query(("id",), rest, 1)


def select_contacts(condition: Condition, after: str) -> Query:
    """Return the query for the next 2,000 contacts that fulfil the user's condition."""
    return _page("Contacts", _CONTACT_FIELDS, condition.text, after, MAX_ROWS, by_user=True)


def select_contacts_by_email(addresses: Sequence[str], after: str) -> Query:
    """Return the query for the next contacts with one of these email addresses.

    Raises:
        ValueError: if there are more than 50, or one of them cannot be quoted.
    """
    clause = _in_clause("Email", addresses)
    return _page("Contacts", _CONTACT_FIELDS, clause, after, _ROWS_BY_CREDITS[0])


def select_contacts_by_name(names: Sequence[str], after: str) -> Query:
    """Return the query for the next contacts with one of these full names.

    Raises:
        ValueError: if there are more than 50, or one of them cannot be quoted.
    """
    clause = _in_clause("Full_Name", names)
    return _page("Contacts", _CONTACT_FIELDS, clause, after, _ROWS_BY_CREDITS[0])


def in_batches(values: Iterable[str]) -> Iterator[list[str]]:
    """Split values into lists that are short enough for one query.

    Args:
        values: values that can be quoted.
    """
    batch: list[str] = []
    length = 0
    for value in values:
        added = len(_quoted(value)) + 2
        if batch and (len(batch) >= MAX_IN_VALUES or length + added > MAX_VALUES_LENGTH):
            yield batch
            batch, length = [], 0
        batch.append(value)
        length += added
    if batch:
        yield batch


def can_be_quoted(text: str) -> bool:
    """Return whether a value can be put between quotes in a query.

    Zoho documents two escapes that contradict each other, so a value with a quote or a backslash is
    never put into a query. The same goes for control characters and for values that are empty or
    longer than any email address.
    """
    return 0 < len(text) <= _MAX_VALUE_LENGTH and not any(
        character in "'\"\\" or unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")
        for character in text
    )


def coql_request(query: Query) -> Request:
    """Build the request for a page of a query."""
    body = orjson.dumps({"select_query": query.text})
    return Request(
        CallKind.LOOKUP, "POST", COQL_TARGET, body, credits=query.credits, scope=COQL_SCOPE
    )


def parse_deal_rows(answer: Answer, *, number_field: str | None = None) -> CoqlPage[DealRow] | None:
    """Parse a page of deals; None if the answer is not a page. HTTP 204 means no rows.

    Args:
        answer: the answer as received.
        number_field: API name of a field with the deal's own number; None for none.
    """
    return _parse_page(answer, partial(parse_deal_row, number_field=number_field))


def parse_contact_rows(answer: Answer) -> CoqlPage[ContactRow] | None:
    """Parse a page of contacts; None if the answer is not a page. HTTP 204 means no rows."""
    return _parse_page(answer, _contact_row)


def _page(
    module: str,
    fields: tuple[str, ...],
    clause: str | None,
    after: str,
    limit: int,
    *,
    by_user: bool = False,
) -> Query:
    condition = f"id > '{_digits(after)}'"
    condition = f"({condition}) and ({clause})" if clause is not None else condition
    rest = f"from {module} where ({condition}) order by id asc limit 0, {limit}"
    return Query(fields, rest, limit, by_user)


def _in_clause(field: str, values: Sequence[str]) -> str:
    if not 0 < len(values) <= MAX_IN_VALUES:
        raise ValueError(f"{len(values)} values; 1 to {MAX_IN_VALUES} fit into a query")
    return f"{field} in ({', '.join(map(_quoted, values))})"


def _quoted(value: str) -> str:
    if not can_be_quoted(value):
        raise ValueError("a value that cannot be put between quotes")
    return f"'{value}'"


def _digits(value: str) -> str:
    if not _is_number(value):
        raise ValueError("a value that is not an id")
    return value


def _is_number(value: str) -> bool:
    return value.isascii() and value.isdigit() and len(value) <= _MAX_ID_DIGITS


def _parse_page(
    answer: Answer, parse_row: Callable[[str, dict[str, Any], Answer], R]
) -> CoqlPage[R] | None:
    if answer.status == 204:
        return CoqlPage(())
    content = answer.content
    if not answer.ok or not isinstance(content, dict) or not isinstance(content.get("data"), list):
        return None
    records = [record for record in content["data"] if isinstance(record, dict)]
    rows = tuple(
        parse_row(record_id, record, answer)
        for record in records
        if (record_id := parse_record_id(record.get("id"))) is not None
    )
    return CoqlPage(rows, may_have_more(content, len(records), per_page=1))


def parse_deal_row(
    deal_id: str, record: dict[str, Any], answer: Answer, *, number_field: str | None = None
) -> DealRow:
    """Parse a deal from a record of COQL or of a related list."""
    number = None if number_field is None else record.get(number_field)
    return DealRow(
        deal_id,
        name=parse_name(record.get("Deal_Name")),
        stage=parse_label(record.get("Stage"), answer),
        contact_id=_lookup_id(record, "Contact_Name"),
        owner_id=_lookup_id(record, "Owner"),
        account_id=_lookup_id(record, "Account_Name"),
        closing_date=parse_text(record.get("Closing_Date"), _MAX_TIME_LENGTH),
        created_time=parse_text(record.get("Created_Time"), _MAX_TIME_LENGTH),
        modified_time=parse_text(record.get("Modified_Time"), _MAX_TIME_LENGTH),
        number=parse_id(number),
    )


def _contact_row(contact_id: str, record: dict[str, Any], answer: Answer) -> ContactRow:
    del answer
    return ContactRow(
        contact_id,
        name=parse_name(record.get("Full_Name")),
        email=parse_text(record.get("Email"), _MAX_VALUE_LENGTH),
    )


def _lookup_id(record: dict[str, Any], field: str) -> str | None:
    """Return the id of a record that a field refers to, in any shape that COQL returns."""
    value = record.get(field)
    if isinstance(value, dict):
        return parse_record_id(value.get("id"))
    number = parse_record_id(value)
    return parse_record_id(record.get(f"{field}.id")) if number is None else number


def parse_record_id(value: object) -> str | None:
    """Return the id of a record in an answer, which has digits only; else None."""
    text = parse_id(value)
    return text if text is not None and _is_number(text) else None
