"""Workers of a cluster in the database: which are there, and what they can drive."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bulklink.cluster.database import ClusterDatabase

_SEEN = """
INSERT INTO worker (worker, host, slots, profiles)
VALUES (%(worker)s, %(host)s, %(slots)s, %(profiles)s::jsonb)
ON CONFLICT (worker) DO UPDATE SET seen_at = clock_timestamp(), profiles = excluded.profiles
"""
_ALIVE = """
SELECT worker, host, slots, profiles, extract(epoch FROM started_at)::float8 FROM worker
WHERE seen_at > clock_timestamp() - make_interval(secs => %(stalled)s) ORDER BY started_at
"""
_DROP = """
DELETE FROM worker WHERE worker = %(worker)s
    OR seen_at < clock_timestamp() - make_interval(secs => 10 * %(stalled)s)
"""


class WorkerInfo(msgspec.Struct, frozen=True):
    """A worker that was seen a short time ago.

    Args:
        worker: its name.
        host: name of its machine.
        slots: runs that it sends at the same time.
        profiles: profiles that it has.
        started_at: time of its start by the clock of the database, seconds since 1970.
    """

    worker: str
    host: str
    slots: int
    profiles: list[str]
    started_at: float


def mark_seen(
    database: ClusterDatabase, worker: str, *, host: str, slots: int, profiles: Sequence[str]
) -> None:
    """Record that a worker is alive; see `WorkerInfo` for the arguments."""
    values = {"worker": worker, "host": host, "slots": slots}
    database.query(_SEEN, values | {"profiles": msgspec.json.encode(list(profiles)).decode()})


def forget_worker(database: ClusterDatabase, worker: str, stalled: float) -> None:
    """Record that a worker has ended, and drop those that were silent for long."""
    database.query(_DROP, {"worker": worker, "stalled": stalled})


def living_workers(database: ClusterDatabase, stalled: float) -> list[WorkerInfo]:
    """Return the workers that were seen within some seconds."""
    return [WorkerInfo(*row) for row in database.query(_ALIVE, {"stalled": stalled})]
