"""Time and memory of `fetch`, by the number of emails and of deals that a condition selects.

A server in a process of its own holds each answer back for a fixed latency. The time is compared
with the one that the calls in flight allow: calls times latency, divided by the calls in flight.
So is that of a bare aiohttp loop, which makes the same reads and keeps nothing.

    python benchmarks/fetching.py [--emails 100000 1000000] [--deals 300000] [--write]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import aiohttp
from processes import measure
from servers import BULKLINK, FIRST_CONTACT, ReadingServer, serve, serve_forever, token_environment
from tables import put_table, table

LATENCY, IN_FLIGHT = 0.05, 20
EMAILS_PER_CONTACT, PAGES_PER_CONTACT = 20, 2
_SERVER = (sys.executable, str(Path(__file__)), "--serve")
_ROWS = 2000


class DelayedServer(ReadingServer):
    """Server that answers reads, and queries for deals, after a latency.

    The deals are as many as the number in the condition of a query.
    """

    _query = re.compile(rb"\(id > '?(\d+)'?\).*?Amount < (\d+)")

    def _answer(self, head: bytes, body: bytes) -> None:
        asyncio.get_running_loop().call_later(LATENCY, self._answer_now, head, body)

    def _answer_now(self, head: bytes, body: bytes) -> None:
        query = self._query.search(body)
        if query is None:
            super()._answer(head, body)
            return
        last, deals = int(query[1]), int(query[2])
        rows = [
            {"id": str(n), "Deal_Name": "Deal", "Stage": "Open", "Contact_Name": {"id": "1"}}
            for n in range(last + 1, min(last + _ROWS, deals) + 1)
        ]
        more = last + _ROWS < deals
        self._write(json.dumps({"data": rows, "info": {"more_records": more}}).encode())


class Run(NamedTuple):
    """Measurement of one command.

    Args:
        seconds: how long it took.
        memory: peak resident memory in bytes.
        calls: reads and look-ups.
    """

    seconds: float
    memory: int
    calls: dict[str, int]


def run_fetch(url: str, *arguments: str) -> Run:
    """Fetch into a file that is removed, and measure the process."""
    with tempfile.TemporaryDirectory() as folder:
        output = ["-o", str(Path(folder, "f.csv"))]
        pace = ["--rate", "off", "--concurrency", str(IN_FLIGHT), "--progress", "none", "--json"]
        command = [*BULKLINK, "fetch", *arguments, *output, *pace]
        figures = measure(command, env=token_environment(url))
        return Run(figures.seconds, figures.memory, json.loads(figures.output)["calls"])


def measure_emails(url: str, emails: int) -> Run:
    """Fetch this many emails."""
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as contacts:
        for number in range(emails // EMAILS_PER_CONTACT):
            contacts.write(f"{FIRST_CONTACT + number}\n")
        contacts.flush()
        return run_fetch(url, f"@{contacts.name}")


async def run_bare_loop(url: str, emails: int) -> float:
    """Read the pages of this many emails, and return the seconds that it took."""
    contacts = iter(range(FIRST_CONTACT, FIRST_CONTACT + emails // EMAILS_PER_CONTACT))

    async def read(session: aiohttp.ClientSession) -> None:
        for contact in contacts:
            for query in ("", "?index=10"):
                target = f"{url}/crm/v8/Contacts/{contact}/Emails{query}"
                async with session.get(target) as answer:
                    json.loads(await answer.read())

    async with aiohttp.ClientSession() as session:
        started = time.perf_counter()
        await asyncio.gather(*(read(session) for _ in range(IN_FLIGHT)))
        return time.perf_counter() - started


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--emails", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--deals", type=int, default=300_000)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        asyncio.run(serve_forever(DelayedServer))
        return
    rows = []
    with serve(_SERVER) as url:
        emails = arguments.emails[0]
        seconds = asyncio.run(run_bare_loop(url, emails))
        calls = emails // EMAILS_PER_CONTACT * PAGES_PER_CONTACT
        allowed = calls * LATENCY / IN_FLIGHT
        times = f"{seconds / allowed:.2f}"
        rows.append((f"bare loop, {emails:,} emails", f"{calls:,}", f"{seconds:.1f} s", times, ""))
        for emails in arguments.emails:
            run = measure_emails(url, emails)
            allowed = run.calls["read"] * LATENCY / IN_FLIGHT
            rows.append(
                (
                    f"{emails:,} emails",
                    f"{run.calls['read']:,}",
                    f"{run.seconds:.1f} s",
                    f"{run.seconds / allowed:.2f}",
                    f"{run.memory / 1e6:.0f} MB",
                )
            )
        run = run_fetch(url, "--deals-where", f"Amount < {arguments.deals}")
        lookups = run.calls["lookup"] - 1
        rows.append(
            (
                f"{arguments.deals:,} deals of a condition",
                f"{lookups:,}",
                f"{run.seconds:.1f} s",
                f"{run.seconds / (lookups * LATENCY):.2f}",
                f"{run.memory / 1e6:.0f} MB",
            )
        )
    header = ("", "calls", "time", "times what the calls allow", "peak memory")
    text = table(header, rows)
    print(text)
    if arguments.write:
        put_table("fetching", text)


if __name__ == "__main__":
    main()
