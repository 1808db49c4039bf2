"""Runs of a cluster in the database: submitted, chosen, settled, listed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

import msgspec

from bulklink.cluster.database import ClusterDatabase
from bulklink.errors import NotConfirmedError, RunDirError, StoppedBy
from bulklink.runs.record import RunRecord, parse_record
from bulklink.worker.verdict import Kind, Verdict

_IN_LINE = """state IN ('queued', 'running', 'left') AND (state <> 'left' OR holds_org)
    AND NOT EXISTS (SELECT FROM run AS earlier WHERE earlier.job = run.job
        AND earlier.position < run.position AND earlier.state IN ('left', 'cancelled'))"""
"""Runs that are sent, or hold those behind them. A shard that was left holds the later ones."""
_FIRST = f"""
run.run = (SELECT run FROM run WHERE org_key = %(org_key)s AND {_IN_LINE} ORDER BY position LIMIT 1)
"""  # noqa: S608 - a constant
_DUE_AT_ONCE = 100
"""Orgs that a look adds to the queue at most; the next look of a worker finds the others."""
_FIRST_OF_EACH = f"""
org CROSS JOIN LATERAL (
    SELECT position, state, not_before, profile FROM run
    WHERE run.org_key = org.org_key AND {_IN_LINE}
    ORDER BY position LIMIT 1
) AS first
"""  # noqa: S608 - a constant
"""The first run of each org is found by the index, so that the rows of all runs are not sorted."""
_HAS_WORKER = """(state = 'running' OR profile IS NULL OR EXISTS (SELECT FROM worker
    WHERE seen_at > clock_timestamp() - make_interval(secs => %(stalled)s)
        AND worker.profiles ? profile))"""
_NEEDING_PERSON = f"""
SELECT name FROM run WHERE state = 'left'
UNION ALL SELECT name FROM run WHERE position IN (
    SELECT position FROM {_FIRST_OF_EACH} WHERE state = 'queued' AND NOT {_HAS_WORKER})
"""  # noqa: S608 - constants
_DUE_ORGS = f"""
SELECT org_key, profile FROM {_FIRST_OF_EACH}
WHERE state <> 'left' AND (until IS NULL OR until < clock_timestamp())
    AND (not_before IS NULL OR not_before <= clock_timestamp())
    AND (profile IS NULL OR profile = ANY (%(profiles)s))
    AND org_key NOT IN (SELECT lock FROM procrastinate_jobs
                        WHERE status IN ('todo', 'doing') AND lock IS NOT NULL)
ORDER BY position LIMIT %(orgs)s
"""  # noqa: S608 - a constant
"""Orgs in the queue are found once, for a hash, however many they are. A second job of an org would
be passed over by every fetch until the first one is done.
"""


_DELETE_ENDED = """
DELETE FROM run WHERE state = 'finished'
    AND coalesce(ended_at, approved_at) < clock_timestamp() - make_interval(secs => %(seconds)s)
    AND NOT EXISTS (SELECT FROM run AS other WHERE other.job = run.job
        AND (other.state <> 'finished'
            OR other.ended_at >= clock_timestamp() - make_interval(secs => %(seconds)s)))
RETURNING 1
"""
"""A refused shard was never started, and has no end."""
_COLUMNS = """
    run.run, position, name, run.org_key, job, shard, digest, op, messages, org_id, org_name,
    profile, options, accept_canary, state, run.driver, deaths, left_code, left_message, holds_org,
    cancel, extract(epoch FROM approved_at)::float8 AS approved_at,
    extract(epoch FROM not_before)::float8 AS not_before,
    extract(epoch FROM run.started_at)::float8 AS started_at,
    coalesce(org.until > clock_timestamp() AND org.run = run.run, false) AS is_driven,
    extract(epoch FROM org.until)::float8 AS lease_until,
    extract(epoch FROM clock_timestamp())::float8 AS now
