"""`bulklink plan`: check a mapping and estimate its cost."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bulklink.cli.completion import FileName
from bulklink.cli.connection import (
    connection_from_options,
    connection_options,
    module_id_is_set,
)
from bulklink.cli.help import CALLS, Command
from bulklink.cli.options import (
    combine_options,
    common_options,
    credit_options,
    mapping_options,
    option,
    outage_option,
    pace_options,
    page_options,
    plan_options,
    progress_option,
    quiet_option,
    run_dir_option,
    snapshot_options,
)
from bulklink.cli.output_types import OutputFile
from bulklink.cli.param_types import Number, OneOf, WholeNumber

if TYPE_CHECKING:
    from bulklink.operations.job import Job


@click.command("plan", cls=Command)
@click.argument("mapping", nargs=-1, required=True, type=FileName())
@option("--op", type=OneOf(["link", "unlink", "relink"]), help="Operation for every row.")
@combine_options(mapping_options, plan_options, snapshot_options, pace_options, credit_options)
@run_dir_option
@option(
    "--latency",
    group=CALLS,
    type=Number(0, 60, min_open=True),
    default=0.5,
    show_default=True,
    help="Assumed seconds per call.",
)
@option(
    "--users",
    group=CALLS,
    type=WholeNumber(1, 1_000_000),
    default=1,
    show_default=True,
    help="Licensed users of the org, which raise its daily credits. With --edition.",
)
@combine_options(page_options, outage_option)
@option(
    "--rejects",
    type=OutputFile(),
    metavar="FILE",
    help="Write the refused rows to this new CSV file, which is itself a mapping.",
)
@option(
    "--shards",
    type=WholeNumber(2, 10_000),
    metavar="N",
    help="Seal a job of N plans, by contact, that `bulklink apply` sends one after another."
    " With --run-dir.",
)
@option(
    "--rows-per-shard",
    type=WholeNumber(1, 1_000_000_000),
    metavar="N",
    help="The same, with as many plans as N rows in each need. 500000 is a good size.",
)
@combine_options(connection_options, progress_option, quiet_option, common_options)
def plan(mapping: tuple[str, ...], run_dir: Path | None, **options: Any) -> int:
    """Check MAPPING and show what it will cost; nothing is sent.

    \b
    Examples:
      bulklink plan --op link mapping.csv
      bulklink plan --op link mapping.csv --look-up-names --run-dir approved
      bulklink plan --op relink mapping.csv --compare-with emails.csv

    Start every mapping with a plan: it checks every row, and shows calls, credits and time. It
    opens no connection, except with --look-up-names. With --run-dir the plan is sealed there, so
    that somebody can approve it and `bulklink apply` can send it. A mapping of many millions of
    rows can be sealed in shards. Without --op, the column op decides for each row.
    """
    from bulklink.cli.arguments import job_from_options  # noqa: PLC0415 - not for --help

    job = job_from_options(mapping, options | {"run_dir": run_dir})
    names = ("latency", "users", "rejects", "shards", "rows_per_shard")
    settings = {name: options[name] for name in names}
    return plan_and_show(job, options, **settings)


def plan_and_show(job: Job, options: Mapping[str, Any], **settings: Any) -> int:
    """Plan a job, show the plan and return the exit code."""
    from bulklink.cli.plan_summary import show_plan_result  # noqa: PLC0415 - not for --help
    from bulklink.cli.progress import in_thread, run_with_progress  # noqa: PLC0415 - not for --help
    from bulklink.operations.plan import find_inputs  # noqa: PLC0415 - not for --help
    from bulklink.operations.plan import plan as plan_job  # noqa: PLC0415 - not for --help

    find_inputs(job, options["compare_with"])  # a missing file is reported before a missing profile
    work = partial(
        plan_job,
        job,
        module_known=module_id_is_set(),
        look_up_names=connection_from_options(options) if options["look_up_names"] else None,
        compare_with=options["compare_with"],
        **settings,
    )
    result, _ = run_with_progress(in_thread(work), options)
    return show_plan_result(result, as_json=options["as_json"])
