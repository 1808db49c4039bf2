"""Simulator of runs on a virtual clock against the emulator in this process."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import msgspec
import orjson
from anyio.abc import TaskGroup

from bulklink.emulator.crm import Crm
from bulklink.emulator.faults import Fault
from bulklink.emulator.settings import Settings
from bulklink.emulator.worldfile import parse_world
from bulklink.engine.failure_limit import MaxFailures
from bulklink.engine.quota.budget import Budget, CreditLimits
from bulklink.engine.quota.gate import QuotaGate
from bulklink.engine.shutdown import StopController
from bulklink.errors import BulklinkError, RunStoppedError, StoppedBy
from bulklink.ledger.records import timestamp
from bulklink.ledger.replay import replay
from bulklink.ledger.state import LedgerState, repair_torn_line
from bulklink.models import Message, Op, Status
from bulklink.operations.callbacks import RunCallbacks
from bulklink.operations.job import GroupBy, Job, WhenCreditsOut
from bulklink.operations.prepare import new_record
from bulklink.operations.send import send
from bulklink.runs.folder import RunFolder
from bulklink.runs.record import CanaryRecord, RunRecord, RunState
from bulklink.zoho.connection import Connection, Credentials
from bulklink.zoho.http import Transport
from tests.guard import inline
from tests.simulation.environment import (
    CrmTransport,
    Downtime,
    InMemoryDailyUsage,
    machine_environment,
)
from tests.simulation.invariants import InvariantMonitor
from tests.simulation.machine import Machine, SimulatedCommand
from tests.simulation.plans import SimulatedPlan, memory_folder, seal_plan
from tests.virtual import now

NO_FAILURE_LIMIT = MaxFailures(percent=100)
MODULE = "5843104000000003735"
OWNERS = ("5843104000000424672", "5843104000000424673", "5843104000000424674")


def contact(number: int) -> str:
    return str(5843104000004300000 + number)


def deal(number: int) -> str:
    return str(5843104000004400000 + number)


class ScriptedUser(RunCallbacks):
    """Callbacks that answer the prompt after a canary, if there is a terminal."""

    def __init__(self, answer: Callable[[], bool] | None) -> None:
        self.can_ask = answer is not None
        self._answer = answer

    def confirm_after_canary(self, summary: str, remaining: int) -> bool:
        return self._answer is not None and self._answer()


@dataclass
class Case:
    """A world, the messages to send, and the behaviour of the CRM and the run."""

    emails: list[dict[str, Any]]
    messages: list[Message]
    deals: dict[str, str]
    """Contact of each deal."""
    settings: Settings = field(default_factory=Settings)
    faults: Sequence[Fault] = ()
    downtimes: Sequence[Downtime] = ()
    """Periods in which nothing answers, counted from the start of the first command."""
    outage: float = 300.0
    """Seconds that a run waits while nothing answers."""
    batch_size: int = 20
    by_contact: bool = False
    single_endpoint: bool = False
    in_flight: int = 10
    rate: float | None = None
    read_back: bool = True
    read_pages: int = 200
    settle_after: float = 10.0
    snapshot: bool | None = None
    no_put_back: bool = False
    disk_seconds: float = 0.0
    limits: CreditLimits = field(default_factory=CreditLimits)
    wait_for_credits: bool = False
    reports_credits: bool = True
    paid_type: str = "enterprise"
    """Edition of the org's licence; the credits of an unknown edition are unknown."""
    names_in_plan: bool = True
    """Whether the plan has names of deals and owners; if not, they are looked up."""
    plan_in_order: bool = True
    """Whether the sealed plan can be read to the end."""
    max_failures: MaxFailures | None = NO_FAILURE_LIMIT
    canary: int = 0
    answer_prompt: Callable[[], bool] | None = None
    """Returns the user's answer after a canary that failed; None for no terminal."""
    settles_whole_batches: bool = True
    """Whether one answer may settle a batch of messages that have no state each."""

    def reads_first(self, op: Op) -> bool:
        """Return whether the run reads the current links before this op."""
        return op is not Op.LINK if self.snapshot is None else self.snapshot

    def make_job(self) -> Job:
        """Return the job of the run."""
        limits = self.limits
        per_day = limits.per_day
        if per_day is None and limits.per_day_if_unreported is not None:
            per_day = limits.per_day_if_unreported + limits.reserve
        return Job(
            mappings=("mapping.csv",),
            allow_round_ids=True,
            yes=True,
            batch_size=self.batch_size,
            group_by=GroupBy.CONTACT if self.by_contact else GroupBy.CONTACT_AND_OWNER,
            single_endpoint=self.single_endpoint,
            concurrency=self.in_flight,
            rate=self.rate,
            read_back=self.read_back,
            read_pages=self.read_pages,
            settle_after=self.settle_after,
            outage=self.outage,
            snapshot=self.snapshot,
            accept_no_put_back=self.no_put_back,
            max_failures=self.max_failures,
            canary=self.canary,
            max_credits=limits.per_invocation,
            credits_per_day=per_day,
            reserve_credits=limits.reserve,
            when_credits_out=WhenCreditsOut.WAIT if self.wait_for_credits else WhenCreditsOut.STOP,
        )

    def seal_plan(self) -> SimulatedPlan:
        """Return the sealed plan of the messages."""
        messages = self.messages
        if not self.names_in_plan:
            messages = [
                msgspec.structs.replace(m, owner_name=None, deal_name=None) for m in messages
            ]
        return seal_plan(messages, in_order=self.plan_in_order)

    @property
    def all_listed(self) -> bool:
        """Whether every email is on a page that the run reads."""
        hidden = any(fault.kind == "hidden" for fault in self.faults)
        return not hidden and self.read_pages * 10 >= len(self.emails)

    def make_crm(self) -> Crm:
        contacts = sorted({*(e["contact_id"] for e in self.emails), *self.deals.values()})
        world = parse_world(
            {
                "module_id": MODULE,
                "org": {"license_details": {"paid_type": self.paid_type}},
                "users": [{"id": o, "full_name": f"User {o}", "email": ""} for o in OWNERS],
                "contacts": [{"id": c, "name": f"Contact {c}", "email": ""} for c in contacts],
                "deals": [
                    {"id": d, "name": f"Deal {d}", "contact_id": c} for d, c in self.deals.items()
                ],
                "emails": self.emails,
            }
        )
        return Crm(world, self.settings, self.faults, clock=now, sleep=anyio.sleep)


