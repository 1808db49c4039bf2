"""What is in a cluster, and what each run waits for."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

import msgspec

from bulklink.cluster.database import ClusterDatabase, database_errors, describe
from bulklink.cluster.runs import ClusterRun, RunTable, needs_accept_canary
from bulklink.cluster.timing import ClusterTiming
from bulklink.cluster.workers import WorkerInfo, living_workers
from bulklink.ledger.records import timestamp

_NEEDING_PERSON = ("left", "cancelled")


class OverviewRun(msgspec.Struct, frozen=True):
    """A run of a cluster.

    Args:
        id: its id.
        name: name of its folder.
        op: its operation.
        messages: messages that it sends.
        org: name of its org, or its key.
        profile: profile that its worker needs; None for the worker's own connection.
        approved: time of its approval, RFC 3339 in UTC.
        state: running; starting, which a takeover does too; ready; waiting for credits or a
            restart; behind another run of its org; no-worker, if none has its profile; left to a
            person; cancelled; or finished.
        driver: name of the driver that has it; None without one.
        until: when it is started again, RFC 3339; None if it does not wait for a time.
        behind: name of the run of its org that goes first; None without one.
        is_held: whether that one waits for a person, or was cancelled.
        code: why it was left: an error code or a StoppedBy value; None if it was not.
        message: the same in words.
        needs_accept_canary: whether it is given back only with its failed canary accepted.
    """

    id: str
    name: str
    op: str
    messages: int
    org: str
    profile: str | None
    approved: str
    state: str
    driver: str | None = None
    until: str | None = None
    behind: str | None = None
    is_held: bool = False
    code: str | None = None
    message: str | None = None
    needs_accept_canary: bool = False


class ClusterOverview(msgspec.Struct, frozen=True):
    """A cluster.

    Args:
        database: where its database is.
        workers: the workers that are alive.
        runs: the runs, by position.
    """

    database: str
    workers: tuple[WorkerInfo, ...]
    runs: tuple[OverviewRun, ...]


def cluster_overview(
    database: ClusterDatabase, timing: ClusterTiming, org_key: str | None = None
) -> ClusterOverview:
    """Return what is in a cluster; blocks.

    Args:
        database: its database.
        timing: its times.
        org_key: key of the org whose runs are wanted; None for those of all orgs.

    Raises:
        ConfigError: if the database cannot be used.
    """
    with database_errors(database.conninfo):
        workers = living_workers(database, timing.stalled)
        runs = RunTable(database).all(org_key)
    profiles = {profile for worker in workers for profile in worker.profiles}
    return ClusterOverview(
        describe(database.conninfo), tuple(workers), tuple(_overview_runs(runs, profiles))
    )


def _overview_runs(runs: list[ClusterRun], profiles: set[str]) -> Iterator[OverviewRun]:
    first: dict[str, ClusterRun] = {}
    holding: dict[UUID, ClusterRun] = {}
    for run in runs:
        holder = holding.get(run.job) if run.job else None
        behind = holder or first.get(run.org_key)
        state = _state(run, profiles, is_behind=behind is not None)
        if _is_in_line(run) and holder is None:
            first.setdefault(run.org_key, run)
        if run.job and run.state in _NEEDING_PERSON:
            holding.setdefault(run.job, run)
        is_waiting = state == "waiting" and run.not_before is not None
        yield OverviewRun(
            id=str(run.run),
            name=run.name,
            op=run.op,
            messages=run.messages,
            org=run.org_name or run.org_key,
            profile=run.profile,
            approved=timestamp(run.approved_at),
            state=state,
            driver=run.driver if run.is_driven else None,
            until=timestamp(run.not_before) if is_waiting and run.not_before else None,
            behind=behind.name if behind and state == "behind" else None,
            is_held=behind is not None and state == "behind" and behind.state in _NEEDING_PERSON,
            code=run.left_code,
            message=run.left_message,
            needs_accept_canary=needs_accept_canary(run.left_code),
        )


def _is_in_line(run: ClusterRun) -> bool:
    return run.state in ("queued", "running") or (run.state == "left" and run.holds_org)


def _state(run: ClusterRun, profiles: set[str], *, is_behind: bool) -> str:
    if run.state == "running":
        return "running" if run.is_driven else "starting"
    if run.state != "queued":
        return run.state
    if is_behind:
        return "behind"
    if run.not_before is not None and run.not_before > run.now:
        return "waiting"
    return "ready" if run.profile is None or run.profile in profiles else "no-worker"
