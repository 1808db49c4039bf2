"""Answers are the same in process on a virtual clock and over a socket."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlencode

import aiohttp

from bulklink.emulator.crm import Crm
from bulklink.emulator.http import Request
from bulklink.emulator.server import Emulator
from bulklink.emulator.settings import Settings
from bulklink.emulator.worldfile import parse_world
from tests.emulator.client import ANA, FLEET, PAT, TOM, EmulatorClient, item, message, small_world
from tests.virtual import now, run_virtual

LINK = f"/crm/v8/Contacts/{ANA}/Emails/actions/link_record"
SINGLE_LINK = f"/crm/v8/Contacts/{ANA}/Emails/{message(7)}/actions/link_record"
CALLS: list[tuple[str, str, dict[str, str], Any]] = [
    ("POST", LINK, {}, {"Emails": [item(1), item(2, FLEET)]}),
    ("POST", LINK, {}, {"Emails": [item(1, FLEET), item(3)]}),
    ("POST", SINGLE_LINK, {}, {"Emails": [item(7, single=True)]}),
    ("DELETE", LINK, {"owner_id": PAT, "message_ids": f"{message(1)},{message(2)}"}, None),
    ("DELETE", SINGLE_LINK, {"owner_id": PAT}, None),
    ("GET", f"/crm/v8/Contacts/{ANA}/Emails", {}, None),
    ("GET", f"/crm/v8/Contacts/{TOM}/Emails", {}, None),
    ("GET", f"/crm/v8/Contacts/{ANA}/Deals", {"fields": "Deal_Name,Stage"}, None),
    ("GET", "/crm/v8/Deals", {"fields": "Deal_Name", "ids": f"{FLEET},1"}, None),
    ("GET", "/crm/v8/settings/modules/Deals", {}, None),
    ("GET", "/crm/v8/users", {"type": "AllUsers"}, None),
    ("GET", "/crm/v8/nothing/here", {}, None),
    ("GET", "/_emulator/state", {}, None),
]


async def test_answers_are_the_same_over_a_socket() -> None:
    crm = EmulatorClient()
    crm.token = (await crm.grant()).json["access_token"]
    headers = {"authorization": f"Zoho-oauthtoken {crm.token}"}
    responses = [await crm.send(*call, headers=headers) for call in CALLS]
    async with (
        Emulator(parse_world(small_world())) as emulator,
        aiohttp.ClientSession(emulator.url) as session,
    ):
        form = {"client_id": "demo", "client_secret": "demo", "refresh_token": "demo"}
        granted = await session.post("/oauth/v2/token", data=form | {"grant_type": "refresh_token"})
        assert (await granted.json())["access_token"] == crm.token
        for expected, (method, path, query, body) in zip(responses, CALLS, strict=True):
            async with session.request(
                method, path, params=query, json=body, headers=headers
            ) as answer:
                assert answer.status == expected.status
                assert await answer.read() == expected.answer.body


def test_slow_calls_take_no_real_time_on_a_virtual_clock() -> None:
    statuses: list[int] = []

    async def make_slow_calls() -> float:
        started_at = now()
        settings = Settings(latency=60, concurrency=2, expires_in=10**6)
        crm = Crm(parse_world(small_world()), settings, clock=now)
        form = {"client_id": "demo", "client_secret": "demo", "refresh_token": "demo"}
        query = urlencode(form | {"grant_type": "refresh_token"})
        await crm.handle(Request("POST", "/oauth/v2/token", query))
        headers = {"authorization": f"Zoho-oauthtoken {next(iter(crm.state.tokens.access_tokens))}"}
        call = Request("GET", "/crm/v8/org", headers=headers)
        for _ in range(20):
            answers = await asyncio.gather(*(crm.handle(call) for _ in range(3)))
            statuses.extend(answer.status for answer in answers)
        return now() - started_at

    assert 1_260 <= run_virtual(make_slow_calls()) < 1_261
    assert statuses == [200, 200, 429] * 20
