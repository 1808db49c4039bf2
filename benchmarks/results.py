"""Emails a second and CPU an email of bulklink and of other clients, written to RESULTS.md.

All link the emails of a mapping at the same local servers, of which one answers at once and one
after 50 ms. They take turns, as whole processes, so that other load on the machine affects all of
them alike. A plot shows how the cost of a run grows with its emails. `make bench` runs this script.

    python benchmarks/results.py [--rounds 5] [--growth 10000 100000 1000000] [--quick] [-o FILE]

Ten million emails (`--growth … 10000000`) take another quarter of an hour. `--quick` takes seconds
and shows nothing but that the script works.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median
from typing import NamedTuple

import loadtest
import peers
import sending
from plots import log_plot
from processes import Figures, measure
from servers import BULKLINK, PER_CALL, token_environment, write_mapping
from tables import table

from bulklink.load_results import LoadResult
from bulklink.operations.load_files import read_load_result

assert sys.platform != "win32", "Windows does not report the CPU time of child processes"
RESULTS = Path(__file__).with_name("RESULTS.md")
IN_FLIGHT = sending.IN_FLIGHT
_QUICK = 100
"""Times fewer emails with `--quick`."""
_BARE, _LINK, _LOAD_TEST = "bare aiohttp loop", "`bulklink link`", "`bulklink loadtest`"
_MANY = 100_000_000
"""More emails than any mapping has: a load test ends when it has sent all."""
_MOST_FOR_BARE = 1_000_000
"""The bare loop has all rows in memory."""
_MOST_FOR_ROUNDS = 100_000
"""Larger runs take long, and are measured once."""


class Client(NamedTuple):
    """A client to measure.

    Args:
        name: its name in the tables.
        fast: emails that it sends to a server that answers at once.
        slow: emails that it sends to a server that takes 50 ms.
        per_call: emails of a call.
        command: returns its command, from URL, mapping and run folder.
    """

    name: str
    fast: int
    slow: int
    per_call: int
    command: Callable[[str, Path, Path], list[str]]


def bare_command(url: str, mapping: Path, run_dir: Path) -> list[str]:
    """Return the command of the bare loop."""
    del run_dir
    return [sys.executable, sending.__file__, "--bare", url, str(mapping)]


def peer_command(url: str, mapping: Path, run_dir: Path, *, shape: str) -> list[str]:
    """Return the command of one of the shapes of `peers.py`."""
    del run_dir
    return [sys.executable, peers.__file__, shape, url, str(mapping)]


def link_command(url: str, mapping: Path, run_dir: Path) -> list[str]:
    """Return the command of an ordinary run."""
    del url
    command = [*BULKLINK, "link", str(mapping), *sending.FULL_SPEED]
    return [*command, "--json", "--progress", "none", "--run-dir", str(run_dir)]


def load_command(url: str, mapping: Path, run_dir: Path) -> list[str]:
    """Return the command of a load test."""
    return loadtest.load_command(
        url, mapping, run_dir, "--messages", str(_MANY), "--concurrency", str(IN_FLIGHT)
    )


CLIENTS = (
    Client(_BARE, 120_000, 60_000, PER_CALL, bare_command),
    Client(
        "one call an email, each with a new connection",
        *(3_000, 60, 1),
        partial(peer_command, shape="connection-each"),
    ),
    Client(
        f"{peers.THREADS} threads over a session, one call an email",
        *(6_000, 1_200, 1),
        partial(peer_command, shape="threads"),
    ),
    Client(
        f"{peers.THREADS} threads over a session, {PER_CALL} emails a call",
        *(60_000, 24_000, PER_CALL),
        partial(peer_command, shape="threads-batches"),
    ),
    Client(
        "parallel processor, JSONL in and out",
        *(60_000, 40_000, PER_CALL),
        partial(peer_command, shape="processor"),
    ),
    Client(_LINK, 120_000, 60_000, PER_CALL, link_command),
    Client(_LOAD_TEST, 120_000, 60_000, PER_CALL, load_command),
)
_SERVERS = ("instant", "slow")


class Measurements(NamedTuple):
    """What was measured.

    Args:
        figures: figures of each round, by server and client.
        results: results of the load tests, by server.
    """

    figures: dict[str, dict[str, list[sending.Figures]]]
    results: dict[str, list[LoadResult]]


def measure_clients(rounds: int, divisor: int, folder: Path) -> Measurements:
    """Run every client against every server, in turn, once per round.

    Args:
        rounds: number of rounds.
        divisor: factor by which all numbers of emails are divided.
        folder: folder for mappings and run folders.
    """
    measured = Measurements(
        {server: {client.name: [] for client in CLIENTS} for server in _SERVERS},
        {server: [] for server in _SERVERS},
    )
    run_dir = folder / "run"
    with ExitStack() as stack:
        urls = {name: stack.enter_context(loadtest.serve_named(name)) for name in _SERVERS}
        for number in range(rounds):
            for client in CLIENTS:
                for server, url in urls.items():
                    mapping = folder / f"{emails_of(client, server, divisor)}.csv"
                    if not mapping.exists():
                        write_mapping(mapping, emails_of(client, server, divisor))
                        peers.write_requests(mapping)
                    command = client.command(url, mapping, run_dir)
                    figures = sending.measure_command(command, token_environment(url), folder)
                    measured.figures[server][client.name].append(figures)
                    print(f"round {number + 1}, {server}, {client.name}: {figures}", flush=True)
                    if client.name == _LOAD_TEST:
                        measured.results[server].append(read_load_result(run_dir))
                    shutil.rmtree(run_dir, ignore_errors=True)
    return measured


def emails_of(client: Client, server: str, divisor: int) -> int:
    """Return the emails that a client sends to a server."""
    emails = client.fast if server == "instant" else client.slow
    return max(PER_CALL, emails // divisor)


def rate_rows(measured: Measurements, divisor: int) -> Iterator[list[str]]:
    """Yield a row for each client with its emails a second; ratios are taken within each round."""
    for client in CLIENTS:
        cells = []
        for server, runs in measured.figures.items():
            rates = {
                one.name: [emails_of(one, server, divisor) / run.seconds for run in runs[one.name]]
                for one in (CLIENTS[0], client)
            }
            cells += [spread(rates[client.name], ",.0f")]
            cells += [spread(ratios(rates[client.name], rates[_BARE]), ",.3g")]
        yield [client.name, str(client.per_call), *cells]


def cpu_rows(measured: Measurements, divisor: int) -> Iterator[list[str]]:
    """Yield a row for each client with its CPU at the server that answers at once."""
    server = _SERVERS[0]
    runs = measured.figures[server]

    def cpu(client: Client) -> list[float]:
        return [1e6 * run.cpu / emails_of(client, server, divisor) for run in runs[client.name]]

    for client in CLIENTS:
        per_email = cpu(client)
        yield [
            client.name,
            spread(per_email, ",.1f"),
            spread(ratios(per_email, cpu(CLIENTS[0])), ",.3g"),
            spread([client.per_call * one for one in per_email], ",.0f"),
        ]


def ratios(values: Sequence[float], others: Sequence[float]) -> list[float]:
    """Return the ratio of two figures in each round."""
    return [value / other for value, other in zip(values, others, strict=True)]


def spread(values: Sequence[float], form: str) -> str:
    """Return the median of values, with the lowest and the highest."""
    return f"{median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def measure_growth(
    sizes: Sequence[int], rounds: int, folder: Path
) -> dict[int, dict[str, list[Figures]]]:
    """Return CPU and memory of an ordinary run and of the bare loop, by the number of emails.

    Args:
        sizes: numbers of emails; above 100,000 there is one round.
        rounds: number of rounds.
        folder: folder for mapping and run folder.
    """
    figures: dict[int, dict[str, list[Figures]]] = {}
    run_dir = folder / "run"
    with loadtest.serve_named("instant") as url:
        for emails in sizes:
            mapping = folder / "growth.csv"
            write_mapping(mapping, emails)
            clients = {_BARE: bare_command, _LINK: link_command}
            if emails > _MOST_FOR_BARE:
                del clients[_BARE]
            figures[emails] = {name: [] for name in clients}
            for _ in range(1 if emails > _MOST_FOR_ROUNDS else rounds):
                for name, command in clients.items():
                    run = measure(command(url, mapping, run_dir), env=token_environment(url))
                    figures[emails][name].append(run)
                    print(f"{emails:,} emails, {name}: {run.cpu:.1f} s of CPU", flush=True)
                    shutil.rmtree(run_dir, ignore_errors=True)
    return figures


def growth_rows(figures: dict[int, dict[str, list[Figures]]]) -> Iterator[list[str]]:
    """Yield a row of the table for each number of emails and client, with medians."""
    for emails, clients in figures.items():
        for name, runs in clients.items():
            cpu = median(run.cpu for run in runs)
            memory = median(run.memory for run in runs)
            per_email = f"{1e6 * cpu / emails:,.1f}"
            yield [f"{emails:,}", name, f"{cpu:,.1f} s", per_email, f"{memory / 1e6:,.0f} MB"]


def plot_growth(figures: dict[int, dict[str, list[Figures]]]) -> str:
    """Return an SVG of CPU by the number of emails."""
    names = dict.fromkeys(name for clients in figures.values() for name in clients)
    lines = {
        name.replace("`", ""): [
            (emails, median(run.cpu for run in clients[name]))
            for emails, clients in figures.items()
            if name in clients
        ]
        for name in names
    }
    return log_plot(
        "CPU seconds of a run by the number of its emails",
        lines,
        {emails: f"{emails:,}" for emails in figures},
        lambda seconds: f"{seconds:g} s",
    )


_PAGE = """# Results

