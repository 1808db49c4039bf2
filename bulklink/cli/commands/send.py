"""The commands that change emails: `link`, `unlink`, `relink` and `run`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from bulklink.cli.completion import FileName
from bulklink.cli.connection import connection_from_options, connection_options
from bulklink.cli.help import Command
from bulklink.cli.options import (
    combine_options,
    common_options,
    mapping_options,
    page_options,
    plan_options,
    send_options,
    snapshot_options,
)
from bulklink.errors import UsageError

_all_options = combine_options(
    mapping_options,
    plan_options,
    snapshot_options,
    page_options,
    connection_options,
    send_options,
    common_options,
)


def _send_command(op: str, text: str) -> click.Command:
    @click.command(op, help=text, cls=Command)
    @click.argument("mapping", nargs=-1, required=True, type=FileName())
    @_all_options
    def command(mapping: tuple[str, ...], **options: Any) -> int:
        return _plan_or_run(mapping, options | {"op": op})

    return command


link = _send_command(
    "link",
    """Link the emails of MAPPING, each to its deal.

    \b
    Examples:
      bulklink link mapping.csv
      bulklink link mapping.csv --only accept=yes --on-invalid skip

    Use it for emails that are on no deal. An email on another deal fails: `bulklink relink` moves
    those. Every row is checked first, and you are asked before a live org is changed. The ledger of
    the run records the result of every row.
    """,
)
unlink = _send_command(
    "unlink",
    """Unlink the emails of MAPPING from whatever deal each is on.

    \b
    Examples:
      bulklink unlink mapping.csv --dry-run
      bulklink unlink mapping.csv

    Use it for emails that belong to no deal. They stay with their contacts. The deal of each email
    is recorded before it is changed, so that `bulklink undo` can put it back.
    """,
)
relink = _send_command(
    "relink",
    """Move the emails of MAPPING, each to the wanted deal.

    \b
    Examples:
      bulklink relink mapping.csv --dry-run
      bulklink relink mapping.csv --canary 100 --max-failures 10

    Use it for emails that are on the wrong deal: each is unlinked from whatever deal it is on and
    linked to the wanted one. Emails already on the wanted deal are left alone. If the link half is
    refused, the email is put back on its previous deal.
    """,
)


@click.command("run", cls=Command)
@click.argument("job", nargs=-1, required=True, type=FileName(), metavar="JOB.toml|MAPPING...")
@_all_options
@click.pass_context
def run(ctx: click.Context, /, job: tuple[str, ...], **options: Any) -> int:
    """Run a job file, or mappings with a column op.

    \b
    Examples:
      bulklink run job.toml --dry-run
      bulklink run job.toml
      bulklink run mixed.csv

    Use job files for jobs that run more than once, or that somebody reviews. Their keys are the
    names of these options, with _ for -, and op and mapping; the command line and the environment
    take precedence. In a mapping without a job file, the column op says link, unlink or relink for
    each row.
    """
    from bulklink.cli.job_file import apply_job_file  # noqa: PLC0415 - not for --help

    files = [name for name in job if name.lower().endswith(".toml")]
    if files and len(job) > 1:
        raise UsageError(
            "A job file cannot be combined with mappings.",
            where=files[0],
            advice="List the mappings under its key mapping.",
        )
    mappings = apply_job_file(Path(files[0]), ctx, options) if files else job
    return _plan_or_run(mappings, options)


def _plan_or_run(mappings: tuple[str, ...], options: dict[str, Any]) -> int:
    from bulklink.cli.arguments import job_from_options  # noqa: PLC0415 - not for --help
    from bulklink.cli.commands.plan import plan_and_show  # noqa: PLC0415 - not for --help
    from bulklink.cli.progress import run_with_progress  # noqa: PLC0415 - not for --help
    from bulklink.cli.run_summary import show_run  # noqa: PLC0415 - not for --help
    from bulklink.operations.plan import find_inputs  # noqa: PLC0415 - not for --help
    from bulklink.operations.run import run as run_job  # noqa: PLC0415 - not for --help

    job = job_from_options(mappings, options)
    if options["dry_run"]:
        return plan_and_show(job, options)
    _refuse_plan_options()
    find_inputs(job)  # a missing file is reported before a missing profile
    connection = connection_from_options(options)
    result, reason = run_with_progress(partial(run_job, job, connection), options)
    return show_run(result, reason, as_json=options["as_json"])


def _refuse_plan_options() -> None:
    """Refuse options on the command line that only apply to plans.

    A job file may set them too: without --dry-run they are ignored.
    """
    source_of = click.get_current_context().get_parameter_source
    for name in ("look_up_names", "compare_with"):
        if source_of(name) is ParameterSource.COMMANDLINE:
            raise UsageError(
                "This option only applies to plans, and this command sends.",
                where=f"--{name.replace('_', '-')}",
                advice="Add --dry-run, or omit the option: a run looks up missing names anyway.",
            )
