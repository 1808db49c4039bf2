"""A worker that sends runs of many orgs: use of each org's places, CPU, memory, and CPU while idle.

Each org has a CRM that accepts as many calls in flight as its edition does, 5 to 25, and refuses
others with 429. All of them are in one process, which measures how many calls each org has in
flight over time. An org's use is the share of its places that had a call, from its first link call
until the last one arrived. Then the same worker waits, with all these runs finished and as many
queued that wait for credits.

    python benchmarks/worker.py [--orgs 200] [--emails 200] [--idle 60] [--write]
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import NamedTuple

from servers import BULKLINK, DEAL, FIRST_CONTACT, MODULE, Server
from tables import put_table, table

assert sys.platform != "win32", "Windows has no /proc"
PLACES = {"free": 5, "standard": 10, "professional": 15, "enterprise": 20, "ultimate": 25}
"""Calls in flight that an org accepts, by edition."""
SLOTS = 8
MAX_IDLE_SHARE = 0.02
"""Maximum share of a core that an idle worker may take."""
_SAMPLE_SECONDS = 0.5
_SETTLE_SECONDS = 10.0
"""Time until a worker that was started is idle."""
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class OrgUse(NamedTuple):
    """Use of an org's places.

    Args:
        edition: its edition.
        share: share of its places that had a call while its run was sending.
        most: most calls in flight at a time.
        refused: calls that were refused.
        calls: link calls that were answered.
    """

    edition: str
    share: float
    most: int
    refused: int
    calls: int


class Org:
    """State of the CRM of an org.

    Args:
        number: its number.
        latency: seconds that a link call takes.
    """

    def __init__(self, number: int, latency: float) -> None:
        self.number, self.latency = number, latency
        self.edition = list(PLACES)[number % len(PLACES)]
        self.in_flight = self.most = self.refused = self.calls = 0
        self._changed_at: float | None = None
        self._first_at = self._last_at = 0.0
        self._busy = self._busy_at_last = 0.0

    def arrive(self) -> bool:
        """Count a link call; return whether it is accepted."""
        if self.in_flight >= PLACES[self.edition]:
            self.refused += 1
            return False
        self._change(1)
        self._last_at, self._busy_at_last = time.perf_counter(), self._busy
        self.most = max(self.most, self.in_flight)
        return True

    def leave(self) -> None:
        """Count the answer to a link call."""
        self._change(-1)
        self.calls += 1

    def _change(self, calls: int) -> None:
        now = time.perf_counter()
        if self._changed_at is None:
            self._changed_at = self._first_at = now
        self._busy += self.in_flight * (now - self._changed_at)
        self._changed_at = now
        self.in_flight += calls

    @property
    def use(self) -> OrgUse:
        """Use of its places until its last link call arrived."""
        places = PLACES[self.edition] * (self._last_at - self._first_at)
        share = self._busy_at_last / places if places else 0.0
        return OrgUse(self.edition, share, self.most, self.refused, self.calls)


class OrgServer(Server):
    """Server of one org.

    Args:
        org: its state.
    """

    _token = b'{"access_token":"1000.bench","token_type":"Bearer","expires_in":3600}'
    _refusal = b'{"code":"TOO_MANY_REQUESTS","details":{},"message":"Wait","status":"error"}'

    def __init__(self, org: Org) -> None:
        self._state = org

    def _answer(self, head: bytes, body: bytes) -> None:
        if b"/oauth/" in head.partition(b"\r\n")[0]:
            self._write(self._token)
        elif not body:
            licence = {"paid_type": self._state.edition, "users_license_purchased": 10}
            org = {"id": f"{self._state.number + 1}", "company_name": "Bench", "type": "Sandbox"}
            self._write(json.dumps({"org": [org | {"license_details": licence}]}).encode())
        elif self._state.arrive():
            answer = self._linked(self._message.findall(body))
            asyncio.get_running_loop().call_later(self._state.latency, self._finish, answer)
        else:
            self._write(self._refusal, b"429 Too Many Requests")

    def _finish(self, answer: bytes) -> None:
        self._state.leave()
        self._write(answer)


async def serve_orgs(count: int, latency: float) -> None:
    """Serve orgs until terminated; print their addresses first, and their use at the end."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    orgs = [Org(number, latency) for number in range(count)]
    servers = [
        await loop.create_server(partial(OrgServer, org), "127.0.0.1", 0, backlog=128)
        for org in orgs
    ]
    ports = [server.sockets[0].getsockname()[1] for server in servers]
    print(json.dumps({"url": [f"http://127.0.0.1:{port}" for port in ports]}), flush=True)
    await ended.wait()
    print(json.dumps([org.use for org in orgs]), flush=True)


