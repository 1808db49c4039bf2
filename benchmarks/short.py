"""CPU time of commands with 20 rows, compared with a Python that imports the libraries they need.

    python benchmarks/short.py [--rounds 20] [--write]

`plan` needs duckdb, click and msgspec; `link` also needs aiohttp, and sends to a local server that
answers at once. Whole processes take turns, so that other load on the machine affects all of them
equally. Quote the ratios, not the figures.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from pathlib import Path

from servers import BULKLINK, serve, token_environment, write_mapping
from tables import put_table, table

assert sys.platform != "win32", "Windows does not report the CPU time of child processes"
ROWS = 20
LIBRARIES = {"plan": "duckdb, click, msgspec", "link": "aiohttp, duckdb, click, msgspec"}
COLUMNS = ("command", "CPU", "imports alone", "times the imports")


def measure(rounds: int, folder: Path) -> dict[str, list[tuple[float, float]]]:
    """Return the CPU seconds of each command and of its imports, round by round."""
    from sending import FULL_SPEED, SERVER, measure_command

    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in LIBRARIES}
    mapping = folder / "mapping.csv"
    write_mapping(mapping, ROWS)
    with serve(SERVER) as url:
        for number in range(-1, rounds):
            commands = {
                "plan": ["plan", "--op", "link", str(mapping)],
                "link": ["link", str(mapping), *FULL_SPEED, "--run-dir", str(folder / f"{number}")],
            }
            for name, arguments in commands.items():
                imports = [sys.executable, "-c", f"import {LIBRARIES[name]}"]
                command = [*BULKLINK, *arguments, "--json", "--quiet"]
                cpu = measure_command(command, token_environment(url), folder).cpu
                bare = measure_command(imports, dict(os.environ)).cpu
                if number >= 0:  # the first round reads the files from disk
                    figures[name].append((cpu, bare))
    return figures


def format_row(name: str, pairs: list[tuple[float, float]]) -> list[str]:
    """Return the row of a command: medians over the rounds, the ratio within each round."""
    cpu, bare = (statistics.median(times) for times in zip(*pairs, strict=True))
    ratio = statistics.median(cpu / bare for cpu, bare in pairs)
    return [f"`{name}`", f"{cpu:.2f} s", f"{bare:.2f} s", f"{ratio:.1f}"]


def main() -> None:
    """Measure and print the table, and write it to the README on request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--write", action="store_true", help="write the table to README.md")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(arguments.rounds, Path(folder))
    text = table(COLUMNS, [format_row(name, pairs) for name, pairs in figures.items()])
    print(text)
    if arguments.write:
        put_table("short", text)


if __name__ == "__main__":
    main()
