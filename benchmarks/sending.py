"""Messages per second and CPU per message of a link run, compared with a bare aiohttp loop.

Both send the same bodies to the same local server, which answers at once, and parse the same
answers; the bare loop has no ledger and no limits, and discards the answers. They take turns,
so that other load on the machine affects both equally. Quote the ratios, not the figures.

    python benchmarks/sending.py [--messages 200000] [--rounds 3]
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from servers import (
    ACCESS_TOKEN,
    BULKLINK,
    MODULE,
    PER_CALL,
    Server,
    serve,
    token_environment,
    write_mapping,
)

assert sys.platform != "win32", "Windows does not report the CPU time of child processes"
IN_FLIGHT = 50
SERVER = (sys.executable, __file__, "--serve")
"""Command of the server that answers at once."""


class Figures(NamedTuple):
    """Figures of one run.

    Args:
        seconds: wall-clock seconds.
        cpu: CPU seconds of the process.
    """

    seconds: float
    cpu: float


async def serve_forever() -> None:
    """Serve until killed; print the address first."""
    server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
    print(json.dumps({"url": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"}), flush=True)
    await server.serve_forever()


async def bare_loop(url: str, mapping: Path) -> None:
    """Send a mapping with only aiohttp."""
    import aiohttp
    import orjson

    with mapping.open(newline="") as file:
        rows = list(csv.DictReader(file))
    calls: asyncio.Queue[list[dict[str, str]]] = asyncio.Queue()
    for start in range(0, len(rows), PER_CALL):
        calls.put_nowait(rows[start : start + PER_CALL])
    succeeded = 0

    async def worker(session: aiohttp.ClientSession) -> None:
        nonlocal succeeded
        while not calls.empty():
            call = calls.get_nowait()
            body = orjson.dumps({"Emails": [_item(row) for row in call]})
            target = f"{url}/crm/v8/Contacts/{call[0]['contact_id']}/Emails/actions/link_record"
            async with session.post(target, data=body) as response:
                answer = orjson.loads(await response.read())
            succeeded += sum(entry["code"] == "SUCCESS" for entry in answer["Emails"])

    headers = {
        "Authorization": f"Zoho-oauthtoken {ACCESS_TOKEN}",
        "Content-Type": "application/json",
    }
    async with aiohttp.ClientSession(headers=headers) as session:
        await asyncio.gather(*(worker(session) for _ in range(IN_FLIGHT)))
    if succeeded != len(rows):
        raise SystemExit(f"Only {succeeded} of {len(rows)} messages succeeded.")


def _item(row: dict[str, str]) -> dict[str, object]:
    module = {"api_name": "Deals", "id": MODULE}
    return {
        "message_id": row["message_id"],
        "owner": {"id": row["owner_id"]},
        "linked_record": {"module": module, "id": row["deal_id"]},
    }


def measure_command(command: list[str], env: dict[str, str]) -> Figures:
    """Run a command to its end and return its figures."""
    before, started_at = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=env)
    after, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - started_at
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Figures(seconds, cpu)


def measure(messages: int, rounds: int, folder: Path) -> dict[str, list[Figures]]:
    """Run the bare loop and the commands in turn, once per round."""
    mapping = folder / "mapping.csv"
    write_mapping(mapping, messages)
    figures: dict[str, list[Figures]] = {}
    with serve(SERVER) as url:
        env = token_environment(url)
        send = [*BULKLINK, "link", str(mapping), "--no-names", "--json"]
        send += ["--rate", "off", "--concurrency", str(IN_FLIGHT), "--progress", "none"]
        for turn in range(rounds):
            commands = {
                "bare aiohttp loop": [sys.executable, __file__, "--bare", url, str(mapping)],
                "bulklink link": [*send, "--run-dir", str(folder / f"on-{turn}")],
                "bulklink link --sync off": [
                    *[*send, "--sync", "off", "--run-dir", str(folder / f"off-{turn}")]
                ],
            }
            for label, command in commands.items():
                figures.setdefault(label, []).append(measure_command(command, env))
        for name in ("on", "off"):
            sending = [
                json.loads((folder / f"{name}-{turn}" / "run.json").read_text())["invocations"][0]
                for turn in range(rounds)
            ]
            median = statistics.median(invocation["seconds"] for invocation in sending)
            print(f"sending only, --sync {name}: {median} s")
    return figures


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--bare", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        asyncio.run(serve_forever())
    elif arguments.bare:
        asyncio.run(bare_loop(arguments.bare[0], Path(arguments.bare[1])))
    else:
        with tempfile.TemporaryDirectory() as folder:
            show(measure(arguments.messages, arguments.rounds, Path(folder)), arguments.messages)


def show(figures: dict[str, list[Figures]], messages: int) -> None:
    """Print medians of the figures, and of the ratios to the bare loop in the same round."""
    bare = figures["bare aiohttp loop"]
    print(
        f"{messages:,} messages, {PER_CALL} per call, {IN_FLIGHT} in flight; medians, whole process"
    )
    for label, rounds in figures.items():
        rate = statistics.median(messages / f.seconds for f in rounds)
        cpu = statistics.median(f.cpu / messages * 1e6 for f in rounds)
        time_ratio = statistics.median(
            f.seconds / b.seconds for f, b in zip(rounds, bare, strict=True)
        )
        cpu_ratio = statistics.median(f.cpu / b.cpu for f, b in zip(rounds, bare, strict=True))
        print(
            f"{label:<26}{rate:>9,.0f} messages/s{cpu:>7.1f} µs CPU per message"
            f"{time_ratio:>6.2f} x time{cpu_ratio:>6.2f} x CPU"
        )


if __name__ == "__main__":
    main()
