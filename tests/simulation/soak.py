"""Run tens of thousands of seeds on all processors, or repeat a single seed."""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

from tests.simulation.checks import find_violations
from tests.simulation.plans import memory_folder
from tests.simulation.scenarios import draw_scenario, run_scenario
from tests.simulation.simulator import SimulatedRun

_MAX_VIOLATIONS_SHOWN = 5
_MAX_FAILED_SEEDS = 10


def check_seed(seed: int) -> list[str]:
    """Run a seed and return the broken guarantees; an error counts as one."""
    with tempfile.TemporaryDirectory(dir=memory_folder()) as folder:
        scenario = draw_scenario(seed)
        try:
            return find_violations(scenario, run_scenario(scenario, Path(folder)))
        except Exception as error:  # the seed has failed, whatever the error
            return ["".join(traceback.format_exception(error))]


def format_repeat_command(seed: int) -> str:
    """Return the command that repeats a seed."""
    return f"python -m tests.simulation.soak --seed {seed}"


def _check_numbered_seed(seed: int) -> tuple[int, list[str]]:
    return seed, check_seed(seed)


def _seeds(first: int, seeds: int) -> Iterator[int]:
    """Yield numbers of scenarios; every fourth is negative, with messages that need one call."""
    return (-seed if seed % 4 == 0 else seed for seed in range(first, first + seeds))


def _check_seeds(first: int, seeds: int) -> int:
    """Run many seeds and return how many failed, stopping after ten failures."""
    started_at, failed = time.monotonic(), 0
    context = multiprocessing.get_context("spawn")
    with context.Pool() as pool:
        for finished, (seed, violations) in enumerate(
            pool.imap_unordered(_check_numbered_seed, _seeds(first, seeds), chunksize=20), 1
        ):
            if violations:
                failed += 1
                print(
                    f"seed {seed}: {violations[0]}\n  repeat: {format_repeat_command(seed)}",
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
    """Run one seed; print its scenario, the digest of its ledger and the broken guarantees."""
    scenario = draw_scenario(seed)
    print(
        f"faults: {scenario.case.faults}\ncommands: {scenario.commands}\n{scenario.case.settings}"
    )
    with tempfile.TemporaryDirectory() as folder:
        outcome = run_scenario(scenario, Path(folder))
    violations = find_violations(scenario, outcome)
    print(f"{len(outcome.ledger.splitlines())} lines, ledger {_digest(outcome)}")
    for violation in violations[:_MAX_VIOLATIONS_SHOWN]:
        print(f"broken: {violation}")
    print(f"seed {seed}: {len(violations)} guarantees broken")
    return len(violations)


def _digest(outcome: SimulatedRun) -> str:
    return hashlib.sha256(outcome.ledger).hexdigest()[:16]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20_000, help="number of seeds (20,000)")
    parser.add_argument("--first", type=int, default=1_000_000, help="first seed (1,000,000)")
    parser.add_argument("--seed", type=int, help="run only this seed and show its scenario")
    arguments = parser.parse_args()
    failed = (
        _check_seeds(arguments.first, arguments.seeds)
        if arguments.seed is None
        else _show_seed(arguments.seed)
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
