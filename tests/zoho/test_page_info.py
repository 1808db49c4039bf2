"""Whether a list goes on after a page."""

from __future__ import annotations

from typing import Any

import pytest

from bulklink.zoho.http import Answer
from bulklink.zoho.lookup_responses import parse_user_names
from bulklink.zoho.page_info import RECORDS_PER_PAGE, ROLES_PER_PAGE
from bulklink.zoho.related_records import parse_contact_deals, parse_contact_roles
from bulklink.zoho.timeline import parse_timeline
from tests.zoho.fakes import answer

ENTRY = {"id": "7", "full_name": "Pat", "audited_time": "2026-01-01T00:00:00Z"}


def more(key: str, content: Answer) -> bool:
    if key == "users":
        names = parse_user_names(content)
        return names is not None and names.has_more
    page = parse_contact_deals(content) if key == "data" else parse_timeline(content, "7")
    return page is not None and page.more


@pytest.mark.parametrize("key", ["data", "__timeline", "users"])
@pytest.mark.parametrize(
    ("info", "entries", "expected"),
    [
        ({}, 0, False),
        ({}, RECORDS_PER_PAGE - 1, False),
        ({}, RECORDS_PER_PAGE, True),
        ({"info": None}, RECORDS_PER_PAGE, True),
        ({"info": {"more_records": False}}, RECORDS_PER_PAGE, False),
        ({"info": {"more_records": True}}, 1, True),
    ],
)
def test_a_list_goes_on_as_its_page_says_or_else_if_it_is_full(
    key: str, info: dict[str, Any], entries: int, expected: bool
) -> None:
    assert more(key, answer({key: [ENTRY] * entries, **info})) is expected


@pytest.mark.parametrize(
    ("entries", "expected"), [(ROLES_PER_PAGE - 1, False), (ROLES_PER_PAGE, True)]
)
def test_a_page_of_contact_roles_is_full_earlier(entries: int, expected: bool) -> None:
    page = parse_contact_roles(answer({"data": [ENTRY] * entries}))
    assert page is not None
    assert page.more is expected


def test_a_page_that_says_nothing_and_has_no_content_is_the_last() -> None:
    page = parse_contact_roles(Answer(204, b'{"x": 1}'))
    assert page is not None
    assert not page.more
