"""A cluster at its full times: takeovers, rate, CPU, an idle worker, and many orgs.

Each org has a CRM that accepts as many calls in flight as its edition does (`worker.py`); all are
in one process, which records when each call arrives. The database is a PostgreSQL server of its
own, in a temporary folder. A takeover is timed from the death of a driver, or of its worker too, to
the first call of the next driver. The rate is that from the first call to the last one; a run alone
on this machine takes turns with one in a cluster. The CPU of an email is the difference between a
long run and a short one, of whole processes, with all of PostgreSQL's. The script fails if a target
is missed.

    python benchmarks/cluster.py [--orgs 200] [--calls 2400] [--only NAME …] [--write]
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

from processes import measure
from servers import BULKLINK, DEAL, FIRST_CONTACT, MODULE
from tables import put_table, table
from worker import Org, OrgServer, save_profile  # type: ignore[attr-defined,unused-ignore]

from bulklink import Connection, Job, Op, RunCallbacks, StopController, plan
from bulklink.cluster.database import ClusterDatabase, conninfo_from
from bulklink.cluster.running import wake_worker
from bulklink.cluster.runs import ClusterRun, RunTable
from bulklink.cluster.schema import initialize
from bulklink.cluster.submitting import submit
from bulklink.cluster.timing import ClusterTiming
from bulklink.operations.environment import real_environment
from tests.cluster.postgres import PostgresServer, serve_postgres

assert sys.platform != "win32", "Windows does not report the CPU time of other processes"

LATENCY = 0.5
PER_CALL = 10
ROUNDS = 2
ENTERPRISE = 3
"""Number of an org whose edition has 20 places."""
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class TimedOrg(Org):
    """An org whose calls are recorded.

    Args:
        number: its number.
        log: file to which the arrival of each call is written.
    """

    def __init__(self, number: int, log: Path) -> None:
        super().__init__(number, LATENCY)
        self._log = log.open("a")

    def arrive(self) -> bool:
        """Count a link call; return whether it is accepted."""
        self._log.write(f"{self.number} {time.time()}\n")
        self._log.flush()
        return super().arrive()


class ReadingOrgServer(OrgServer):
    """Server of one org that also shows the emails of a contact, each on its deal."""

    _contact = re.compile(rb"/Contacts/(\d+)/Emails")

    def _answer(self, head: bytes, body: bytes) -> None:
        if page := self._contact.search(head) if not body else None:
            self._write(_page(int(page[1])))
        else:
            super()._answer(head, body)


def _page(contact_id: int) -> bytes:
    """Return the emails of a contact of the mapping that `Bench.seal` writes."""
    first = (contact_id - FIRST_CONTACT) * PER_CALL
    deal = {"module": {"api_name": "Deals", "id": MODULE}, "id": str(DEAL), "name": "Deal"}
    owner = {"id": "5843104000000424672", "name": "Owner"}
    emails = [
        {"message_id": f"{n:064x}", "owner": owner, "linked_record": deal}
        for n in range(first, first + PER_CALL)
    ]
    info = {"per_page": PER_CALL, "count": PER_CALL, "more_records": False, "next_index": None}
    return json.dumps({"Emails": emails, "info": info}).encode()


async def serve_orgs(first: int, count: int, log: Path) -> None:
    """Serve orgs until terminated; print their addresses first."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    orgs = [TimedOrg(first + number, log) for number in range(count)]
    servers = [
        await loop.create_server(partial(ReadingOrgServer, org), "127.0.0.1", 0, backlog=128)
        for org in orgs
    ]
    ports = [server.sockets[0].getsockname()[1] for server in servers]
    print(json.dumps([f"http://127.0.0.1:{port}" for port in ports]), flush=True)
    await ended.wait()


