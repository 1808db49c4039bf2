"""The engine on a virtual clock against the emulator in process: what a seed draws, and its run."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import orjson
from anyio.abc import TaskGroup

from bulklink.emulator.crm import Crm
from bulklink.emulator.faults import Fault
from bulklink.emulator.http import Answer as WireAnswer
from bulklink.emulator.http import DeliveryMode
from bulklink.emulator.http import Request as WireRequest
from bulklink.emulator.settings import Settings
from bulklink.emulator.worldfile import parse_world
from bulklink.engine.active_contacts import ActiveContacts
from bulklink.engine.breaker import CircuitBreaker
from bulklink.engine.caller import Caller
from bulklink.engine.clock import Clock
from bulklink.engine.context import RunContext, SendSettings
from bulklink.engine.dispatch import worker_count
from bulklink.engine.failure_limit import MaxFailures
from bulklink.engine.lookups import look_up_org
from bulklink.engine.message_state import initial_state
from bulklink.engine.quota.budget import Budget, CreditLimits
from bulklink.engine.quota.daily_usage import AllowanceRequest, DailyUsage, DailyUsageFile
from bulklink.engine.quota.gate import QuotaGate, QuotaPolicy
from bulklink.engine.ratelimit.limiter import ConcurrencyLimiter
from bulklink.engine.shutdown import StopController
from bulklink.errors import BulklinkError, RunStoppedError, StoppedBy, StoppedError
from bulklink.ledger.state import LedgerState, repair_torn_line, replay
from bulklink.ledger.writer import LedgerWriter
from bulklink.models import Message, Op, Status
from bulklink.operations.callbacks import ResultCounter, RunCallbacks
from bulklink.operations.delivery import Delivery, canary_size
from bulklink.runs.record import CanaryRecord
from bulklink.zoho.client import Client
from bulklink.zoho.connection import Connection, Credentials
from bulklink.zoho.http import Answer, CallKind, NoResponse
from bulklink.zoho.tokens import TokenProvider
from bulklink.zoho.transport import ANSWER_TIMEOUT_SECONDS
from tests.simulation.invariants import InvariantMonitor
from tests.simulation.machine import Machine, MachineFiles, SimulatedCommand
from tests.virtual import now

NO_FAILURE_LIMIT = MaxFailures(percent=100)
MODULE = "5843104000000003735"
OWNERS = ("5843104000000424672", "5843104000000424673", "5843104000000424674")


def contact(number: int) -> str:
    return str(5843104000004300000 + number)


def deal(number: int) -> str:
    return str(5843104000004400000 + number)


class CrmTransport:
    """Carries requests to an emulated CRM without a network; the CRM outlives a power cut."""

    def __init__(
        self,
        crm: Crm,
        servers: TaskGroup,
        machine: Machine,
        on_request: Callable[..., None],
        is_running: Callable[[], bool] = lambda: True,
    ) -> None:
        self._crm = crm
        self._servers = servers
        self._machine = machine
        self._on_request = on_request
        self._is_running = is_running

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer | NoResponse:
        was_running = self._is_running()  # at the moment that it leaves; a strike may come with it
        self._machine.record_event()
        await self._machine.wait_forever_if_off()
        target = url.removeprefix("http://crm")
        self._on_request(method, target, body or b"", was_running=was_running)
        path, _, query = target.partition("?")
        lowercase_headers = {name.lower(): value for name, value in headers.items()}
        answers: list[WireAnswer] = []
        answered = anyio.Event()

        async def serve() -> None:
            answers.append(
                await self._crm.handle(
                    WireRequest(method, path, query, lowercase_headers, body or b"")
                )
            )
            answered.set()

        self._servers.start_soon(serve)
        with anyio.move_on_after(ANSWER_TIMEOUT_SECONDS):
            await answered.wait()
        self._machine.record_event()
        await self._machine.wait_forever_if_off()
        return (
            _to_client_answer(answers[0])
            if answers
            else NoResponse("no answer in time", timed_out=True)
        )


def _to_client_answer(answer: WireAnswer) -> Answer | NoResponse:
    if answer.delivery is not DeliveryMode.DELIVERED:
        return NoResponse("the connection broke")
    retry_after = answer.headers.get("Retry-After")
    credits_left = answer.headers.get("X-API-CREDITS-REMAINING")
    return Answer(
        answer.status,
        bytes(answer.body),
        retry_after=float(retry_after) if retry_after else None,
        credits_left=int(credits_left) if credits_left else None,
    )


class InMemoryDailyUsage:
    """The day's credits, without a thread and a disk."""

    def __init__(self) -> None:
        self._file = DailyUsageFile(None, "org")

    async def take(self, request: AllowanceRequest) -> int:
        return self._file.take(request)

    async def spent_by_minute(self, minute: int) -> list[tuple[int, int]]:
        return self._file.spent_by_minute(minute)

    def close(self) -> None:
        pass  # the next life counts on

    def __del__(self) -> None:
        self._file.close()


