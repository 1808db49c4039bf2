"""`bulklink work`: send the approved runs of a folder, many orgs at the same time."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bulklink.cli.completion import FolderPath
from bulklink.cli.connection import profile_option
from bulklink.cli.help import Command
from bulklink.cli.options import common_options, option
from bulklink.cli.param_types import WholeNumber
from bulklink.cli.worker_summary import report_event, show_work

if TYPE_CHECKING:
    from bulklink.worker.worker import WorkResult


@click.command("work", cls=Command)
@click.argument("runs_dir", type=FolderPath())
@option(
    "--slots",
    type=WholeNumber(1, 1000),
    default=8,
    show_default=True,
    metavar="N",
    help="Runs that are sent at the same time, each in a process of its own (about 130 MB).",
)
@option(
    "--drain",
    is_flag=True,
    help="End when nothing is left in the queue but what a person must look at. By default the"
    " worker waits for more.",
)
@profile_option
@common_options
def work(runs_dir: Path, *, slots: int, drain: bool, profile: str | None, as_json: bool) -> int:
    """Send the approved runs in RUNS_DIR, one at a time for each org.

    \b
    Examples:
      bulklink work runs
      bulklink work runs --slots 4 --drain

    A run is approved with `bulklink apply RUN --queue --expect DIGEST`. The runs of an org are sent
    in the order of their approval; those of other orgs at the same time, as far as there are
    slots. A run that is out of credits goes on when they are expected back, and one whose process
    died is started again: at once the first time, then 60 seconds apart, five times. A run that
    stopped for another reason is left to you, and said so. Ctrl-C or SIGTERM stops gently; start
    the worker again to go on. --profile is that of runs that were approved without one.
    """
    from bulklink.cli.event_loop import run_in_loop  # noqa: PLC0415 - not for --help
    from bulklink.cli.signals import run_with_signals  # noqa: PLC0415 - not for --help
    from bulklink.engine.shutdown import StopController  # noqa: PLC0415 - not for --help
    from bulklink.worker.worker import work as work_on  # noqa: PLC0415 - not for --help

    stop = StopController()
    operation = partial(
        work_on,
        runs_dir,
        slots=slots,
        drain=drain,
        stop=stop,
        report=report_event,
        profile=profile,
    )
    result: WorkResult = run_in_loop(run_with_signals, operation, stop)
    show_work(result, waiting=len(result.waiting), as_json=as_json)
    return result.exit_code
