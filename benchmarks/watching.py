"""CPU of a link run with a progress view at a terminal, and the view's share of it.

The same mapping is sent to the same local server, which answers at once: at full speed, and at 40
calls a second, the rate of a CRM that needs half a second for each of 20 calls in flight. Runs
without and with a view take turns, as whole processes. On a busy machine such runs differ by more
than a view costs, so a third run measures the CPU of its own view.

    python benchmarks/watching.py [--rounds 5] [--write]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from servers import BULKLINK, serve, token_environment
from tables import put_table, table

assert sys.platform != "win32", "Windows has no such terminals"
RUNS = {"at full speed": (200_000, "off"), "40 calls per second": (20_000, "40")}
"""Number of messages and rate of each run."""
STYLES = ("none", "bar")
IN_FLIGHT = 50


@contextmanager
def terminal() -> Iterator[int]:
    """Yield a terminal of 120 columns whose output is read and discarded."""
    import termios

    master, slave = os.openpty()
    termios.tcsetwinsize(slave, (40, 120))

    def read() -> None:
        try:
            while os.read(master, 65536):
                pass
        except OSError:  # the other end is closed
            pass

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield slave
    finally:
        os.close(slave)
        reader.join()
        os.close(master)


def run_at_terminal(command: list[str], env: dict[str, str]) -> tuple[float, bytes]:
    """Run a command at a terminal; return the CPU seconds of its process and its output."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with terminal() as screen:
        process = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, stderr=screen, env=env
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu, process.stdout


def measure(messages: int, rate: str, rounds: int) -> tuple[list[float], list[float], list[float]]:
    """Return the CPU seconds of each run without and with a view, and the share of the view."""
    from sending import SERVER
    from servers import write_mapping

    cpu_by_style: dict[str, list[float]] = {style: [] for style in STYLES}
    shares = []
    with tempfile.TemporaryDirectory() as name, serve(SERVER) as url:
        folder = Path(name)
        mapping = folder / "mapping.csv"
        write_mapping(mapping, messages)
        env = token_environment(url) | {"TERM": "xterm-256color"}
        send = [*BULKLINK, "link", str(mapping), "--json", "--no-names"]
        send += ["--canary", "0", "--rate", rate, "--concurrency", str(IN_FLIGHT)]
        for turn in range(rounds):
            for style in STYLES if turn % 2 else reversed(STYLES):
                run = ["--run-dir", str(folder / f"{style}-{turn}"), "--progress", style]
                cpu_by_style[style].append(run_at_terminal([*send, *run], env)[0])
            timed_command = [
                sys.executable,
                __file__,
                "--own",
                str(mapping),
                str(folder / f"{turn}"),
                rate,
            ]
            cpu, printed = run_at_terminal(timed_command, env)
            shares.append(float(json.loads(printed)) / cpu)
    return cpu_by_style["none"], cpu_by_style["bar"], shares


async def run_timed_view(mapping: str, run_dir: str, rate: str) -> None:
    """Send a mapping with a view that measures its own CPU time; print that in seconds."""
    from bulklink import Connection, Job, Op, PlanningStage, RunProgress, StopController, run
    from bulklink.cli.progress import ProgressDisplay

    class Timed(ProgressDisplay):
        cpu_seconds = 0.0

        def on_phase(self, text: str) -> None:
            started_at = time.thread_time()
            super().on_phase(text)
            self.cpu_seconds += time.thread_time() - started_at

        def on_planning(self, stage: PlanningStage) -> None:
            started_at = time.thread_time()
            super().on_planning(stage)
            self.cpu_seconds += time.thread_time() - started_at

        def on_progress(self, progress: RunProgress) -> None:
            started_at = time.thread_time()
            super().on_progress(progress)
            self.cpu_seconds += time.thread_time() - started_at

    job = Job(
        mappings=(mapping,),
        op=Op.LINK,
        run_dir=Path(run_dir),
        names=False,
        canary=0,
        concurrency=IN_FLIGHT,
        rate=None if rate == "off" else float(rate),
    )
    stop = StopController()
    callbacks = Timed("bar", verbose=False, quiet=False, stop=stop)
    with callbacks:
        await run(job, Connection.from_environment(os.environ), callbacks=callbacks, stop=stop)
    print(callbacks.cpu_seconds)


def main() -> None:
    """Measure and print the table, and write it to the README on request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="write the table to README.md")
    parser.add_argument("--own", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.own:
        asyncio.run(run_timed_view(*arguments.own))
        return
    header = ["run", "messages", "CPU without a view", "with a view", "with : without, per round"]
    lines = []
    for name, (messages, rate) in RUNS.items():
        none, bar, shares = measure(messages, rate, arguments.rounds)
        medians = (f"{statistics.median(seconds):.2f} s" for seconds in (none, bar))
        ratios = sorted(
            with_view / without_view for with_view, without_view in zip(bar, none, strict=True)
        )
        spread = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        share = f"{statistics.median(shares):.2%}"
        lines.append([name, f"{messages:,}", *medians, spread, share])
    text = table([*header, "share of the view"], lines)
    print(text)
    if arguments.write:
        put_table("watching", text)


if __name__ == "__main__":
    main()
