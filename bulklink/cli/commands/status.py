"""`bulklink status`: the state of runs."""

from __future__ import annotations

from pathlib import Path

import click

from bulklink.cli.completion import RunPath
from bulklink.cli.help import Command
from bulklink.cli.options import common_options, option, runs_dir_option
from bulklink.errors import ExitCode, LedgerError, UsageError


@click.command("status", cls=Command)
@click.argument("run", required=False, type=RunPath())
@option(
    "--check",
    is_flag=True,
    help="Recompute the hashes of plan and ledger and the row counts. Exit code 1 if any differs.",
)
@click.option(
    "--cluster",
    is_flag=True,
    help="Show the runs of the cluster of BULKLINK_CLUSTER_URL, and its workers.",
)
@runs_dir_option
@common_options
def status(run: Path | None, runs_dir: Path, *, check: bool, cluster: bool, as_json: bool) -> int:
    """Show the state of RUN, of all runs, or of a cluster.

    \b
    Examples:
      bulklink status
      bulklink status runs
      bulklink status runs/20261122T101500Z-link-3f2a --check
      bulklink status --cluster

    The command works while a run is active, after it stopped and after it was killed. --check
    proves that the plan is unchanged since it was sealed and the ledger since the run last ended,
    that the results match the rows of the plan and add up, and that the mapping, if it still
    exists, is the one that was read.
    """
    if cluster:
        return _show_cluster(run, check=check, as_json=as_json)
    from bulklink.cli.callbacks import WarningDisplay  # noqa: PLC0415 - not for --help
    from bulklink.cli.queue_summary import show_queue  # noqa: PLC0415 - not for --help
    from bulklink.cli.run_summary import show_run, show_runs  # noqa: PLC0415 - not for --help
    from bulklink.operations.statuses import statuses  # noqa: PLC0415 - not for --help
    from bulklink.runs.queue import RunQueue, is_runs_folder  # noqa: PLC0415 - not for --help
    from bulklink.runs.status import status  # noqa: PLC0415 - not for --help

    callbacks = WarningDisplay()
    if run is not None and is_runs_folder(run):
        runs_dir, run = run, None
    if run is None:
        results = statuses(runs_dir, callbacks=callbacks)
    else:
        try:
            results = [status(run, check_ledger=True)]
        except LedgerError as error:
            results = [status(run)]  # unless a line is damaged
            callbacks.on_warning(f"{error.where}: {error.message}")
    check_results = []
    if check:
        from bulklink.operations.check import check_run  # noqa: PLC0415 - only with --check

        checked = [shard for result in results for shard in (result.shards or (result,))]
        check_results = [check_run(result.run_dir) for result in checked]
        results = checked if run is None else results
    if run is None:
        queue = None
        if RunQueue.exists_in(runs_dir):
            from bulklink.worker.overview import overview  # noqa: PLC0415 - only with a queue

            queue = overview(runs_dir)
        show_runs(results, as_json=as_json, check_results=check_results, queue=queue)
        if queue is not None and not as_json:
            show_queue(queue, runs_dir)
    else:
        show_run(results[0], None, as_json=as_json, check_results=check_results)
    all_ok = all(check_result.ok for check_result in check_results)
    return ExitCode.OK if all_ok else ExitCode.ROWS_NOT_DONE


def _show_cluster(run: Path | None, *, check: bool, as_json: bool) -> int:
    if run is not None or check:
        raise UsageError(
            "A cluster is shown as a whole.",
            where="--cluster",
            advice="Leave out RUN and --check; `bulklink cluster pull` writes the folder of a run.",
        )
    from bulklink.cli.cluster_summary import show_cluster  # noqa: PLC0415 - not for --help

    show_cluster(as_json=as_json)
    return ExitCode.OK
