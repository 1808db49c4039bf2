"""`bulklink cancel`: take a run out of the queue."""

from __future__ import annotations

from pathlib import Path

import click

from bulklink.cli.completion import RunPath
from bulklink.cli.console import print_json, print_line
from bulklink.cli.help import Command
from bulklink.cli.options import common_options
from bulklink.errors import ExitCode


@click.command("cancel", cls=Command)
@click.argument("run", type=RunPath())
@common_options
def cancel(run: Path, *, as_json: bool) -> int:
    """Take RUN out of the queue, and withdraw its approval.

    \b
    Example:
      bulklink cancel runs/20261122T101500Z-link-3f2a

    A worker that is sending it stops it gently: calls in flight are finished and recorded. What was
    sent stays; `bulklink undo` takes it back.
    """
    from bulklink.operations.queue_access import cancel as take_out  # noqa: PLC0415 - not for --help

    take_out(run)
    if as_json:
        print_json({"run_dir": str(run), "exit_code": 0})
    else:
        print_line(f"{run} is not in the queue any more.")
    return ExitCode.OK