Measured by `make bench` on {date}; [benchmarks/README.md](README.md) has the other benchmarks.

{machine}. {versions}. The load was {load} when the measurement began, and {load_after} when it \
ended{busy}. Quote the ratios: they hold on other machines, the absolute figures do not.

## Clients

Every client links the emails of a mapping at a local server that knows nothing of load tests, and \
checks that each was linked. One server answers at once, so the client limits the rate. The other \
takes 50 ms for each call, so the shape of the client does: how many emails it sends in a call, \
and how many calls it has in flight. Rates and CPU are those of whole processes, from start to \
end. Each cell is the median of {rounds} rounds, in which the clients took turns, and in brackets \
the lowest and the highest: an interval for the median at {confidence:.0%}. Ratios were taken \
within each round.

{rates}

The CPU of the clients, at the server that answers at once:

{cpu}

- *bare aiohttp loop*: {in_flight} calls in flight, no checks of the mapping, no ledger, no limits.
- *one call an email, each with a new connection*: a loop around a POST. It uses the HTTP client \
of the standard library, which takes less CPU than `requests`.
- *{threads} threads over a session*: a thread pool whose threads keep their connections, with the \
same HTTP client; once with a call for each email, as usual, and once with full calls.
- *parallel processor*: the shape of `api_request_parallel_processor.py` in the OpenAI Cookbook, \
with full calls: an asyncio loop that reads requests from a JSONL file, starts at most one each \
millisecond if its token bucket allows, and appends each answer to another file. Writing the \
requests is not measured.
- {link}: checks the mapping, seals the plan, and has a line on disk before each call; \
{in_flight} calls in flight, `--rate off`.
- {load_test}: the same calls, measured by itself: {own_rates}. These rates are those of sending \
alone, without start and plan.

