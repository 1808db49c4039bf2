"""COQL queries: the supported part of the language, its limits and its errors."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from bulklink.emulator.coql_parser import parse_query
from bulklink.emulator.coql_query import run_query
from bulklink.emulator.records import Records, RecordTable
from bulklink.emulator.settings import DEFAULT_SCOPES, Settings
from bulklink.emulator.worldfile import parse_world
from tests.emulator.client import (
    ANA,
    FLEET,
    JACOB,
    OTHERS,
    PAT,
    TOM,
    TRAVEL,
    EmulatorClient,
    JsonResponse,
    small_world,
    yield_control,
)

ZYLKER = "5843104000004390001"


def deals_world() -> dict[str, Any]:
    """Return a world whose three deals differ in every kind of field."""
    world = small_world(0, accounts=[{"id": ZYLKER, "name": "Zylker"}])
    world["contacts"][0]["account_id"] = ZYLKER
    travel, fleet, others = world["deals"]
    travel |= {
        "stage": "Closed Won",
        "modified_time": "2026-03-01T09:00:00+05:30",
        "closing_date": "2026-03-01",
        "owner_id": PAT,
        "account_id": ZYLKER,
        "fields": {"Amount": 100, "Region": "North", "Is_Renewal": True, "Tags": ["a", "b"]},
    }
    fleet |= {
        "modified_time": "2026-03-01T04:00:00+00:00",
        "closing_date": "2026-04-01",
        "owner_id": JACOB,
        "pipeline": "Fleet",
        "fields": {"Amount": 250.5, "Region": "O'Hare \\ North", "Signed_At": None},
    }
    others |= {"modified_time": "2026-05-01T00:00:00+00:00", "fields": {"Is_Renewal": False}}
    return world


async def ids(condition: str, rest: str = "", module: str = "Deals") -> list[str]:
    """Return the ids of the records that fulfil a condition, in order."""
    settings = Settings(scopes=(*DEFAULT_SCOPES, "ZohoCRM.modules.accounts.READ"))
    crm = EmulatorClient(settings, deals_world())
    response = await crm.query(f"select id from {module} where {condition} {rest}")
    if response.status == 204:
        return []
    assert response.status == 200, response.json
    return [row["id"] for row in response.json["data"]]


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("Deal_Name = 'Fleet Renewal'", [FLEET]),
        ("Deal_Name != 'fleet renewal'", [TRAVEL, OTHERS]),
        ('Deal_Name = "Fleet Renewal"', [FLEET]),
        ("'Deal_Name' = 'Fleet Renewal'", [FLEET]),
        ("Region = North", [TRAVEL]),
        ("Region = 'O''Hare \\\\ North'", [FLEET]),
        (r"Region = 'O\'Hare \\ North'", [FLEET]),
        ("Region like '%north'", [TRAVEL, FLEET]),
        ("Region like 'North%'", [TRAVEL]),
        ("Region like '%hare%'", [FLEET]),
        ("Region not like '%hare%'", [TRAVEL]),
        ("Region is null", [OTHERS]),
        ("Region is not null", [TRAVEL, FLEET]),
        ("Region != 'North'", [FLEET]),
        ("Region not in ('North')", [FLEET]),
        ("Stage in ('Closed Won', 'Closed Lost')", [TRAVEL]),
        ("Stage = 'Qualification'", [FLEET, OTHERS]),
        (f"id = {FLEET}", [FLEET]),
        (f"id > '{TRAVEL}'", [FLEET, OTHERS]),
        (f"id >= '{FLEET}'", [FLEET, OTHERS]),
        (f"id between '{TRAVEL}' and '{FLEET}'", [TRAVEL, FLEET]),
        (f"id not between '{TRAVEL}' and '{FLEET}'", [OTHERS]),
        (f"id in ('{OTHERS}', '{TRAVEL}', '1')", [TRAVEL, OTHERS]),
        (f"(id < '{FLEET}' or id > '{FLEET}')", [TRAVEL, OTHERS]),
        (f"Contact_Name = '{TOM}'", [OTHERS]),
        (f"Contact_Name.id in ('{TOM}')", [OTHERS]),
        (f"Contact_Name != '{TOM}'", [TRAVEL, FLEET]),
        ("Contact_Name.Email = 'tom@customer.example'", [OTHERS]),
        ("Contact_Name.Last_Name like 'Ferr%'", [TRAVEL, FLEET]),
        ("Contact_Name.Account_Name.Account_Name = 'zylker'", [TRAVEL, FLEET]),
        (f"Owner = '{JACOB}'", [FLEET]),
        ("Owner.first_name = 'Patricia'", [TRAVEL]),
        ("Owner is null", [OTHERS]),
        ("Account_Name.Account_Name = 'Zylker'", [TRAVEL]),
        ("Pipeline = 'Fleet'", [FLEET]),
        ("Amount > 100", [FLEET]),
        ("Amount >= 100", [TRAVEL, FLEET]),
        ("Amount between 100 and 250.5", [TRAVEL, FLEET]),
        ("Amount < -5", []),
        ("Closing_Date <= '2026-03-01'", [TRAVEL]),
        ("Modified_Time > '2026-03-01T03:30:00+00:00'", [FLEET, OTHERS]),
        ("Modified_Time = '2026-03-01T03:30:00+00:00'", [TRAVEL]),
        ("Is_Renewal = true", [TRAVEL]),
        ("Is_Renewal is null", [FLEET]),
        ("Tags = 'a;b'", [TRAVEL]),
        ("Signed_At is null", [TRAVEL, FLEET, OTHERS]),
        (f"(Amount > 0 and Region like '%o%') and id > '{TRAVEL}'", [FLEET]),
        (f"Amount is null or (id = '{TRAVEL}' and (Region = 'North'))", [TRAVEL, OTHERS]),
    ],
)
async def test_a_condition_selects_the_records_that_fulfil_it(
    condition: str, expected: list[str]
) -> None:
    assert await ids(condition) == expected


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("", [TRAVEL, FLEET, OTHERS]),
        ("order by id asc", [TRAVEL, FLEET, OTHERS]),
        ("ORDER BY id DESC", [OTHERS, FLEET, TRAVEL]),
        ("order by Amount", [OTHERS, TRAVEL, FLEET]),
        ("order by Amount desc", [FLEET, TRAVEL, OTHERS]),
        ("order by Stage desc, id desc", [OTHERS, FLEET, TRAVEL]),
        ("order by Contact_Name.Full_Name desc, Modified_Time desc", [OTHERS, FLEET, TRAVEL]),
        ("limit 2", [TRAVEL, FLEET]),
        ("limit 1, 2", [FLEET, OTHERS]),
        ("limit 1 offset 1", [FLEET]),
        ("offset 2", [OTHERS]),
        ("order by id desc limit 1, 1", [FLEET]),
        ("limit 3, 1", []),
    ],
)
async def test_rows_come_in_order_and_within_limits(rest: str, expected: list[str]) -> None:
    assert await ids("id is not null", rest) == expected


async def test_contacts_users_and_accounts_can_be_queried() -> None:
    assert await ids("Email = 'ANA@customer.example'", module="Contacts") == [ANA]
    assert await ids("Account_Name is not null", module="Contacts") == [ANA]
    assert await ids("status = 'active'", module="Users") == [PAT, JACOB]
    assert await ids("Account_Name like 'Zyl%'", module="Accounts") == [ZYLKER]


async def test_a_row_has_the_selected_columns_and_the_id_and_of_a_lookup_the_id() -> None:
    crm = EmulatorClient(world=deals_world())
    columns = "Deal_Name, Amount, Tags, Contact_Name, Contact_Name.Full_Name, Account_Name"
    response = await crm.query(f"select {columns} from Deals where Contact_Name = '{ANA}'")
    assert response.json == {
        "data": [
            {
                "Deal_Name": "Travel Insurance",
                "Amount": 100,
                "Tags": ["a", "b"],
                "Contact_Name": {"id": ANA},
                "Contact_Name.Full_Name": "Ana Ferreira",
                "Account_Name": {"id": ZYLKER},
                "id": TRAVEL,
            },
            {
                "Deal_Name": "Fleet Renewal",
                "Amount": 250.5,
                "Tags": None,
                "Contact_Name": {"id": ANA},
                "Contact_Name.Full_Name": "Ana Ferreira",
                "Account_Name": None,
                "id": FLEET,
            },
        ],
        "info": {"count": 2, "more_records": False},
    }


async def test_a_query_without_rows_is_answered_with_204() -> None:
    response = await EmulatorClient().query("select id from Deals where Deal_Name = 'x'")
    assert (response.status, response.answer.body) == (204, b"")


async def test_info_says_whether_there_are_more_records() -> None:
    crm = EmulatorClient()
    for limit, more in ((2, True), (3, False)):
        response = await crm.query(f"select id from Deals where id is not null limit {limit}")
        assert response.json["info"] == {"count": limit, "more_records": more}


async def test_two_hundred_rows_are_the_default() -> None:
    deals = [{"id": str(n + 1), "name": "x", "contact_id": ANA} for n in range(201)]
    crm = EmulatorClient(world=small_world(0, deals=deals))
    response = await crm.query("select id from Deals where id is not null")
    assert response.json["info"] == {"count": 200, "more_records": True}


async def test_ids_of_any_length_are_in_the_order_of_numbers() -> None:
    deals = [{"id": n, "name": "x", "contact_id": ANA} for n in ("100", "20", "3")]
    crm = EmulatorClient(world=small_world(0, deals=deals))
    response = await crm.query("select id from Deals where id > 3")
    assert [row["id"] for row in response.json["data"]] == ["20", "100"]


class CountedDeals(Sequence[Any]):
    """Deals that count how often one of them is read."""

    def __init__(self, deals: Sequence[Any]) -> None:
        self.deals = deals
        self.read_count = 0

    def __len__(self) -> int:
        return len(self.deals)

    def __getitem__(self, position: Any) -> Any:
        self.read_count += 1
        return self.deals[position]


def test_a_page_after_an_id_reads_no_earlier_deal() -> None:
    deals = [{"id": str(n + 1), "name": "x", "contact_id": ANA} for n in range(5_000)]
    records = Records(parse_world(small_world(0, deals=deals)))
    table = records.table("Deals")
    counted = CountedDeals(table.records)
    records.tables["Deals"] = RecordTable(table.ids, counted)
    last, ids_seen = "0", list[str]()
    while last:
        text = f"select id from Deals where (id > '{last}' and Stage = 'Qualification') limit 1000"
        rows = run_query(records, parse_query(text)).rows
        ids_seen += [str(row["id"]) for row in rows]
        last = ids_seen[-1] if rows else ""
    assert ids_seen == [deal["id"] for deal in deals]
    # Each page reads one deal more than it shows, to know whether there are more.
    assert counted.read_count == len(deals) + 4


def refusal(response: JsonResponse) -> tuple[int, str, Any]:
    return response.status, response.json["code"], response.json["details"]


@pytest.mark.parametrize(
    ("query", "code", "details"),
    [
        ("select id from Deals", "SYNTAX_ERROR", {"clause": "where"}),
        ("select id from Deals limit 5", "SYNTAX_ERROR", {"clause": "where"}),
        ("select id", "SYNTAX_ERROR", {"clause": "from"}),
        ("select id where id > 1", "SYNTAX_ERROR", {"clause": "from"}),
        (
            "update Deals set Stage = 'x'",
            "SYNTAX_ERROR",
            {"line": 1, "column": 1, "near": "update Deals set Stage = 'x'"},
        ),
        (
            "select id\nfrom Deals where id ? 1",
            "SYNTAX_ERROR",
            {"line": 2, "column": 20, "near": "? 1"},
        ),
        (
            "select id from Deals where id > 1 and Stage = 'x' and Amount > 1",
            "SYNTAX_ERROR",
            {"line": 1, "column": 51, "near": "and Amount > 1"},
        ),
        (
            "select id from Deals where (id > 1 or id < 1 or id = 1)",
            "SYNTAX_ERROR",
            {"line": 1, "column": 46, "near": "or id = 1)"},
        ),
        (
            "select id, Colour from Deals where id > 1",
            "INVALID_QUERY",
            {"column_name": "Colour"},
        ),
        (
            "select id from Deals where Contact_Name.Colour = 'x'",
            "INVALID_QUERY",
            {"column_name": "Contact_Name.Colour"},
        ),
        (
            "select id from Deals where Stage.id = 'x'",
            "INVALID_QUERY",
            {"column_name": "Stage.id"},
        ),
        ("select id from Leads where id > 1", "INVALID_QUERY", {"module": "Leads"}),
        (
            "select id from Deals where Deal_Name >= 'x'",
            "INVALID_QUERY",
            {"column_name": "Deal_Name", "operator": ">=", "reason": "invalid operator found"},
        ),
        (
            "select id from Deals where Contact_Name like '5%'",
            "INVALID_QUERY",
            {"column_name": "Contact_Name", "operator": "like", "reason": "invalid operator found"},
        ),
        (
            "select id from Deals where Modified_Time > 'yesterday'",
            "INVALID_QUERY",
            {"column_name": "Modified_Time", "expected_data_type": "datetime"},
        ),
        (
            "select id from Deals where Closing_Date > '2026-03-01T00:00:00+00:00'",
            "INVALID_QUERY",
            {"column_name": "Closing_Date", "expected_data_type": "date"},
        ),
        (
            "select id from Deals where id > 'x'",
            "INVALID_QUERY",
            {"column_name": "id", "expected_data_type": "bigint"},
        ),
        (
            f"select id from Deals where id > {'9' * 5_000}",
            "INVALID_QUERY",
            {"column_name": "id", "expected_data_type": "bigint"},
        ),
        ("select id, id from Deals where id > 1", "DUPLICATE_DATA", {"clause": "select"}),
        (
            "select id from Deals where id > 1 order by id, id",
            "DUPLICATE_DATA",
            {"clause": "order by"},
        ),
        (
            "select id from Deals where id > 1 limit 2001",
            "LIMIT_EXCEEDED",
            {"clause": "limit", "limit": 2000},
        ),
        (
            "select id from Deals where id > 1 limit 99000, 1001",
            "LIMIT_EXCEEDED",
            {"clause": "offset", "limit": 100000},
        ),
        (
            f"select id from Deals where id in ({','.join(['1'] * 51)})",
            "LIMIT_EXCEEDED",
            {"clause": "in", "limit": 50},
        ),
        (
            f"select {','.join(f'F{n}' for n in range(51))} from Deals where id > 1",
            "LIMIT_EXCEEDED",
            {"clause": "select", "limit": 50},
        ),
        (
            "select Contact_Name.Account_Name.Owner.email from Deals where id > 1",
            "LIMIT_EXCEEDED",
            {"clause": "join", "limit": 2},
        ),
        (
            f"select id from Deals where {'(' * 25}id > 1{' and id > 1)' * 25}",
            "LIMIT_EXCEEDED",
            {"clause": "where", "limit": 25},
        ),
    ],
)
async def test_an_invalid_query_is_refused_with_the_documented_code(
    query: str, code: str, details: dict[str, object]
) -> None:
    assert refusal(await EmulatorClient().query(query)) == (400, code, details)


@pytest.mark.parametrize(
    "query",
    [
        "select from Deals where id > 1",
        "select * from Deals where id > 1",
        "select COUNT(id) from Deals where id > 1",
        "select id as x from Deals where id > 1",
        "select id from Deals where",
        "select id from Deals where id > ",
        "select id from Deals where (id > 1",
        "select id from Deals where id > 1)",
        "select id from Deals where id in (1",
        "select id from Deals where id in ()",
        "select id from Deals where id between 1",
        "select id from Deals where Deal_Name = 'x",
        "select id from Deals where id > 1 limit",
        "select id from Deals where id > 1 limit x",
        "select id from Deals where id > 1 limit 0",
        "select id from Deals where id > 1 limit 1.5",
        f"select id from Deals where id > 1 limit {'9' * 5_000}",
        "select id from Deals where id > 1 order id",
        f"select id from Deals where {'(' * 60}id > 1{')' * 60}",
        "",
    ],
)
async def test_a_query_that_cannot_be_parsed_is_a_syntax_error(query: str) -> None:
    assert (await EmulatorClient().query(query)).code == "SYNTAX_ERROR"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "REQUEST_BODY_IS_EMPTY"),
        (b"{", "INVALID_DATA"),
        (b"[]", "INVALID_DATA"),
        (b"{}", "MANDATORY_NOT_FOUND"),
        (b'{"select_query":5}', "INVALID_DATA"),
    ],
)
async def test_a_body_without_a_query_is_refused(body: bytes, code: str) -> None:
    response = await EmulatorClient().crm_call("POST", "coql", body=body)
    assert (response.status, response.code) == (400, code)


QUERY = "select id from {} where id is not null limit {}"


@pytest.mark.parametrize(
    ("limit", "expected"), [(1, 1), (200, 1), (201, 2), (1_000, 2), (1_001, 3), (2_000, 3)]
)
async def test_a_query_costs_credits_by_its_limit(limit: int, expected: int) -> None:
    crm = EmulatorClient()
    await crm.query(QUERY.format("Deals", limit))
    assert (await crm.state())["credits_used"] == expected


async def test_a_query_is_a_look_up_and_counted_by_its_endpoint() -> None:
    crm = EmulatorClient()
    await crm.query(QUERY.format("Deals", 1))
    await crm.get("org")
    state = await crm.state()
    assert state["calls"] == {"token": 1, "lookup": 2}
    assert state["endpoints"] == {"token": 1, "coql": 1, "org": 1}


@pytest.mark.parametrize(
    ("module", "scope"), [("Deals", "deals"), ("Contacts", "contacts"), ("Users", "users")]
)
async def test_a_query_needs_its_own_scope_and_that_of_its_module(module: str, scope: str) -> None:
    for missing in (f"{scope}.", "coql"):
        scopes = tuple(name for name in DEFAULT_SCOPES if missing not in name)
        response = await EmulatorClient(Settings(scopes=scopes)).query(QUERY.format(module, 1))
        assert (response.status, response.code) == (401, "OAUTH_SCOPE_MISMATCH")


async def test_a_query_needs_permission_to_view_its_module() -> None:
    crm = EmulatorClient(Settings(permissions=("Crm_Implied_View_Contacts",)))
    assert (await crm.query(QUERY.format("Contacts", 1))).status == 200
    assert (await crm.query(QUERY.format("Deals", 1))).code == "NO_PERMISSION"


async def test_ten_queries_may_be_in_flight() -> None:
    settings = Settings(latency=1, concurrency=0)
    crm = EmulatorClient(settings, small_world(), sleep=yield_control)
    await crm.get("org")
    calls = [crm.query(QUERY.format("Deals", 1)) for _ in range(11)]
    answers = await asyncio.gather(*calls, crm.get("org"))
    assert sorted(answer.status for answer in answers) == [200] * 11 + [429]
    assert (await crm.query(QUERY.format("Deals", 1))).status == 200


async def test_the_limit_of_queries_can_be_set() -> None:
    settings = Settings(latency=1, concurrency=0, coql_concurrency=1)
    crm = EmulatorClient(settings, small_world(), sleep=yield_control)
    await crm.get("org")
    answers = await asyncio.gather(*[crm.query(QUERY.format("Deals", 1)) for _ in range(2)])
    assert sorted(answer.status for answer in answers) == [200, 429]


async def test_a_query_must_be_posted() -> None:
    response = await EmulatorClient().get("coql")
    assert response.code == "INVALID_REQUEST_METHOD"
