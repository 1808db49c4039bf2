"""Time that `--help` takes, compared with a Python process that does nothing.

    python benchmarks/startup.py [--rounds 20] [--write]

Whole processes take turns, so that other load on the machine affects all of them equally.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

from tables import put_table, table

BIN = Path(sys.executable).parent
COMMANDS = (
    "python -c pass",
    "bulklink --help",
    "bulklink link --help",
    "bulklink auth login --help",
    "bulklink --version",
    "bulklink lnk",
)
COLUMNS = ("command", "median", "90th percentile", "maximum")
MAX_SECONDS = 0.150
"""Maximum median time of each command, in seconds."""


def time_command(command: str) -> float:
    """Run a command once and return how long it took."""
    program, *words = command.split()
    started = time.perf_counter()
    subprocess.run([BIN / program, *words], capture_output=True, check=False)
    return time.perf_counter() - started


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--write", action="store_true", help="write the table to README.md")
    arguments = parser.parse_args()
    timings: dict[str, list[float]] = {command: [time_command(command)] for command in COMMANDS}
    for times in timings.values():
        times.clear()  # the first round reads the files from disk
    for _ in range(arguments.rounds):
        for command, times in timings.items():
            times.append(time_command(command))
    text = table(COLUMNS, [format_row(command, times) for command, times in timings.items()])
    print(text)
    slow = [command for command, times in timings.items() if statistics.median(times) > MAX_SECONDS]
    if slow:
        raise SystemExit(f"More than {MAX_SECONDS * 1000:.0f} ms: {', '.join(slow)}")
    if arguments.write:
        put_table("startup", text)


def format_row(command: str, times: list[float]) -> list[str]:
    """Return the row of a command, in milliseconds."""
    ninth_decile = statistics.quantiles(times, n=10)[-1]
    cells = [
        f"{1000 * value:.0f} ms" for value in (statistics.median(times), ninth_decile, max(times))
    ]
    return [f"`{command}`", *cells]


if __name__ == "__main__":
    main()