"""


_CANARY_CODES = (StoppedBy.CANARY, NotConfirmedError.code)
"""Codes of runs whose canary did not pass: when it was sent, and when a driver was refused."""


class ClusterRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run of a cluster. Times are by the clock of the database, seconds since 1970.

    Args:
        run: its id.
        position: position in the queue; lower ones of the same org are sent first.
        name: name of its folder.
        org_key: key of its org.
        job: id of its job; None for a run of its own.
        shard: number of the shard; None for a run of its own.
        digest: digest of the plan that was approved.
        op: its operation.
        messages: messages that it sends.
        org_id: id of its org; None for a CRM on the machine that submitted it.
        org_name: name of its org.
        profile: profile that its worker needs; None for the worker's own connection.
        options: words of the command line that set options of sending.
        accept_canary: whether to continue after a failed canary.
        state: queued, running, left (to a person), finished or cancelled.
        driver: name of the driver that has it, or had it last.
        deaths: drivers that died since the last one that did not.
        left_code: why it was left to a person: an error code or a StoppedBy value.
        left_message: the same in words.
        holds_org: whether later runs of the org wait until a person has acted.
        cancel: whether it is to be stopped.
        approved_at: time of its approval.
        not_before: time before which it is not started; None for none.
        started_at: time of its last start; None if it was never started.
        is_driven: whether its driver has the lease of the org.
        lease_until: end of the lease of the org, whoever has it; None without one.
        now: time of this look.
    """

    run: UUID
    position: int
    name: str
    org_key: str
    job: UUID | None
    shard: int | None
    digest: str
    op: str
    messages: int
    org_id: str | None
    org_name: str | None
    profile: str | None
    options: list[str]
    accept_canary: bool
    state: str
    driver: str | None
    deaths: int
    left_code: str | None
    left_message: str | None
    holds_org: bool
    cancel: bool
    approved_at: float
    not_before: float | None
    started_at: float | None
    is_driven: bool
    lease_until: float | None
    now: float

    @property
    def is_lease_free(self) -> bool:
        """Whether nobody has the lease of its org."""
        return self.lease_until is None or self.lease_until < self.now


class NewRun(msgspec.Struct, frozen=True, kw_only=True):
    """A run to be submitted; see `ClusterRun`.

    Args:
        run: its id.
        name: name of its folder.
        org_key: key of its org.
        job: id of its job.
        shard: number of the shard.
        request: idempotency key: with the same one, the same plan is submitted once.
        digest: digest of its plan.
        op: its operation.
        messages: messages that it sends.
        org_id: id of its org.
        org_name: name of its org.
        profile: profile that its worker needs.
        options: words of the command line.
        approved_by: who approved it.
        state: queued; finished for a shard that was refused before, and is sent by nobody.
        record: content of `run.json`.
    """

    run: UUID
    name: str
    org_key: str
    job: UUID | None
    shard: int | None
    request: str
    digest: str
    op: str
    messages: int
    org_id: str | None
    org_name: str | None
    profile: str | None
    options: Sequence[str]
    approved_by: str
    record: bytes
    state: str = "queued"


def needs_accept_canary(left_code: str | None) -> bool:
    """Return whether a run is given back only with its failed canary accepted.

    Args:
        left_code: why it was left.
    """
    return left_code in _CANARY_CODES


def gone_error(what: UUID) -> RunDirError:
    """Return the error that a run or a job is not in the database any more."""
    return RunDirError(
        "It is not in the cluster any more.",
        where=str(what),
        advice="Somebody has removed it, as `bulklink cluster forget` does.",
    )


