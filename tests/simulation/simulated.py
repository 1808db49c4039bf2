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
from bulklink.emulator.settings import Settings
from bulklink.emulator.wire import Answer as WireAnswer
from bulklink.emulator.wire import Fate
from bulklink.emulator.wire import Request as WireRequest
from bulklink.emulator.worldfile import world_from
from bulklink.engine.breaker import Refusals
from bulklink.engine.caller import Caller
from bulklink.engine.clock import Clock
from bulklink.engine.context import Desk, Sending
from bulklink.engine.dispatch import workers_for
from bulklink.engine.failure_limit import MaxFailures
from bulklink.engine.lookups import organisation
from bulklink.engine.message_state import track_of
from bulklink.engine.quota.budget import Book, Limits
from bulklink.engine.quota.daily_usage import Ask, Day, DayFile
from bulklink.engine.quota.gate import Credits, Rules
from bulklink.engine.ratelimit.limiter import Pacer
from bulklink.engine.shutdown import HaltedError, Stopping
from bulklink.errors import BulklinkError, RunStoppedError, StoppedBy
from bulklink.ledger.state import Replay, mend, replay
from bulklink.ledger.writer import open_ledger
from bulklink.models import Message, Op, Status
from bulklink.operations.callbacks import Counter as Counted
from bulklink.operations.callbacks import Watch
from bulklink.operations.delivery import Delivery, Trial, canary_due
from bulklink.runs.record import CanaryRecord
from bulklink.zoho.client import Client
from bulklink.zoho.connection import Connection, Credentials
from bulklink.zoho.http import Answer, CallKind, Silence
from bulklink.zoho.tokens import Tokens
from bulklink.zoho.transport import ANSWER_SECONDS
from tests.simulation.machine import Life, Machine, MachineFiles
from tests.simulation.witness import Witness
from tests.virtual import now

NEVER = MaxFailures(percent=100)
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
        goes_on: Callable[[], bool] = lambda: True,
    ) -> None:
        self._crm = crm
        self._servers = servers
        self._machine = machine
        self._on_request = on_request
        self._goes_on = goes_on

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer | Silence:
        goes_on = self._goes_on()  # at the moment that it leaves; a strike may come with it
        self._machine.event()
        await self._machine.up()
        target = url.removeprefix("http://crm")
        self._on_request(method, target, body or b"", goes_on=goes_on)
        path, _, query = target.partition("?")
        lower = {name.lower(): value for name, value in headers.items()}
        answers: list[WireAnswer] = []
        done = anyio.Event()

        async def serve() -> None:
            answers.append(
                await self._crm.handle(WireRequest(method, path, query, lower, body or b""))
            )
            done.set()

        self._servers.start_soon(serve)
        with anyio.move_on_after(ANSWER_SECONDS):
            await done.wait()
        self._machine.event()
        await self._machine.up()
        return _received(answers[0]) if answers else Silence("no answer in time", in_time=False)


def _received(answer: WireAnswer) -> Answer | Silence:
    if answer.fate is not Fate.DELIVERED:
        return Silence("the connection broke")
    retry_after = answer.headers.get("Retry-After")
    left = answer.headers.get("X-API-CREDITS-REMAINING")
    return Answer(
        answer.status,
        bytes(answer.body),
        retry_after=float(retry_after) if retry_after else None,
        credits_left=int(left) if left else None,
    )


class DayInMemory:
    """The day's credits, without a thread and a disk."""

    def __init__(self) -> None:
        self._file = DayFile(None, "org")

    async def take(self, ask: Ask) -> int:
        return self._file.take(ask)

    async def spent(self, minute: int) -> list[tuple[int, int]]:
        return self._file.spent(minute)

    def close(self) -> None:
        pass  # the next life counts on

    def __del__(self) -> None:
        self._file.close()


