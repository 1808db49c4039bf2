"""Planning with the search for rounded ids, compared with planning without it.

    python benchmarks/rounded_ids.py [ROWS] [--rounds N]

The two take turns, so that other load on the machine affects both equally. The lowest CPU time of
each counts.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from planning import write_mapping

from bulklink.mapping.checked import check
from bulklink.mapping.input.files import find_sources
from bulklink.mapping.schema import MappingOptions
from bulklink.models import Op


def plan_seconds(mapping: Path, *, search: bool) -> float:
    """Return the CPU seconds that planning a mapping takes."""
    options = MappingOptions(op=Op.LINK, allow_round_ids=not search)
    started = time.process_time()
    with (
        tempfile.TemporaryDirectory() as folder,
        check(find_sources([str(mapping)]), options, Path(folder)) as checked,
    ):
        checked.plan_stats()
        checked.seal(Path(folder))
    return time.process_time() - started


def main() -> None:
    """Measure and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        mapping = Path(folder) / "mapping.csv"
        write_mapping(mapping, arguments.rows, quoted=False)
        seconds: dict[bool, list[float]] = {True: [], False: []}
        for _ in range(arguments.rounds):
            for search, measured in seconds.items():
                measured.append(plan_seconds(mapping, search=search))
    print(f"with the search : without it, CPU: {min(seconds[True]) / min(seconds[False]):.3f}")


if __name__ == "__main__":
    main()
