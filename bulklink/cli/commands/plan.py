"""`bulklink plan`: check a mapping and say what it will cost."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from bulklink.cli.completion import FileName
from bulklink.cli.options import (
    apply,
    credit_options,
    mapping_options,
    option,
    output_options,
    pace_options,
    plan_options,
    progress_option,
    quiet_option,
    run_dir_option,
    snapshot_options,
)
from bulklink.cli.param_types import Number, OneOf, Whole
from bulklink.errors import ExitCode


@click.command("plan")
@click.argument("mapping", nargs=-1, required=True, type=FileName())
@option("--op", type=OneOf(["link", "unlink", "relink"]), help="What is done with each row.")
@apply(mapping_options, plan_options, snapshot_options, pace_options, credit_options)
@run_dir_option
@option(
    "--latency",
    type=Number(0, 60, min_open=True),
    default=0.5,
    show_default=True,
    help="Seconds that a call is assumed to take.",
)
@option(
    "--users",
    type=Whole(1, 1_000_000),
    default=1,
    show_default=True,
    help="Licensed users of the org, who add to its credits a day; with --edition.",
)
@option(
    "--compare-with",
    type=FileName(),
    metavar="FILE",
    help="Emails that bulklink fetch wrote, in any format: tell what the mapping would change.",
)
@apply(progress_option, quiet_option, output_options)
def plan(mapping: tuple[str, ...], run_dir: Path | None, **options: Any) -> int:
    """Check MAPPING and say what it will cost; nothing is sent.

    The first thing to do with a mapping: every row is checked, and calls, credits and time are
    told. No connection is opened. With --run-dir the plan is sealed there, for somebody to approve
    and for `bulklink apply` to send. Without --op the column op of each row decides.

    \b
    Examples:
      bulklink plan --op link mapping.csv
      bulklink plan --op link mapping.csv --run-dir approved
      bulklink plan --op relink mapping.csv --compare-with emails.csv
    """
    from bulklink.cli.arguments import job_of  # noqa: PLC0415 - not for --help

    job = job_of(mapping, options | {"run_dir": run_dir})
    settings = {name: options[name] for name in ("latency", "users", "compare_with")}
    return show_plan(job, options, **settings)


def show_plan(job: Any, options: Mapping[str, Any], **settings: Any) -> int:
    """Plan a job, show what it will cost and return the exit code."""
    from bulklink.cli.plan_summary import show_plan_report  # noqa: PLC0415 - not for --help
    from bulklink.cli.progress import planned  # noqa: PLC0415 - not for --help
    from bulklink.operations.plan import plan as plan_job  # noqa: PLC0415 - not for --help

    known = bool(os.environ.get("BULKLINK_DEALS_MODULE_ID", "").strip())
    report = planned(
        lambda watch, stop: plan_job(
            job, module_known=known, warn=watch.warn, stop=stop, **settings
        ),
        options,
    )
    show_plan_report(report, as_json=options["as_json"])
    return ExitCode.ROWS_NOT_DONE if report.rejected else ExitCode.OK
