"""`bulklink apply`, `resume` and `retry`: send what a run folder holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bulklink.cli.connecting import connection_from, connection_options
from bulklink.cli.options import (
    apply,
    canary_option,
    limit_options,
    option,
    output_options,
    watch_options,
)

_options = apply(connection_options, limit_options, watch_options, output_options)
_run = click.argument("run", type=click.Path(path_type=Path))


@click.command("apply")
@_run
@option("--expect", metavar="DIGEST", help="Refuse a plan with another digest than this.")
@canary_option
@_options
def apply_plan(run: Path, expect: str | None, **options: Any) -> int:
    """Send exactly the plan that `bulklink plan --run-dir RUN` sealed.

    Long after, and on another machine if need be: the folder holds all that it takes.

    \b
    Example:
      bulklink apply approved --expect 9f86d081884c7d65…
    """
    from functools import partial  # noqa: PLC0415 - not for --help

    from bulklink.job.resuming import apply as send_plan  # noqa: PLC0415 - not for --help

    return _go_on(partial(send_plan, expect=expect), run, options)


@click.command("resume")
@_run
@_options
def resume(run: Path, **options: Any) -> int:
    """Go on with RUN after it stopped. What is known to be done is not sent again.

    What was in flight when it stopped is read back first. A finished run is left as it is.

    \b
    Example:
      bulklink resume runs/20261122T101500Z-link-3f2a
    """
    from bulklink.job.resuming import resume as go_on  # noqa: PLC0415 - not for --help

    return _go_on(go_on, run, options)


@click.command("retry")
@_run
@option("--code", help="Send again only rows with this code.")
@_options
def retry(run: Path, code: str | None, **options: Any) -> int:
    """Send again what ended as failed or in doubt in RUN, and what is left to do.

    \b
    Example:
      bulklink retry runs/20261122T101500Z-link-3f2a --code NOT_ALLOWED
    """
    from functools import partial  # noqa: PLC0415 - not for --help

    from bulklink.job.resuming import retry as send_again  # noqa: PLC0415 - not for --help

    return _go_on(partial(send_again, code=code), run, options)


def _go_on(work: Any, run: Path, options: dict[str, Any]) -> int:
    from bulklink.cli.jobs import limits_of  # noqa: PLC0415 - not for --help
    from bulklink.cli.watching import watched  # noqa: PLC0415 - not for --help
    from bulklink.runs.folder import RunFolder  # noqa: PLC0415 - not for --help

    connection = connection_from(options)
    limits = limits_of(options)
    return watched(
        lambda watch, stopping: work(
            RunFolder(run), limits, connection, watch=watch, stopping=stopping
        ),
        options,
    )
