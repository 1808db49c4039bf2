"""What a look at the queue of a cluster costs with 10,000 orgs: fetches, and the orgs that are due.

procrastinate gives a worker the first job whose lock is free; what it must pass over depends on the
jobs that cannot be given out, so each such state is measured. So are bulklink's own statements that
find the orgs whose first run can be started, and that run. The script fails if one takes the
server more than 50 ms of CPU time, which other programs lengthen less than the time until the
answer. The database is a PostgreSQL server of its own, in a temporary folder.

    python benchmarks/cluster_queue.py [--orgs 10000] [--write]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import procrastinate
from tables import put_table, table

from bulklink.cluster.database import ClusterDatabase, conninfo_from
from bulklink.cluster.queue import ProcrastinateQueue
from bulklink.cluster.runs import RunTable
from bulklink.cluster.schema import initialize
from bulklink.cluster.timing import ClusterTiming
from tests.cluster.postgres import PostgresServer, serve_postgres

assert sys.platform != "win32", "Windows does not report the CPU time of other processes"

MAX_SECONDS = 0.05
"""Maximum CPU time of the server that a fetch, or a look for orgs that are due, may take."""
ROUNDS = 10
_ADDERS = 4
_OTHER_PROFILE = "other"
_DOING = """
UPDATE procrastinate_jobs SET status = 'doing', worker_id = %(worker)s WHERE status = 'todo'
"""
_ADD_RUNS = """
WITH added AS (
    INSERT INTO org (org_key)
    SELECT 'https://www.zohoapis.eu ' || n FROM generate_series(0, %(orgs)s - 1) AS n
    RETURNING org_key
)
INSERT INTO run (run, name, org_key, request, digest, op, messages, options, approved_by, record,
                 profile, not_before)
SELECT gen_random_uuid(), 'run-' || n, org_key, 'r', n::text, 'link', 1000, '[]', 'bench',
    decode(repeat('00', 1500), 'hex'), %(profile)s,
    clock_timestamp() + make_interval(secs => %(waits)s)
