"""Limits on calls in flight, credits and tokens, and penalties, on a virtual clock."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bulklink.emulator.limits import org_limits
from bulklink.emulator.settings import Settings
from bulklink.emulator.worldfile import parse_world
from tests.emulator.client import (
    ANA,
    EmulatorClient,
    JsonResponse,
    item,
    small_world,
    yield_control,
)

REMAINING = "X-API-CREDITS-REMAINING"


async def make_concurrent_calls(crm: EmulatorClient, count: int) -> list[JsonResponse]:
    """Make `count` calls that are in flight at the same time."""
    await crm.get("org")
    return list(await asyncio.gather(*(crm.get(f"Contacts/{ANA}/Emails") for _ in range(count))))


@pytest.mark.parametrize(
    ("edition", "in_flight", "credits_per_day"),
    [
        ("free", 5, 5_000),
        ("standard", 10, 52_500),
        ("professional", 15, 55_000),
        ("enterprise", 20, 60_000),
        ("zoho-one", 20, 60_000),
        ("ultimate", 25, 70_000),
        ("crm-plus", 25, 70_000),
    ],
)
def test_the_edition_determines_calls_in_flight_and_credits(
    edition: Any, in_flight: int, credits_per_day: int
) -> None:
    limits = org_limits(Settings(edition=edition), parse_world(small_world()))
    assert (limits.in_flight, limits.credits) == (in_flight, credits_per_day)


@pytest.mark.parametrize(
    ("edition", "cap"),
    [("standard", 100_000), ("professional", 3_000_000), ("enterprise", 5_000_000)],
)
def test_credits_are_capped_for_any_number_of_users(edition: Any, cap: int) -> None:
    world = small_world(org={"license_details": {"users_license_purchased": 50_000}})
    assert org_limits(Settings(edition=edition), parse_world(world)).credits == cap


def test_the_worlds_licence_counts_unless_an_edition_is_set() -> None:
    world = small_world(org={"license_details": {"paid_type": "Zoho_One"}})
    assert org_limits(Settings(), parse_world(world)).in_flight == 20


async def test_a_call_beyond_the_limit_in_flight_is_429() -> None:
    crm = EmulatorClient(Settings(concurrency=3, latency=1), sleep=yield_control)
    responses = await make_concurrent_calls(crm, 5)
    assert sorted(response.status for response in responses) == [200, 200, 200, 429, 429]
    state = await crm.state()
    assert (state["most_in_flight"], state["answered_429"]) == (4, 2)


async def test_token_requests_do_not_count_as_calls_in_flight() -> None:
    crm = EmulatorClient(Settings(concurrency=1, latency=1), sleep=yield_control)
    await crm.get("org")
    responses = await asyncio.gather(crm.grant(), crm.get("org"), crm.grant())
    assert [response.status for response in responses] == [200, 200, 200]
    assert (await crm.state())["most_in_flight"] == 1


async def test_other_programs_share_the_limit_on_calls_in_flight() -> None:
    crm = EmulatorClient(
        Settings(concurrency=3, latency=1, background_in_flight=2), sleep=yield_control
    )
    assert [response.status for response in await make_concurrent_calls(crm, 2)].count(429) == 1


async def test_links_can_have_a_lower_limit() -> None:
    crm = EmulatorClient(Settings(link_concurrency=1, latency=1), sleep=yield_control)

    await crm.get("org")
    responses = await asyncio.gather(crm.link(item(1)), crm.link(item(2)), crm.get("org"))
    assert [response.status for response in responses] == [200, 429, 200]


async def test_credits_run_out_and_return_after_a_window() -> None:
    crm = EmulatorClient(Settings(credits=3))
    assert [(await crm.get("org")).status for _ in range(4)] == [200, 200, 200, 429]
    crm.time.now += 86_000
    crm.token = ""
    assert (await crm.get("org")).status == 429
    crm.time.now += 500
    assert (await crm.get("org")).status == 200


async def test_the_header_states_remaining_credits_once_half_are_used() -> None:
    crm = EmulatorClient(Settings(credits=4))
    remaining = [(await crm.get("org")).answer.headers.get(REMAINING) for _ in range(5)]
    assert remaining == [None, "2", "1", "0", "0"]


async def test_token_requests_cost_no_credits() -> None:
    crm = EmulatorClient(Settings(credits=1))
    for _ in range(3):
        await crm.grant()
    assert (await crm.get("org")).status == 200


async def test_the_credit_cost_of_links_and_reads_can_be_set() -> None:
    crm = EmulatorClient(Settings(link_credits=5, read_credits=0))
    await crm.link(item(1))
    await crm.get(f"Contacts/{ANA}/Emails")
    assert (await crm.state())["credits_used"] == 5


async def test_other_programs_use_credits_over_time() -> None:
    crm = EmulatorClient(Settings(credits=100, background_credits=1.0))
    assert (await crm.get("org")).status == 200
    crm.time.now += 99
    assert (await crm.get("org")).status == 429


async def test_a_429_can_name_its_limit_or_not() -> None:
    client_with_credit = EmulatorClient(Settings(credits=1))
    await client_with_credit.get("org")
    assert (await client_with_credit.get("org")).json == {
        "code": "TOO_MANY_REQUESTS",
        "details": {},
        "message": "Many requests fired than the allowed limit for the past 24 hours",
        "status": "error",
    }
    same = EmulatorClient(Settings(credits=1, too_many_text="same"))
    await same.get("org")
    by_credits = (await same.get("org")).json
    busy = EmulatorClient(Settings(concurrency=1, background_in_flight=1, too_many_text="same"))
    assert (await busy.get("org")).json == by_credits


async def test_a_429_can_have_the_older_shape() -> None:
    crm = EmulatorClient(Settings(concurrency=1, background_in_flight=1, too_many_body="old"))
    body = (await crm.get("org")).json
    assert (body["code"], body["error"]) == (429, "TOO_MANY_REQUESTS")
    assert set(body) == {"code", "error", "error_info"}


async def test_a_429_has_retry_after_only_if_set() -> None:
    busy = Settings(concurrency=1, background_in_flight=1)
    assert "Retry-After" not in (await EmulatorClient(busy).get("org")).answer.headers
    crm = EmulatorClient(Settings(credits=1, retry_after="on"))
    await crm.get("org")
    wait = int((await crm.get("org")).answer.headers["Retry-After"])
    assert 86_000 < wait <= 86_500
    crm.time.now += wait
    crm.token = ""
    assert (await crm.get("org")).status == 200


async def test_a_429_can_state_its_limit_and_when_to_retry() -> None:
    crm = EmulatorClient(Settings(credits=1, credit_window=1440.0, too_many_body="stated"))
    await crm.get("org")
    refused = await crm.get("org")
    assert refused.status == 429
    assert "Retry-After" not in refused.answer.headers
    details = refused.json["details"]
    assert refused.json == {
        "details": details,
        "code": "TOO_MANY_REQUESTS",
        "message": "Rate limit exceeded. Please retry after the specified time.",
        "status": "error",
    }
    assert set(details) == {"trace_id", "retry_after", "limit", "window"}
    assert (details["limit"], details["window"]) == (1, 1440)
    crm.time.now += details["retry_after"]
    assert (await crm.get("org")).status == 200


async def test_a_429_for_calls_in_flight_can_state_its_limit_too() -> None:
    busy = Settings(concurrency=3, background_in_flight=3, too_many_body="stated")
    details = (await EmulatorClient(busy).get("org")).json["details"]
    assert (details["limit"], details["window"], details["retry_after"]) == (3, 1, 1)


async def test_a_penalty_includes_its_last_moment_and_grows_with_each_early_call() -> None:
    crm = EmulatorClient(
        Settings(credits=1, credit_window=1440.0, penalty=2000.0, retry_after="on")
    )
    await crm.get("org")
    assert (await crm.get("org")).answer.headers["Retry-After"] == "2000"
    crm.time.now += 2_000
    crm.token = ""
    response = await crm.get("org")
    assert (response.status, response.answer.headers["Retry-After"]) == (429, "3600")
    crm.time.now += 3_601
    crm.token = ""
    assert (await crm.get("org")).status == 200


async def test_at_most_ten_tokens_are_issued_in_ten_minutes() -> None:
    crm = EmulatorClient()
    assert ["access_token" in (await crm.grant()).json for _ in range(10)] == [True] * 10
    response = await crm.grant()
    assert response.status == 400
    assert response.json["error"] == "Access Denied"
    assert "too many requests continuously" in response.json["error_description"]
    crm.time.now += 600
    assert "access_token" in (await crm.grant()).json


async def test_requesting_a_token_while_refused_prolongs_the_refusal() -> None:
    crm = EmulatorClient(Settings(tokens_per_window=1))
    await crm.grant()
    await crm.grant()
    await crm.grant()
    crm.time.now += 600
    assert (await crm.grant()).status == 400
    crm.time.now += 120
    assert "access_token" in (await crm.grant()).json


async def test_tokens_can_be_unlimited() -> None:
    crm = EmulatorClient(Settings(tokens_per_window=0))
    assert ["access_token" in (await crm.grant()).json for _ in range(30)] == [True] * 30


@pytest.mark.parametrize("wrong", [{"max_items": 0}, {"latency": -1.0}, {"credits": 10**10}])
def test_invalid_settings_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Settings(**wrong)


async def test_a_broken_mailbox_cannot_be_read_alone() -> None:
    crm = EmulatorClient(Settings(broken_mailboxes=("5843104000000424672",)))
    path = f"Contacts/{ANA}/Emails"
    response = await crm.get(path, type="user_emails", owner_id="5843104000000424672")
    assert (response.status, response.code) == (400, "CANNOT_PROCESS")
    assert (await crm.get(path)).status == 200


async def test_other_programs_follow_their_plan() -> None:
    plan = ("10=2", "20=0")
    crm = EmulatorClient(
        Settings(concurrency=3, latency=1, background_plan=plan), sleep=yield_control
    )
    started_at, refused = crm.time.now, []
    for seconds in (5.0, 10.0, 25.0):
        crm.time.now = started_at + seconds
        refused.append(
            sum(response.status == 429 for response in await make_concurrent_calls(crm, 4))
        )
    assert refused == [1, 3, 1]


@pytest.mark.parametrize("plan", [("5",), ("5=x",), ("9=1", "5=2"), ("5=-1",)])
def test_an_invalid_plan_of_other_programs_is_refused(plan: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=r"SECONDS=CALLS|background_plan"):
        Settings(background_plan=plan)