class Usage(NamedTuple):
    """What a worker and its children did and took.

    Args:
        finished: runs that finished.
        seconds: until everything was sent.
        worker_cpu: CPU seconds of the worker.
        children_cpu: CPU seconds of the runs.
        worker_memory: peak resident memory of the worker, in bytes.
        memory: peak resident memory of the worker and its children, in bytes; pages that they share
            count for each.
    """

    finished: int
    seconds: float
    worker_cpu: float
    children_cpu: float
    worker_memory: int
    memory: int


class Worker:
    """A running `bulklink work`.

    Args:
        runs_dir: folder of the runs.
        options: further words of the command.
    """

    def __init__(self, runs_dir: Path, *options: str) -> None:
        command = [*BULKLINK, "work", str(runs_dir), "--slots", str(SLOTS), *options]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def cpu(self) -> tuple[float, float]:
        """Return the CPU seconds of the worker, and of its children that have ended."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        own, children = (sum(map(int, fields[i : i + 2])) / _TICKS for i in (11, 13))
        return own, children

    def memory(self) -> tuple[int, int]:
        """Return the resident memory of the worker, and of it and its children, in bytes."""
        pid = self.process.pid
        tasks = Path(f"/proc/{pid}/task").glob("*/children")
        children = [child for task in tasks for child in task.read_text().split()]
        own, *others = map(_resident, [str(pid), *children])
        return own, own + sum(others)

    def measure(self) -> Usage:
        """Wait until it has ended, and return what it took."""
        started, cpu, memory = time.perf_counter(), (0.0, 0.0), (0, 0)
        while self.process.poll() is None:
            try:
                cpu = self.cpu()
                memory = tuple(map(max, memory, self.memory()))  # type: ignore[assignment]
            except (FileNotFoundError, ValueError):
                break  # it has just ended
            time.sleep(_SAMPLE_SECONDS)
        seconds = time.perf_counter() - started
        output, _ = self.process.communicate()
        if self.process.returncode != 0:
            raise SystemExit(f"The worker ended with code {self.process.returncode}: {output}")
        return Usage(json.loads(output)["finished"], seconds, *cpu, *memory)


def _resident(pid: str) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
    except (FileNotFoundError, ProcessLookupError):
        return 0


def write_mapping(path: Path, emails: int) -> None:
    """Write a mapping whose emails need a call each."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["contact_id", "owner_id", "message_id", "deal_id"])
        for n in range(emails):
            writer.writerow([FIRST_CONTACT + n, 5843104000000424672, f"{n:064x}", DEAL])


def seal_plan(folder: Path, emails: int) -> Path:
    """Seal the plan that all runs are copies of."""
    from bulklink import Job, Op, plan

    mapping, run = folder / "mapping.csv", folder / "sealed"
    write_mapping(mapping, emails)
    job = Job(mappings=(str(mapping),), op=Op.LINK, run_dir=run, names=False, canary=0, rate=None)
    plan(job)
    return run


def approve(sealed: Path, run: Path, *, profile: str, waits: bool = False) -> None:
    """Copy a sealed plan, and approve the copy for the worker.

    Args:
        sealed: the plan.
        run: folder of the copy.
        profile: profile of its org.
        waits: whether the copy is a run that has stopped until its credits are back.
    """
    from bulklink.errors import StoppedBy
    from bulklink.ledger.records import timestamp
    from bulklink.operations.environment import real_environment
    from bulklink.operations.queue_access import open_queue
    from bulklink.runs.folder import RunFolder
    from bulklink.runs.queue import Approval
    from bulklink.runs.record import Invocation, RunState

    shutil.copytree(sealed, run)
    folder = RunFolder(run)
    record, now = folder.read(), time.time()
    if waits:
        invocation = Invocation(timestamp(now), timestamp(now), 1.0, StoppedBy.CREDITS, 4)
        record = record.replace(
            state=RunState.STOPPED,
            stopped_by=StoppedBy.CREDITS,
            resume_at=timestamp(now + 86_400),
            invocations=(invocation,),
        )
        folder.write(record)
    assert record.digest is not None
    open_queue(run.parent, real_environment()).add(
        Approval(
            run=run.name,
            created=record.created,
            digest=record.digest,
            op=record.op,
            messages=record.rows,
            invocations=len(record.invocations),
            approved=timestamp(now),
            org_key=profile,
            profile=profile,
        )
    )


def save_profile(name: str, url: str) -> None:
    """Store a profile that connects to the CRM of an org."""
    from bulklink.profiles.names import config_folder
    from bulklink.profiles.profile import Profile, Profiles, SecretBackend
    from bulklink.profiles.secrets import FileSecretStore
    from bulklink.zoho.connection import Credentials

    profile = Profile("bench", SecretBackend.FILE, api_url=url, accounts_url=url)
    Profiles(config_folder()).save(name, profile)
    FileSecretStore(config_folder()).save(name, Credentials("bench", "bench", "bench"))