class Orgs:
    """Orgs that are being served.

    Args:
        first: number of the first one.
        urls: addresses of their CRMs.
        log: file of the arrivals of their calls.
    """

    def __init__(self, first: int, urls: list[str], log: Path) -> None:
        self.urls = urls
        self._first, self._log = first, log

    def arrivals(self, url: str | None = None) -> list[float]:
        """Return when calls arrived, in seconds since 1970, if wanted those of one org alone."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        calls = [line.split() for line in lines]
        wanted = None if url is None else str(self._first + self.urls.index(url))
        return [float(time_) for number, time_ in calls if wanted in (None, number)]

    def wait_for_calls(self, count: int) -> None:
        """Wait until this many calls have arrived."""
        wait_until(lambda: len(self.arrivals()) >= count)

    def wait_for_call_after(self, moment: float, url: str) -> float:
        """Return when the first call of an org after a moment arrived, in seconds since 1970."""
        wait_until(lambda: any(arrival > moment for arrival in self.arrivals(url)))
        return min(arrival for arrival in self.arrivals(url) if arrival > moment)


def wait_until(is_true: Callable[[], bool], timeout: float = 180.0) -> None:
    """Wait until something is true."""
    ends_at = time.monotonic() + timeout
    while not is_true():
        if time.monotonic() > ends_at:
            raise SystemExit("What was waited for did not happen.")
        time.sleep(0.02)


@contextmanager
def serve(folder: Path, first: int, count: int) -> Iterator[Orgs]:
    """Serve orgs in a process of their own, each with a profile."""
    log = folder / f"arrivals-{time.monotonic_ns()}"
    options = ["--serve", str(first), str(count), str(log)]
    with subprocess.Popen([sys.executable, __file__, *options], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        try:
            orgs = Orgs(first, json.loads(server.stdout.readline()), log)
            for number, url in enumerate(orgs.urls):
                save_profile(f"org{number}", url)
            yield orgs
        finally:
            server.terminate()


class Cluster:
    """A database that is prepared for a cluster.

    Args:
        server: its server.
    """

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        url = server.create_database()
        os.environ["BULKLINK_CLUSTER_URL"] = url
        self._conninfo = conninfo_from({"BULKLINK_CLUSTER_URL": url})
        initialize(self._conninfo)
        self.database = ClusterDatabase(self._conninfo)

    def submit(self, run: Path, url: str, profile: str) -> None:
        """Submit a sealed run to an org."""
        secrets = {"client_id": "bench", "client_secret": "bench", "refresh_token": "bench"}
        submission = submit(
            [run],
            Connection.from_values(api_url=url, accounts_url=url, **secrets),
            database=self.database,
            expect=None,
            request=str(time.time_ns()),
            profile=profile,
            options=(),
            approved_by="bench",
            yes=True,
            expect_org=None,
            callbacks=RunCallbacks(),
            stop=StopController(),
            environment=real_environment(),
        )
        (submitted,) = asyncio.run(submission)
        org_key = submitted.runs[0].org_key
        asyncio.run(wake_worker(self.database, ClusterTiming(), org_key))

    def wait_for_end(self) -> None:
        """Wait until all runs have finished."""
        runs = RunTable(self.database)
        wait_until(lambda: not runs.has_active(ClusterTiming().stalled), timeout=3600.0)
        if any(run.state != "finished" for run in runs.all()):
            raise SystemExit(f"A run did not finish: {[run.left_message for run in runs.all()]}")

    def runs(self) -> list[ClusterRun]:
        """Return all runs."""
        return RunTable(self.database).all()

    def cpu(self) -> float:
        """Return the CPU seconds of all processes of the server, also of those that have ended."""
        postmaster = (self._server.data / "postmaster.pid").read_text().split()[0]
        return cpu_of_tree(postmaster)


def cpu_of_tree(pid: str) -> float:
    """Return the CPU seconds of a process and of its children, also of those that have ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        children = [
            child
            for task in Path(f"/proc/{pid}/task").glob("*/children")
            for child in task.read_text().split()
        ]
        return sum(map(int, fields[11:15])) / _TICKS + sum(map(cpu_of_tree, children))
    return 0.0


