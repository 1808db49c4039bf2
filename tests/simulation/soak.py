"""Tens of thousands of seeds on all processors, or one seed again: see --help."""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.simulation.checks import find_violations
from tests.simulation.plans import memory_folder
from tests.simulation.scenarios import draw_scenario, run_scenario
from tests.simulation.simulator import SimulatedRun

_MAX_VIOLATIONS_SHOWN = 5
_MAX_FAILED_SEEDS = 10


def check_seed(seed: int) -> list[str]:
    """Play a seed and return the broken guarantees; an error counts."""
    with tempfile.TemporaryDirectory(dir=memory_folder()) as folder:
        scenario = draw_scenario(seed)
        try:
            return find_violations(scenario, run_scenario(scenario, Path(folder)))
        except Exception as error:  # whatever it is, the seed has failed
            return ["".join(traceback.format_exception(error))]


def format_repeat_command(seed: int) -> str:
    """Return the command that repeats a seed."""
    return f"python -m tests.simulation.soak --seed {seed}"


def _check_numbered_seed(seed: int) -> tuple[int, list[str]]:
    return seed, check_seed(seed)


def _check_seeds(first: int, seeds: int) -> int:
    """Play many seeds; return how many failed, after ten of them at the latest."""
    started_at, failed = time.monotonic(), 0
    context = multiprocessing.get_context("spawn")
    with context.Pool() as pool:
        for finished, (seed, violations) in enumerate(
            pool.imap_unordered(_check_numbered_seed, range(first, first + seeds), chunksize=20), 1
        ):
            if violations:
                failed += 1
                print(
                    f"seed {seed}: {violations[0]}\n  again: {format_repeat_command(seed)}",
                    flush=True,
                )
            if failed >= _MAX_FAILED_SEEDS:
                break
            if finished % 2_000 == 0:
                print(f"{finished:,} seeds, {time.monotonic() - started_at:.0f} s", flush=True)
    print(
        f"{finished:,} seeds from {first}, {failed} failed, {time.monotonic() - started_at:.0f} s"
    )
    return failed


def _show_seed(seed: int) -> int:
    """Play one seed and print what was drawn, the ledger's digest and what is wrong."""
    scenario = draw_scenario(seed)
    print(
        f"faults: {scenario.case.faults}\ncommands: {scenario.commands}\n{scenario.case.settings}"
    )
    with tempfile.TemporaryDirectory() as folder:
        outcome = run_scenario(scenario, Path(folder))
    violations = find_violations(scenario, outcome)
    print(f"{len(outcome.ledger.splitlines())} lines, ledger {_digest(outcome)}")
    for violation in violations[:_MAX_VIOLATIONS_SHOWN]:
        print(f"wrong: {violation}")
    print(f"seed {seed}: {len(violations)} guarantees broken")
    return len(violations)


def _digest(outcome: SimulatedRun) -> str:
    return hashlib.sha256(outcome.ledger).hexdigest()[:16]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20_000, help="how many (20,000)")
    parser.add_argument("--first", type=int, default=1_000_000, help="the first of them")
    parser.add_argument("--seed", type=int, help="play this one alone and show it")
    arguments = parser.parse_args()
    failed = (
        _check_seeds(arguments.first, arguments.seeds)
        if arguments.seed is None
        else _show_seed(arguments.seed)
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
