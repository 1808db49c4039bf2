"""`bulklink apply`, `resume` and `retry`: send the emails of a run folder."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from bulklink.cli.completion import RunPath
from bulklink.cli.connection import connection_for_run, connection_options
from bulklink.cli.console import print_json, print_line
from bulklink.cli.help import Command
from bulklink.cli.options import (
    canary_option,
    combine_options,
    common_options,
    display_options,
    limit_options,
    option,
)
from bulklink.counts import count_of
from bulklink.errors import ExitCode, UsageError
from bulklink.shell import bulklink_command

_resume_options = combine_options(
    connection_options, limit_options, display_options, common_options
)
_accept_canary_option = option(
    "--accept-canary",
    is_flag=True,
    help="Continue a run whose canary did not pass, without another canary.",
)
_expect_option = option(
    "--expect", metavar="DIGEST", help="Refuse the plan unless it has this digest."
)
# Without a variable of its own: the commands that a worker starts would inherit it.
_queue_option = click.option(
    "--queue",
    is_flag=True,
    help="Send nothing now: approve the plan with the digest of --expect, for the worker of its"
    " folder (`bulklink work`) to send without a question.",
)
_run_argument = click.argument("run", type=RunPath())


@click.command("apply", cls=Command)
@_run_argument
@_expect_option
@_queue_option
@canary_option
@_resume_options
def apply_plan(run: Path, expect: str | None, *, queue: bool, **options: Any) -> int:
    """Send exactly the plan that `bulklink plan --run-dir` sealed.

    \b
    Examples:
      bulklink apply approved
      bulklink apply approved --expect DIGEST
      bulklink apply runs/20261122T101500Z-link-3f2a --queue --expect DIGEST

    Use it for changes that somebody approves first. RUN is the folder of the plan; you can send it
    much later, and on another machine. --expect refuses any plan but the one with the digest that
    `bulklink plan` printed; the digest is computed from the plan before anything is sent. Options
    default to those that the plan was sealed with.

    --queue sends nothing: it marks the plan as approved for `bulklink work`, after the question.
    """
    if queue:
        return _queue_run(run, expect, options, resume=False)
    from bulklink.cli.arguments import unset_profile_options  # noqa: PLC0415 - not for --help
    from bulklink.operations.resume import apply as apply_to_run  # noqa: PLC0415 - not for --help

    defaults = unset_profile_options(run, options)
    return _continue_run(partial(apply_to_run, expect=expect, **defaults), run, options)


@click.command("resume", cls=Command)
@_run_argument
@_expect_option
@_queue_option
@_accept_canary_option
@_resume_options
def resume(
    run: Path, expect: str | None, *, queue: bool, accept_canary: bool, **options: Any
) -> int:
    """Continue RUN after it stopped, was killed or lost power.

    \b
    Examples:
      bulklink resume runs/20261122T101500Z-link-3f2a
      bulklink resume runs/20261122T101500Z-link-3f2a --queue --expect DIGEST

    Finished emails are not sent again, and calls that were in flight are read back first. You need
    neither the mapping nor the same machine. Options default to those of the run; the defaults
    shown below are those of a new run. A finished run is left unchanged. A run that its canary
    stopped continues only with --accept-canary. --queue leaves the rest to `bulklink work`.
    """
    if queue:
        return _queue_run(run, expect, options, resume=True, accept_canary=accept_canary)
    from bulklink.operations.resume import resume as resume_run  # noqa: PLC0415 - not for --help

    operation = partial(resume_run, expect=expect, accept_canary=accept_canary)
    return _continue_run(operation, run, options)


@click.command("retry", cls=Command)
@_run_argument
@option("--code", metavar="CODE", help="Retry only rows with this code.")
@_accept_canary_option
@_resume_options
def retry(run: Path, code: str | None, *, accept_canary: bool, **options: Any) -> int:
    """Retry the emails of RUN that failed or are in doubt.

    \b
    Examples:
      bulklink retry runs/20261122T101500Z-link-3f2a
      bulklink retry runs/20261122T101500Z-link-3f2a --code NOT_ALLOWED

    Use it once the cause of the failures is fixed, such as a missing permission. Emails not sent
    yet are sent too. Options default to those of the run.
    """
    from bulklink.operations.resume import retry as retry_run  # noqa: PLC0415 - not for --help

    operation = partial(retry_run, code=code, accept_canary=accept_canary)
    return _continue_run(operation, run, options)


def _continue_run(operation: Callable[..., Any], run: Path, options: dict[str, Any]) -> int:
    from bulklink.cli.arguments import (  # noqa: PLC0415 - not for --help
        given_options,
        limit_arguments,
    )
    from bulklink.cli.progress import run_with_progress  # noqa: PLC0415 - not for --help
    from bulklink.cli.run_summary import show_run  # noqa: PLC0415 - not for --help

    connection = connection_for_run(run, options)
    operation = partial(operation, run, connection, **limit_arguments(given_options(options)))
    result, reason = run_with_progress(operation, options)
    return show_run(result, reason, as_json=options["as_json"])


def _queue_run(
    run: Path,
    expect: str | None,
    options: dict[str, Any],
    *,
    resume: bool,
    accept_canary: bool = False,
) -> int:
    """Approve a run for the worker of its folder, and show its position in the queue."""
    import msgspec  # noqa: PLC0415 - not for --help

    from bulklink.cli.arguments import option_words  # noqa: PLC0415 - not for --help
    from bulklink.cli.progress import run_with_progress  # noqa: PLC0415 - not for --help
    from bulklink.operations.job_options import LIMIT_OPTIONS  # noqa: PLC0415 - not for --help
    from bulklink.operations.queue_run import queue_run  # noqa: PLC0415 - not for --help

    if expect is None:
        raise UsageError(
            "The digest that you approve is missing.",
            where="--queue",
            advice="Add --expect DIGEST; `bulklink plan` printed it, and run.json has it.",
        )
    operation = partial(
        queue_run,
        run,
        connection_for_run(run, options),
        expect=expect,
        resume=resume,
        accept_canary=accept_canary,
        yes=options["yes"],
        expect_org=options["expect_org"],
        profile=options["profile"],
        options=option_words(LIMIT_OPTIONS - {"yes", "wait_for_org", "expect_org", "canary"}),
        canary=options.get("canary"),
    )
    approval = run_with_progress(operation, options)[0]
    runs_dir = run.absolute().parent
    if options["as_json"]:
        print_json({"run_dir": str(run), "queued": msgspec.to_builtins(approval), "exit_code": 0})
    else:
        emails = count_of(approval.messages, "email")
        print_line(f"Approved: {approval.op} of {emails}, at position {approval.position}.")
        print_line(f"A worker sends it: {bulklink_command('work', runs_dir)}")
        print_line(f"To take it out of the queue: {bulklink_command('cancel', run)}")
    return ExitCode.OK
