"""`bulklink undo`: restore the emails that a run changed."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bulklink.cli.completion import RunPath
from bulklink.cli.connection import (
    connection_for_run,
    connection_options,
    module_id_is_set,
)
from bulklink.cli.console import note, print_json
from bulklink.cli.help import Command
from bulklink.cli.options import (
    combine_options,
    common_options,
    memory_option,
    option,
    plan_options,
    send_options,
)
from bulklink.errors import ExitCode

if TYPE_CHECKING:
    from bulklink.operations.job_options import SendOptions


@click.command("undo", cls=Command)
@click.argument("run", type=RunPath())
@option(
    "--include-settled",
    is_flag=True,
    help="Also undo links that might not be the run's own: settled by a read after a lost"
    " answer, or in doubt, without a snapshot.",
)
@combine_options(plan_options, memory_option, connection_options, send_options, common_options)
def undo(run: Path, **options: Any) -> int:
    """Restore every email that RUN changed.

    \b
    Examples:
      bulklink undo runs/20261122T101500Z-link-3f2a --dry-run
      bulklink undo runs/20261122T101500Z-link-3f2a

    Use it when a run was wrong. The undo is itself a run: linked emails are unlinked, unlinked
    ones are linked again, relinked ones go back. An email is changed only if it is still as RUN
    left it; others are left alone and fail as changed-since. The undo of a job is a job. The
    command first shows what cannot be undone, and why. Sending options default to those of RUN.
    --dry-run only shows this; with --run-dir it also seals the plan for `bulklink apply`.
    """
    from bulklink.cli.arguments import (  # noqa: PLC0415 - not for --help
        given_options,
        send_arguments,
    )

    arguments = send_arguments(given_options(options))
    if options["dry_run"]:
        return _plan_undo(run, arguments, options)
    return _run_undo(run, arguments, options)


def _plan_undo(run: Path, arguments: SendOptions, options: dict[str, Any]) -> int:
    from bulklink.cli.plan_summary import show_plan_result  # noqa: PLC0415 - not for --help
    from bulklink.cli.progress import in_thread, run_with_progress  # noqa: PLC0415 - not for --help
    from bulklink.operations.undo import plan_undo  # noqa: PLC0415 - not for --help

    work = partial(
        plan_undo,
        run,
        include_settled=options["include_settled"],
        module_known=module_id_is_set(),
        **arguments,
    )
    result, _ = run_with_progress(in_thread(work), options)
    if not result.rows:
        _note_nothing_to_undo(run)
    return show_plan_result(result, as_json=options["as_json"], undo=True)


def _run_undo(run: Path, arguments: SendOptions, options: dict[str, Any]) -> int:
    from bulklink.cli.progress import run_with_progress  # noqa: PLC0415 - not for --help
    from bulklink.cli.run_summary import show_run  # noqa: PLC0415 - not for --help
    from bulklink.operations.undo import undo as undo_run  # noqa: PLC0415 - not for --help

    connection = connection_for_run(run, options)
    work = partial(
        undo_run, run, connection, include_settled=options["include_settled"], **arguments
    )
    result, reason = run_with_progress(work, options)
    if result is None:
        return _show_empty_undo(run, as_json=options["as_json"])
    return show_run(result, reason, as_json=options["as_json"])


def _show_empty_undo(run: Path, *, as_json: bool) -> int:
    """Show an undo that has nothing to undo, as a run without rows."""
    from bulklink.operations.undo import EMPTY_UNDO  # noqa: PLC0415 - not for --help

    _note_nothing_to_undo(run)
    if as_json:
        print_json(EMPTY_UNDO)
    return ExitCode.OK


def _note_nothing_to_undo(run: Path) -> None:
    note(f"{run} changed nothing: there is nothing to undo.")
