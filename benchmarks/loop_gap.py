"""Longest gap of the event loop in each command on a run of a million messages.

A gap is the time between a return of the loop's `select` and its next call, in which Ctrl-C is not
answered and no progress is drawn. Each command runs in a process of its own against a server that
answers at once. Ctrl-C interrupts a command without an event loop directly.

    python benchmarks/loop_gap.py [--messages 1000000] [--write]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import selectors
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from servers import (
    FIRST_CONTACT,
    PER_CALL,
    ReadingServer,
    serve,
    serve_forever,
    token_environment,
    write_mapping,
)
from tables import put_table, table

if TYPE_CHECKING:
    from collections.abc import Callable

_EXPECTED_EXITS = (0, 4)
"""Exit codes: all is done, or, for half of a run, no credits are left."""


def run_measured(result: Path, arguments: list[str]) -> None:
    """Run a command in this process and write its longest gap, in seconds, to `result`."""
    longest = 0.0
    returned_at: float | None = None
    select: Callable[..., Any] = selectors.DefaultSelector.select

    def measured(selector: selectors.BaseSelector, timeout: float | None = None) -> Any:
        nonlocal longest, returned_at
        if returned_at is not None:
            longest = max(longest, time.perf_counter() - returned_at)
        ready = select(selector, timeout)
        returned_at = time.perf_counter()
        return ready

    setattr(selectors.DefaultSelector, "select", measured)  # noqa: B010 - for mypy
    from bulklink.cli.main import main as command

    sys.argv = ["bulklink", *arguments]
    try:
        command()
    finally:
        result.write_text(json.dumps(None if returned_at is None else longest))


def commands(folder: Path, messages: int) -> dict[str, list[str]]:
    """Return the commands by name; each continues from those before it."""
    mapping, run = str(folder / "mapping.csv"), str(folder / "run")
    contacts = folder / "contacts.txt"
    contacts.write_text(
        "".join(f"{FIRST_CONTACT + n}\n" for n in range(messages // PER_CALL)), "ascii"
    )
    pace = ["--rate", "off", "--concurrency", "50"]
    send = [*pace, "--progress", "none", "--json"]
    quietly = ["--progress", "none", "--json"]
    return {
        "plan": ["plan", mapping, "--op", "link", "--no-names", "--run-dir", run, "--json"],
        "link": ["link", mapping, "--no-names", "--run-dir", str(folder / "linked"), *send],
        "apply, half of the run": [
            "apply",
            run,
            "--max-credits",
            str(messages // PER_CALL // 2),
            *send,
        ],
        "resume": ["resume", run, *send],
        "status": ["status", run, "--json"],
        "status --check": ["status", run, "--check", "--json"],
        "export": ["export", run, "-o", str(folder / "results.csv")],
        "export .xlsx": ["export", run, "-o", str(folder / "results.xlsx")],
        "report": ["report", run],
        "history": ["history", f"{messages // 2:064x}", "--runs-dir", str(folder)],
        "verify": ["verify", run, *pace, *quietly],
        "fetch": ["fetch", f"@{contacts}", "-o", str(folder / "emails.csv"), *pace, *quietly],
        "undo": ["undo", run, "--yes", "--canary", "0", "--run-dir", str(folder / "undone"), *send],
    }


def measure(messages: int) -> list[list[str]]:
    """Run all commands and return their rows of the table."""
    rows = []
    with tempfile.TemporaryDirectory() as name, serve((sys.executable, __file__, "--serve")) as url:
        folder, gap = Path(name), Path(name) / "gap.json"
        write_mapping(folder / "mapping.csv", messages)
        for label, arguments in commands(folder, messages).items():
            started_at = time.perf_counter()
            process = subprocess.run(
                [sys.executable, __file__, "--child", str(gap), *arguments],
                check=False,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env=token_environment(url),
                text=True,
            )
            if process.returncode not in _EXPECTED_EXITS:
                raise SystemExit(f"{label}: exit code {process.returncode}\n{process.stderr}")
            longest = json.loads(gap.read_text())
            shown = "no event loop" if longest is None else f"{longest * 1000:,.0f} ms"
            rows.append([f"`{label}`", f"{time.perf_counter() - started_at:.1f} s", shown])
            print(*rows[-1], f"exit {process.returncode}", sep="  ", flush=True)
    return rows


def main() -> None:
    """Measure and print the table, and write it to the README on request."""
    if sys.argv[1:2] == ["--child"]:
        run_measured(Path(sys.argv[2]), sys.argv[3:])
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--write", action="store_true", help="write the table to README.md")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        asyncio.run(serve_forever(ReadingServer))
        return
    rows = measure(arguments.messages)
    if arguments.write:
        put_table("loop-gap", table(["command", "whole process", "longest gap of the loop"], rows))


if __name__ == "__main__":
    main()