## Growth

Medians of {rounds} rounds at the server that answers at once; one run each of more than \
{most_for_rounds:,} emails. CPU and peak memory are those of the whole process.

{growth}

![CPU seconds of a run by the number of its emails, on logarithmic axes]({plot})
"""


def page(
    measured: Measurements,
    growth: dict[int, dict[str, list[Figures]]],
    arguments: argparse.Namespace,
    load_before: str,
) -> str:
    """Return the page of results."""
    first, divisor = measured.results[_SERVERS[0]][0], _divisor(arguments)
    machine = first.machine
    memory = "" if machine["memory"] is None else f", {machine['memory'] / 2**30:.0f} GB"
    system, _, _ = machine["system"].partition(" ")
    own_rates = [
        f"{median(result.messages_per_second for result in measured.results[server]):,.0f} emails/s"
        for server in _SERVERS
    ]
    return _PAGE.format(
        date=datetime.now(UTC).date(),
        machine=f"{machine['processors']} processors ({machine['machine']}{memory}), {system}",
        versions=", ".join(f"{name} {version}" for name, version in first.versions.items()),
        load=load_before,
        load_after=load_average(),
        busy="; other programs ran as well, and all rates are lower than on a quiet machine"
        * (float(load_before) > 1),
        rounds=arguments.rounds,
        most_for_rounds=_MOST_FOR_ROUNDS,
        confidence=1 - 2 ** (1 - arguments.rounds),
        rates=table(
            (
                "client",
                "emails a call",
                "emails/s, answered at once",
                "times the bare loop",
                "emails/s, at 50 ms a call",
                "times the bare loop",
            ),
            rate_rows(measured, divisor),
        ),
        cpu=table(
            ("client", "CPU µs an email", "times the bare loop", "CPU µs a call"),
            cpu_rows(measured, divisor),
        ),
        in_flight=IN_FLIGHT,
        threads=peers.THREADS,
        link=_LINK,
        load_test=_LOAD_TEST,
        own_rates=f"{own_rates[0]} where calls are answered at once, {own_rates[1]} at 50 ms",
        growth=table(
            ("emails", "client", "CPU", "CPU µs an email", "peak memory"), growth_rows(growth)
        ),
        plot=arguments.output.with_suffix(".svg").name,
    )


def load_average() -> str:
    """Return the load of this machine in the last minute."""
    return f"{os.getloadavg()[0]:.1f}"


def _divisor(arguments: argparse.Namespace) -> int:
    return _QUICK if arguments.quick else 1


def main() -> None:
    """Measure, and write the page and its plot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--growth", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--quick", action="store_true", help="send a hundredth of the emails")
    parser.add_argument("-o", "--output", type=Path, default=RESULTS, help="default: RESULTS.md")
    arguments = parser.parse_args()
    load_before = load_average()
    with tempfile.TemporaryDirectory() as name:
        folder, divisor = Path(name), _divisor(arguments)
        sizes = [emails // divisor for emails in arguments.growth]
        # Before this process grows: the peak memory of a child is at least that of its parent.
        growth = measure_growth(sizes, arguments.rounds, folder)
        measured = measure_clients(arguments.rounds, divisor, folder)
    arguments.output.write_text(page(measured, growth, arguments, load_before), "utf-8")
    arguments.output.with_suffix(".svg").write_text(plot_growth(growth), "utf-8")


if __name__ == "__main__":
    main()
