"""Tens of thousands of seeds on all processors, or one seed again: see --help."""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.simulation.checks import lies_of
from tests.simulation.drawn import draw, play
from tests.simulation.simulated import Outcome

_SHOWN = 5
_MOST_FAILURES = 10


def repeat(seed: int) -> list[str]:
    """Play a seed and return what is not as promised; an error counts."""
    with tempfile.TemporaryDirectory(dir=_memory()) as folder:
        scenario = draw(seed)
        try:
            return lies_of(scenario, play(scenario, Path(folder)))
        except Exception as error:  # whatever it is, the seed has failed
            return ["".join(traceback.format_exception(error))]


def command_for(seed: int) -> str:
    """Return the command that repeats a seed."""
    return f"python -m tests.simulation.soak --seed {seed}"


def _memory() -> str | None:
    """Return a folder in memory where there is one: a simulation needs no disk."""
    shared = "/dev/shm"
    return shared if os.access(shared, os.W_OK) else None


def _one(seed: int) -> tuple[int, list[str]]:
    return seed, repeat(seed)


def _many(first: int, seeds: int) -> int:
    """Play many seeds; return how many failed, after ten of them at the latest."""
    began, failed = time.monotonic(), 0
    context = multiprocessing.get_context("spawn")
    with context.Pool() as pool:
        for done, (seed, lies) in enumerate(
            pool.imap_unordered(_one, range(first, first + seeds), chunksize=20), 1
        ):
            if lies:
                failed += 1
                print(f"seed {seed}: {lies[0]}\n  again: {command_for(seed)}", flush=True)
            if failed >= _MOST_FAILURES:
                break
            if done % 2_000 == 0:
                print(f"{done:,} seeds, {time.monotonic() - began:.0f} s", flush=True)
    print(f"{done:,} seeds from {first}, {failed} failed, {time.monotonic() - began:.0f} s")
    return failed


def _show(seed: int) -> int:
    """Play one seed and print what is drawn, what came and what is wrong."""
    scenario = draw(seed)
    print(f"faults: {scenario.case.faults}\nlives: {scenario.lives}\n{scenario.case.settings}")
    with tempfile.TemporaryDirectory() as folder:
        outcome = play(scenario, Path(folder))
    lies = lies_of(scenario, outcome)
    print(f"{len(outcome.ledger.splitlines())} lines, ledger {_digest(outcome)}")
    for lie in lies[:_SHOWN]:
        print(f"wrong: {lie}")
    print(f"seed {seed}: {len(lies)} promises broken")
    return len(lies)


def _digest(outcome: Outcome) -> str:
    return hashlib.sha256(outcome.ledger).hexdigest()[:16]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20_000, help="how many (20,000)")
    parser.add_argument("--first", type=int, default=1_000_000, help="the first of them")
    parser.add_argument("--seed", type=int, help="play this one alone and show it")
    asked = parser.parse_args()
    failed = _many(asked.first, asked.seeds) if asked.seed is None else _show(asked.seed)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