@dataclass
class SimulatedRun:
    """Outcome of a run.

    `violations` are the guarantees broken during the run. `commands_run` counts the commands that
    ran.
    """

    crm: Crm
    stop: StopController
    started_at: float = 0.0
    ledger: bytes = b""
    requests: list[tuple[str, str]] = field(default_factory=list)
    api_request_times: list[float] = field(default_factory=list)
    crashes: int = 0
    commands_run: int = 0
    violations: list[str] = field(default_factory=list)
    budgets: list[Budget] = field(default_factory=list)
    records: list[RunRecord] = field(default_factory=list)
    """All contents of `run.json`, in order."""
    daily_usage: InMemoryDailyUsage = field(default_factory=lambda: InMemoryDailyUsage())

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines of the ledger."""
        return [orjson.loads(line) for line in self.ledger.splitlines()]

    @property
    def results(self) -> dict[int, dict[str, Any]]:
        """The last result of each row."""
        return {line["row"]: line for line in self.lines() if line["event"] == "result"}

    @property
    def calls(self) -> Counter[str]:
        """Number of call lines by op, without look-ups."""
        ops = Counter(line["op"] for line in self.lines() if line["event"] == "call")
        del ops["lookup"]
        return ops

    @property
    def canary_records(self) -> list[CanaryRecord]:
        """All states of the canary in `run.json`, in order."""
        return [record.canary for record in self.records if record.canary is not None]

    def deal_of(self, message: Message) -> str | None:
        """Return the deal that a message is on now."""
        return self.deal_at(message, now())

    def was_unlinked_by_run(self, message: Message) -> bool:
        """Return whether a message is on no deal because of a call of the run."""
        changes = [c for c in self.crm.state.change_log if c.message_id == message.message_id]
        return bool(changes) and changes[-1].author == "call" and changes[-1].deal_id is None

    def deal_at(self, message: Message, at: float) -> str | None:
        """Return the deal that a message was on at a point in time."""
        view = self.crm.state.view_at(message.contact_id, at)
        return view.deal_of(view.mailbox.by_id[message.message_id])


class SimulatedFolder(RunFolder, frozen=True, kw_only=True):
    """Run folder whose `run.json` is on a simulated machine.

    Args:
        machine: the machine.
        records: the contents of `run.json` over time.
    """

    machine: Machine
    records: list[RunRecord]

    def read(self) -> RunRecord:
        return msgspec.json.decode(msgspec.json.encode(self.records[-1]), type=RunRecord)

    def write(self, record: RunRecord) -> None:
        if not self.machine.is_off:
            self.records.append(record)


async def simulate(
    case: Case,
    *,
    stop: StopController | None = None,
    random_seed: int = 0,
    on_request: Callable[[str], None] = lambda method: None,
    commands: Sequence[SimulatedCommand] = (SimulatedCommand(),),
    folder: Path | None = None,
    crm: Crm | None = None,
    wrap_transport: Callable[[Transport], Transport] = lambda transport: transport,
) -> SimulatedRun:
    """Run a case until it is finished or stops.

    Args:
        case: the case.
        stop: controller to stop the run with; None creates one for each command.
        random_seed: seed of the jitter and of torn writes.
        on_request: called with the method of each request.
        commands: the commands and their interruptions, one after another.
        folder: parent of the run folder during the run; None for a folder in memory.
        crm: the CRM of an earlier run; None for a new one.
        wrap_transport: returns the transport to use in place of the one to the CRM.
    """
    outcome = SimulatedRun(crm or case.make_crm(), stop or StopController(), now())
    with tempfile.TemporaryDirectory(dir=folder or memory_folder(), prefix="run-") as path:
        run = _Simulation(
            case,
            outcome,
            Path(path),
            random.Random(random_seed),
            on_request,
            stop,
            wrap_transport,
        )
        run.prepare()
        async with anyio.create_task_group() as servers:
            for command in commands:
                await anyio.sleep(command.pause)
                await run.run_command(command, servers)
            servers.cancel_scope.cancel()
    return outcome


@dataclass
class _Simulation:
    """The commands on one run, each on its own machine."""

    _case: Case
    _outcome: SimulatedRun
    _path: Path
    _rng: random.Random
    _on_request: Callable[[str], None]
    _stop: StopController | None
    _wrap_transport: Callable[[Transport], Transport]
    _plan: SimulatedPlan = field(init=False)

    def prepare(self) -> None:
        """Create the run folder as after planning."""
        case, folder = self._case, RunFolder(self._path)
        folder.ledger.write_bytes(b"")
        self._plan = case.seal_plan()
        shutil.copyfile(self._plan.path, folder.plan)
        count = len(case.messages)
        by_op = dict(Counter(message.op for message in case.messages))
        last_row = max((message.row for message in case.messages), default=0)
        record = new_record(
            case.make_job(),
            timestamp(now()),
            inputs=(),
            rows=count,
            left_out=max(0, last_row - count),
            messages=count,
            by_op=by_op,
        )
        self._outcome.records.append(record)

    async def run_command(self, command: SimulatedCommand, servers: TaskGroup) -> None:
        """Run one command, unless nothing is left to do, and check its end."""
        outcome = self._outcome
        ledger_state = self._load_ledger(retry=command.retry)
        if outcome.records[-1].state is RunState.FINISHED and not ledger_state.retry_count:
            return
        outcome.stop = stop = self._stop or StopController()
        outcome.commands_run += 1

        def ctrl_c() -> None:
            stop.request(RunStoppedError(StoppedBy.INTERRUPTED, "It was asked to stop."))

        machine = Machine(command, ctrl_c, self._rng, outcome.ledger, self._case.disk_seconds)
        monitor = InvariantMonitor(self._case, machine, ledger_state, stop, outcome.violations)
        with machine.scope:
            try:
                await self._send(machine, monitor, servers)
            except (BulklinkError, ExceptionGroup) as error:
                await machine.wait_forever_if_off()  # errors of a killed process are not seen
                outcome.violations.append(f"send raised {error!r}")
        machine.disarm()
        outcome.ledger = machine.surviving_ledger()
        RunFolder(self._path).ledger.write_bytes(outcome.ledger)
        if machine.is_off:
            outcome.crashes += 1
            stop.request(RunStoppedError(StoppedBy.KILLED, "It was killed."))
        else:
            monitor.check_end(outcome.was_unlinked_by_run)

    def _load_ledger(self, *, retry: bool) -> LedgerState:
        """Repair and replay the ledger, as a resume or a retry does."""
        folder = RunFolder(self._path)
        repair_torn_line(folder.ledger, folder.ledger_torn)
        self._outcome.ledger = folder.ledger.read_bytes()
        if not retry:
            return inline(replay)(folder.ledger)
        retried_statuses = (Status.FAILED, Status.IN_DOUBT)
        return inline(replay)(folder.ledger, lambda status, code: status in retried_statuses)

    async def _send(self, machine: Machine, monitor: InvariantMonitor, servers: TaskGroup) -> None:
        case, outcome, stop = self._case, self._outcome, monitor.stop
        gates: list[QuotaGate] = []

        def record_request(
            method: str, target: str, body: bytes, *, was_running: bool
        ) -> Callable[[int | None], None] | None:
            outcome.requests.append((method, target))
            if "/oauth/" not in target:
                outcome.api_request_times.append(now())
            self._on_request(method)
            monitor.check_request(method, target, body, was_running=was_running)
            return None if "/oauth/" in target else monitor.check_alone(method, target)

        def make_gate(*arguments: Any, **options: Any) -> QuotaGate:
            gates.append(QuotaGate(*arguments, **options))
            return gates[-1]

        environment = machine_environment(
            machine,
            self._wrap_transport(
                CrmTransport(
                    outcome.crm,
                    servers,
                    machine,
                    record_request,
                    lambda: not stop.reason,
                    reports_credits=case.reports_credits,
                    downtimes=case.downtimes,
                    started_at=outcome.started_at,
                )
            ),
            random=self._rng.random,
            daily_usage=outcome.daily_usage,
            quota_gate=make_gate,
            open_plan=lambda path, interrupt: self._plan,
            settles_whole_batches=case.settles_whole_batches,
        )
        try:
            await send(
                SimulatedFolder(self._path, machine=machine, records=outcome.records),
                monitor.ledger_state,
                job=case.make_job(),
                connection=_SENDING_CONNECTION,
                callbacks=ScriptedUser(case.answer_prompt),
                stop=stop,
                environment=environment,
            )
        finally:
            outcome.budgets += [gate.budget for gate in gates]


CONNECTION = Connection(
    api_url="http://crm",
    accounts_url="http://crm",
    data_centre=None,
    environment="production",
    api_url_given=True,
    credentials=Credentials("demo", "demo", "demo"),
)
_SENDING_CONNECTION = msgspec.structs.replace(CONNECTION, module_id=MODULE)


def message(row: int, email: Mapping[str, Any], op: Op, deal_id: str | None) -> Message:
    """Return the message of a plan for an email of a world."""
    return Message(
        row,
        op,
        email["contact_id"],
        email["owner_id"],
        email["message_id"],
        None if op is Op.UNLINK else deal_id,
        f"User {email['owner_id']}",
        None if op is Op.UNLINK else f"Deal {deal_id}",
    )


def email(number: int, contact_id: str, owner: str, deal_id: str | None = None) -> dict[str, Any]:
    """Return an email as in a world file; its message id has 64 hex digits."""
    return {
        "contact_id": contact_id,
        "message_id": f"{number:064x}",
        "owner_id": owner,
        "deal_id": deal_id,
        "time": "2026-03-01T10:00:00+00:00",
    }
