"""A client with endless work against an org whose limits move: what a policy makes of it."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskGroup

from bulklink.emulator.settings import Settings
from bulklink.engine.caller import Caller
from bulklink.engine.clock import Clock
from bulklink.engine.quota.gate import Credits, Rules
from bulklink.engine.ratelimit.limiter import Pacer, Turn
from bulklink.engine.shutdown import HaltedError, Stopping
from bulklink.errors import RunStoppedError
from bulklink.ledger.writer import open_ledger
from bulklink.zoho.client import Client
from bulklink.zoho.http import Answer, Silence
from bulklink.zoho.requests import emails_page
from bulklink.zoho.tokens import Tokens
from tests.simulation.machine import Machine, MachineFiles
from tests.simulation.simulated import CONNECTION, OWNERS, Case, CrmTransport, contact, email
from tests.virtual import VirtualLoop, now

CONTACTS = 40


@dataclass(frozen=True)
class Org:
    """What an org allows, and how.

    Args:
        told: calls in flight that the client is told of.
        cap: what the server allows, all programs together.
        latency: seconds of a call.
        others: (seconds, calls) from when on other programs keep how many in flight.
        penalty: seconds that all is refused after a 429; calling too early doubles them.
        retry_after: whether a 429 says when to come again.
        words: whether the words of a 429 say that it is for calls in flight.
        seconds: how long it is watched.
    """

    told: int
    cap: int
    latency: float = 0.5
    others: Sequence[tuple[float, int]] = ()
    penalty: float = 0.0
    retry_after: bool = False
    words: bool = True
    seconds: float = 300.0

    def settings(self) -> Settings:
        return Settings(
            latency=self.latency,
            concurrency=self.cap,
            background_plan=tuple(f"{at}={calls}" for at, calls in self.others),
            penalty=self.penalty,
            retry_after="on" if self.retry_after else "off",
            too_many_text="told" if self.words else "same",
            credits=0,
        )


@dataclass
class Seen:
    """When calls were answered with success, and when with 429, in seconds from the start."""

    done: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)

    def calls(self, since: float = 0.0, until: float = float("inf")) -> int:
        return sum(since <= at < until for at in self.done)

    def refusals(self, since: float = 0.0) -> int:
        return sum(at >= since for at in self.refused)


class FixedPacer(Pacer):
    """Keeps to its limit whatever is answered; all wait after a 429, longer each time."""

    _persists = 0

    def answered(self, turn: Turn) -> None:
        self._persists = 0

    def refused(self, turn: Turn, retry_after: float | None) -> None:
        self._persists += 1
        wait = self._chance() * min(30.0, 0.5 * 2.0**self._persists)
        if retry_after is not None:
            wait = max(wait, retry_after + 1.0)
        known = self._capacity
        until = max(known.paused_until, self._clock() + wait)
        self._capacity = type(known)(known.ceiling, known.ceiling, known.ceiling, until)


def watch(org: Org, seed: int = 0, fixed: int | None = None) -> Seen:
    """Let a client work, adaptive or with a fixed limit, and return what the server answered."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(_work(org, random.Random(seed), fixed))
    finally:
        loop.close()


def best_fixed(org: Org, seed: int = 0) -> tuple[int, Seen]:
    """Return the fixed limit with which most calls succeed, in hindsight."""
    tried = {fixed: watch(org, seed, fixed) for fixed in range(1, org.told + 1)}
    best = max(tried, key=lambda fixed: len(tried[fixed].done))
    return best, tried[best]


class _Counted(CrmTransport):
    """Notes when each call was answered."""

    def __init__(self, case: Case, servers: TaskGroup, machine: Machine, seen: Seen) -> None:
        super().__init__(case.crm(), servers, machine, lambda *request, **moment: None)
        self._began = now()
        self._seen = seen

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer | Silence:
        answer = await super().send(method, url, headers, body)
        if isinstance(answer, Answer) and "/oauth/" not in url:
            seen = self._seen.done if answer.ok else self._seen.refused
            seen.append(now() - self._began)
        return answer


async def _work(org: Org, chance: random.Random, fixed: int | None) -> Seen:
    case = Case([email(n, contact(n), OWNERS[0]) for n in range(CONTACTS)], [], {})
    case.settings = org.settings()
    stopping, machine, seen = Stopping(), Machine(), Seen()
    pacer = (Pacer if fixed is None else FixedPacer)(
        max_in_flight=fixed or org.told,
        max_per_second=None,
        stopping=stopping,
        clock=now,
        chance=chance.random,
    )
    async with anyio.create_task_group() as servers:
        transport = _Counted(case, servers, machine, seen)
        tokens = Tokens(CONNECTION, transport, None, now)
        async with open_ledger(MachineFiles(machine)) as ledger:
            clock = Clock(wall=now, monotonic=now, chance=chance.random)
            spending = Credits(Rules(), stopping, wall=now, monotonic=now)
            client = Client(tokens, transport)
            caller = Caller(client, ledger, pacer, spending, stopping, clock)
            try:
                with anyio.move_on_after(org.seconds):
                    async with anyio.create_task_group() as group:
                        for n in range(CONTACTS):
                            group.start_soon(_ask, caller, contact(n))
            except* (RunStoppedError, HaltedError):
                pass  # the client gave up: that is all it made
        servers.cancel_scope.cancel()
    return seen


async def _ask(caller: Caller, contact_id: str) -> None:
    while True:
        await caller.make(emails_page(contact_id, None), contact_id=contact_id)
