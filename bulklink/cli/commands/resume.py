"""`bulklink apply`, `resume` and `retry`: send the emails of a run folder."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from bulklink.cli.completion import RunPath
from bulklink.cli.connection import connection_for_run, connection_options
from bulklink.cli.help import Command
from bulklink.cli.options import (
    canary_option,
    combine_options,
    common_options,
    display_options,
    limit_options,
    option,
)

_resume_options = combine_options(
    connection_options, limit_options, display_options, common_options
)
_accept_canary_option = option(
    "--accept-canary",
    is_flag=True,
    help="Continue a run whose canary did not pass, without another canary.",
)
_run_argument = click.argument("run", type=RunPath())


@click.command("apply", cls=Command)
@_run_argument
@option("--expect", metavar="DIGEST", help="Refuse the plan unless it has this digest.")
@canary_option
@_resume_options
def apply_plan(run: Path, expect: str | None, **options: Any) -> int:
    """Send exactly the plan that `bulklink plan --run-dir` sealed.

    \b
    Examples:
      bulklink apply approved
      bulklink apply approved --expect DIGEST

    Use it for changes that somebody approves first. RUN is the folder of the plan; you can send it
    much later, and on another machine. --expect refuses any plan but the one with the digest that
    `bulklink plan` printed; the digest is computed from the plan before anything is sent. Options
    default to those that the plan was sealed with.
    """
    from bulklink.operations.resume import apply as apply_to_run  # noqa: PLC0415 - not for --help

    defaults = _profile_defaults(run, options)
    return _continue_run(partial(apply_to_run, expect=expect, **defaults), run, options)


def _profile_defaults(run: Path, options: dict[str, Any]) -> dict[str, Any]:
    """Return the profile's options that the plan does not set."""
    from bulklink.cli.arguments import (  # noqa: PLC0415 - not for --help
        limit_arguments,
        profile_options,
    )
    from bulklink.operations.resume import unset_options  # noqa: PLC0415 - not for --help

    limits = limit_arguments(profile_options(options))
    unset = unset_options(run) if limits else ()
    return {name: value for name, value in limits.items() if name in unset}


@click.command("resume", cls=Command)
@_run_argument
@_accept_canary_option
@_resume_options
def resume(run: Path, *, accept_canary: bool, **options: Any) -> int:
    """Continue RUN after it stopped, was killed or lost power.

    \b
    Example:
      bulklink resume runs/20261122T101500Z-link-3f2a

    Finished emails are not sent again, and calls that were in flight are read back first. You need
    neither the mapping nor the same machine. Options default to those of the run; the defaults
    shown below are those of a new run. A finished run is left unchanged. A run that its canary
    stopped continues only with --accept-canary.
    """
    from bulklink.operations.resume import resume as resume_run  # noqa: PLC0415 - not for --help

    return _continue_run(partial(resume_run, accept_canary=accept_canary), run, options)


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
