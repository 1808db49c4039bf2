"""Orgs with approved runs for a worker, each with a CRM in this process, and the worker."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
from aiohttp.test_utils import TestServer

from bulklink import Connection, Job, Op, plan
from bulklink.emulator.crm import Crm
from bulklink.emulator.http import Answer, Request
from bulklink.emulator.server import create_app
from bulklink.emulator.settings import Settings
from bulklink.emulator.worldfile import parse_world
from bulklink.operations.queue_run import queue_run
from bulklink.profiles.names import config_folder
from bulklink.profiles.profile import Profile, Profiles, SecretBackend
from bulklink.profiles.secrets import FileSecretStore
from bulklink.zoho.connection import Credentials
from tests.e2e.command import rows
from tests.e2e.world import World
from tests.guard import off_loop

CONTACTS = 60
PLACES = 5
"""Calls in flight that each CRM accepts, and that each run makes."""
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
SUSPEND = getattr(signal, "SIGSTOP", signal.SIGTERM)
CONTINUE = getattr(signal, "SIGCONT", signal.SIGTERM)
_SECRETS = {"client_id": "demo", "client_secret": "demo", "refresh_token": "demo"}
_WORKER = """
import sys
from functools import partial
from pathlib import Path

import anyio
import msgspec

from bulklink.engine.shutdown import StopController
from bulklink.operations.environment import real_environment
from bulklink.worker.children import start_child
from bulklink.worker.verdict import Timing
from bulklink.worker.worker import work