class Person(Watch):
    """Answers the question of a canary, if anybody is there."""

    def __init__(self, answer: Callable[[], bool] | None) -> None:
        self.can_ask = answer is not None
        self._answer = answer

    def go_on(self, found: str, left: int) -> bool:
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
    limits: Limits = field(default_factory=Limits)
    wait_for_credits: bool = False
    look_up: bool = False
    """Whether the org is looked up first, as a run does."""
    max_failures: MaxFailures | None = NEVER
    canary: int = 0
    go_on: Callable[[], bool] | None = None
    """Answers for a person after a canary that did not pass; None for no terminal."""

    def reads_first(self, op: Op) -> bool:
        """Tell whether the present link is read before this is done."""
        return op is not Op.LINK if self.snapshot is None else self.snapshot

    def delivery(self, counter: Counted, stopping: Stopping, kept: list[CanaryRecord]) -> Delivery:
        """Return what sends the messages, as a run has it."""
        watch = Person(self.go_on)
        trial = Trial(kept.append, watch, counter, "here")
        return Delivery(counter, self.max_failures, trial, watch, stopping, "here")

    @property
    def all_listed(self) -> bool:
        """Whether each email is on a page that is read."""
        hidden = any(fault.kind == "hidden" for fault in self.faults)
        return not hidden and self.read_pages * 10 >= len(self.emails)

    def crm(self) -> Crm:
        contacts = sorted({*(e["contact_id"] for e in self.emails), *self.deals.values()})
        world = world_from(
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
class Outcome:
    """What a run left behind.

    `lies` are broken promises that were seen while it ran. `lives` counts the commands on it.
    """

    crm: Crm
    stopping: Stopping
    began: float = 0.0
    ledger: bytes = b""
    requests: list[tuple[str, str]] = field(default_factory=list)
    api_moments: list[float] = field(default_factory=list)
    crashes: int = 0
    lives: int = 0
    lies: list[str] = field(default_factory=list)
    books: list[Book] = field(default_factory=list)
    canary: list[CanaryRecord] = field(default_factory=list)
    """What `run.json` kept of the canary, the last one last."""
    day: DayInMemory = field(default_factory=lambda: DayInMemory())

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
        return self.deals_at(message, now())

    def taken_off(self, message: Message) -> bool:
        """Tell whether a message is on no deal by a call of the run."""
        changes = [c for c in self.crm.state.applied if c.message_id == message.message_id]
        return bool(changes) and changes[-1].by == "call" and changes[-1].after is None

    def deals_at(self, message: Message, at: float) -> str | None:
        """Return the deal on which the CRM had a message at some time."""
        view = self.crm.state.view_at(message.contact_id, at)
        return view.deal_of(view.mailbox.by_id[message.message_id])


async def run(
    case: Case,
    *,
    stop: Stopping | None = None,
    chance_seed: int = 0,
    on_request: Callable[[str], None] = lambda method: None,
    lives: Sequence[Life] = (Life(),),
    folder: Path | None = None,
    crm: Crm | None = None,
) -> Outcome:
    """Run a case to its end, or until it stops.

    Args:
        case: what to run.
        stop: by which it can be stopped.
        chance_seed: of the jitter, and of what is torn.
        on_request: sees the method of each request.
        lives: the commands, one after the other, and what strikes each.
        folder: where the ledger is mended between two lives.
        crm: the one that is left by an earlier run; None makes the case's own.
    """
    outcome = Outcome(crm or case.crm(), stop or Stopping(), now())
    chance = random.Random(chance_seed)
    async with anyio.create_task_group() as servers:
        for number, life in enumerate(lives):
            await anyio.sleep(life.pause)
            told = _told(outcome, folder, number, retry=life.retry)
            finished = number > 0 and outcome.stopping.reason is None and not told.open
            if finished and not told.any_again:
                continue
            await _live(case, outcome, told, life, chance, servers, on_request, stop)
        servers.cancel_scope.cancel()
    return outcome


def _told(outcome: Outcome, folder: Path | None, number: int, *, retry: bool) -> Replay:
    """Mend the ledger and read it, as a resume or a retry does."""
    if folder is None:
        return Replay()
    path = folder / f"ledger-{number}.jsonl"
    path.write_bytes(outcome.ledger)
    mend(path, folder / "ledger.torn")
    outcome.ledger = path.read_bytes()
    badly = (Status.FAILED, Status.IN_DOUBT)
    return replay(path, lambda status, code: status in badly) if retry else replay(path)


async def _live(
    case: Case,
    outcome: Outcome,
    told: Replay,
    life: Life,
    chance: random.Random,
    servers: TaskGroup,
    on_request: Callable[[str], None],
    stop: Stopping | None,
) -> None:
    """Run one command on a machine of its own, and hold what it leaves against the promises."""
    before = outcome.stopping.reason
    outcome.stopping = stopping = stop or Stopping()
    outcome.lives += 1

    def ctrl_c() -> None:
        stopping.stop(RunStoppedError(StoppedBy.INTERRUPTED, "It was told to stop."))

    machine = Machine(life, ctrl_c, chance, outcome.ledger, case.disk_seconds)
    witness = Witness(case, machine, told, stopping, outcome.lies)

    def seen(method: str, target: str, body: bytes, *, goes_on: bool) -> None:
        outcome.requests.append((method, target))
        if "/oauth/" not in target:
            outcome.api_moments.append(now())
        on_request(method)
        witness.leaves(method, target, body, goes_on=goes_on)

    transport = CrmTransport(outcome.crm, servers, machine, seen, lambda: stopping.reason is None)
    with machine.scope:
        await _invocation(
            case,
            stopping,
            told,
            machine,
            transport,
            chance.random,
            outcome.day,
            outcome.books,
            outcome.canary,
            doubted=before is not None and before.by is StoppedBy.CREDITS,
        )
    machine.over()
    outcome.ledger = machine.survivors()
    if machine.off:
        outcome.crashes += 1
        stopping.stop(RunStoppedError(StoppedBy.KILLED, "It was killed."))
    else:
        witness.ended(outcome.taken_off)


async def _invocation(
    case: Case,
    stopping: Stopping,
    told: Replay,
    machine: Machine,
    transport: CrmTransport,
    chance: Callable[[], float],
    day: Day,
    spent: list[Book],
    kept: list[CanaryRecord],
    *,
    doubted: bool,
) -> None:
    """Do what one command does: begin, or go on with what is left."""
    clock = Clock(wall=now, monotonic=now, chance=chance)
    tokens = Tokens(CONNECTION, transport, None, now)
    pacer = Pacer(
        max_in_flight=case.in_flight,
        max_per_second=case.rate,
        stopping=stopping,
        clock=now,
        chance=chance,
    )
    counter = Counted(len(case.messages), told)
    rules = Rules(case.limits, case.wait_for_credits, case.in_flight, doubted)
    credits_ = Credits(rules, stopping, wall=now, monotonic=now)
    try:
        async with open_ledger(MachineFiles(machine)) as ledger:
            client = Client(tokens, transport)
            await credits_.open(day, case.limits)
            caller = Caller(
                client,
                ledger,
                pacer,
                credits_,
                stopping,
                clock,
                first_call=told.next_call,
                settle_after=case.settle_after,
            )
            delivery = case.delivery(counter, stopping, kept)
            desk = Desk(
                Sending(
                    batch_size=case.batch_size,
                    by_contact=case.by_contact,
                    single_endpoint=case.single_endpoint,
                    names=True,
                    module_id=MODULE,
                    read_back=case.read_back,
                    read_pages=case.read_pages,
                    settle_after=case.settle_after,
                ),
                caller,
                ledger,
                Refusals(stopping, map(CallKind, told.worked)),
                stopping,
                clock,
                delivery.settled,
                lambda message: track_of(
                    message,
                    told,
                    snapshot=case.reads_first(message.op),
                    no_put_back=case.no_put_back,
                ),
            )
            if case.look_up:
                await organisation(caller)
            ordered = sorted(case.messages, key=lambda m: (m.contact_id, m.owner_id, m.row))
            await delivery.send(
                desk,
                lambda: iter([ordered]),
                workers=workers_for(case.in_flight),
                due=lambda: canary_due(kept[-1] if kept else None, case.canary, counter.left),
            )
    except HaltedError:
        pass
    except BulklinkError as error:
        stopping.stop(error)
    finally:
        spent.append(credits_.book)
        if not machine.off:
            await credits_.close()


CONNECTION = Connection(
    api_url="http://crm",
    accounts_url="http://crm",
    data_centre=None,
    environment="production",
    api_url_given=True,
    credentials=Credentials("demo", "demo", "demo"),
)


def message(row: int, email: Mapping[str, Any], op: Op, wanted: str | None) -> Message:
    """Return what a plan holds for an email of a world."""
    return Message(
        row,
        op,
        email["contact_id"],
        email["owner_id"],
        email["message_id"],
        None if op is Op.UNLINK else wanted,
        f"User {email['owner_id']}",
        None if op is Op.UNLINK else f"Deal {wanted}",
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
