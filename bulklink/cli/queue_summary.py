"""Queue of a runs folder for the terminal: what each approved run waits for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from bulklink.cli.console import (
    Line,
    Styled,
    format_columns,
    print_line,
    warn,
    wrap_text,
)
from bulklink.counts import count_of
from bulklink.local_time import format_local_time
from bulklink.shell import bulklink_command

if TYPE_CHECKING:
    from bulklink.runs.queue import QueuedRun, QueueOverview


def show_queue(queue: QueueOverview, runs_dir: Path) -> None:
    """Show the queue of a runs folder, and whether a worker drives it.

    Args:
        queue: the queue.
        runs_dir: the folder.
    """
    for problem in queue.problems:
        warn(problem)
    for line in _queue_lines(queue, runs_dir):
        print_line(line)


def _queue_lines(queue: QueueOverview, runs_dir: Path) -> Iterator[Line]:
    content = count_of(len(queue.runs), "approved run") if queue.runs else "empty"
    text = f"Queue: {content}; "
    if queue.worker:
        yield text + "a worker is running."
    elif queue.runs:
        yield f"{text}no worker is running: {bulklink_command('work', runs_dir)} starts one."
    else:
        yield text + "no worker is running."
    if queue.runs:
        rows = [
            (
                str(number),
                Path(run.run_dir).name,
                run.op,
                f"{run.messages:,}",
                run.org or "",
                _state_text(run),
            )
            for number, run in enumerate(queue.runs, 1)
        ]
        yield from format_columns(rows, right_aligned=(0, 3))
    for run in queue.runs:
        if run.message is not None:
            name = Path(run.run_dir).name
            yield Styled(f"{name} is left to you ({run.code})", "red")
            yield from wrap_text(run.message, "  ")


def _state_text(run: QueuedRun) -> str:
    if run.until is not None:
        return f"waits for credits until {format_local_time(run.until)}"
    if run.state == "behind":
        return f"after {run.behind}"
    return {"left": "left to you", "ready": "waits for a slot"}.get(run.state, run.state)
