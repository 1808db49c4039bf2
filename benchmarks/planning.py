"""Planning beside DuckDB's bare sort of the same file and beside a loop in Python, in one run.

    python benchmarks/planning.py [ROWS …] [--rounds N] [--quoted] [--write]

Each step is a process of its own, so that its peak memory is its own: the bare
`COPY (SELECT * … ORDER BY contact_id, owner_id)`, planning (check, write rejects, count, seal), the
stream from the sealed plan, and a loop that does the checks with the csv module and dictionaries.
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
from tables import put, table

from bulklink.mapping import Reading, SealedPlan, check, sources
from bulklink.models import Op

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MEMORY = "512MB"
HEADER = "contact_id,owner_id,message_id,deal_id,deal_name,Note\n"
#: The loop holds every row in memory; beyond this it says nothing new and takes minutes.
LOOP_ROWS = 3_000_000
COLUMNS = (
    "rows",
    "bare sort",
    "plan",
    "rows a second",
    "plan : bare, wall",
    "plan : bare, CPU",
    "peak memory",
    "plan : Python loop",
    "stream, messages a second",
)


def records(rows: int) -> Iterator[str]:
    """Make shuffled rows: eight messages a contact, one in ten a duplicate, one in 500 bad."""
    chance = random.Random(1)
    earlier: list[str] = []
    for row in range(rows):
        if earlier and row % 10 == 0:
            yield chance.choice(earlier)
            continue
        contact = chance.randrange(rows // 8 + 1)
        ids = (
            4150868000000000001 + contact * 7919,
            4150868000000200001 + contact % 50,
            f"{chance.getrandbits(128):032x}{row:08x}",
            4150868000003000001 + contact * 31,
        )
        line = ",".join(map(str, ids)) + f",Deal {contact} Ltd,note {row}\n"
        if len(earlier) < 100_000:
            earlier.append(line)
        yield line.replace(",", ",x", 1) if row % 500 == 1 else line


def write(path: Path, rows: int, *, quoted: bool) -> None:
    """Write the mapping."""
    with path.open("w", encoding="utf-8") as file:
        file.write(HEADER)
        for line in records(rows):
            file.write('"' + line.replace(",", '","')[:-1] + '"\n' if quoted else line)


def bare(path: Path, folder: Path) -> int:
    """Sort the file by DuckDB alone."""
    with duckdb.connect(
        config={"memory_limit": MEMORY, "temp_directory": str(folder / "spill")}
    ) as connection:
        connection.execute(
            f"COPY (SELECT * FROM read_csv('{path}', all_varchar = true) "
            f"ORDER BY contact_id, owner_id) TO '{folder / 'bare.parquet'}'"
        )
    return 0


def planned(path: Path, folder: Path) -> int:
    """Check the file and seal its plan."""
    with check(sources([str(path)]), Reading(Op.LINK), folder, memory=MEMORY) as checked:
        checked.write_rejects(folder)
        checked.shape()
        checked.seal(folder)
        return checked.messages


def streamed(_path: Path, folder: Path) -> int:
    """Read the plan as the workers do."""
    return sum(map(len, SealedPlan(folder / "plan.parquet").chunks()))


def looped(path: Path, _folder: Path) -> int:
    """Check, group and sort with the csv module and dictionaries; write nothing."""
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
                found = groups.setdefault((contact, owner), {})
                found.setdefault(message, []).append((number, deal))
    return sum(
        len({deal for _, deal in wanted}) == 1
        for _, messages in sorted(groups.items())
        for wanted in messages.values()
    )


STEPS: dict[str, Callable[[Path, Path], int]] = {
    "bare": bare,
    "plan": planned,
    "stream": streamed,
    "loop": looped,
}

if sys.platform == "win32":

    def peak() -> int:
        """Say 0: how much memory the process has held cannot be told here."""
        return 0

else:
    import resource

    def peak() -> int:
        """Say how much memory the process has held at most, in MB."""
        held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return held >> (20 if sys.platform == "darwin" else 10)


def step(name: str, path: Path, folder: Path) -> None:
    """Do one step in this process and print what it took."""
    wall, cpu = time.perf_counter(), time.process_time()
    count = STEPS[name](path, folder)
    took = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}
    print(json.dumps({**took, "peak": peak(), "count": count}))


def alone(name: str, path: Path, folder: Path) -> dict[str, float]:
    """Do one step in a process of its own."""
    command = [sys.executable, __file__, "--step", name, str(path), str(folder)]
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    took: dict[str, float] = json.loads(told)
    print(f"  {name:7}{took['wall']:9.2f} s{took['cpu']:9.2f} CPU s{took['peak']:7.0f} MB")
    return took


def middle(rounds: list[dict[str, float]]) -> dict[str, float]:
    """Return the median of each figure."""
    return {figure: median(each[figure] for each in rounds) for figure in rounds[0]}


def measured(rows: int, *, rounds: int, quoted: bool) -> list[str]:
    """Measure one size; return its line of the table."""
    print(f"{rows:,} rows")
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "mapping.csv"
        write(path, rows, quoted=quoted)
        names = [one for one in STEPS if one != "loop" or rows <= LOOP_ROWS]
        compared = [
            {one: alone(one, path, Path(name)) for one in ("bare", "plan")} for _ in range(rounds)
        ]
        took = {one: middle([each[one] for each in compared]) for one in ("bare", "plan")}
        took |= {one: alone(one, path, Path(name)) for one in names if one not in took}
    sort, plan, stream = took["bare"], took["plan"], took["stream"]
    return [
        f"{rows:,}",
        f"{sort['wall']:.1f} s, {sort['cpu']:.1f} CPU s",
        f"{plan['wall']:.1f} s, {plan['cpu']:.1f} CPU s",
        f"{rows / plan['wall']:,.0f}",
        f"{sort['wall'] / plan['wall']:.2f}",
        f"{sort['cpu'] / plan['cpu']:.2f}",
        f"{plan['peak']:.0f} MB",
        f"{took['loop']['wall'] / plan['wall']:.1f}" if "loop" in took else "",
        f"{stream['count'] / stream['wall']:,.0f}",
    ]


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=int, nargs="*", default=[1_000_000])
    parser.add_argument("--rounds", type=int, default=3, help="of bare sort and plan, in turn")
    parser.add_argument("--quoted", action="store_true", help="quote every cell")
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    asked = parser.parse_args()
    made = table(
        COLUMNS, [measured(rows, rounds=asked.rounds, quoted=asked.quoted) for rows in asked.rows]
    )
    print(made)
    if asked.write:
        put("planning", made)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        step(sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))
    else:
        main()