quick = Timing(restart=0.1, steady=0.0, locked=0.1, credits=0.1, poll=0.05, recheck=0.1)
operation = partial(
    work,
    Path(sys.argv[1]),
    slots=int(sys.argv[2]),
    drain=True,
    stop=StopController(),
    report=lambda event: print(event, file=sys.stderr),
    environment=real_environment(),
    start=start_child,
    timing=quick,
)
print(msgspec.json.encode(anyio.run(operation)).decode())
"""


class Gate:
    """Holds the link and unlink calls of all CRMs once a number of them has come.

    Attributes:
        calls: calls that came so far.
        reached: set while calls are held.
        filled: set while held calls take all the places of their sender.
    """

    def __init__(self) -> None:
        self.calls = 0
        self.reached = asyncio.Event()
        self.filled = asyncio.Event()
        self._held = 0
        self._limit: int | None = None
        self._opened = asyncio.Event()
        self._opened.set()

    def close_after(self, calls: int) -> None:
        """Hold all calls once some more have come."""
        self._limit = self.calls + calls

    def open(self) -> None:
        """Let the calls go on."""
        self._limit = None
        self.reached.clear()
        self.filled.clear()
        self._opened.set()

    async def count(self) -> None:
        """Count a call."""
        self.calls += 1
        if self._limit is not None and self.calls >= self._limit:
            self._opened.clear()
            self.reached.set()

    async def wait(self) -> None:
        """Wait until calls go on."""
        self._held += 1
        if self._held == PLACES and self.reached.is_set():
            self.filled.set()
        await self._opened.wait()
        self._held -= 1


class GatedCrm(Crm):
    """A CRM whose link and unlink calls pass a gate, each before or after it is executed.

    Attributes:
        senders: the authorization of each of these calls, which tells machines apart, in the order
            in which they came.
    """

    def __init__(self, world: World, settings: Settings, gate: Gate) -> None:
        super().__init__(parse_world(world.as_file()), settings)
        self.url = ""
        self.senders: list[str] = []
        self._gate = gate

    async def handle(self, request: Request) -> Answer:
        if not request.path.endswith("link_record"):
            return await super().handle(request)
        self.senders.append(request.headers["authorization"])
        await self._gate.count()
        is_held_before = self._gate.calls % 2 == 0
        if is_held_before:
            await self._gate.wait()
        answer = await super().handle(request)
        if not is_held_before:
            await self._gate.wait()
        return answer


@dataclass(slots=True)
class WorkedOrg:
    """An org with approved runs.

    Args:
        name: name of its profile.
        crm: its CRM.
        world: its content before the first run.
        runs: its runs, in the order of their approval, with the op of each.
    """

    name: str
    crm: GatedCrm
    world: World
    runs: dict[str, Op] = field(default_factory=dict)

    @property
    def connection(self) -> Connection:
        """Connection to its CRM."""
        return Connection.from_values(api_url=self.crm.url, accounts_url=self.crm.url, **_SECRETS)

    async def seal(self, runs_dir: Path, op: Op) -> tuple[Path, str]:
        """Seal a plan of an op; return its folder and its digest."""
        run_dir = runs_dir / f"{self.name}-{op}"
        job = Job(
            mappings=self._rows(op),
            op=op,
            run_dir=run_dir,
            canary=0,
            concurrency=PLACES,
            rate=None,
            settle_after=0.2,
        )
        planned = await off_loop(plan, job)
        assert planned.digest is not None
        self.runs[run_dir.name] = op
        return run_dir, planned.digest

    def _rows(self, op: Op) -> list[dict[str, str]]:
        """Return the rows of an op; no two ops have an email in common."""
        contacts = self.world.contacts
        match op:
            case Op.LINK:
                return [line for c in contacts for line in rows(c.free, c.a)]
            case Op.RELINK:
                return [line for c in contacts for line in rows(c.linked[:1], c.b)]
            case _:
                return [line for c in contacts for line in rows(c.linked[1:])]


@dataclass(frozen=True, slots=True)
class Orgs:
    """Orgs whose runs are approved for one worker.

    Args:
        runs_dir: folder of all runs.
        gate: holds the calls of all orgs.
        orgs: the orgs.
    """

    runs_dir: Path
    gate: Gate
    orgs: list[WorkedOrg]


async def queue_for_worker(org: WorkedOrg, run_dir: Path, digest: str) -> None:
    """Approve a sealed run for the worker of its folder."""
    await queue_run(run_dir, org.connection, expect=digest, yes=True, profile=org.name)


@asynccontextmanager
async def serve_orgs(
    ops_by_org: Sequence[Sequence[Op]],
    runs_dir: Path,
    *,
    first: int = 0,
    approve: Callable[[WorkedOrg, Path, str], Awaitable[None]] = queue_for_worker,
) -> AsyncIterator[Orgs]:
    """Serve orgs whose runs are approved in turn: the first of each, then the second.

    Args:
        ops_by_org: ops of the runs of each org.
        runs_dir: folder of all runs.
        first: number of the first org, from which its name follows.
        approve: approves a sealed run, by its folder and its digest.
    """
    gate = Gate()
    async with AsyncExitStack() as stack:
        orgs = []
        for number in range(len(ops_by_org)):
            world = World()
            for _ in range(CONTACTS):
                world.add(free=2, linked=2)
            crm = GatedCrm(world, Settings(concurrency=PLACES, latency=0.02), gate)
            server = await stack.enter_async_context(TestServer(create_app(crm)))
            crm.url = str(server.make_url("")).rstrip("/")
            orgs.append(WorkedOrg(f"org{first + number}", crm, world))
            save_profile(orgs[-1].name, crm.url)
        stack.callback(gate.open)
        for turn in range(max(map(len, ops_by_org))):
            for org, ops in zip(orgs, ops_by_org, strict=True):
                if turn < len(ops):
                    await approve(org, *await org.seal(runs_dir, ops[turn]))
        try:
            yield Orgs(runs_dir, gate, orgs)
        finally:
            for pid in await find_children(runs_dir):
                kill_child(pid)


def save_profile(name: str, url: str) -> None:
    """Store a profile that connects to a CRM."""
    folder = config_folder()
    profile = Profile("demo", SecretBackend.FILE, api_url=url, accounts_url=url)
    Profiles(folder).save(name, profile)
    FileSecretStore(folder).save(name, Credentials(**_SECRETS))


@dataclass(frozen=True, slots=True)
class Worker:
    """A running worker, with short times, which ends once the queue is drained.

    Args:
        process: its process.
        runs_dir: folder of the runs.
    """

    process: asyncio.subprocess.Process
    runs_dir: Path

    async def kill(self) -> None:
        """Kill the worker, and none of its children."""
        self.process.kill()
        await self.process.wait()

    async def reports(self, event: str) -> None:
        """Wait until it reports an event."""
        assert self.process.stderr is not None
        while (line := await self.process.stderr.readline()).decode().strip() != event:
            assert line, "it ended"

    async def drain(self) -> dict[str, Any]:
        """Wait until it has ended, and return what it did."""
        output, errors = await self.process.communicate()
        assert self.process.returncode == 0, errors.decode()
        result: dict[str, Any] = orjson.loads(output)
        assert (result["left"], result["waiting"]) == ([], []), errors.decode()
        return result


@asynccontextmanager
async def worker(runs_dir: Path, slots: int) -> AsyncIterator[Worker]:
    """Start a worker; kill it if it still runs at the end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _WORKER, str(runs_dir), str(slots)),
        env=environment(),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    started = Worker(process, runs_dir)
    try:
        yield started
    finally:
        if process.returncode is None:
            await started.kill()


def environment() -> dict[str, str]:
    """Return the environment of this process without settings of bulklink."""
    return {name: text for name, text in os.environ.items() if not name.startswith("BULKLINK_")}


async def find_children(runs_dir: Path) -> dict[int, str]:
    """Return the runs that processes of this machine send from a folder, by process id."""
    list_processes = ["ps", "-A", "-ww", "-o", "pid=", "-o", "args="]
    listed = await off_loop(
        subprocess.run, list_processes, capture_output=True, check=True, text=True
    )
    command = re.compile(
        rf"^ *(\d+) .* -m bulklink (?:apply|resume) {re.escape(str(runs_dir))}/(\S+)"
    )
    found = map(command.match, listed.stdout.splitlines())
    return {int(match[1]): match[2] for match in found if match}


def kill_child(pid: int) -> None:
    """Kill the process of a run."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, KILL)