class RunTable:
    """The runs of a cluster.

    Args:
        database: the database, also as an attribute.
    """

    def __init__(self, database: ClusterDatabase) -> None:
        self.database = database

    def find_submitted(self, org_key: str, digest: str, request: str) -> ClusterRun | None:
        """Return the run that was submitted with an idempotency key; None if there is none."""
        return self._find(
            "run.org_key = %(org_key)s AND digest = %(digest)s AND request = %(request)s",
            {"org_key": org_key, "digest": digest, "request": request},
        )

    def add_org(self, org_key: str) -> None:
        """Add an org, if it is not known yet."""
        self.database.query(
            "INSERT INTO org (org_key) VALUES (%(org_key)s) ON CONFLICT DO NOTHING",
            {"org_key": org_key},
        )

    def add(self, new: NewRun) -> None:
        """Add a run, within a transaction that adds its files too."""
        values = msgspec.structs.asdict(new)
        values["options"] = msgspec.json.encode(new.options).decode()
        names = ", ".join(values)
        places = ", ".join(
            "%(options)s::jsonb" if name == "options" else f"%({name})s" for name in values
        )
        self.database.query(f"INSERT INTO run ({names}) VALUES ({places})", values)  # noqa: S608

    def first_of(self, org_key: str) -> ClusterRun | None:
        """Return the run of an org that goes first; None if none is left but to a person."""
        return self._find(_FIRST, {"org_key": org_key})

    def read(self, run: UUID) -> ClusterRun:
        """Return a run.

        Raises:
            RunDirError: if it is not in the database any more.
        """
        found = self._find("run.run = %(run)s", {"run": run})
        if found is None:
            raise gone_error(run)
        return found

    def assign(self, run: UUID, driver: str) -> bool:
        """Give a queued run to a driver, unless its org has one; return whether that worked."""
        row = self.database.query_one(
            "UPDATE run SET state = 'running', driver = %(driver)s, not_before = NULL,"
            " started_at = clock_timestamp()"
            " WHERE run = %(run)s AND (state = 'queued' AND NOT EXISTS (SELECT FROM org"
            "  WHERE org.org_key = run.org_key AND until > clock_timestamp())"
            "  OR state = 'running' AND driver = %(driver)s)"  # the first answer was lost
            " RETURNING 1",
            {"run": run, "driver": driver},
        )
        return row is not None

    def settle(self, run: ClusterRun, verdict: Verdict, *, is_repeated: bool = False) -> bool:
        """Record what is to be done with a run that its driver does not drive any more.

        Args:
            run: the run, as its driver had it.
            verdict: what is to be done; times in it are relative or of the database.
            is_repeated: whether the answer was lost when it was recorded before, or not.

        Returns:
            Whether it was recorded: another driver may have the run already.
        """
        left = verdict.left
        state = {Kind.DONE: "finished", Kind.START: "queued", Kind.LEFT: "left"}[verdict.kind]
        row = self.database.query_one(
            """
            UPDATE run SET
                state = CASE WHEN cancel AND %(state)s <> 'finished' THEN 'cancelled'
                    ELSE %(state)s END,
                deaths = %(deaths)s,
                left_code = CASE WHEN cancel THEN NULL ELSE %(code)s END,
                left_message = CASE WHEN cancel THEN NULL ELSE %(message)s END,
                holds_org = %(holds_org)s AND NOT cancel,
                not_before = greatest(
                    clock_timestamp() + make_interval(secs => %(after)s), to_timestamp(%(until)s)),
                ended_at = CASE WHEN %(state)s = 'finished' THEN clock_timestamp() END
            WHERE run = %(run)s AND driver = %(driver)s AND (state = 'running'
                OR %(is_repeated)s AND state IN (%(state)s, 'cancelled'))
            RETURNING 1
            """,
            {
                "run": run.run,
                "driver": run.driver,
                "state": state,
                "is_repeated": is_repeated,
                "deaths": verdict.deaths,
                "code": left.code if left else None,
                "message": left.message if left else None,
                "holds_org": left is not None and left.holds_org,
                "after": verdict.after,
                "until": verdict.until,
            },
        )
        return row is not None

    def due_orgs(self, profiles: Sequence[str]) -> list[tuple[str, str | None]]:
        """Return orgs whose first run can be started now, with its profile; the first in line.

        Orgs that are in the queue already, or driven from it, are left out.

        Args:
            profiles: profiles that a worker has; runs without one count too.
        """
        return self.database.query(_DUE_ORGS, {"profiles": list(profiles), "orgs": _DUE_AT_ONCE})

    def lease_seconds(self, drivers: Sequence[str]) -> dict[str, float]:
        """Return the seconds until the leases of drivers end; nothing for those without one."""
        return dict(
            self.database.query(
                "SELECT driver, extract(epoch FROM until - clock_timestamp())::float8 FROM org"
                " WHERE driver = ANY (%(drivers)s) AND until IS NOT NULL",
                {"drivers": list(drivers)},
            )
        )

    def has_active(self, stalled: float) -> bool:
        """Return whether a run can be sent, or is being sent, without a person.

        Args:
            stalled: silence in seconds after which a worker, with its profiles, counts as lost.
        """
        row = self.database.query_one(
            f"SELECT 1 FROM {_FIRST_OF_EACH} WHERE state <> 'left' AND {_HAS_WORKER} LIMIT 1",  # noqa: S608
            {"stalled": stalled},
        )
        return row is not None

    def needing_person(self, stalled: float) -> list[str]:
        """Return the names of the runs that nobody sends before a person has acted.

        They were left, or no worker has their profile.

        Args:
            stalled: silence in seconds after which a worker, with its profiles, counts as lost.
        """
        rows = self.database.query(_NEEDING_PERSON, {"stalled": stalled})
        return [name for (name,) in rows]

    def read_record(self, run: UUID) -> RunRecord:
        """Return `run.json` of a run.

        Raises:
            RunDirError: if the run is gone, or its record is damaged.
        """
        row = self.database.query_one("SELECT record FROM run WHERE run = %(run)s", {"run": run})
        if row is None:
            raise gone_error(run)
        return parse_record(row[0], str(run))

    def cancel(self, run: UUID) -> str:
        """Stop a run, or take it out of the queue; return its state after that.

        A waiting job of its org goes too: it may be for a profile that the next run does not need.
        """
        ((state,),) = self.database.query(
            "UPDATE run SET cancel = true,"
            " left_code = CASE WHEN state <> 'running' THEN NULL ELSE left_code END,"
            " left_message = CASE WHEN state <> 'running' THEN NULL ELSE left_message END,"
            " state = CASE state WHEN 'queued' THEN 'cancelled' WHEN 'left' THEN 'cancelled'"
            " ELSE state END WHERE run = %(run)s RETURNING state",
            {"run": run},
        )
        self.database.query(
            "DELETE FROM procrastinate_jobs USING run"
            " WHERE run = %(run)s AND lock = org_key AND status = 'todo'",
            {"run": run},
        )
        return str(state)

    def skip_epochs(self, run: UUID) -> None:
        """Let the next epoch of the run's org be greater than any that a machine has seen."""
        self.database.query(
            "UPDATE org SET epoch = greatest(epoch, extract(epoch FROM clock_timestamp())::bigint)"
            " FROM run WHERE run.run = %(run)s AND run.org_key = org.org_key",
            {"run": run},
        )

    def give_back(self, run: UUID, *, accept_canary: bool) -> bool:
        """Queue a run again that was left to a person, or was cancelled."""
        row = self.database.query_one(
            "UPDATE run SET state = 'queued', cancel = false, deaths = 0, left_code = NULL,"
            " left_message = NULL, holds_org = false, not_before = NULL, driver = NULL,"
            " accept_canary = %(accept_canary)s"
            " WHERE run = %(run)s AND state IN ('left', 'cancelled') RETURNING 1",
            {"run": run, "accept_canary": accept_canary},
        )
        return row is not None

    def find(self, name: str) -> list[ClusterRun]:
        """Return the runs with a name or an id, or of a job with it, by position."""
        condition = "run.name = %(name)s OR job IN (SELECT job FROM job WHERE name = %(name)s)"
        identifier = None
        with suppress(ValueError):
            identifier = UUID(name)
            condition = f"run.run = %(id)s OR job = %(id)s OR {condition}"
        return self._select(f"{condition} ORDER BY position", {"name": name, "id": identifier})

    def all(self, org_key: str | None = None) -> list[ClusterRun]:
        """Return all runs, or those of an org, by position."""
        condition = "true" if org_key is None else "run.org_key = %(org_key)s"
        return self._select(f"{condition} ORDER BY position", {"org_key": org_key})

    def delete(self, run: UUID) -> None:
        """Delete a run with its files and its ledger."""
        self.database.query("DELETE FROM run WHERE run = %(run)s", {"run": run})
        self._delete_empty_jobs()

    def delete_ended(self, days: float) -> int:
        """Delete the runs and the jobs as a whole that finished some days ago; return how many."""
        deleted = self.database.query(_DELETE_ENDED, {"seconds": days * 86_400.0})
        self._delete_empty_jobs()
        return len(deleted)

    def _delete_empty_jobs(self) -> None:
        self.database.query(
            "DELETE FROM job WHERE NOT EXISTS (SELECT FROM run WHERE run.job = job.job)"
        )

    def _find(self, condition: str, values: dict[str, Any]) -> ClusterRun | None:
        found = self._select(condition, values)
        return found[0] if found else None

    def _select(self, condition: str, values: dict[str, Any]) -> list[ClusterRun]:
        rows = self.database.query(
            f"SELECT {_COLUMNS} FROM run JOIN org USING (org_key) WHERE {condition}",  # noqa: S608
            values,
        )
        names = msgspec.structs.fields(ClusterRun)
        return [
            ClusterRun(**dict(zip((field.name for field in names), row, strict=True)))
            for row in rows
        ]
