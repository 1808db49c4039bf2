"""Use of an org's limits: policies of calls in flight, real runs, and calls per second.

By default, the policies run on a virtual clock against the emulator in the same process, so that
the machine and its load do not matter: a fixed limit as configured, the best fixed limit in
hindsight, and the adaptive one. With --real, 2,000 link calls go over a socket with the ledger on
disk, timed from the first call to the last, and a bare aiohttp loop sends the same. With --rates,
four limiters of calls per second run on a virtual clock that wakes late.

    python benchmarks/limits.py [--real | --rates] [--write]
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import multiprocessing
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
from aiolimiter import AsyncLimiter
from servers import BULKLINK, emulator_environment, serve
from tables import put_table, table

if TYPE_CHECKING:
    from tests.simulation.traffic import Org

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT))  # for the simulation, which is not installed
CALLS = 2_000
FIXED_LIMITS = (1, 2, 3, 4, 5, 7, 10, 12, 15, 18, 20, 25)
"""Fixed limits that are tried; the best one counts."""
LEARNING_SECONDS = 300.0
"""Seconds before calls are counted, in orgs that are simulated for longer."""
RATES = (1, 10, 50, 500, 5_000)
WAITING_CALLS = 100
LATE_SECONDS = 0.008
"""Longest delay of a wake-up; each delay is random, from 0 to this."""
VERY_LATE_SECONDS = 0.3
"""The same on an overloaded machine."""
OWNER, DEAL, FIRST = "5843104000000424672", "5843104000004382122", 5843104000000100000


def orgs() -> dict[str, Org]:
    """Return the orgs by description."""
    from tests.simulation.traffic import Org

    comes_and_goes = [(20 + 40 * n, 5 * ((n + 1) % 2)) for n in range(7)]
    down = [(30 + 4 * n, n) for n in range(16)]
    return {
        "10, as configured": Org(10, 10),
        "5, but 10 configured": Org(10, 5),
        "3, but 25 configured": Org(25, 3),
        "18, but 25 configured": Org(25, 18),
        "4, but 10 configured, 2 s a call": Org(10, 4, latency=2.0),
        "10, another program takes 5, on and off": Org(10, 10, background_calls=comes_and_goes),
        "20, steps to 5, 15, 10 and back": Org(
            20, 20, background_calls=((60, 15), (120, 5), (180, 10), (240, 0))
        ),
        "20, falling gradually to 5": Org(20, 20, background_calls=down),
        "4, rising to 20 after 100 s": Org(
            20, 20, background_calls=((0, 16), (100, 0)), latency=1.0
        ),
        "7, but 10 configured, Retry-After": Org(10, 7, retry_after=True),
        "12, but 20 configured, 4 s of penalty, Retry-After": Org(
            20, 12, penalty=4.0, retry_after=True
        ),
        "20, then 10, penalty of 30 s, Retry-After": Org(
            20, 20, penalty=30.0, retry_after=True, background_calls=((60, 10), (180, 0))
        ),
        "12, but 20 configured, unannounced penalty of 4 s, minutes 5 to 15": Org(
            20, 12, penalty=4.0, duration=900
        ),
        "12, but 20 configured, unannounced penalty of 10 s, minutes 5 to 15": Org(
            20, 12, penalty=10.0, duration=900
        ),
        "12, but 20 configured, 10 s, text without a reason, minutes 5 to 15": Org(
            20, 12, penalty=10.0, explains_429=False, duration=900
        ),
        "18, but 25 configured, text without a reason": Org(25, 18, explains_429=False),
    }


def policy_table() -> str:
    """Return the table of policies by org: use, 429s, time compared with the best in hindsight."""
    with multiprocessing.Pool() as pool:
        lines = [
            line for org_lines in pool.imap(measure_org, orgs(), chunksize=1) for line in org_lines
        ]
    header = ["the CRM accepts", "policy", "calls", "use", "429s", "after the first minute"]
    return table([*header, "time for as many calls"], lines)


def measure_org(name: str) -> list[list[str]]:
    """Return the rows of one org."""
    from tests.simulation.traffic import simulate_traffic

    org = orgs()[name]
    fixed = {
        limit: simulate_traffic(org, fixed_limit=limit)
        for limit in FIXED_LIMITS
        if limit <= org.client_limit
    }
    since = LEARNING_SECONDS if org.duration > LEARNING_SECONDS else 0.0
    limit, best = max(fixed.items(), key=lambda item: item[1].count_successes(since))
    results = {
        f"fixed at {org.client_limit}, as configured": fixed[org.client_limit],
        f"fixed at {limit}, best in hindsight": best,
        "adaptive": simulate_traffic(org),
    }
    lines = []
    for policy, result in results.items():
        use = result.count_successes(since) / best.count_successes(since)
        refused = (str(len(result.refusal_times)), str(result.count_refusals(60)))
        time_ratio = f"{1 / use:.2f}" if use > 0.01 else "over 100" if use else "never"
        lines.append(
            [name, policy, f"{result.count_successes(since):,}", f"{use:.2f}", *refused, time_ratio]
        )
    return lines


@contextmanager
def emulator(folder: Path, in_flight: int, latency: float) -> Iterator[str]:
    """Write a world with one email per call and its mapping; serve the world."""
    contacts = [str(FIRST + n) for n in range(CALLS)]
    world = {
        "module_id": "5843104000000003735",
        "users": [{"id": OWNER, "full_name": "Bench", "email": ""}],
        "contacts": [{"id": c, "name": c, "email": ""} for c in contacts],
        "deals": [{"id": DEAL + c[-6:], "name": "D", "contact_id": c} for c in contacts],
        "emails": [
            {"contact_id": c, "message_id": f"{n:064x}", "owner_id": OWNER, "deal_id": None}
            | {"subject": "", "time": "2026-03-01T10:00:00+00:00"}
            for n, c in enumerate(contacts)
        ],
    }
    (folder / "world.json").write_text(json.dumps(world))
    rows = [f"{c},{OWNER},{n:064x},{DEAL + c[-6:]},Bench,D\n" for n, c in enumerate(contacts)]
    header = "contact_id,owner_id,message_id,deal_id,owner_name,deal_name\n"
    (folder / "mapping.csv").write_text(header + "".join(rows))
    command = [*BULKLINK, "emulator", "--world", str(folder / "world.json")]
    command += ["--concurrency", str(in_flight), "--latency", str(latency), "--credits", "0"]
    with serve(command) as url:
        yield url


def measure_real_run(in_flight: int, latency: float) -> list[str]:
    """Send the calls in a bare loop and in a run, and return a row of the table."""
    with tempfile.TemporaryDirectory() as name, emulator(Path(name), in_flight, latency) as url:
        bare = asyncio.run(bare_loop(Path(name) / "mapping.csv", url, in_flight))
    with tempfile.TemporaryDirectory() as name, emulator(Path(name), in_flight, latency) as url:
        folder = Path(name)
        command = [*BULKLINK, "link", str(folder / "mapping.csv"), "--yes"]
        command += ["--rate", "off", "--concurrency", str(in_flight), "--canary", "0", "--json"]
        command += ["--run-dir", str(folder / "run"), "--progress", "none"]
        env = emulator_environment(url)
        subprocess.run(command, check=True, env=env, stdout=subprocess.DEVNULL)
        lines = [json.loads(line) for line in (folder / "run" / "ledger.jsonl").open()]
    first = next(line["ts"] for line in lines if line["event"] == "call" and line["op"] == "link")
    last = max(line["ts"] for line in lines if line["event"] == "result")
    seconds = (datetime.fromisoformat(last) - datetime.fromisoformat(first)).total_seconds()
    ideal_seconds = CALLS * latency / in_flight
    calls = sum(line["event"] == "call" and line["op"] == "link" for line in lines)
    figures = (
        f"{latency * 1000:.0f} ms",
        f"{ideal_seconds:.1f} s",
        f"{bare:.2f} s",
        f"{seconds:.2f} s",
    )
    ratios = (f"{seconds / bare:.3f}", f"{seconds / ideal_seconds:.3f}")
    return [str(in_flight), *figures, *ratios, str(calls - CALLS)]


async def bare_loop(mapping: Path, url: str, in_flight: int) -> float:
    """Send the calls of a mapping with only aiohttp, and return the seconds they take."""
    sign_in = {"grant_type": "refresh_token", "refresh_token": "demo"}
    sign_in |= {"client_id": "demo", "client_secret": "demo"}
    with mapping.open() as file:
        rows = iter(list(csv.DictReader(file)))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        async with session.post(f"{url}/oauth/v2/token", data=sign_in) as answer:
            token = (await answer.json())["access_token"]
        headers = {"Authorization": f"Zoho-oauthtoken {token}", "Content-Type": "application/json"}

        async def send() -> None:
            for row in rows:
                target = f"/crm/v8/Contacts/{row['contact_id']}/Emails/actions/link_record"
                async with session.post(url + target, data=body(row), headers=headers) as answer:
                    assert answer.status == 200, await answer.text()
                    await answer.read()

        started_at = time.perf_counter()
        await asyncio.gather(*(send() for _ in range(in_flight)))
        return time.perf_counter() - started_at


def body(row: dict[str, str]) -> bytes:
    """Return the link call of one email."""
    owner = {"name": row["owner_name"], "id": row["owner_id"]}
    module = {"api_name": "Deals", "id": "5843104000000003735"}
    deal = {"module": module, "name": row["deal_name"], "id": row["deal_id"]}
    email = {"owner": owner, "message_id": row["message_id"], "linked_record": deal}
    return json.dumps({"Emails": [email]}).encode()


class Schedule:
    """Rate limiter that follows a schedule (GCRA), without aiolimiter.

    Args:
        rate: calls per second.
    """

    def __init__(self, rate: float) -> None:
        self._interval = 1 / rate
        self._next_at = 0.0

    async def acquire(self) -> None:
        """Wait for the next time in the schedule."""
        now = asyncio.get_running_loop().time()
        due = max(now, self._next_at)
        self._next_at = due + self._interval
        await asyncio.sleep(due - now)


Acquire = Callable[[], Awaitable[None]]


def rate_limiters(rate: float) -> dict[str, Callable[[], Acquire]]:
    """Return the factory of each limiter, by its description."""
    from bulklink.engine.ratelimit.rate import RateLimiter
    from bulklink.engine.shutdown import StopController

    return {
        "`AsyncLimiter(rate, 1)`": lambda: AsyncLimiter(rate, 1).acquire,
        "`AsyncLimiter(1, 1 / rate)`": lambda: AsyncLimiter(1, 1 / rate).acquire,
        "schedule (GCRA) without aiolimiter": lambda: Schedule(rate).acquire,
        "bulklink's `RateLimiter`": lambda: RateLimiter(rate, StopController()).acquire,
    }


def rate_table() -> str:
    """Return the table of limiters by rate: starts per second, and use, with a late clock."""
    rows = []
    for rate in RATES:
        promise = int(rate + max(1, rate / 100))
        for name, make_acquire in rate_limiters(rate).items():
            seconds = max(10.0, 100 / rate)
            starts = start_times(make_acquire, seconds, LATE_SECONDS)
            steady = [moment for moment in starts if moment - starts[0] > 1.0]
            use = (len(steady) - 1) / (steady[-1] - steady[0]) / rate
            very_late = max_per_second(start_times(make_acquire, seconds, VERY_LATE_SECONDS))
            counts = [mark_beyond(count, promise) for count in (max_per_second(starts), very_late)]
            rows.append([f"{rate:,}", name, f"{promise:,}", counts[0], f"{use:.3f}", counts[1]])
    header = ["calls per second", "limiter", "promise", "maximum per second", "use of the rate"]
    return table([*header, "maximum per second, 0.3 s late"], rows)


def mark_beyond(count: int, promise: int) -> str:
    """Return a count, in bold if it breaks the promise."""
    return f"**{count:,}**" if count > promise else f"{count:,}"


def start_times(
    make_acquire: Callable[[], Acquire], seconds: float, max_lateness: float
) -> list[float]:
    """Return when calls start if many wait all the time and the clock wakes late."""
    from tests.virtual import VirtualLoop

    rng = random.Random(1)
    loop = VirtualLoop(lambda: rng.uniform(0.0, max_lateness))
    starts: list[float] = []

    async def wait_and_start(acquire: Acquire, end: float) -> None:
        while loop.time() < end:
            await acquire()
            starts.append(loop.time())

    async def run() -> None:
        acquire, end = make_acquire(), loop.time() + seconds
        await asyncio.gather(*(wait_and_start(acquire, end) for _ in range(WAITING_CALLS)))

    try:
        loop.run_until_complete(run())
    finally:
        loop.close()
    return starts


def max_per_second(starts: Sequence[float]) -> int:
    """Return the maximum number of starts in any second, including both ends."""
    maximum = first = 0
    for number, moment in enumerate(starts):
        while starts[first] < moment - 1.0:
            first += 1
        maximum = max(maximum, number - first + 1)
    return maximum


def main() -> None:
    """Measure and print a table, and write it to the README on request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--real", action="store_true", help="run over a socket, ledger on disk")
    parser.add_argument("--rates", action="store_true", help="compare limiters of calls per second")
    parser.add_argument("--write", action="store_true", help="write the table to README.md")
    arguments = parser.parse_args()
    if arguments.real:
        header = ["calls in flight", "latency", "N·L/C", "bare loop", "run"]
        header += ["run to bare loop", "run to N·L/C", "calls retried"]
        lines = [measure_real_run(c, latency) for c in (10, 25) for latency in (0.05, 0.2)]
        name, text = "full-use", table(header, lines)
    elif arguments.rates:
        name, text = "rates", rate_table()
    else:
        name, text = "limits", policy_table()
    print(text)
    if arguments.write:
        put_table(name, text)


if __name__ == "__main__":
    main()
