"""Places of approved runs in the queue of their folder, as the page shows them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from bulklink.local_time import format_local_time
from bulklink.runs.queue import QueuedRun, QueueOverview
from bulklink.shell import format_command


class QueuePlace(msgspec.Struct, frozen=True):
    """Place of a run in the queue.

    Args:
        text: what it waits for, or why it was left to a person.
        is_left: whether it was left to a person.
    """

    text: str
    is_left: bool = False


def queue_places(queue: QueueOverview, runs_dir: Path) -> Mapping[str, QueuePlace]:
    """Return the places of the runs that have not finished, by name of their folders.

    Args:
        queue: the queue.
        runs_dir: its folder of runs.
    """
    return {
        Path(run.run_dir).name: _place(run, number, queue, runs_dir)
        for number, run in enumerate(queue.runs, 1)
        if run.state != "finished"
    }


def _place(run: QueuedRun, number: int, queue: QueueOverview, runs_dir: Path) -> QueuePlace:
    if run.message is not None:
        text = f"It is approved and in the queue, but left to you ({run.code}): {run.message}"
        return QueuePlace(text, is_left=True)
    text = f"It is approved, number {number} of {len(queue.runs)} in the queue"
    if run.state == "running":
        return QueuePlace(f"{text}.")
    if run.until is not None:
        text += f", and waits for credits until {format_local_time(run.until)}"
    elif run.behind is not None:
        text += f", after {run.behind}"
    if queue.worker:
        return QueuePlace(f"{text}. A worker sends it.")
    start = format_command("bulklink", "work", runs_dir)
    return QueuePlace(f"{text}. No worker is running: “{start}” starts one.")
