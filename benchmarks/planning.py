"""Planning beside DuckDB's bare sort of the same file, in one run.

    python benchmarks/planning.py [ROWS] [--quoted]

Prints rows a second of: the bare `COPY (SELECT * … ORDER BY contact_id, owner_id)`, planning
(check, count, write rejects, seal), and messages a second of the stream from the sealed plan.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from bulklink.mapping import Reading, SealedPlan, check, sources
from bulklink.models import Op

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MEMORY = "512MB"
HEADER = "contact_id,owner_id,message_id,deal_id,deal_name,Note\n"


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


def bare(path: Path, folder: Path) -> None:
    """Sort the file by DuckDB alone."""
    with duckdb.connect(
        config={"memory_limit": MEMORY, "temp_directory": str(folder / "spill")}
    ) as connection:
        connection.execute(
            f"COPY (SELECT * FROM read_csv('{path}', all_varchar = true) "
            f"ORDER BY contact_id, owner_id) TO '{folder / 'bare.parquet'}'"
        )


def planned(path: Path, folder: Path) -> None:
    """Check the file and seal its plan."""
    with check(sources([str(path)]), Reading(Op.LINK), folder) as checked:
        checked.write_rejects(folder)
        checked.shape()
        checked.seal(folder)
        print(f"{checked.messages:,} messages, {checked.rejected:,} refused, ", end="")
        print(f"{checked.duplicates:,} duplicates")


def streamed(folder: Path) -> int:
    """Read the plan as the workers do."""
    return sum(map(len, SealedPlan(folder / "plan.parquet").chunks()))


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Run once; return wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


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


def main() -> None:
    """Run the benchmark and print its table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=int, nargs="?", default=1_000_000)
    parser.add_argument("--quoted", action="store_true", help="quote every cell")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "mapping.csv"
        write(path, asked.rows, quoted=asked.quoted)
        works: dict[str, Callable[[], object]] = {
            "bare sort": lambda: bare(path, folder),
            "plan": lambda: planned(path, folder),
            "stream": lambda: streamed(folder),
        }
        for label, work in works.items():
            wall, cpu = timed(work)
            print(
                f"{label:10} {wall:7.2f} s  {cpu:7.2f} CPU s  {asked.rows / wall:12,.0f} rows/s"
                f"  peak {peak()} MB so far"
            )


if __name__ == "__main__":
    main()
