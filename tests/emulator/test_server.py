"""The emulated CRM over a socket, in process and as a program."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from bulklink.emulator.builtin_world import builtin_world
from bulklink.emulator.faults import Fault
from bulklink.emulator.server import Emulator, check_loopback, serve
from bulklink.emulator.settings import Settings
from bulklink.emulator.worldfile import load_world, parse_world
from tests.emulator.client import ANA, FLEET, TRAVEL, email, item, small_world

GRANT = {
    "refresh_token": "demo",
    "client_id": "demo",
    "client_secret": "demo",
    "grant_type": "refresh_token",
}
PROGRAM = "import sys; from bulklink.cli.commands.emulator import emulator; emulator(sys.argv[1:])"


async def granted(session: aiohttp.ClientSession, url: str) -> dict[str, str]:
    async with session.post(f"{url}/oauth/v2/token", data=GRANT) as answer:
        token = (await answer.json())["access_token"]
    return {"Authorization": f"Zoho-oauthtoken {token}"}


async def test_an_email_can_be_linked_over_a_socket() -> None:
    async with (
        Emulator(parse_world(small_world())) as emulator,
        aiohttp.ClientSession() as session,
    ):
        headers = await granted(session, emulator.url)
        url = f"{emulator.url}/crm/v8/Contacts/{ANA}/Emails/actions/link_record"
        async with session.post(url, json={"Emails": [item(1)]}, headers=headers) as answer:
            assert answer.status == 200
            assert answer.content_type == "application/json"
            assert (await answer.json())["Emails"][0]["code"] == "SUCCESS"
        async with session.get(f"{emulator.url}/_emulator/state") as answer:
            state = await answer.json()
    assert state["calls"] == {"token": 1, "link": 1}
    assert state["most_in_flight"] == 1
    assert state["answered_429"] == 0
    assert sum(email["deal_id"] == TRAVEL for email in state["world"]["emails"]) == 1


async def test_the_token_answer_names_the_emulator_as_api_domain() -> None:
    async with (
        Emulator(builtin_world()) as emulator,
        aiohttp.ClientSession() as session,
        session.post(f"{emulator.url}/oauth/v2/token", data=GRANT) as answer,
    ):
        assert (await answer.json())["api_domain"] == emulator.url


async def test_an_empty_list_is_204_without_a_body_over_a_socket() -> None:
    world = parse_world(small_world(0))
    async with Emulator(world) as emulator, aiohttp.ClientSession() as session:
        headers = await granted(session, emulator.url)
        url = f"{emulator.url}/crm/v8/Contacts/{ANA}/Emails"
        async with session.get(url, headers=headers) as answer:
            assert (answer.status, await answer.read()) == (204, b"")


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.7", "::", "example.org"])
def test_only_loopback_hosts_are_served(host: str) -> None:
    with pytest.raises(ValueError, match="loopback"):
        serve(builtin_world(), host=host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_loopback_hosts_are_accepted(host: str) -> None:
    check_loopback(host)


@pytest.fixture
def program() -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    yield process
    process.kill()
    process.communicate()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows ends processes without a signal")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_program_prints_its_address_first_and_exits_cleanly(
    program: subprocess.Popen[str], number: signal.Signals
) -> None:
    assert program.stdout is not None
    url = json.loads(program.stdout.readline())["url"]
    assert url.startswith("http://127.0.0.1:")
    program.send_signal(number)
    _, stderr = program.communicate(timeout=10)
    assert (program.returncode, stderr) == (0, "")


@pytest.mark.parametrize(
    ("reading", "expected"),
    [("strict", TRAVEL), ("loose", FLEET), ("last-modified-first", FLEET)],
)
async def test_the_program_links_received_mail_by_the_reading_of_its_option(
    reading: str, expected: str, tmp_path: Path
) -> None:
    world = small_world()
    world["deals"][1] |= {"stage": "Closed Won", "modified_time": "2026-04-01T00:00:00+00:00"}
    (tmp_path / "world.json").write_text(json.dumps(world), "utf-8")
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM,
        "--prediction",
        reading,
        "--world",
        str(tmp_path / "world.json"),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        url = json.loads(await process.stdout.readline())["url"]
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{url}/_emulator/receive", json=email(500)) as answer,
        ):
            assert (await answer.json())["deal_id"] == expected
    finally:
        process.kill()
        await process.wait()


async def test_the_error_for_a_port_in_use_names_it() -> None:
    async with Emulator(builtin_world()) as first:
        port = int(first.url.rpartition(":")[2])
        with pytest.raises(OSError, match=str(port)):
            await asyncio.wait_for(Emulator(builtin_world(), port=port).__aenter__(), 5)


def test_the_demo_world_matches_its_mapping() -> None:
    folder = Path(__file__).parents[2] / "jobs" / "demo"
    world = load_world(folder / "world.json")
    header, *rows = (folder / "mapping.csv").read_text("utf-8").splitlines()
    assert header == "contact_id,owner_id,message_id,deal_id,subject"
    assert len(rows) == 150
    for row in rows:
        contact, owner, message, deal, _ = row.split(",", 4)
        email = world.mailboxes[contact].by_id[message]
        assert (email.owner_id, email.deal_id) == (owner, None)
        assert world.deals[deal].contact_id == contact


@pytest.mark.parametrize("kind", ["lost-request", "lost-answer", "cut"])
async def test_a_lost_answer_closes_the_connection(kind: str) -> None:
    fault = Fault(kind=kind, op="link")
    async with (
        Emulator(parse_world(small_world()), faults=[fault]) as emulator,
        aiohttp.ClientSession() as session,
    ):
        headers = await granted(session, emulator.url)
        url = f"{emulator.url}/crm/v8/Contacts/{ANA}/Emails/actions/link_record"
        with pytest.raises(aiohttp.ClientError):
            async with session.post(url, json={"Emails": [item(1)]}, headers=headers) as answer:
                await answer.read()
        changes = emulator.crm.state.change_count
    assert changes == (0 if kind == "lost-request" else 1)


async def test_a_stalled_answer_does_not_block_shutdown() -> None:
    fault = Fault(kind="stalled", op="link")
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(0.2)) as session,
        Emulator(parse_world(small_world()), faults=[fault]) as emulator,
    ):
        headers = await granted(session, emulator.url)
        url = f"{emulator.url}/crm/v8/Contacts/{ANA}/Emails/actions/link_record"
        with pytest.raises(TimeoutError):
            await session.post(url, json={"Emails": [item(1)]}, headers=headers)


async def test_the_credits_header_is_sent_over_a_socket() -> None:
    async with (
        Emulator(builtin_world(), Settings(credits=2)) as emulator,
        aiohttp.ClientSession() as session,
    ):
        headers = await granted(session, emulator.url)
        async with session.get(f"{emulator.url}/crm/v8/org", headers=headers) as answer:
            assert answer.headers["X-API-CREDITS-REMAINING"] == "1"
