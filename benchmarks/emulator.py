"""Emulator: link calls per second on one core, memory of a large world, start-up time.

    python benchmarks/emulator.py [--emails 1000000] [--seconds 5]

The emulator runs in its own process. Only the CPU seconds of that process count, so the calls per
CPU second do not depend on the speed of this client.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp

PROGRAM = "import sys; from bulklink.cli.commands.emulator import emulator; emulator(sys.argv[1:])"
TOKEN = {
    "refresh_token": "demo",
    "client_id": "demo",
    "client_secret": "demo",
    "grant_type": "refresh_token",
}
BASE = 5843104000000000000
MODULE = str(BASE + 3735)
PER_CONTACT = 20
WORKERS = 16
TICKS_A_SECOND = 100  # unit of CPU times in /proc on Linux


def main() -> None:
    """Measure and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--emails", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        small, large = Path(folder, "small.json"), Path(folder, "large.json")
        write_world(small, 10_000)
        write_world(large, options.emails)
        starts = sorted(start_seconds(small) for _ in range(3))
        print(f"start on 10,000 emails: {starts[1]:.2f} s (median of 3)")
        asyncio.run(measure_links(large, options.emails, options.seconds))


def write_world(path: Path, emails: int) -> None:
    """Write a world of contacts with twenty emails each, one email per line."""
    contacts = max(1, emails // PER_CONTACT)
    with path.open("w", encoding="utf-8") as out:
        out.write(f'{{"module_id":"{MODULE}","users":[')
        out.write(f'{{"id":"{BASE + 1}","full_name":"Patricia Boyle"}}],"contacts":[\n')
        out.write(",\n".join(json.dumps({"id": contact(n), "name": "A"}) for n in range(contacts)))
        out.write('],"deals":[\n')
        out.write(",\n".join(json.dumps(deal_entry(n)) for n in range(contacts)))
        out.write('],"emails":[\n')
        for number in range(contacts * PER_CONTACT):
            out.write((",\n" if number else "") + json.dumps(email_entry(number)))
        out.write("]}\n")


def contact(number: int) -> str:
    """Return the id of a contact."""
    return str(BASE + 10_000_000 + number)


def deal(number: int) -> str:
    """Return the id of a contact's deal."""
    return str(BASE + 20_000_000 + number)


def deal_entry(number: int) -> dict[str, object]:
    """Return the deal of a contact, as in a world file."""
    return {"id": deal(number), "name": f"Deal {number}", "contact_id": contact(number)}


def email_entry(number: int) -> dict[str, object]:
    """Return an email, as in a world file, with a subject of typical length."""
    return {
        "contact_id": contact(number // PER_CONTACT),
        "message_id": message(number),
        "owner_id": str(BASE + 1),
        "subject": f"Re: our offer of last week, question {number}",
        "time": f"2026-03-{1 + number % 28:02}T10:{number % 60:02}:00+00:00",
        "received": True,
        "deal_id": None,
    }


def message(number: int) -> str:
    """Return the id of an email, 64 hex digits."""
    return f"{number * 2_654_435_761:064x}"


def start_emulator(world: Path) -> tuple[subprocess.Popen[str], str]:
    """Start an emulator without limits; return its process and address."""
    command = [sys.executable, "-c", PROGRAM, "--world", str(world)]
    command += ["--concurrency", "0", "--credits", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, json.loads(process.stdout.readline())["url"]


def start_seconds(world: Path) -> float:
    """Return the seconds from the start of the process until it prints its address."""
    before = time.perf_counter()
    process, _ = start_emulator(world)
    passed = time.perf_counter() - before
    process.terminate()
    process.wait()
    return passed


async def measure_links(world: Path, emails: int, seconds: float) -> None:
    """Link twenty emails per call for a number of seconds and print the server's figures."""
    process, url = start_emulator(world)
    try:
        loaded = memory_mb(process.pid)
        cpu = cpu_seconds(process.pid)
        before = time.perf_counter()
        calls = await link_calls(url, emails // PER_CONTACT, before + seconds)
        passed = time.perf_counter() - before
        used = cpu_seconds(process.pid) - cpu
        print(f"{emails:,} emails loaded: {loaded:,.0f} MB, peak {peak_mb(process.pid):,.0f} MB")
        print(
            f"link calls of 20: {calls / passed:,.0f} per second next to this client, "
            f"{calls / used:,.0f} per CPU second of the server ({calls:,} calls)"
        )
    finally:
        process.terminate()
        process.wait()


async def link_calls(url: str, contacts: int, until: float) -> int:
    """Link the emails of one contact after another; return the number of calls."""
    numbers = iter(range(contacts))
    async with aiohttp.ClientSession() as session:
        async with session.post(f"{url}/oauth/v2/token", data=TOKEN) as answer:
            token = (await answer.json())["access_token"]
        headers = {
            "Authorization": f"Zoho-oauthtoken {token}",
            "Content-Type": "application/json",
        }
        counts = await asyncio.gather(
            *(link_until(session, url, headers, numbers, until) for _ in range(WORKERS))
        )
    return sum(counts)


async def link_until(
    session: aiohttp.ClientSession,
    url: str,
    headers: dict[str, str],
    numbers: Iterator[int],
    until: float,
) -> int:
    """Link the emails of further contacts until the time is up or no contact is left."""
    calls = 0
    for number in numbers:
        if time.perf_counter() > until:
            break
        address = f"{url}/crm/v8/Contacts/{contact(number)}/Emails/actions/link_record"
        async with session.post(address, data=body(number), headers=headers) as answer:
            await answer.read()
            if answer.status != 200:
                raise RuntimeError(f"HTTP {answer.status}")
        calls += 1
    return calls


def body(number: int) -> bytes:
    """Return the body that links a contact's twenty emails to its deal."""
    owner = {"name": "Patricia Boyle", "id": str(BASE + 1)}
    record = {
        "module": {"api_name": "Deals", "id": MODULE},
        "name": f"Deal {number}",
        "id": deal(number),
    }
    first = number * PER_CONTACT
    emails = [
        {"owner": owner, "message_id": message(first + n), "linked_record": record}
        for n in range(PER_CONTACT)
    ]
    return json.dumps({"Emails": emails}).encode()


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_A_SECOND


def memory_mb(pid: int) -> float:
    """Return the resident memory of a process, in MB."""
    return _status_kb(pid, "VmRSS") / 1_000


def peak_mb(pid: int) -> float:
    """Return the peak resident memory of a process, in MB."""
    return _status_kb(pid, "VmHWM") / 1_000


def _status_kb(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


if __name__ == "__main__":
    main()
