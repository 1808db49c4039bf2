"""`bulklink apply`, `resume` and `retry`: send what a run folder holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bulklink.cli.completion import RunPath
from bulklink.cli.connection import connection_from, connection_options
from bulklink.cli.options import (
    apply,
    canary_option,
    limit_options,
    option,
    output_options,
    watch_options,
)

_options = apply(connection_options, limit_options, watch_options, output_options)
_run = click.argument("run", type=RunPath())


@click.command("apply")
@_run
@option("--expect", metavar="DIGEST", help="Refuse a plan with another digest than this.")
@canary_option
@_options
def apply_plan(run: Path, expect: str | None, **options: Any) -> int:
    """Send exactly the plan that `bulklink plan --run-dir` sealed.

    For changes that somebody approves first: RUN is the folder of the plan, sent long after and on
    another machine if need be. --expect refuses any other plan than the one with the digest that
    `bulklink plan` printed.

    \b
    Examples:
      bulklink apply approved
      bulklink apply approved --expect DIGEST
    """
    from functools import partial  # noqa: PLC0415 - not for --help

    from bulklink.operations.resume import apply as send_plan  # noqa: PLC0415 - not for --help

    return _go_on(partial(send_plan, expect=expect), run, options)


@click.command("resume")
@_run
@_options
def resume(run: Path, **options: Any) -> int:
    """Go on with RUN after it stopped, was killed or lost power.

    What is known to be done is not sent again; what was in flight is read back first. It needs
    neither the mapping nor the same machine. A finished run is left as it is.

    \b
    Example:
      bulklink resume runs/20261122T101500Z-link-3f2a
    """
    from bulklink.operations.resume import resume as go_on  # noqa: PLC0415 - not for --help

    return _go_on(go_on, run, options)


@click.command("retry")
@_run
@option("--code", metavar="CODE", help="Send again only rows with this code.")
@_options
def retry(run: Path, code: str | None, **options: Any) -> int:
    """Send again what failed or is in doubt in RUN.

    For a run whose cause of failure is mended, such as a missing permission. What is left to do is
    sent too.

    \b
    Examples:
      bulklink retry runs/20261122T101500Z-link-3f2a
      bulklink retry runs/20261122T101500Z-link-3f2a --code NOT_ALLOWED
    """
    from functools import partial  # noqa: PLC0415 - not for --help

    from bulklink.operations.resume import retry as send_again  # noqa: PLC0415 - not for --help

    return _go_on(partial(send_again, code=code), run, options)


def _go_on(work: Any, run: Path, options: dict[str, Any]) -> int:
    from bulklink.cli.arguments import limits_of  # noqa: PLC0415 - not for --help
    from bulklink.cli.progress import watched  # noqa: PLC0415 - not for --help

    connection = connection_from(options)
    limits = limits_of(options)
    return watched(
        lambda watch, stopping: work(run, connection, watch=watch, stopping=stopping, **limits),
        options,
    )
