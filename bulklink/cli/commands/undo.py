"""`bulklink undo`: put back what a run changed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bulklink.cli.completion import RunPath
from bulklink.cli.connection import connection_from, connection_options
from bulklink.cli.console import note, print_json
from bulklink.cli.options import (
    apply,
    memory_option,
    option,
    output_options,
    plan_options,
    send_options,
)
from bulklink.errors import ExitCode

if TYPE_CHECKING:
    from bulklink.operations.job import SendOptions


@click.command("undo")
@click.argument("run", type=RunPath())
@option(
    "--include-settled",
    is_flag=True,
    help="Take back links too that might not be the run's: those that a read settled after a lost"
    " answer, or that are in doubt, without a snapshot.",
)
@apply(plan_options, memory_option, connection_options, send_options, output_options)
def undo(run: Path, **options: Any) -> int:
    """Put every email that RUN changed back as it was.

    For a run that was wrong; the undo is a run of its own. Linked emails are unlinked, unlinked
    ones put back, relinked ones returned. An email is changed only if it still is as RUN left it;
    what somebody changed since is left alone and fails as changed-since. Says first what cannot be
    undone, and why. --dry-run shows all that and sends nothing; with --run-dir it seals the plan
    for `bulklink apply`.

    \b
    Examples:
      bulklink undo runs/20261122T101500Z-link-3f2a --dry-run
      bulklink undo runs/20261122T101500Z-link-3f2a
    """
    from bulklink.cli.arguments import sending_of  # noqa: PLC0415 - not for --help

    sending = sending_of(options)
    if options["dry_run"]:
        return _plan(run, sending, options)
    return _undo(run, sending, options)


def _plan(run: Path, sending: SendOptions, options: dict[str, Any]) -> int:
    from bulklink.cli.plan_summary import show_plan_report  # noqa: PLC0415 - not for --help
    from bulklink.cli.progress import planned  # noqa: PLC0415 - not for --help
    from bulklink.operations.undo import plan_undo  # noqa: PLC0415 - not for --help

    known = bool(os.environ.get("BULKLINK_DEALS_MODULE_ID", "").strip())
    report = planned(
        lambda watch, stop: plan_undo(
            run,
            include_settled=options["include_settled"],
            module_known=known,
            tell=note,
            stop=stop,
            **sending,
        ),
        options,
    )
    if not report.rows:
        note(f"{run} changed nothing: there is nothing to undo.")
    show_plan_report(report, as_json=options["as_json"], snapshot_is_choice=False)
    return ExitCode.ROWS_NOT_DONE if report.rejected else ExitCode.OK


def _undo(run: Path, sending: SendOptions, options: dict[str, Any]) -> int:
    from bulklink.cli.progress import on_screen  # noqa: PLC0415 - not for --help
    from bulklink.cli.run_summary import show_run  # noqa: PLC0415 - not for --help
    from bulklink.operations.undo import undo as take_back  # noqa: PLC0415 - not for --help

    connection = connection_from(options)
    summary, reason = on_screen(
        lambda watch, stopping: take_back(
            run,
            connection,
            include_settled=options["include_settled"],
            tell=note,
            watch=watch,
            stopping=stopping,
            **sending,
        ),
        options,
    )
    if summary is None:
        return _nothing(run, as_json=options["as_json"])
    show_run(summary, reason, as_json=options["as_json"])
    return int(summary.exit_code or 0)


def _nothing(run: Path, *, as_json: bool) -> int:
    """Show that there was nothing to undo, as a run without rows."""
    from bulklink.operations.undo import NO_RUN  # noqa: PLC0415 - not for --help

    note(f"{run} changed nothing: there is nothing to undo.")
    if as_json:
        print_json(NO_RUN)
    return ExitCode.OK
