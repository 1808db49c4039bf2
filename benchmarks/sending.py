"""CPU and time per message of a run, compared with a bare aiohttp loop.

All send the same bodies to the same local server, which answers at once, and parse the same
answers; the bare loop has no ledger and no limits, and discards the answers. Each command runs with
a short and a long mapping: the difference is the cost of a message, and what is left of the short
run is the fixed cost. They take turns, so that other load on the machine affects all of them
equally. Quote the ratios, not the figures. A second table has the share of each part in a link run,
sampled in runs of their own.

    python benchmarks/sending.py [--messages 20000 120000] [--rounds 5] [--against CHECKOUT]
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import NamedTuple

from servers import (
    ACCESS_TOKEN,
    BULKLINK,
    PER_CALL,
    OtherDealServer,
    ReadingServer,
    Server,
    link_body,
    serve,
    serve_forever,
    token_environment,
    write_mapping,
)
from tables import put_table, table

assert sys.platform != "win32", "Windows does not report the CPU time of child processes"
IN_FLIGHT = 50
BARE = "bare aiohttp loop"
SERVERS = {"link": Server, "read": ReadingServer, "relink": OtherDealServer}
"""Servers that answer at once: link calls only; reads too; reads that show another deal."""
SERVER = (sys.executable, __file__, "--serve", "link")
SAMPLING = Path(__file__).with_name("sampling.py")
CHECKOUT = Path(__file__).resolve().parent.parent
FULL_SPEED = ("--rate", "off", "--concurrency", str(IN_FLIGHT), "--no-names")
COMMANDS = {
    "`link`": ("link", "link", FULL_SPEED),
    "`link --sync off`": ("link", "link", (*FULL_SPEED, "--sync", "off")),
    "`link`, defaults and `--rate off`": ("link", "link", ("--rate", "off")),
    "`unlink` with snapshot": ("read", "unlink", (*FULL_SPEED, "--canary", "0")),
    "`relink` with snapshot": ("relink", "relink", (*FULL_SPEED, "--canary", "0")),
}
"""Server, command and options of each row of the table."""
COLUMNS = ("", "CPU µs per message", "times the bare loop", "fixed CPU", "time µs per message")


class Figures(NamedTuple):
    """Figures of one run.

    Args:
        seconds: wall-clock seconds.
        cpu: CPU seconds of the process.
    """

    seconds: float
    cpu: float


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
            body = orjson.dumps(link_body(call))
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


def measure_command(command: list[str], env: dict[str, str], folder: Path | None = None) -> Figures:
    """Run a command to its end, in a folder, and return its figures."""
    before, started_at = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=env, cwd=folder)
    after, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - started_at
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Figures(seconds, cpu)


class Measurement(NamedTuple):
    """Figures of one command, in the order of the rounds.

    Args:
        short: runs of the short mapping.
        long: runs of the long one.
    """

    short: list[Figures]
    long: list[Figures]


def measure(
    sizes: tuple[int, int], rounds: int, folder: Path, against: Path | None
) -> dict[str, Measurement]:
    """Run all commands in turn, with both mappings, once per round.

    Args:
        sizes: messages of the short and the long mapping.
        rounds: number of rounds.
        folder: folder for mappings and run folders.
        against: another checkout of the project, whose commands are measured too.
    """
    checkouts: dict[str, Path | None] = {"": None}
    if against is not None:
        checkouts[f", {against.name}"] = against
    figures: dict[str, Measurement] = {}
    numbers = count()
    with ExitStack() as stack:
        urls = {
            name: stack.enter_context(serve((sys.executable, __file__, "--serve", name)))
            for name in SERVERS
        }
        for place, size in enumerate(sizes):
            write_mapping(folder / f"{place}.csv", size)
            write_mapping(folder / f"{place}-names.csv", size, names=True)
        for _ in range(rounds):
            for place in range(len(sizes)):
                bare = [sys.executable, __file__, "--bare", urls["link"]]
                bare.append(str(folder / f"{place}.csv"))
                measured = figures.setdefault(BARE, Measurement([], []))
                measured[place].append(measure_command(bare, dict(os.environ)))
                for label, (server, command, options) in COMMANDS.items():
                    named = "" if "--no-names" in options else "-names"
                    mapping = f"{place}{named}.csv"
                    for suffix, checkout in checkouts.items():
                        run_dir = folder / f"run-{next(numbers)}"
                        arguments = [command, str(folder / mapping), *options, "--json"]
                        arguments += ["--progress", "none", "--run-dir", str(run_dir)]
                        env = token_environment(urls[server])
                        if checkout is not None:
                            env["PYTHONPATH"] = str(checkout)
                        measured = figures.setdefault(label + suffix, Measurement([], []))
                        measured[place].append(
                            measure_command([*BULKLINK, *arguments], env, folder)
                        )
    return figures


def rows(figures: dict[str, Measurement], sizes: tuple[int, int]) -> list[list[str]]:
    """Return the rows of the table: medians over the rounds, ratios within each round."""
    more = sizes[1] - sizes[0]

    def slopes(measured: Measurement) -> list[float]:
        pairs = zip(measured.short, measured.long, strict=True)
        return [(long.cpu - short.cpu) / more * 1e6 for short, long in pairs]

    lines = []
    for label, measured in figures.items():
        both = zip(slopes(measured), slopes(figures[BARE]), strict=True)
        ratio = statistics.median(slope / bare for slope, bare in both)
        slope = statistics.median(slopes(measured))
        fixed = statistics.median(run.cpu for run in measured.short) - slope * sizes[0] / 1e6
        pairs = zip(measured.short, measured.long, strict=True)
        seconds = statistics.median((long.seconds - short.seconds) / more for short, long in pairs)
        lines.append(
            [
                label,
                f"{slope:.1f}",
                f"{ratio:.2f}",
                f"{fixed:.2f} s",
                f"{seconds * 1e6:.1f}",
            ]
        )
    return lines


def measure_parts(
    sizes: tuple[int, int], rounds: int, folder: Path, against: Path | None
) -> dict[str, list[dict[str, float]]]:
    """Return the CPU µs per message of each part of a link run, for each checkout and round."""
    checkouts: dict[str, Path | None] = {"": None}
    if against is not None:
        checkouts = {against.name: against, "": None}
    parts: dict[str, list[dict[str, float]]] = {name: [] for name in checkouts}
    with serve(SERVER) as url:
        for number in range(rounds):
            for name, checkout in checkouts.items():
                totals = []
                for place in range(len(sizes)):
                    run_dir = folder / f"parts-{name}-{place}-{number}"
                    command = [sys.executable, str(SAMPLING), "link", str(folder / f"{place}.csv")]
                    command += [*FULL_SPEED, "--json", "--progress", "none"]
                    command += ["--run-dir", str(run_dir)]
                    env = token_environment(url) | {"PYTHONPATH": str(checkout or CHECKOUT)}
                    ended = subprocess.run(
                        command, check=True, capture_output=True, env=env, cwd=folder
                    )
                    totals.append(json.loads(ended.stderr.splitlines()[-1]))
                short, long = totals
                more = sizes[1] - sizes[0]
                parts[name].append(
                    {part: (long[part] - short.get(part, 0.0)) / more * 1e6 for part in long}
                )
    return parts


def parts_rows(parts: dict[str, list[dict[str, float]]]) -> list[list[str]]:
    """Return the rows of the table of parts, largest first: medians, and shares of their sum."""
    medians = {
        name: {
            part: statistics.median(figures.get(part, 0.0) for figures in rounds)
            for part in {part for figures in rounds for part in figures}
        }
        for name, rounds in parts.items()
    }
    own = medians[""]
    total = sum(own.values())
    lines = []
    for part in sorted(own, key=lambda part: -own[part]):
        before = [f"{medians[name].get(part, 0.0):.1f}" for name in medians if name]
        lines.append([part, *before, f"{own[part]:.1f}", f"{own[part] / total:.0%}"])
    return lines


def main() -> None:
    """Measure and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, nargs=2, default=(20_000, 120_000))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--against", type=Path, metavar="CHECKOUT", help="another checkout")
    parser.add_argument("--write", action="store_true", help="write the table to README.md")
    parser.add_argument("--serve", choices=SERVERS, help=argparse.SUPPRESS)
    parser.add_argument("--bare", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        asyncio.run(serve_forever(SERVERS[arguments.serve]))
        return
    if arguments.bare:
        asyncio.run(bare_loop(arguments.bare[0], Path(arguments.bare[1])))
        return
    sizes = tuple(arguments.messages)
    with tempfile.TemporaryDirectory() as folder:
        against = arguments.against and arguments.against.resolve()
        figures = measure(sizes, arguments.rounds, Path(folder), against)
        parts = measure_parts(sizes, arguments.rounds, Path(folder), against)
    text = table(COLUMNS, rows(figures, sizes))
    print(f"{sizes[0]:,} and {sizes[1]:,} messages, {PER_CALL} per call, {IN_FLIGHT} in flight")
    print(text)
    before = [f"CPU µs per message, {name}" for name in parts if name]
    parts_text = table(("", *before, "CPU µs per message", "share"), parts_rows(parts))
    print(parts_text)
    if arguments.write:
        put_table("sending", text)
        put_table("parts", parts_text)


if __name__ == "__main__":
    main()
