"""The commands that change emails: `link`, `unlink`, `relink` and `run`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from bulklink.cli.connecting import connection_from, connection_options
from bulklink.cli.options import (
    apply,
    mapping_options,
    output_options,
    plan_options,
    send_options,
    snapshot_options,
)
from bulklink.errors import UsageError

_all_options = apply(
    mapping_options,
    plan_options,
    snapshot_options,
    connection_options,
    send_options,
    output_options,
)


def _command(op: str, text: str) -> click.Command:
    @click.command(op, help=text)
    @click.argument("mapping", nargs=-1, required=True)
    @_all_options
    def command(mapping: tuple[str, ...], **options: Any) -> int:
        return _send(mapping, options | {"op": op})

    return command


link = _command(
    "link",
    """Link the emails of MAPPING, each to its deal.

    \b
    Example:
      bulklink link mapping.csv
    """,
)
unlink = _command(
    "unlink",
    """Unlink the emails of MAPPING from whatever deal each is on.

    The emails stay under their contacts.

    \b
    Example:
      bulklink unlink mapping.csv
    """,
)
relink = _command(
    "relink",
    """Take the emails of MAPPING off whatever deal each is on and link them to the wanted one.

    \b
    Example:
      bulklink relink mapping.csv
    """,
)


@click.command("run")
@click.argument("job", nargs=-1, required=True, metavar="JOB.toml|MAPPING...")
@_all_options
@click.pass_context
def run(ctx: click.Context, /, job: tuple[str, ...], **options: Any) -> int:
    """Run a job file, or mappings whose column op says what is done with each row.

    Keys of a job file are the names of these options with _, and op and mapping; what the command
    line or the environment sets goes before.

    \b
    Example:
      bulklink run job.toml
    """
    from bulklink.cli.jobs import with_job_file  # noqa: PLC0415 - not for --help

    files = [name for name in job if name.lower().endswith(".toml")]
    if files and len(job) > 1:
        raise UsageError(
            "A job file stands alone.", where=files[0], advice="Its key mapping names mappings."
        )
    mappings = with_job_file(Path(files[0]), ctx, options) if files else job
    return _send(mappings, options)


def _send(mappings: tuple[str, ...], options: dict[str, Any]) -> int:
    from bulklink.cli.jobs import job_of  # noqa: PLC0415 - not for --help
    from bulklink.cli.plan import show_plan  # noqa: PLC0415 - not for --help

    job = job_of(mappings, options)
    if options["dry_run"]:
        return show_plan(job, as_json=options["as_json"])
    return _run_job(job, options)


def _run_job(job: Any, options: dict[str, Any]) -> int:
    from bulklink.cli.watching import watched  # noqa: PLC0415 - not for --help
    from bulklink.job.running import run as run_to_end  # noqa: PLC0415 - not for --help

    connection = connection_from(options)
    return watched(
        lambda watch, stopping: run_to_end(job, connection, watch=watch, stopping=stopping),
        options,
    )
