"""Planning, compared with DuckDB's bare sort of the same file and a loop in Python.

    python benchmarks/planning.py [ROWS …] [--rounds N] [--quoted] [--write]

Each step runs in its own process, so that peak memory can be measured: the bare
`COPY (SELECT * … ORDER BY contact_id, owner_id)`, planning (check, write rejects, count, seal,
hash the sealed plan), streaming the sealed plan, and a loop that does the checks with the csv
module and dictionaries.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import duckdb
from tables import put_table, table

from bulklink.mapping.checked import check
from bulklink.mapping.input.files import find_sources
from bulklink.mapping.plan_digest import read_plan_content
from bulklink.mapping.plan_reader import SealedPlan
from bulklink.mapping.schema import MappingOptions
from bulklink.models import Op

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MEMORY = "512MB"
HEADER = "contact_id,owner_id,message_id,deal_id,deal_name,Note\n"
#: The loop holds every row in memory; more rows would take minutes and show nothing new.
LOOP_ROWS = 3_000_000
COLUMNS = (
    "rows",
    "bare sort",
    "plan",
    "rows per second",
    "plan : bare, wall",
    "plan : bare, CPU",
    "peak memory",
    "plan : Python loop",
    "stream, messages per second",
)


def records(rows: int) -> Iterator[str]:
    """Yield shuffled rows, eight per contact; 1 in 10 is a duplicate, and 1 in 500 is invalid."""
    rng = random.Random(1)
    earlier: list[str] = []
    for row in range(rows):
        if earlier and row % 10 == 0:
            yield rng.choice(earlier)
            continue
        contact = rng.randrange(rows // 8 + 1)
        ids = (
            4150868000000000001 + contact * 7919,
            4150868000000200001 + contact % 50,
            f"{rng.getrandbits(128):032x}{row:08x}",
            4150868000003000001 + contact * 31,
        )
        line = ",".join(map(str, ids)) + f",Deal {contact} Ltd,note {row}\n"
        if len(earlier) < 100_000:
            earlier.append(line)
        yield line.replace(",", ",x", 1) if row % 500 == 1 else line


def write_mapping(path: Path, rows: int, *, quoted: bool) -> None:
    """Write the rows as a mapping."""
    with path.open("w", encoding="utf-8") as file:
        file.write(HEADER)
        for line in records(rows):
            file.write('"' + line.replace(",", '","')[:-1] + '"\n' if quoted else line)


def bare_sort(path: Path, folder: Path) -> int:
    """Sort the file with DuckDB alone."""
    with duckdb.connect(
        config={"memory_limit": MEMORY, "temp_directory": str(folder / "spill")}
    ) as connection:
        connection.execute(
            f"COPY (SELECT * FROM read_csv('{path}', all_varchar = true) "
            f"ORDER BY contact_id, owner_id) TO '{folder / 'bare.parquet'}'"
        )
    return 0


def plan_mapping(path: Path, folder: Path) -> int:
    """Check the file, seal and hash its plan, and return the number of messages."""
    with check(
        find_sources([str(path)]), MappingOptions(Op.LINK), folder, memory=MEMORY
    ) as checked:
        checked.write_rejects(folder / "rejects.csv")
        checked.plan_stats()
        checked.seal(folder)
        read_plan_content(folder / "plan.parquet")
        return checked.messages


def stream_plan(_path: Path, folder: Path) -> int:
    """Read the plan as a run does and return the number of messages."""
    return sum(map(len, SealedPlan(folder / "plan.parquet").chunks()))


def loop_over_rows(path: Path, _folder: Path) -> int:
    """Check, group and sort with the csv module and dictionaries, without writing anything."""
    digits, letters = re.compile("[0-9]{1,100}"), re.compile("[0-9A-Za-z]{1,500}")
    groups: dict[tuple[str, str], dict[str, list[tuple[int, str]]]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        next(rows)
        for number, (contact, owner, message, deal, _name, _note) in enumerate(rows, 1):
            if (
                digits.fullmatch(contact)
                and digits.fullmatch(owner)
                and letters.fullmatch(message)
                and digits.fullmatch(deal)
            ):
                messages_in_group = groups.setdefault((contact, owner), {})
                messages_in_group.setdefault(message, []).append((number, deal))
    return sum(
        len({deal for _, deal in rows_of_message}) == 1
        for _, messages in sorted(groups.items())
        for rows_of_message in messages.values()
    )


STEPS: dict[str, Callable[[Path, Path], int]] = {
    "bare": bare_sort,
    "plan": plan_mapping,
    "stream": stream_plan,
    "loop": loop_over_rows,
}

if sys.platform == "win32":

    def peak_memory() -> int:
        """Return 0, because Windows does not report peak memory here."""
        return 0

else:
    import resource

    def peak_memory() -> int:
        """Return the peak memory of the process in MB."""
        held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return held >> (20 if sys.platform == "darwin" else 10)


def run_step(name: str, path: Path, folder: Path) -> None:
    """Run one step in this process and print its time and memory."""
    wall, cpu = time.perf_counter(), time.process_time()
    count = STEPS[name](path, folder)
    figures = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    print(json.dumps({**figures, "peak": peak_memory(), "count": count}))


def run_step_in_subprocess(name: str, path: Path, folder: Path) -> dict[str, float]:
    """Run one step in a process of its own."""
    command = [sys.executable, __file__, "--step", name, str(path), str(folder)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    figures: dict[str, float] = json.loads(output)
    print(f"  {name:7}{figures['wall']:9.2f} s{figures['cpu']:9.2f} CPU s{figures['peak']:7.0f} MB")
    return figures


def median_figures(rounds: list[dict[str, float]]) -> dict[str, float]:
    """Return the median of each figure."""
    return {figure: median(each[figure] for each in rounds) for figure in rounds[0]}


def measure_size(rows: int, *, rounds: int, quoted: bool) -> list[str]:
    """Measure one size and return its row of the table."""
    print(f"{rows:,} rows")
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "mapping.csv"
        write_mapping(path, rows, quoted=quoted)
        names = [step_name for step_name in STEPS if step_name != "loop" or rows <= LOOP_ROWS]
        compared = [
            {
                step_name: run_step_in_subprocess(step_name, path, Path(name))
                for step_name in ("bare", "plan")
            }
            for _ in range(rounds)
        ]
        figures = {
            step_name: median_figures([each[step_name] for each in compared])
            for step_name in ("bare", "plan")
        }
        figures |= {
            step_name: run_step_in_subprocess(step_name, path, Path(name))
            for step_name in names
            if step_name not in figures
        }
    sort, plan, stream = figures["bare"], figures["plan"], figures["stream"]
    return [
        f"{rows:,}",
        f"{sort['wall']:.1f} s, {sort['cpu']:.1f} CPU s",
        f"{plan['wall']:.1f} s, {plan['cpu']:.1f} CPU s",
        f"{rows / plan['wall']:,.0f}",
        f"{sort['wall'] / plan['wall']:.2f}",
        f"{sort['cpu'] / plan['cpu']:.2f}",
        f"{plan['peak']:.0f} MB",
        f"{figures['loop']['wall'] / plan['wall']:.1f}" if "loop" in figures else "",
        f"{stream['count'] / stream['wall']:,.0f}",
    ]


def main() -> None:
    """Measure and print the table, and write it to the README on request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=int, nargs="*", default=[1_000_000])
    parser.add_argument("--rounds", type=int, default=3, help="rounds of bare sort and plan")
    parser.add_argument("--quoted", action="store_true", help="quote every cell")
    parser.add_argument("--write", action="store_true", help="write the table to README.md")
    arguments = parser.parse_args()
    text = table(
        COLUMNS,
        [
            measure_size(rows, rounds=arguments.rounds, quoted=arguments.quoted)
            for rows in arguments.rows
        ],
    )
    print(text)
    if arguments.write:
        put_table("planning", text)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        run_step(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
    else:
        main()