FROM generate_series(1, %(runs)s) AS n, added ORDER BY n, random()
"""


def _key(org: int) -> str:
    return f"https://www.zohoapis.eu {org}"


class Cost(NamedTuple):
    """How long something takes.

    Args:
        what: what was done.
        state: what is in the tables.
        cpu: CPU seconds of the server, mean of the rounds.
        times: seconds of each round.
    """

    what: str
    state: str
    cpu: float
    times: list[float]

    def row(self) -> list[str]:
        """Return its line of the table."""
        times = f"{statistics.median(self.times) * 1e3:.1f} ms", f"{max(self.times) * 1e3:.0f} ms"
        return [self.what, self.state, f"{self.cpu * 1e3:.1f} ms", *times]


async def measure_rounds(
    what: str, state: str, function: Callable[[], Awaitable[object]], server: PostgresServer
) -> Cost:
    """Return what some rounds of a function cost."""
    times: list[float] = []
    await function()  # its statement is prepared
    cpu = server_cpu(server)
    for _ in range(ROUNDS):
        started = time.perf_counter()
        await function()
        times.append(time.perf_counter() - started)
    cost = Cost(what, state, (server_cpu(server) - cpu) / ROUNDS, times)
    print(*cost.row(), sep="  ", flush=True)
    return cost


def server_cpu(server: PostgresServer) -> float:
    """Return the CPU seconds of the processes of a server that are running."""
    postmaster = (server.data / "postmaster.pid").read_text().split()[0]
    children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    return sum(map(_cpu, children))


def _cpu(pid: str) -> float:
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9
    except (FileNotFoundError, ProcessLookupError):
        return 0.0


class Jobs:
    """Jobs in the queue of a new database.

    Args:
        server: the server of the database.
    """

    def __init__(self, server: PostgresServer) -> None:
        conninfo = conninfo_from({"BULKLINK_CLUSTER_URL": server.create_database()})
        initialize(conninfo, ClusterTiming())
        self.server = server
        self.database = ClusterDatabase(conninfo)
        self.queue = ProcrastinateQueue(conninfo, ClusterTiming())
        connector = procrastinate.PsycopgConnector(conninfo=conninfo, min_size=1, max_size=1)
        self.worker = procrastinate.App(connector=connector)

    async def add(self, first: int, count: int, profile: str | None = None) -> None:
        """Queue a job for each of some orgs."""
        orgs = iter(range(first, first + count))

        async def add_some() -> None:
            for org in orgs:
                await self.queue.add(_key(org), profile)

        await asyncio.gather(*(add_some() for _ in range(_ADDERS)))

    def vacuum(self) -> None:
        """Let the server count rows and remove old ones, as it does by itself within a minute."""
        self.database.run_script("VACUUM ANALYZE")


async def measure_fetches(server: PostgresServer, orgs: int) -> list[Cost]:
    """Return what fetches cost: those that succeed, and those that find nothing."""
    jobs = Jobs(server)
    costs: list[Cost] = []
    async with jobs.queue, jobs.worker.open_async():
        manager = jobs.worker.job_manager
        worker = await manager.register_worker()
        fetch = partial(manager.fetch_job, ["runs", "profile:mine"], worker)

        async def record(what: str, state: str) -> None:
            jobs.vacuum()
            costs.append(await measure_rounds(what, state, fetch, server))

        nothing, success = "fetch that finds nothing", "fetch that succeeds"
        await jobs.add(0, orgs, _OTHER_PROFILE)
        await record(nothing, f"{orgs:,} jobs of a profile that the worker lacks")
        await jobs.add(orgs, orgs)
        await record(success, f"{orgs:,} more jobs of as many other orgs")
        jobs.database.query("DELETE FROM procrastinate_jobs WHERE id % 2 = 0")
        await record(success, "the same, after half of all jobs were removed")
        jobs.database.query("DELETE FROM procrastinate_jobs")
        await jobs.add(0, 2 * orgs)
        jobs.database.query(_DOING, {"worker": worker})
        await record(nothing, f"{2 * orgs:,} jobs that are being done")
        await jobs.add(0, orgs // 2)
        await jobs.add(orgs, orgs // 2, _OTHER_PROFILE)
        state = f"{orgs:,} more that wait behind them, half of a profile that the worker lacks"
        await record(nothing, state)
    jobs.database.close()
    return costs


async def measure_looks(
    server: PostgresServer,
    orgs: int,
    runs: int,
    *,
    profile: str | None = None,
    waits: float = 0.0,
    queued: bool = False,
    what: str = "all due",
) -> list[Cost]:
    """Return what looks at the table of runs cost.

    Args:
        server: the server.
        orgs: number of orgs.
        runs: runs of each.
        profile: profile that all need.
        waits: seconds that they wait.
        queued: whether all are in the queue already.
        what: the same in words.
    """
    jobs = Jobs(server)
    runs_, state = RunTable(jobs.database), f"{orgs:,} orgs of {runs:,} runs, {what}"
    jobs.database.query(_ADD_RUNS, {"orgs": orgs, "runs": runs, "profile": profile, "waits": waits})
    if queued:
        async with jobs.queue:
            await jobs.add(0, orgs)
    jobs.vacuum()

    async def look() -> None:
        runs_.due_orgs(["mine"])

    async def first() -> None:
        runs_.first_of(_key(orgs // 2))

    costs = [
        await measure_rounds("look for orgs that are due", state, look, server),
        await measure_rounds("look for the first run of an org", state, first, server),
    ]
    jobs.database.close()
    return costs


async def measure(server: PostgresServer, orgs: int) -> list[Cost]:
    """Return all costs."""
    look = partial(measure_looks, server)
    costs = await measure_fetches(server, orgs)
    costs += await look(orgs, 4)
    costs += (await look(orgs, 4, queued=True, what="all in the queue"))[:1]
    costs += (await look(orgs, 4, waits=86_400.0, what="all waiting for credits"))[:1]
    costs += (await look(orgs, 4, profile=_OTHER_PROFILE, what="of a profile it lacks"))[:1]
    costs += await look(orgs // 50, 200)
    return costs


def main() -> None:
    """Measure and print the table, and write it to the README on request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orgs", type=int, default=10_000)
    parser.add_argument("--write", action="store_true", help="write the table to README.md")
    options = parser.parse_args()
    with serve_postgres(in_memory=False) as server:
        costs = asyncio.run(measure(server, options.orgs))
    header = ["what", "with", "CPU of the server", "median time", "maximum"]
    text = table(header, [cost.row() for cost in costs])
    print(text, f"load of {os.getloadavg()[0]:.1f}", sep="\n")
    if options.write:
        put_table("cluster-queue", text)
    if too_slow := [cost for cost in costs if cost.cpu > MAX_SECONDS]:
        raise SystemExit(f"{len(too_slow)} took more than {MAX_SECONDS * 1e3:.0f} ms.")


if __name__ == "__main__":
    main()
