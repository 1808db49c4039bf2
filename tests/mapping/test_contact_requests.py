"""Requests for contacts, as users write them, and the contacts that they select."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bulklink.errors import RunDirError
from bulklink.mapping.contact_requests import (
    ContactRequest,
    RequestKind,
    parse_contact,
    read_contact_list,
)
from bulklink.mapping.contact_selection import (
    ContactRequests,
    SelectionFiles,
    write_deals_to_read,
    write_requests,
    write_selection,
)
from bulklink.mapping.interrupt import PlanningStop


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5843104000000424162", (RequestKind.CONTACT, "5843104000000424162")),
        ('="5843104000000424162"', (RequestKind.CONTACT, "5843104000000424162")),
        (" zcrm_584 ", (RequestKind.CONTACT, "584")),
        ("ann@example.com", (RequestKind.ADDRESS, "ann@example.com")),
        ("Ann Moore", (RequestKind.NAME, "Ann Moore")),
        ("Đặng Thị Hoa", (RequestKind.NAME, "Đặng Thị Hoa")),
        ("ann", None),
        ("58431040000004241x2", None),
        ("58431 04000", None),
        ("ann@example.com; bob@example.com", None),
        ("Ann <ann@example.com>", None),
        ("@", None),
        ("5.8431E+18", None),
        ("", None),
        ("x" * 300 + " y", None),
    ],
)
def test_a_text_names_a_contact_by_id_address_or_name(
    text: str, expected: tuple[RequestKind, str] | None
) -> None:
    assert parse_contact(text) == expected


def test_a_list_may_have_a_header_and_blank_lines() -> None:
    lines = [b"Email\n", b"\n", b"ann@example.com\r\n", b"584\n"]
    assert list(read_contact_list(lines, "people.txt")) == [
        ContactRequest(RequestKind.ADDRESS, "ann@example.com", "people.txt, line 3"),
        ContactRequest(RequestKind.CONTACT, "584", "people.txt, line 4"),
    ]


def select(
    folder: Path, requests: list[tuple[RequestKind, str]], log: list[dict[str, Any]]
) -> tuple[list[str], list[str], SelectionFiles]:
    """Return the selected contacts, the order of reading, and the files."""
    files = SelectionFiles(
        *(folder / name for name in ("requests", "log", "contacts", "order", "roles", "left"))
    )
    write_requests(
        ((n, ContactRequest(kind, value, f"line {n}")) for n, (kind, value) in enumerate(requests)),
        files.requests,
    )
    files.log.write_text("".join(json.dumps(line) + "\n" for line in log), "utf-8")
    write_selection(files, PlanningStop())
    order = files.order.read_text().splitlines() if files.order.exists() else []
    return files.contacts.read_text().split(), order, files


def deal(selector: str, deal_id: str, contact_id: str | None) -> dict[str, Any]:
    return {"event": "deal", "selector": selector, "deal_id": deal_id, "contact_id": contact_id}


def role(deal_id: str, contact_id: str) -> dict[str, Any]:
    return {"event": "role", "deal_id": deal_id, "contact_id": contact_id}


def test_contacts_keep_the_place_of_their_first_request(tmp_path: Path) -> None:
    requests = [
        (RequestKind.DEAL, "90"),
        (RequestKind.CONTACT, "3"),
        (RequestKind.ADDRESS, "B@x"),
        (RequestKind.CONTACT, "1"),
    ]
    log = [
        {"event": "selected", "selector": "address", "value": "b@X", "contact_id": "2"},
        {"event": "selected", "selector": "contacts-where:0", "contact_id": "8"},
        {"event": "selected", "selector": "contacts-where:0", "contact_id": "3"},
        deal("deals-where:0", "100", "9"),
        deal("deals-where:0", "91", "10"),
        deal("deal", "90", "7"),
        role("90", "1"),
    ]
    contacts, order, _ = select(tmp_path, requests, log)
    assert contacts == ["1", "7", "3", "2", "10", "9", "8"]
    assert order == ["0 1", "1 7", "4 10", "5 9", "2 3", "3 2", "6 8"]


def test_a_selection_beyond_the_memory_limit_advises_to_raise_it(tmp_path: Path) -> None:
    contacts = 30_000
    requests = [(RequestKind.CONTACT, str(10**18 + n)) for n in range(contacts)]
    selected, _, files = select(tmp_path, requests, [])
    assert len(selected) == contacts
    with pytest.raises(RunDirError) as raised:
        write_selection(files, PlanningStop(), "2MB")
    assert "Raise memory" in str(raised.value.guidance)


def test_what_selects_nobody_is_named(tmp_path: Path) -> None:
    requests = [
        (RequestKind.DEAL, "90"),
        (RequestKind.EMAILS_ON, "90"),
        (RequestKind.DEAL, "91"),
        (RequestKind.DEAL, "92"),
        (RequestKind.NAME, "Ann Moore"),
    ]
    log = [
        deal("deal", "91", None),
        deal("deal", "92", "5"),
        {"event": "roles", "deal_id": "92", "code": "NO_PERMISSION"},
    ]
    _, _, files = select(tmp_path, requests, log)
    unresolved = [json.loads(line) for line in files.unresolved.read_text().splitlines()]
    assert [(item["value"], item["place"], item["message"]) for item in unresolved] == [
        ("90", "line 0", "The CRM shows no such deal."),
        ("91", "line 2", "The deal has no contact."),
        ("92", "line 3", "Its contact roles could not be read: NO_PERMISSION."),
        ("Ann Moore", "line 4", "No contact has this name."),
    ]


def test_roles_that_were_read_are_not_read_again(tmp_path: Path) -> None:
    log = [
        deal("deal", "90", "1"),
        deal("deal", "91", "1"),
        deal("deals-where:0", "92", "1"),
        role("90", "2"),
        {"event": "roles", "deal_id": "90"},
    ]
    _, _, files = select(tmp_path, [(RequestKind.DEAL, "90"), (RequestKind.DEAL, "91")], log)
    path = tmp_path / "deals"
    assert write_deals_to_read(files, ["deal"], path, PlanningStop()) == 1
    assert path.read_text() == "91\n"
    assert write_deals_to_read(files, ["deal", "deals-where:0"], path, PlanningStop()) == 2


ids = st.integers(1, 9).map(str)


@settings(max_examples=40)
@given(st.lists(ids, max_size=8), st.lists(st.tuples(ids, ids), max_size=8))
def test_a_contact_is_selected_once_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, named: list[str], roles: list[tuple[str, str]]
) -> None:
    deals = list(dict.fromkeys(deal_id for deal_id, _ in roles))
    requests = [(RequestKind.CONTACT, contact) for contact in named]
    requests += [(RequestKind.DEAL, deal_id) for deal_id in deals]
    log = [deal("deal", deal_id, None) for deal_id in deals] + [role(*pair) for pair in roles]
    contacts, order, files = select(tmp_path_factory.mktemp("selection"), requests, log)
    by_deal = [sorted({one for of, one in roles if of == deal_id}) for deal_id in deals]
    assert contacts == list(dict.fromkeys([*named, *(one for group in by_deal for one in group)]))
    if roles:
        assert sorted(order) == sorted(f"{n} {contact}" for n, contact in enumerate(contacts))
    requested = ContactRequests(files.requests, PlanningStop())
    assert list(requested.values(RequestKind.CONTACT)) == list(dict.fromkeys(named))