class Worker:
    """A running `bulklink cluster worker`, as if on a machine of its own.

    Args:
        folder: where its state folder is.
        options: further words of the command.
        slots: runs that it sends at the same time.
    """

    def __init__(self, folder: Path, *options: str, slots: int = 8) -> None:
        command = [*BULKLINK, "cluster", "worker", "--slots", str(slots), *options]
        state = folder / f"state-{time.monotonic_ns()}"
        self.process = subprocess.Popen(
            command,
            env=os.environ | {"XDG_STATE_HOME": str(state)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def children(self) -> list[int]:
        """Return its drivers."""
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [int(child) for task in tasks for child in task.read_text().split()]

    def kill(self, *, drivers_only: bool = False) -> None:
        """Kill its drivers, and it first unless it is to see that."""
        children = self.children()
        if not drivers_only:
            self.process.kill()
        for child in children:
            os.kill(child, signal.SIGKILL)

    def cpu(self) -> float:
        """Return the CPU seconds of it and its drivers."""
        return cpu_of_tree(str(self.process.pid))

    def memory(self) -> int:
        """Return its resident memory in bytes."""
        return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * _PAGE_BYTES

    def stop(self) -> None:
        """Stop it, and wait until it has ended."""
        self.process.terminate()
        self.process.wait()


class Result(NamedTuple):
    """A figure and its target.

    Args:
        what: what was measured.
        figure: the figure in words.
        target: the target in words.
        is_met: whether it is met.
    """

    what: str
    figure: str
    target: str
    is_met: bool


class Sending(NamedTuple):
    """What it took to send a run.

    Args:
        rate: calls a second.
        cpu: CPU seconds of its processes.
        server_cpu: CPU seconds of PostgreSQL.
    """

    rate: float
    cpu: float
    server_cpu: float


class Bench:
    """The measurements.

    Args:
        folder: a folder for all that they write.
        server: the server of the databases.
        calls: calls of a run whose rate is measured.
        orgs: number of orgs of the last measurement.
    """

    def __init__(self, folder: Path, server: PostgresServer, calls: int, orgs: int) -> None:
        self._folder, self._server, self._calls, self._orgs = folder, server, calls, orgs

    def seal(self, calls: int, per_call: int = PER_CALL) -> Path:
        """Seal a plan of some calls."""
        run = self._folder / f"run-{time.monotonic_ns()}"
        mapping = self._folder / f"{run.name}.csv"
        with mapping.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["contact_id", "owner_id", "message_id", "deal_id"])
            for n in range(calls * per_call):
                contact = FIRST_CONTACT + n // per_call
                writer.writerow([contact, 5843104000000424672, f"{n:064x}", DEAL])
        plan(
            Job(
                mappings=(str(mapping),),
                op=Op.LINK,
                run_dir=run,
                names=False,
                canary=0,
                rate=None,
                snapshot=False,
            )
        )
        return run

    def takeovers(self) -> list[Result]:
        """Time takeovers after the death of a driver, and of its machine."""
        return [
            self._takeover("a dead driver", limit=20.0, drivers_only=True),
            self._takeover("a dead machine", limit=90.0, drivers_only=False),
        ]

    def _takeover(self, what: str, *, limit: float, drivers_only: bool) -> Result:
        cluster = Cluster(self._server)
        with serve(self._folder, ENTERPRISE, 1) as orgs:
            first = Worker(self._folder)
            cluster.submit(self.seal(4_000), orgs.urls[0], "org0")
            orgs.wait_for_calls(200)
            second = None if drivers_only else Worker(self._folder)
            if second is not None:
                time.sleep(8.0)  # until it has started
            died_at = time.time()
            first.kill(drivers_only=drivers_only)
            launched_at = self._wait_for_driver(first if second is None else second)
            seconds = orgs.wait_for_call_after(died_at + 0.5, orgs.urls[0]) - died_at
            for worker in (first, second):
                if worker is not None:
                    worker.kill()
                    worker.process.wait()
        parts = f"{seconds:.1f} s; its process was started after {launched_at - died_at:.1f} s"
        what = f"{what}, until the next driver's first call"
        return Result(what, parts, f"{limit:.0f} s", seconds <= limit)

    def _wait_for_driver(self, worker: Worker) -> float:
        before = set(worker.children())
        wait_until(lambda: bool(set(worker.children()) - before))
        return time.time()

    def rate(self) -> list[Result]:
        """Compare the rate and the CPU of a run in a cluster with those of one alone."""
        long, short = self._calls, self._calls // 4
        plans = {calls: self.seal(calls) for calls in (long, short)}
        alone: dict[int, list[Sending]] = {long: [], short: []}
        clustered: dict[int, list[Sending]] = {long: [], short: []}
        for _ in range(ROUNDS):
            for calls, sealed in plans.items():
                alone[calls].append(self._send_alone(sealed))
                clustered[calls].append(self._send_in_cluster(sealed))
                print(calls, alone[calls][-1], clustered[calls][-1], sep="\n", flush=True)
        rates = zip(clustered[long], alone[long], strict=True)
        rate = statistics.median(one.rate / other.rate for one, other in rates)
        emails = (long - short) * PER_CALL

        def cost(sendings: dict[int, list[Sending]], part: str) -> float:
            """Return the CPU microseconds of an email, without fixed costs."""
            ends = [
                statistics.median(float(getattr(sending, part)) for sending in sendings[calls])
                for calls in (long, short)
            ]
            return (ends[0] - ends[1]) / emails * 1e6

        single, own, server = (
            cost(alone, "cpu"),
            cost(clustered, "cpu"),
            cost(clustered, "server_cpu"),
        )
        ratio = (own + server) / single
        parts = f"{own:.0f} µs and PostgreSQL's {server:.0f} µs, alone {single:.0f} µs"
        return [
            Result("rate, compared with a run alone", f"{rate:.3f}", "0.97", rate >= 0.97),
            Result(
                "CPU an email, compared with a run alone",
                f"{ratio:.2f}: {parts}",
                "1.15",
                ratio <= 1.15,
            ),
        ]

    def _send_alone(self, sealed: Path) -> Sending:
        run = self._folder / f"alone-{time.monotonic_ns()}"
        subprocess.run(["cp", "-r", str(sealed), str(run)], check=True)
        with serve(self._folder, ENTERPRISE, 1) as orgs:
            command = [*BULKLINK, "apply", str(run), "--yes", "--profile", "org0", "--json"]
            cpu = measure([*command, "--progress", "none"]).cpu
            return Sending(_rate_of(orgs.arrivals()), cpu, 0.0)

    def _send_in_cluster(self, sealed: Path) -> Sending:
        cluster = Cluster(self._server)
        with serve(self._folder, ENTERPRISE, 1) as orgs:
            cluster.submit(sealed, orgs.urls[0], "org0")
            before = cluster.cpu()
            cpu = measure([*BULKLINK, "cluster", "worker", "--drain", "--json"]).cpu
            server_cpu = cluster.cpu() - before
            return Sending(_rate_of(orgs.arrivals()), cpu, server_cpu)

    def idle(self) -> list[Result]:
        """Measure a worker that has nothing to do, and how soon it sends what is submitted."""
        cluster, seconds = Cluster(self._server), 40.0
        with serve(self._folder, ENTERPRISE, 4) as orgs:
            worker = Worker(self._folder)
            time.sleep(10.0)  # until it has started
            before, server_before = worker.cpu(), cluster.cpu()
            time.sleep(seconds)
            share = (worker.cpu() - before) / seconds
            server_share = (cluster.cpu() - server_before) / seconds
            memory, sealed, waits = worker.memory(), self.seal(40), []
            for number, url in enumerate(orgs.urls):
                time.sleep(1.3 * number)  # at different times of the worker's round
                cluster.submit(sealed, url, f"org{number}")
                submitted_at = time.time()
                waits.append(orgs.wait_for_call_after(submitted_at, url) - submitted_at)
            worker.stop()
        figure = (
            f"{share:.2%} of a core, {memory / 1e6:.0f} MB; PostgreSQL for it {server_share:.2%}"
        )
        shown = ", ".join(f"{wait:.1f}" for wait in waits)
        return [
            Result("idle worker", figure, "2% of a core", share <= 0.02),
            Result("from submission to the first call", f"{shown} s", "5 s", max(waits) <= 5.0),
        ]

    def many(self) -> list[Result]:
        """Let three workers send a run to each of many orgs."""
        cluster, sealed = Cluster(self._server), self.seal(20, per_call=1)
        with serve(self._folder, 0, self._orgs) as orgs:
            for number, url in enumerate(orgs.urls):
                cluster.submit(sealed, url, f"org{number}")
            started_at = time.time()
            before = cluster.cpu()
            workers = [Worker(self._folder, slots=4) for _ in range(3)]
            cluster.wait_for_end()
            seconds = time.time() - started_at
            cpu = sum(worker.cpu() for worker in workers)
            server_cpu = cluster.cpu() - before
            for worker in workers:
                worker.stop()
        figure = f"{seconds:.0f} s, {cpu:.0f} s of CPU; PostgreSQL {server_cpu:.1f} s"
        return [Result(f"{self._orgs} orgs by 3 workers of 4 slots", figure, "all finish", True)]


def _rate_of(arrivals: Sequence[float]) -> float:
    return (len(arrivals) - 1) / (max(arrivals) - min(arrivals))


def main() -> None:
    """Measure and print the table, and write it to the README on request."""
    names = ("takeovers", "rate", "idle", "many")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orgs", type=int, default=200)
    parser.add_argument("--calls", type=int, default=2_400, help="calls of a run with a rate")
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--write", action="store_true", help="write the table to README.md")
    parser.add_argument("--serve", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        first, count, log = options.serve
        asyncio.run(serve_orgs(int(first), int(count), Path(log)))
        return
    assert sys.platform == "linux", "CPU times are read from /proc"
    results: list[Result] = []
    with (
        tempfile.TemporaryDirectory(prefix="bulklink-cluster-") as temporary,
        serve_postgres(in_memory=False) as pg,
    ):
        os.environ |= {
            "XDG_STATE_HOME": f"{temporary}/state",
            "XDG_CONFIG_HOME": f"{temporary}/config",
            "BULKLINK_DEALS_MODULE_ID": MODULE,
        }
        bench = Bench(Path(temporary), pg, options.calls, options.orgs)
        for name in options.only:
            results += getattr(bench, name)()
            print(*results[-2:], sep="\n", flush=True)
    text = table(["what", "figure", "target"], [result[:3] for result in results])
    print(text, f"load of {os.getloadavg()[0]:.1f}", sep="\n")
    if options.write:
        put_table("cluster", text)
    if missed := [result.what for result in results if not result.is_met]:
        raise SystemExit(f"Missed: {'; '.join(missed)}.")


if __name__ == "__main__":
    main()