def measure_sending(
    folder: Path, sealed: Path, orgs: int, latency: float
) -> tuple[Usage, list[OrgUse]]:
    """Send a run to each org; return what the worker took, and the use of each org's places."""
    runs_dir = folder / "runs"
    command = [sys.executable, __file__, "--serve", "--orgs", str(orgs), "--latency", str(latency)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        try:
            for number, url in enumerate(json.loads(server.stdout.readline())["url"]):
                save_profile(f"org{number}", url)
                approve(sealed, runs_dir / f"run{number}", profile=f"org{number}")
            usage = Worker(runs_dir, "--drain", "--json").measure()
        finally:
            server.terminate()
        uses = [OrgUse(*use) for use in json.loads(server.stdout.readline())]
    return usage, uses


def measure_idle(folder: Path, sealed: Path, orgs: int, seconds: float) -> tuple[float, int]:
    """Return the share of a core and the memory of a worker whose runs wait for credits."""
    runs_dir = folder / "runs"
    for number in range(orgs):
        approve(sealed, runs_dir / f"waits{number}", profile=f"org{number}", waits=True)
    worker = Worker(runs_dir)
    try:
        time.sleep(_SETTLE_SECONDS)
        before = sum(worker.cpu())
        time.sleep(seconds)
        return (sum(worker.cpu()) - before) / seconds, worker.memory()[0]
    finally:
        worker.process.terminate()
        worker.process.communicate()


def use_rows(uses: list[OrgUse]) -> list[list[str]]:
    """Return the lines of the table of uses, by edition."""
    lines = []
    for edition, places in PLACES.items():
        own = [use for use in uses if use.edition == edition]
        if not own:
            continue
        shares = [use.share for use in own]
        most, refused = max(use.most for use in own), sum(use.refused for use in own)
        calls = sum(use.calls for use in own) + refused
        figures = [f"{statistics.median(shares):.1%}", f"{min(shares):.1%}", f"{most}"]
        lines.append([f"{places}", f"{len(own)}", *figures, f"{refused:,} of {calls:,}"])
    return lines


def main() -> None:
    """Measure and print the tables, and write them to the README on request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orgs", type=int, default=200)
    parser.add_argument("--emails", type=int, default=200, help="emails, and calls, of each org")
    parser.add_argument("--latency", type=float, default=0.4, help="seconds of a call")
    parser.add_argument("--idle", type=float, default=60, help="seconds of the idle worker")
    parser.add_argument("--write", action="store_true", help="write the tables to README.md")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        asyncio.run(serve_orgs(options.orgs, options.latency))
        return
    assert sys.platform == "linux", "CPU times are read from /proc"
    with tempfile.TemporaryDirectory(prefix="bulklink-worker-") as temporary:
        folder = Path(temporary)
        os.environ |= {
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_CONFIG_HOME": str(folder / "config"),
            "BULKLINK_DEALS_MODULE_ID": MODULE,
        }
        sealed = seal_plan(folder, options.emails)
        usage, uses = measure_sending(folder, sealed, options.orgs, options.latency)
        idle, idle_memory = measure_idle(folder, sealed, options.orgs, options.idle)
    header = ["places", "orgs", "median use", "least use", "most in flight", "calls refused"]
    places = table(header, use_rows(uses))
    figures = table(
        ["what", "figure"],
        [
            ("until all runs had finished", f"{usage.seconds:.0f} s"),
            ("CPU of the worker", f"{usage.worker_cpu:.1f} s"),
            ("CPU of all runs", f"{usage.children_cpu:.0f} s"),
            ("memory of the worker", f"{usage.worker_memory / 1e6:.0f} MB"),
            (f"memory of it and {SLOTS} runs", f"{usage.memory / 1e6:,.0f} MB"),
            ("CPU of the idle worker", f"{idle:.2%} of a core"),
            ("memory of the idle worker", f"{idle_memory / 1e6:.0f} MB"),
        ],
    )
    print(places, figures, sep="\n\n")
    if options.write:
        put_table("places", places)
        put_table("worker", figures)
    if usage.finished != options.orgs:
        raise SystemExit(f"{usage.finished} runs finished.")
    if any(use.most > PLACES[use.edition] for use in uses):
        raise SystemExit("An org had more calls in flight than it has places.")
    if idle > MAX_IDLE_SHARE:
        raise SystemExit(f"An idle worker takes more than {MAX_IDLE_SHARE:.0%} of a core.")


if __name__ == "__main__":
    main()
