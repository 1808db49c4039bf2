"""Runs a command of bulklink and prints the CPU time of each of its parts.

    python benchmarks/sampling.py ARGUMENTS OF BULKLINK

Prints a JSON object on standard error: the CPU seconds of each part. The time of functions in
threads is measured, the rest of the process beside the main thread is DuckDB's own threads, and the
main thread is sampled. What a part calls in libraries counts as its own, so aiohttp belongs to the
transport.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

import anyio.to_thread

from bulklink.cli.main import main

assert sys.platform != "win32", "Windows has no timer that sends signals"
T = TypeVar("T")
SECONDS = 0.002
PARTS = {
    "mapping/plan_reader": "reading the plan",
    "engine/read_ahead": "reading the plan",
    "engine/dispatch": "windows and workers",
    "engine/worker_pool": "windows and workers",
    "engine/active_contacts": "windows and workers",
    "engine/batching": "contacts and batches",
    "engine/contact": "contacts and batches",
    "engine/contact_calls": "contacts and batches",
    "engine/ratelimit": "limiter and credits",
    "engine/quota": "limiter and credits",
    "engine/caller": "calls",
    "engine": "calls",
    "zoho/requests": "requests",
    "zoho/transport": "HTTP (aiohttp)",
    "zoho": "answers",
    "ledger/writer": "writing the ledger",
    "ledger/checkpoint": "writing the ledger",
    "ledger/records": "lines of the ledger",
    "ledger/done_batch": "lines of the ledger",
    "ledger": "counting results",
    "operations/send": "counting results",
    "operations/delivery": "counting results",
    "operations/callbacks": "counting results",
    "mapping": "planning",
    "operations": "start and end",
}
"""Part of each module; the longest prefix counts."""
LOOP = "event loop and sockets"
START = "start and end"
THREADS = {"_prepare": "planning", "_read": "reading the plan"}
"""Part of functions that run in threads; all others write or check the ledger."""
DUCKDB = "planning"
_WAITING = ("selectors.py", "select")
samples: Counter[str] = Counter()
in_threads: dict[str, float] = defaultdict(float)


def take_sample(number: int, frame: FrameType | None) -> None:
    """Count the part that the main thread is in, unless it waits."""
    del number
    code = frame and frame.f_code
    if code is None or (Path(code.co_filename).name, code.co_name) != _WAITING:
        samples[part_of(frame)] += 1


def part_of(frame: FrameType | None) -> str:
    """Return the part that the innermost frame of bulklink belongs to."""
    while frame is not None:
        path = Path(frame.f_code.co_filename).as_posix()
        if path.endswith("asyncio/base_events.py") and frame.f_code.co_name == "_run_once":
            return LOOP
        module = (
            path.rpartition("/bulklink/")[2].removesuffix(".py") if "/bulklink/" in path else ""
        )
        while module:
            if module in PARTS:
                return PARTS[module]
            module = module.rpartition("/")[0]
        frame = frame.f_back
    return START


def measure_threads() -> None:
    """Measure functions that are run in threads."""
    run_sync = anyio.to_thread.run_sync

    async def run_measured(function: Callable[..., T], *arguments: Any, **options: Any) -> T:
        def measured() -> T:
            began_at = time.thread_time()
            try:
                return function(*arguments)
            finally:
                name = getattr(getattr(function, "func", function), "__name__", "")
                in_threads[THREADS.get(name, "writing the ledger")] += time.thread_time() - began_at

        return await run_sync(measured, **options)

    anyio.to_thread.run_sync = run_measured  # type: ignore[assignment]


if __name__ == "__main__":
    measure_threads()
    signal.signal(signal.SIGALRM, take_sample)
    signal.setitimer(signal.ITIMER_REAL, SECONDS, SECONDS)
    try:
        main()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        main_seconds = time.thread_time()
        seconds = defaultdict(float, in_threads)
        seconds[DUCKDB] += time.process_time() - main_seconds - sum(in_threads.values())
        for part, count in samples.items():
            seconds[part] += main_seconds * count / samples.total()
        print(json.dumps(seconds), file=sys.stderr)
