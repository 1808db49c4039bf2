"""Proofs that the figures of load tests are right, on servers that were not written for them.

Each proof prints its figure, and whether it holds; the script exits with 1 if one does not.

- stall: a server that answers nobody for 2 s, at 60 calls a second with at most 4 in flight, shows
  in the latency from the intended start, and not in the service time.
- rate: calls arrive at the asked rate, by the clock of the server.
- recording: records of calls take at most 1 % of the CPU of the fastest calls.
- comparison: a server that takes a tenth longer is found to be slower, and the same server is not.
- hey: the HTTP load generator of that name measures the same service times. It is skipped where
  the program `hey` is missing (a package of Debian).

    python benchmarks/loadtest.py [stall] [rate] [recording] [comparison] [hey] [--write]
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from math import ceil
from pathlib import Path
from statistics import linear_regression, median
from typing import ClassVar, NamedTuple

from plots import log_plot
from servers import (
    ACCESS_TOKEN,
    BULKLINK,
    FIRST_CONTACT,
    PER_CALL,
    Server,
    link_body,
    serve,
    serve_forever,
    token_environment,
    write_mapping,
)
from tables import put_table, table

from bulklink.engine.load.recorder import LoadRecorder
from bulklink.engine.load.schedule import LoadSchedule, SchedulePhase
from bulklink.engine.load.sender import LoadCall
from bulklink.load_analysis.figures import histogram_of_bins
from bulklink.load_results import LoadResult
from bulklink.operations.load_files import read_load_result

_PLOT = Path(__file__).parents[1] / "docs" / "coordinated-omission.svg"
_STALLED = "stalled"
"""Run folder of the load test whose server stalls."""
_STALL_SECONDS = 2.0
_STALLED_RATE, _STALLED_IN_FLIGHT = 60, 4
_RATES = (100, 300)
_HEY_IN_FLIGHT, _HEY_ROUNDS = 20, 3
_FAST_CALLS, _RECORDED_CALLS = 5_000, 100_000
_COMPARED_RATE, _COMPARED_SECONDS = 60, 5
_SPARE_CALLS = 10
_PERCENT_LABELS = {1.0: "0 %", 10.0: "90 %", 100.0: "99 %", 1000.0: "99.9 %"}
"""Labels of percentiles by 1 / (1 - share): each is one nine more."""


class DelayedServer(Server):
    """Server that answers a link call after a fixed and a random time, and counts link calls."""

    fixed, spread = 0.05, 0.05
    _random = random.Random(1)
    _arrivals: ClassVar[list[float]] = []

    def _answer(self, head: bytes, body: bytes) -> None:
        loop = asyncio.get_running_loop()
        if body:
            self._arrivals.append(loop.time())
            loop.call_later(self._delay(loop.time()), super()._answer, head, body)
        elif b" /arrivals " in head:
            self._write(json.dumps(self._arrivals).encode())
        else:
            super()._answer(head, body)

    def _delay(self, now: float) -> float:
        del now
        return self.fixed + self.spread * self._random.random()


class SlowServer(DelayedServer):
    """Server that takes 50 ms for each link call, as the local CRM of load tests does."""

    spread = 0.0


class SlowerServer(SlowServer):
    """Server that takes a tenth longer than `SlowServer`."""

    fixed = 0.055


class QuietServer(DelayedServer):
    """Server that takes 5 ms for each link call."""

    fixed, spread = 0.005, 0.0


class StallingServer(DelayedServer):
    """Server that takes 20 ms for each link call, and answers none for a while."""

    fixed, spread = 0.02, 0.0
    after = 5.0
    """Seconds from the first link call until the server stalls."""

    def _delay(self, now: float) -> float:
        began_at = self._arrivals[0] + self.after
        stalled = began_at <= now < began_at + _STALL_SECONDS
        return super()._delay(now) + (began_at + _STALL_SECONDS - now if stalled else 0.0)


SERVERS: dict[str, type[Server]] = {
    "instant": Server,
    "slow": SlowServer,
    "slower": SlowerServer,
    "quiet": QuietServer,
    "stalling": StallingServer,
    "delayed": DelayedServer,
}


class Proof(NamedTuple):
    """A figure, and what it has to be.

    Args:
        what: what was measured.
        figure: the measured value, as text.
        wanted: what it has to be, as text.
        holds: whether it is.
    """

    what: str
    figure: str
    wanted: str
    holds: bool


def serve_named(name: str) -> AbstractContextManager[str]:
    """Run a server of `SERVERS` in a process of its own; yield its URL."""
    return serve((sys.executable, __file__, "--serve", name))


def load_command(url: str, mapping: Path, run_dir: Path, *options: str) -> list[str]:
    """Return the command of a load test that links each email of a mapping once."""
    command = [*BULKLINK, "loadtest", str(mapping), "--own-server", url, "--op", "link"]
    command += ["--no-names", "--progress", "none", "--json", "--run-dir", str(run_dir)]
    return [*command, *options]


def load_test(url: str, mapping: Path, run_dir: Path, *options: str) -> LoadResult:
    """Run a load test in a process of its own."""
    command, env = load_command(url, mapping, run_dir, *options), token_environment(url)
    ended = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True, env=env)
    if ended.returncode:
        raise SystemExit(f"{' '.join(command)} exited with {ended.returncode}: {ended.stdout}")
    return read_load_result(run_dir)


def write_calls(path: Path, calls: float) -> Path:
    """Write a mapping of a few calls more than the given number, and return its path."""
    write_mapping(path, (ceil(calls) + _SPARE_CALLS) * PER_CALL)
    return path


def prove_stall(seconds: float, folder: Path) -> Iterator[Proof]:
    """Yield how a stall of the server shows in both latencies."""
    mapping = write_calls(folder / "stall.csv", _STALLED_RATE * seconds)
    with serve_named("stalling") as url:
        result = load_test(
            url,
            mapping,
            folder / _STALLED,
            *("--arrival-rate", str(_STALLED_RATE), "--duration", f"{seconds}s"),
            *("--concurrency", str(_STALLED_IN_FLIGHT)),
        )
    service, intended = result.latency.service, result.latency.intended
    assert service is not None
    assert intended is not None
    what = f"stall of {_STALL_SECONDS:g} s: p99"
    yield Proof(
        f"{what} from the intended start",
        f"{intended.p99:.3f} s",
        "at least 1.5 s",
        intended.p99 >= 1.5,
    )
    yield Proof(
        f"{what} of service times", f"{service.p99:.3f} s", "below 0.1 s", service.p99 < 0.1
    )


def prove_rate(seconds: float, folder: Path) -> Iterator[Proof]:
    """Yield how closely the schedule is kept, by the clock of the server."""
    for rate in _RATES:
        mapping = write_calls(folder / f"rate-{rate}.csv", rate * seconds)
        schedule = ("--arrival-rate", str(rate), "--duration", f"{seconds}s")
        with serve_named("quiet") as url:
            result = load_test(url, mapping, folder / f"rate-{rate}", *schedule)
            with urllib.request.urlopen(f"{url}/arrivals") as answer:
                arrivals = json.load(answer)
        arrived = 1 / linear_regression(range(len(arrivals)), arrivals).slope
        yield Proof(
            f"{rate} calls/s asked: {result.calls_per_second:.2f} sent, {arrived:.2f} arrived",
            f"{max(abs(arrived / rate - 1), abs(result.calls_per_second / rate - 1)):.2%} off",
            "at most 0.5 %",
            all(abs(reached / rate - 1) <= 0.005 for reached in (arrived, result.calls_per_second)),
        )


def prove_recording(_: float, folder: Path) -> Iterator[Proof]:
    """Yield the share of records in the CPU of calls to a server that answers at once."""
    mapping = write_calls(folder / "fast.csv", _FAST_CALLS)
    with serve_named("instant") as url:
        options = ("--messages", str(_FAST_CALLS * PER_CALL), "--concurrency", "50")
        result = load_test(url, mapping, folder / "fast", *options)
    call = result.client.cpu * result.seconds / result.calls
    record = median(record_seconds() for _ in range(5))
    yield Proof(
        f"recording: {record * 1e6:.1f} µs of {call * 1e6:.0f} µs of CPU a call",
        f"{record / call:.2%}",
        "at most 1 %",
        record <= 0.01 * call,
    )


def record_seconds() -> float:
    """Return the CPU seconds of one record of a call."""
    phase = SchedulePhase("constant", _RECORDED_CALLS, 1000.0, 1000.0)
    recorder = LoadRecorder(LoadSchedule((phase,)), 0.0)
    latencies = random.Random(1)
    dues = [number / 1000 for number in range(_RECORDED_CALLS)]
    calls = [
        LoadCall(due + 0.001, due + 0.001 + latencies.expovariate(20), PER_CALL, None, linked=True)
        for due in dues
    ]
    before = time.process_time()
    for call, due in zip(calls, dues, strict=True):
        recorder.record(call, due)
    return (time.process_time() - before) / _RECORDED_CALLS


def prove_comparison(_: float, folder: Path) -> Iterator[Proof]:
    """Yield what comparisons say about the same server, and about one that takes a tenth longer."""
    mapping = write_calls(folder / "compared.csv", _COMPARED_RATE * _COMPARED_SECONDS)
    schedule = ("--arrival-rate", str(_COMPARED_RATE), "--duration", f"{_COMPARED_SECONDS}s")
    with serve_named("slow") as url, serve_named("slower") as slower_url:
        for what, other_url, wanted in (
            ("the same server", url, ("no difference", "cannot tell")),
            ("a server that takes a tenth longer", slower_url, ("slower",)),
        ):
            against = ("--against", f"--own-server {other_url}", "--figure", "p50")
            command = [*BULKLINK, "loadtest", str(mapping), "--own-server", url, "--op", "link"]
            command += [*schedule, *against, "--no-names", "--quiet", "--json"]
            env = token_environment(url)
            ended = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=env, cwd=folder)
            comparison = json.loads(ended.stdout)
            low, high = comparison["interval"]
            yield Proof(
                f"comparison with {what}, {comparison['rounds']} rounds: p50 times"
                f" {comparison['ratio']:.3f} ({low:.3f} to {high:.3f})",
                comparison["verdict"],
                " or ".join(wanted),
                comparison["verdict"] in wanted,
            )


def prove_hey(seconds: float, folder: Path) -> Iterator[Proof]:
    """Yield how closely service times agree with those of `hey`, measured in turn."""
    program = shutil.which("hey")
    if program is None:
        print("hey: skipped, as there is no program `hey`", flush=True)
        return
    calls = int(_HEY_IN_FLIGHT * seconds / (DelayedServer.fixed + DelayedServer.spread / 2))
    mapping = write_calls(folder / "hey.csv", calls)
    pairs, warnings = [], 0
    with serve_named("delayed") as url:
        for number in range(_HEY_ROUNDS):
            result = load_test(
                url,
                mapping,
                folder / f"hey-{number}",
                *("--messages", str(calls * PER_CALL), "--concurrency", str(_HEY_IN_FLIGHT)),
            )
            assert result.latency.service is not None
            warnings += result.client.bottleneck
            theirs = run_hey(program, url, mapping, calls)
            ours = (result.latency.service.p50, result.latency.service.p95)
            pairs.append(list(zip(ours, theirs, strict=True)))
    warned = f", {warnings} of {_HEY_ROUNDS} with a warning of a busy client" if warnings else ""
    for name, measured in zip(("p50", "p95"), zip(*pairs, strict=True), strict=True):
        ratio = median(ours / theirs for ours, theirs in measured)
        ours, theirs = (median(times) for times in zip(*measured, strict=True))
        yield Proof(
            f"service {name}: {ours * 1000:.1f} ms, hey {theirs * 1000:.1f} ms{warned}",
            f"{ratio - 1:+.1%}",
            "within 5 %",
            abs(ratio - 1) <= 0.05,
        )


def run_hey(program: str, url: str, mapping: Path, calls: int) -> tuple[float, float]:
    """Return p50 and p95 in seconds of the first call of a mapping, sent many times by `hey`."""
    with mapping.open(newline="") as file:
        rows = [row for row, _ in zip(csv.DictReader(file), range(PER_CALL), strict=False)]
    command = [program, "-n", str(calls), "-c", str(_HEY_IN_FLIGHT), "-m", "POST", "-o", "csv"]
    command += ["-H", f"Authorization: Zoho-oauthtoken {ACCESS_TOKEN}", "-T", "application/json"]
    command += ["-d", json.dumps(link_body(rows))]
    command.append(f"{url}/crm/v8/Contacts/{FIRST_CONTACT}/Emails/actions/link_record")
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    answers = list(csv.DictReader(ended.stdout.splitlines()))
    if any(answer["status-code"] != "200" for answer in answers):
        raise SystemExit("Not every call of hey succeeded.")
    seconds = sorted(float(answer["response-time"]) for answer in answers)
    return seconds[ceil(0.5 * len(seconds)) - 1], seconds[ceil(0.95 * len(seconds)) - 1]


def plot_stall(result: LoadResult) -> str:
    """Return an SVG of both latencies by percentile."""
    histograms = {
        "from the intended start": histogram_of_bins(result.histogram.intended),
        "service time": histogram_of_bins(result.histogram.service),
    }
    nines = [10 ** (step / 50) for step in range(151)]
    lines = {
        name: list(zip(nines, histogram.quantiles(1 - 1 / nine for nine in nines), strict=True))
        for name, histogram in histograms.items()
    }
    title = f"Latencies by percentile while a server stalls for {_STALL_SECONDS:g} seconds"
    return log_plot(title, lines, _PERCENT_LABELS, format_seconds)


def format_seconds(seconds: float) -> str:
    """Return a time in ms or s."""
    return f"{seconds:g} s" if seconds >= 1 else f"{1000 * seconds:g} ms"


PROOFS: dict[str, Callable[[float, Path], Iterator[Proof]]] = {
    "stall": prove_stall,
    "rate": prove_rate,
    "recording": prove_recording,
    "comparison": prove_comparison,
    "hey": prove_hey,
}


def main() -> None:
    """Print a line for each figure, and exit with 1 if one is not as it has to be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("proofs", nargs="*", metavar="PROOF", help=f"{', '.join(PROOFS)}; or all")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of each load test")
    parser.add_argument("--write", action="store_true", help="write the table, and the plot")
    parser.add_argument("--serve", choices=SERVERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        asyncio.run(serve_forever(SERVERS[arguments.serve]))
        return
    if unknown := set(arguments.proofs) - set(PROOFS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    proofs = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for prove in (PROOFS[proof] for proof in arguments.proofs or PROOFS):
            for proof in prove(arguments.seconds, folder):
                mark = "holds" if proof.holds else "DOES NOT HOLD"
                print(f"{proof.what}: {proof.figure} ({proof.wanted}): {mark}", flush=True)
                proofs.append(proof)
        if arguments.write:
            rows = [[p.what, p.figure, p.wanted, "yes" if p.holds else "**no**"] for p in proofs]
            put_table("loadtest", table(("what", "figure", "has to be", "holds"), rows))
            if (folder / _STALLED).exists():
                _PLOT.write_text(plot_stall(read_load_result(folder / _STALLED)), "utf-8")
    sys.exit(not all(proof.holds for proof in proofs))


if __name__ == "__main__":
    main()
