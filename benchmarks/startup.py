"""How long `--help` takes, beside a Python that does nothing.

    python benchmarks/startup.py [--rounds 20] [--write]

Whole processes, in turn, so that what else the machine does hits all of them alike.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

from tables import put, table

BIN = Path(sys.executable).parent
COMMANDS = (
    "python -c pass",
    "bulklink --help",
    "bulklink link --help",
    "bulklink auth login --help",
    "bulklink --version",
    "bulklink lnk",
)
COLUMNS = ("command", "median", "9 in 10", "longest")
MOST = 0.150
"""Seconds that help may take."""


def seconds(command: str) -> float:
    """Run a command once and return how long it took."""
    program, *words = command.split()
    started = time.perf_counter()
    subprocess.run([BIN / program, *words], capture_output=True, check=False)
    return time.perf_counter() - started


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    asked = parser.parse_args()
    took: dict[str, list[float]] = {command: [seconds(command)] for command in COMMANDS}
    for one in took.values():
        one.clear()  # the first reads the files
    for _ in range(asked.rounds):
        for command, one in took.items():
            one.append(seconds(command))
    made = table(COLUMNS, [row(command, one) for command, one in took.items()])
    print(made)
    slow = [command for command, one in took.items() if statistics.median(one) > MOST]
    if slow:
        raise SystemExit(f"More than {MOST * 1000:.0f} ms: {', '.join(slow)}")
    if asked.write:
        put("startup", made)


def row(command: str, took: list[float]) -> list[str]:
    """Return the line of a command, in milliseconds."""
    ninth = statistics.quantiles(took, n=10)[-1]
    shown = [f"{1000 * one:.0f} ms" for one in (statistics.median(took), ninth, max(took))]
    return [f"`{command}`", *shown]


if __name__ == "__main__":
    main()
