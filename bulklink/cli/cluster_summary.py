"""A cluster for the terminal: its workers, and what each run waits for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from bulklink.cli.cluster_access import open_cluster
from bulklink.cli.console import Line, Styled, format_columns, print_json, print_line, wrap_text
from bulklink.counts import count_of
from bulklink.local_time import format_local_time
from bulklink.shell import bulklink_command

if TYPE_CHECKING:
    from bulklink.cluster.overview import ClusterOverview, OverviewRun


def show_cluster(*, as_json: bool) -> None:
    """Show the cluster of `BULKLINK_CLUSTER_URL`.

    Args:
        as_json: whether to print one JSON object.

    Raises:
        ConfigError: if its database cannot be used.
    """
    import msgspec  # noqa: PLC0415 - not for --help

    database, timing = open_cluster()
    from bulklink.cluster.overview import cluster_overview  # noqa: PLC0415 - an extra

    overview = cluster_overview(database, timing)
    if as_json:
        print_json(msgspec.to_builtins(overview))
        return
    for line in _lines(overview):
        print_line(line)


def _lines(overview: ClusterOverview) -> Iterator[Line]:
    yield f"Cluster: {overview.database}"
    if overview.workers:
        yield f"{count_of(len(overview.workers), 'worker')}:"
        rows = [
            (f"  {worker.worker}", worker.host, count_of(worker.slots, "slot"))
            for worker in overview.workers
        ]
        yield from format_columns(rows, right_aligned=())
    else:
        yield f"No worker is running: {bulklink_command('cluster', 'worker')} starts one."
    yield f"{count_of(len(overview.runs), 'run')}:" if overview.runs else "No runs."
    yield from format_columns(
        [
            (
                *(str(number), run.name, run.op, f"{run.messages:,}", run.org),
                state_text(run, has_workers=bool(overview.workers)),
            )
            for number, run in enumerate(overview.runs, 1)
        ],
        right_aligned=(0, 3),
    )
    for run in overview.runs:
        if run.state == "left" and run.message is not None:
            yield Styled(f"{run.name} is left to you ({run.code})", "red")
            yield from wrap_text(run.message, "  ")
            accept = ("--accept-canary",) if run.needs_accept_canary else ()
            yield f"  To give it back: {bulklink_command('cluster', 'resume', run.name, *accept)}"


def state_text(run: OverviewRun, *, has_workers: bool) -> str:
    """Return in words where a run stands, and what it waits for."""
    match run.state:
        case "waiting" if run.until is not None:
            return f"waits until {format_local_time(run.until)}"
        case "behind":
            return f"after {run.behind}"
        case "no-worker":
            return f"no worker has the profile {run.profile}"
        case "left":
            return "left to you"
        case "ready":
            return "waits for a slot" if has_workers else "waits for a worker"
        case state:
            return state
