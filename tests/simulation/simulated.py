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
from bulklink.engine.caller import Caller, Clock
from bulklink.engine.contact import Desk, Sending
from bulklink.engine.pacer import Pacer
from bulklink.engine.refusals import Refusals
from bulklink.engine.sender import send_all, workers_for
from bulklink.engine.stopping import Stopping
from bulklink.engine.tracks import track_of
from bulklink.engine.windows import contact_windows
from bulklink.ledger.lines import Result
from bulklink.ledger.replay import Replay, mend, replay
from bulklink.ledger.writer import open_ledger
from bulklink.models import Message, Op
from bulklink.zoho.client import Client
from bulklink.zoho.connection import Connection, Credentials
from bulklink.zoho.exchange import Answer, Silence
from bulklink.zoho.tokens import Tokens
from bulklink.zoho.transport import ANSWER_SECONDS
from tests.virtual import now

MODULE = "5843104000000003735"
OWNERS = ("5843104000000424672", "5843104000000424673", "5843104000000424674")


def contact(number: int) -> str:
    return str(5843104000004300000 + number)


def deal(number: int) -> str:
    return str(5843104000004400000 + number)


class Power:
    """The power of the machine that bulklink runs on: it can fail at the nth event."""

    def __init__(self, fails_at: int | None = None) -> None:
        self._left = fails_at
        self.scope = anyio.CancelScope()

    @property
    def off(self) -> bool:
        return self._left is not None and self._left <= 0

    def event(self) -> bool:
        """Note an event; tell whether the power fails at it."""
        if self._left is None:
            return False
        self._left -= 1
        if self._left == 0:
            self.scope.cancel()
        return self._left <= 0


class CrmTransport:
    """Carries requests to an emulated CRM without a network; the CRM outlives a power cut."""

    def __init__(
        self, crm: Crm, servers: TaskGroup, power: Power, on_request: Callable[[str], None]
    ) -> None:
        self._crm = crm
        self._servers = servers
        self._power = power
        self._on_request = on_request
        self.requests: list[tuple[str, str]] = []

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer | Silence:
        if self._power.event():
            await anyio.sleep_forever()  # the power is off: this never goes on
        target = url.removeprefix("http://crm")
        self.requests.append((method, target))
        self._on_request(method)
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
        self._power.event()
        return _received(answers[0]) if answers else Silence("no answer in time")


def _received(answer: WireAnswer) -> Answer | Silence:
    if answer.fate is not Fate.DELIVERED:
        return Silence("the connection broke")
    retry_after = answer.headers.get("Retry-After")
    return Answer(answer.status, bytes(answer.body), float(retry_after) if retry_after else None)


class MemoryFiles:
    """A ledger in memory; a power cut tears the line that is being written."""

    def __init__(self, power: Power, ledger: bytes = b"", answers: bytes = b"") -> None:
        self.ledger = ledger
        self.answers = answers
        self._power = power

    async def write(self, ledger: bytes, answers: bytes) -> None:
        if self._power.off:
            return
        if self._power.event():
            self.ledger += ledger[: len(ledger) * 2 // 3]
            return
        self.ledger += ledger
        self.answers += answers

    def close(self) -> None:
        pass

    def lines(self) -> list[dict[str, Any]]:
        return [orjson.loads(line) for line in self.ledger.splitlines()]


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
    """What a run left behind."""

    crm: Crm
    files: MemoryFiles
    stopping: Stopping
    requests: list[tuple[str, str]]
    crashes: int = 0

    @property
    def results(self) -> dict[int, dict[str, Any]]:
        """The last result of each row."""
        return {line["row"]: line for line in self.files.lines() if line["event"] == "result"}

    @property
    def calls(self) -> Counter[str]:
        """Call lines by op."""
        return Counter(line["op"] for line in self.files.lines() if line["event"] == "call")

    def deal_of(self, message: Message) -> str | None:
        """Return the deal on which the CRM has a message now."""
        return self.deals_at(message, now())

    def deals_at(self, message: Message, at: float) -> str | None:
        view = self.crm.state.view_at(message.contact_id, at)
        return view.deal_of(view.mailbox.by_id[message.message_id])


async def run(
    case: Case,
    *,
    stop: Stopping | None = None,
    chance_seed: int = 0,
    on_request: Callable[[str], None] = lambda method: None,
    crashes: Sequence[int] = (),
    folder: Path | None = None,
) -> Outcome:
    """Run a case to its end, or until it stops.

    Args:
        case: what to run.
        stop: by which it can be stopped.
        chance_seed: of the jitter.
        on_request: sees the method of each request.
        crashes: the power fails after so many events, and again after so many of the resume.
        folder: where the ledger is mended between a crash and the resume.
    """
    outcome = Outcome(case.crm(), MemoryFiles(Power()), stop or Stopping(), [])
    chance = random.Random(chance_seed)
    async with anyio.create_task_group() as servers:
        for number, events in enumerate((*crashes, None)):
            told = _told(outcome.files, folder, number)
            power = Power(events)
            files = MemoryFiles(power, outcome.files.ledger, outcome.files.answers)
            outcome.stopping = stop or Stopping()
            with power.scope:
                await _invocation(
                    case, outcome, told, files, power, chance.random, servers, on_request
                )
            outcome.files = files
            if not power.off:
                break
            outcome.crashes += 1
        servers.cancel_scope.cancel()
    return outcome


def _told(files: MemoryFiles, folder: Path | None, number: int) -> Replay:
    """Mend the ledger and read it, as a resume does."""
    if folder is None:
        return Replay()
    path = folder / f"ledger-{number}.jsonl"
    path.write_bytes(files.ledger)
    mend(path, folder / "ledger.torn")
    files.ledger = path.read_bytes()
    return replay(path)


async def _invocation(
    case: Case,
    outcome: Outcome,
    told: Replay,
    files: MemoryFiles,
    power: Power,
    chance: Callable[[], float],
    servers: TaskGroup,
    on_request: Callable[[str], None],
) -> None:
    """Do what one command does: begin, or go on with what is left."""
    stopping = outcome.stopping
    clock = Clock(wall=now, monotonic=now, chance=chance)
    transport = CrmTransport(outcome.crm, servers, power, on_request)
    transport.requests = outcome.requests
    tokens = Tokens(_CONNECTION, transport, None, now)
    pacer = Pacer(
        max_in_flight=case.in_flight, max_per_second=case.rate, stopping=stopping, clock=now
    )

    def settled(result: Result) -> None:
        assert told.is_to_do(result.row), f"row {result.row} was settled twice"
        told.mark(result.row, result.status)

    async with open_ledger(files) as ledger:
        client = Client(tokens, transport)
        caller = Caller(client, ledger, pacer, stopping, clock, first_call=told.next_call)
        desk = Desk(
            Sending(
                batch_size=case.batch_size,
                by_contact=case.by_contact,
                single_endpoint=case.single_endpoint,
                names=True,
                module_id=MODULE,
            ),
            caller,
            ledger,
            Refusals(stopping),
            stopping,
            clock,
            settled,
            lambda message: track_of(message, told),
        )
        ordered = sorted(case.messages, key=lambda m: (m.contact_id, m.owner_id, m.row))
        for wanted in (set(told.open).__contains__, told.is_to_do):
            left = [m for m in ordered if wanted(m.row)]
            windows = contact_windows([left], case.batch_size, by_contact=case.by_contact)
            await send_all(windows, desk, workers=workers_for(case.in_flight))


_CONNECTION = Connection(
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
