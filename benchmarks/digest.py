"""The digest of a plan, compared with making the plan.

    python benchmarks/digest.py [ROWS] [--rounds N] [--write]

Runs `plan` with a run folder, which includes the digest, and the digest alone, in turn.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

from planning import write_mapping
from tables import put_table, table

from bulklink import Job, OnInvalid, Op, plan
from bulklink.mapping.plan_digest import read_plan_content

COLUMNS = ("rows", "plan", "digest", "digest : plan, wall", "digest : plan, CPU")


def measure(work: Callable[[], object]) -> tuple[float, float]:
    """Return the wall-clock seconds and CPU seconds that `work` takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def measure_size(rows: int, rounds: int) -> list[str]:
    """Measure one size and return its row of the table."""
    with tempfile.TemporaryDirectory() as name:
        folder, path = Path(name), Path(name) / "mapping.csv"
        write_mapping(path, rows, quoted=False)
        plans, digests = [], []
        for number in range(rounds):
            job = Job(
                mappings=(str(path),),
                op=Op.LINK,
                on_invalid=OnInvalid.SKIP,
                run_dir=folder / f"run-{number}",
            )
            plans.append(measure(partial(plan, job)))
            sealed = folder / f"run-{number}" / "plan.parquet"
            digests.append(measure(partial(read_plan_content, sealed)))
            print(f"  plan {plans[-1][0]:.2f} s, digest {digests[-1][0]:.2f} s")
    (plan_wall, plan_cpu), (wall, cpu) = (
        (median(w for w, _ in each), median(c for _, c in each)) for each in (plans, digests)
    )
    ratios = (f"{wall / plan_wall:.2f}", f"{cpu / plan_cpu:.2f}")
    times = (f"{plan_wall:.1f} s, {plan_cpu:.1f} CPU s", f"{wall:.2f} s, {cpu:.2f} CPU s")
    return [f"{rows:,}", *times, *ratios]


def main() -> None:
    """Measure and print the table, and write it to the README on request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=int, nargs="*", default=[1_000_000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    lines = [measure_size(rows, arguments.rounds) for rows in arguments.rows]
    text = table(COLUMNS, lines)
    print(text)
    if arguments.write:
        put_table("digest", text)


if __name__ == "__main__":
    main()
