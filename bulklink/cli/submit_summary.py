"""What was submitted to a cluster, how far it is while its submitter waits, and how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from bulklink.cli.cluster_summary import state_text
from bulklink.cli.console import note, print_json, print_line, warn
from bulklink.cli.worker_summary import failures_text
from bulklink.counts import count_of
from bulklink.shell import bulklink_command

if TYPE_CHECKING:
    from bulklink.cluster.database import ClusterDatabase, UnreachableDatabaseError
    from bulklink.cluster.overview import ClusterOverview, OverviewRun
    from bulklink.cluster.submitting import Submitted
    from bulklink.cluster.timing import ClusterTiming
    from bulklink.cluster.waiting import WaitResult


def show_submitted(submitted: Sequence[Submitted]) -> None:
    """Show what was submitted, and what was before."""
    for each in submitted:
        emails = count_of(sum(run.messages for run in each.runs), "email")
        verb = "Submitted" if each.is_new else "Submitted before"
        print_line(f"{verb}: {each.runs[0].op} of {emails}.")


def wait_until_ended(
    database: ClusterDatabase, timing: ClusterTiming, submitted: Sequence[Submitted]
) -> WaitResult:
    """Wait until all runs have ended, and show on standard error how far they are.

    Args:
        database: the database of the cluster.
        timing: its times.
        submitted: the runs.

    Raises:
        ConfigError: if the database cannot be used for another reason than that it is away.
    """
    from bulklink.cli.signals import run_cancellable  # noqa: PLC0415 - not for --help
    from bulklink.cluster.waiting import wait_for_runs  # noqa: PLC0415 - an extra

    runs = [run for each in submitted for run in each.runs]
    wait = partial(wait_for_runs, report=_report_state, report_away=_report_away)
    try:
        return run_cancellable(wait, database, timing, runs)
    except KeyboardInterrupt:
        note(f"The runs go on without you: {bulklink_command('status', '--cluster')}")
        raise


def _report_state(run: OverviewRun, overview: ClusterOverview) -> None:
    note(f"{run.name}: {state_text(run, has_workers=bool(overview.workers))}")


def _report_away(error: UnreachableDatabaseError) -> None:
    warn(f"{error.message} The runs are waited for until it is back.")


def show_outcome(
    submitted: Sequence[Submitted], result: WaitResult | None, *, as_json: bool
) -> None:
    """Show how the submitted runs ended, or how to see it.

    Args:
        submitted: the runs.
        result: how they ended; None if they were not waited for.
        as_json: whether to print one JSON object.
    """
    import msgspec  # noqa: PLC0415 - not for --help

    if as_json:
        entries = [
            {
                "run_dir": each.run_dir,
                "new": each.is_new,
                "runs": [{"id": str(run.run), "name": run.name} for run in each.runs],
            }
            for each in submitted
        ]
        outcome = {"exit_code": 0} if result is None else msgspec.to_builtins(result)
        print_json({"submitted": entries, **outcome})
        return
    if result is None:
        subject = "it stands" if len(submitted) == 1 else "they stand"
        print_line(f"To see where {subject}: {bulklink_command('status', '--cluster')}")
        return
    print_line(
        f"Finished {count_of(result.finished, 'run')}{failures_text(result.with_failures)};"
        f" {len(result.left):,} left to you, {len(result.cancelled):,} cancelled"
        f"{f', {len(result.held):,} behind these' if result.held else ''}."
    )
    for name in (*result.left, *result.cancelled, *result.held):
        print_line(f"  {name}")
