"""Planning rows that a program passes, compared with planning the same rows from a CSV file.

    python benchmarks/frames.py [ROWS] [--rounds N] [--write]

Each form runs in a process of its own, in turn. A process reads the CSV file with the library of
its form, and then plans: the whole process counts, and the plan alone. All plans must have the same
digest.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from planning import write_mapping
from processes import measure
from tables import put_table, table

FORMS = ("CSV file", "polars", "pyarrow", "pandas", "dicts")
COLUMNS = (
    "rows from",
    "plan",
    "plan : CSV file, wall",
    "plan : CSV file, CPU",
    "whole process",
    "process : CSV file, CPU",
    "peak memory",
)


def read_rows(form: str, path: Path) -> Any:
    """Read the file with the library of a form; texts stay texts."""
    if form == "polars":
        import polars as pl

        return pl.read_csv(path, infer_schema=False)
    if form == "pyarrow":
        import pyarrow as pa
        from pyarrow.csv import ConvertOptions, read_csv

        with path.open(encoding="utf-8") as file:
            types = dict.fromkeys(next(csv.reader(file)), pa.string())
        return read_csv(path, convert_options=ConvertOptions(column_types=types))
    if form == "pandas":
        import pandas as pd

        return pd.read_csv(path, dtype=str)
    if form == "dicts":
        return csv.DictReader(path.open(encoding="utf-8"))
    return (path,)


def plan_form(form: str, path: Path) -> None:
    """Plan the rows in one form, and print the seconds, CPU seconds and digest of the plan."""
    from bulklink import Job, OnInvalid, Op, plan

    rows = read_rows(form, path)
    wall, cpu = time.perf_counter(), time.process_time()
    result = plan(Job(mappings=rows, op=Op.LINK, on_invalid=OnInvalid.SKIP))
    seconds = time.perf_counter() - wall, time.process_time() - cpu
    print(json.dumps((*seconds, result.digest)))


def measure_forms(rows: int, rounds: int) -> list[list[str]]:
    """Measure all forms and return the lines of the table."""
    figures: dict[str, list[tuple[float, ...]]] = {form: [] for form in FORMS}
    digests = set()
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "mapping.csv"
        write_mapping(path, rows, quoted=False)
        for _ in range(rounds):
            for form in FORMS:
                whole = measure([sys.executable, __file__, "--form", form, "--path", str(path)])
                wall, cpu, digest = json.loads(whole.output)
                digests.add(digest)
                figures[form].append((wall, cpu, whole.cpu, whole.memory, whole.seconds))
                print(
                    f"  {form}: plan {wall:.2f} s, {cpu:.2f} CPU s, process {whole.seconds:.2f} s"
                )
    if len(digests) > 1:
        raise SystemExit("The plans differ.")
    base = figures["CSV file"]
    return [line(form, figures[form], base) for form in FORMS]


def line(form: str, own: list[tuple[float, ...]], base: list[tuple[float, ...]]) -> list[str]:
    """Return a line of the table; ratios are medians over the rounds."""
    wall, cpu, whole, memory, seconds = map(median, zip(*own, strict=True))
    ratios = [
        f"{median(a[n] / b[n] for a, b in zip(own, base, strict=True)):.2f}" for n in (0, 1, 2)
    ]
    return [
        form,
        f"{wall:.2f} s, {cpu:.2f} CPU s",
        *ratios[:2],
        f"{seconds:.2f} s, {whole:.2f} CPU s",
        ratios[2],
        f"{memory / 1e6:,.0f} MB",
    ]


def main() -> None:
    """Measure and print the table, and write it to the README on request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=int, nargs="?", default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--form", choices=FORMS, help=argparse.SUPPRESS)
    parser.add_argument("--path", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.form:
        plan_form(arguments.form, arguments.path)
        return
    text = table(COLUMNS, measure_forms(arguments.rows, arguments.rounds))
    print(text)
    if arguments.write:
        put_table("frames", text)


if __name__ == "__main__":
    main()
