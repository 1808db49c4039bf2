"""Sealing a mapping in shards, compared with one plan of a shard's size and of the whole.

    python benchmarks/shards.py [ROWS] [--shards N] [--rounds N] [--write]

Memory must be that of one shard, and the time that of the whole in one plan and a sort more.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median

import duckdb
from processes import Figures, MeasuredProcess
from tables import put_table, table

PROGRAM = str(Path(sys.executable).with_name("bulklink"))
COLUMNS = ("rows", "sealed as", "seconds", "CPU seconds", "peak memory", "memory : one shard")
MAPPING = """
COPY (
    SELECT 4150868000000000001 + contact * 7919 AS contact_id,
        4150868000000200001 + contact % 50 AS owner_id,
        md5(row::VARCHAR) || printf('%08x', row) AS message_id,
        4150868000003000001 + contact * 31 AS deal_id,
        'Deal ' || contact AS deal_name, 'note ' || row AS Note
    FROM (SELECT row, hash(row, 1) % {contacts} AS contact FROM range({rows}) AS rows(row))
) TO '{path}' (HEADER)
"""


def write_mapping(path: Path, rows: int) -> None:
    """Write rows of contacts in random order, eight for each contact."""
    connection = duckdb.connect()
    connection.execute("SET preserve_insertion_order = true")
    connection.execute(MAPPING.format(path=path, rows=rows, contacts=rows // 8 + 1))
    connection.close()


def measure(mapping: Path, folder: Path, *options: str) -> Figures:
    """Seal a mapping in a new folder."""
    shutil.rmtree(folder, ignore_errors=True)
    command = [PROGRAM, "plan", "--op", "link", str(mapping), "--run-dir", str(folder), *options]
    return MeasuredProcess([*command, "--json", "--quiet"]).wait()


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="?", type=int, default=20_000_000)
    parser.add_argument("--shards", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--write", action="store_true", help="put the table into README.md")
    options = parser.parse_args()
    sizes = {
        f"one plan of {options.rows // options.shards:,} rows": (options.rows // options.shards, 1),
        "one plan": (options.rows, 1),
        f"{options.shards} shards": (options.rows, options.shards),
    }
    figures: dict[str, list[Figures]] = {name: [] for name in [*sizes, "merge"]}
    with tempfile.TemporaryDirectory(prefix="bulklink-shards-") as temporary:
        folder = Path(temporary)
        for rows, _ in sizes.values():
            if not (folder / f"{rows}.csv").exists():
                write_mapping(folder / f"{rows}.csv", rows)
        for _ in range(options.rounds):
            for name, (rows, shards) in sizes.items():
                arguments = ("--shards", str(shards)) if shards > 1 else ()
                figures[name].append(measure(folder / f"{rows}.csv", folder / "job", *arguments))
            figures["merge"].append(
                MeasuredProcess([PROGRAM, "merge", str(folder / "job"), "--json"]).wait()
            )
    one = median(figure.memory for figure in next(iter(figures.values())))
    lines = []
    for name, measured in figures.items():
        memory = median(figure.memory for figure in measured)
        lines.append(
            (
                f"{sizes.get(name, (options.rows, 1))[0]:,}",
                name,
                f"{median(figure.seconds for figure in measured):.1f}",
                f"{median(figure.cpu for figure in measured):.1f}",
                f"{memory / 1e6:.0f} MB",
                f"{memory / one:.2f}",
            )
        )
    text = table(COLUMNS, lines)
    print(text)
    if options.write:
        put_table("shards", text)


if __name__ == "__main__":
    main()