class ScriptedUser(RunCallbacks):
    """Answers the question of a canary, if anybody is there."""

    def __init__(self, answer: Callable[[], bool] | None) -> None:
        self.can_ask = answer is not None
        self._answer = answer

    def confirm_after_canary(self, summary: str, remaining: int) -> bool:
        return self._answer is not None and self._answer()


@dataclass
class Case:
    """A world, what is wanted of it, and how the CRM behaves."""

    emails: list[dict[str, Any]]
    messages: list[Message]
    deals: dict[str, str]
    """Contact of each deal."""
    settings: Settings = field(default_factory=Settings)
    faults: Sequence[Fault] = ()
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
    look_up: bool = False
    """Whether the org is looked up first, as a run does."""
    max_failures: MaxFailures | None = NO_FAILURE_LIMIT
    canary: int = 0
    answer_prompt: Callable[[], bool] | None = None
    """Answers for a person after a canary that did not pass; None for no terminal."""

    def reads_first(self, op: Op) -> bool:
        """Tell whether the present link is read before this is done."""
        return op is not Op.LINK if self.snapshot is None else self.snapshot

    def make_delivery(
        self, counter: ResultCounter, stop: StopController, canary_records: list[CanaryRecord]
    ) -> Delivery:
        """Return what sends the messages, as a run has it."""
        callbacks = ScriptedUser(self.answer_prompt)
        return Delivery(
            counter=counter,
            max_failures=self.max_failures,
            save_canary=canary_records.append,
            callbacks=callbacks,
            stop=stop,
            run_dir="here",
        )

    @property
    def all_listed(self) -> bool:
        """Whether each email is on a page that is read."""
        hidden = any(fault.kind == "hidden" for fault in self.faults)
        return not hidden and self.read_pages * 10 >= len(self.emails)

    def make_crm(self) -> Crm:
        contacts = sorted({*(e["contact_id"] for e in self.emails), *self.deals.values()})
        world = parse_world(
            {
                "module_id": MODULE,
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
    """What a run left behind.

    `violations` are broken promises that were seen while it ran. `commands_run` counts the commands
    on it.
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
    canary_records: list[CanaryRecord] = field(default_factory=list)
    """What `run.json` kept of the canary, the last one last."""
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
        """Call lines by op."""
        return Counter(line["op"] for line in self.lines() if line["event"] == "call")

    def deal_of(self, message: Message) -> str | None:
        """Return the deal on which the CRM has a message now."""
        return self.deal_at(message, now())

    def was_unlinked_by_run(self, message: Message) -> bool:
        """Tell whether a message is on no deal by a call of the run."""
        changes = [c for c in self.crm.state.change_log if c.message_id == message.message_id]
        return bool(changes) and changes[-1].author == "call" and changes[-1].deal_id is None

    def deal_at(self, message: Message, at: float) -> str | None:
        """Return the deal on which the CRM had a message at some time."""
        view = self.crm.state.view_at(message.contact_id, at)
        return view.deal_of(view.mailbox.by_id[message.message_id])


async def simulate(
    case: Case,
    *,
    stop: StopController | None = None,
    random_seed: int = 0,
    on_request: Callable[[str], None] = lambda method: None,
    commands: Sequence[SimulatedCommand] = (SimulatedCommand(),),
    folder: Path | None = None,
    crm: Crm | None = None,
) -> SimulatedRun:
    """Run a case to its end, or until it stops.

    Args:
        case: what to run.
        stop: by which it can be stopped.
        random_seed: of the jitter, and of what is torn.
        on_request: sees the method of each request.
        commands: the commands, one after the other, and what strikes each.
        folder: where the ledger is mended between two lives.
        crm: the one that is left by an earlier run; None makes the case's own.
    """
    outcome = SimulatedRun(crm or case.make_crm(), stop or StopController(), now())
    rng = random.Random(random_seed)
    async with anyio.create_task_group() as servers:
        for number, command in enumerate(commands):
            await anyio.sleep(command.pause)
            ledger_state = _recover_ledger(outcome, folder, number, retry=command.retry)
            is_finished = number > 0 and outcome.stop.reason is None and not ledger_state.open_rows
            if is_finished and not ledger_state.retry_count:
                continue
            await _run_command(case, outcome, ledger_state, command, rng, servers, on_request, stop)
        servers.cancel_scope.cancel()
    return outcome


def _recover_ledger(
    outcome: SimulatedRun, folder: Path | None, number: int, *, retry: bool
) -> LedgerState:
    """Mend the ledger and read it, as a resume or a retry does."""
    if folder is None:
        return LedgerState()
    path = folder / f"ledger-{number}.jsonl"
    path.write_bytes(outcome.ledger)
    repair_torn_line(path, folder / "ledger.torn")
    outcome.ledger = path.read_bytes()
    retried_statuses = (Status.FAILED, Status.IN_DOUBT)
    return replay(path, lambda status, code: status in retried_statuses) if retry else replay(path)


async def _run_command(
    case: Case,
    outcome: SimulatedRun,
    ledger_state: LedgerState,
    command: SimulatedCommand,
    rng: random.Random,
    servers: TaskGroup,
    on_request: Callable[[str], None],
    stop: StopController | None,
) -> None:
    """Run one command on a machine of its own, and hold what it leaves against the promises."""
    previous_reason = outcome.stop.reason
    outcome.stop = command_stop = stop or StopController()
    outcome.commands_run += 1

    def ctrl_c() -> None:
        command_stop.request(RunStoppedError(StoppedBy.INTERRUPTED, "It was told to stop."))

    machine = Machine(command, ctrl_c, rng, outcome.ledger, case.disk_seconds)
    monitor = InvariantMonitor(case, machine, ledger_state, command_stop, outcome.violations)

    def record_request(method: str, target: str, body: bytes, *, was_running: bool) -> None:
        outcome.requests.append((method, target))
        if "/oauth/" not in target:
            outcome.api_request_times.append(now())
        on_request(method)
        monitor.check_request(method, target, body, was_running=was_running)

    transport = CrmTransport(
        outcome.crm, servers, machine, record_request, lambda: command_stop.reason is None
    )
    with machine.scope:
        await _send_messages(
            case,
            command_stop,
            ledger_state,
            machine,
            transport,
            rng.random,
            outcome.daily_usage,
            outcome.budgets,
            outcome.canary_records,
            quota_suspected=previous_reason is not None
            and previous_reason.stopped_by is StoppedBy.CREDITS,
        )
    machine.disarm()
    outcome.ledger = machine.surviving_ledger()
    if machine.is_off:
        outcome.crashes += 1
        command_stop.request(RunStoppedError(StoppedBy.KILLED, "It was killed."))
    else:
        monitor.check_end(outcome.was_unlinked_by_run)


async def _send_messages(
    case: Case,
    stop: StopController,
    ledger_state: LedgerState,
    machine: Machine,
    transport: CrmTransport,
    jitter: Callable[[], float],
    daily_usage: DailyUsage,
    budgets: list[Budget],
    canary_records: list[CanaryRecord],
    *,
    quota_suspected: bool,
) -> None:
    """Do what one command does: begin, or go on with what is left."""
    clock = Clock(wall=now, monotonic=now, random=jitter)
    tokens = TokenProvider(CONNECTION, transport, None, now)
    limiter = ConcurrencyLimiter(
        max_in_flight=case.in_flight,
        max_per_second=case.rate,
        stop=stop,
        clock=now,
        random=jitter,
    )
    counter = ResultCounter(len(case.messages), ledger_state)
    rules = QuotaPolicy(case.limits, case.wait_for_credits, case.in_flight, quota_suspected)
    quota = QuotaGate(rules, stop, wall=now, monotonic=now)
    try:
        async with LedgerWriter(MachineFiles(machine)) as ledger, limiter:
            client = Client(tokens, transport)
            await quota.open(daily_usage, case.limits)
            caller = Caller(
                client,
                ledger,
                limiter,
                quota,
                stop,
                clock,
                first_call=ledger_state.next_call,
                settle_after=case.settle_after,
            )
            delivery = case.make_delivery(counter, stop, canary_records)
            breaker = CircuitBreaker(stop, map(CallKind, ledger_state.confirmed_kinds))
            context = RunContext(
                SendSettings(
                    batch_size=case.batch_size,
                    by_contact=case.by_contact,
                    single_endpoint=case.single_endpoint,
                    send_names=True,
                    module_id=MODULE,
                    read_back=case.read_back,
                    read_pages=case.read_pages,
                    settle_after=case.settle_after,
                ),
                caller,
                quota,
                ledger,
                breaker,
                ActiveContacts(breaker, stop),
                stop,
                clock,
                delivery.on_result,
                lambda message: initial_state(
                    message,
                    ledger_state,
                    snapshot=case.reads_first(message.op),
                    no_put_back=case.no_put_back,
                ),
            )
            if case.look_up:
                await look_up_org(caller)
            ordered = sorted(case.messages, key=lambda m: (m.contact_id, m.owner_id, m.row))
            await delivery.send(
                context,
                lambda: iter([ordered]),
                workers=worker_count(case.in_flight),
                get_canary_size=lambda: canary_size(
                    canary_records[-1] if canary_records else None, case.canary, counter.to_send
                ),
            )
    except StoppedError:
        pass
    except BulklinkError as error:
        stop.request(error)
    finally:
        budgets.append(quota.budget)
        if not machine.is_off:
            await quota.close()


CONNECTION = Connection(
    api_url="http://crm",
    accounts_url="http://crm",
    data_centre=None,
    environment="production",
    api_url_given=True,
    credentials=Credentials("demo", "demo", "demo"),
)


def message(row: int, email: Mapping[str, Any], op: Op, deal_id: str | None) -> Message:
    """Return what a plan holds for an email of a world."""
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
    """Return an email as a world file holds it; ids have 64 hex digits."""
    return {
        "contact_id": contact_id,
        "message_id": f"{number:064x}",
        "owner_id": owner,
        "deal_id": deal_id,
        "time": "2026-03-01T10:00:00+00:00",
    }
