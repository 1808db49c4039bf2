"""Traffic of a client with endless work to an org whose limits change."""

from __future__ import annotations

import math
import os
import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from anyio.abc import TaskGroup

from bulklink.emulator.settings import Settings
from bulklink.engine.caller import Caller
from bulklink.engine.ratelimit.attempt import Attempt
from bulklink.engine.ratelimit.limiter import ConcurrencyLimiter
from bulklink.engine.shutdown import StopController
from bulklink.errors import RunStoppedError, StoppedError
from bulklink.operations.job import Job
from bulklink.operations.session import CrmSession
from bulklink.task_group import task_group
from bulklink.zoho.http import Answer, NoResponse
from bulklink.zoho.requests import emails_page_request
from bulklink.zoho.throttling import StatedLimit
from tests.simulation.environment import CrmTransport, InMemoryDailyUsage, machine_environment
from tests.simulation.machine import Machine
from tests.simulation.simulator import CONNECTION, OWNERS, Case, contact, email
from tests.virtual import VirtualLoop, now

CONTACTS = 40


@dataclass(frozen=True)
class Org:
    """An org and its limits.

    Args:
        client_limit: limit on calls in flight that the client is configured with.
        server_limit: limit on calls in flight of the server, for all programs together.
        latency: seconds that a call takes.
        background_calls: (start second, calls) that other programs keep in flight.
        penalty: seconds that all calls are refused after a 429; doubled by calling too early.
        retry_after: whether a 429 has a Retry-After header.
        explains_429: whether the text of a 429 says that it is for calls in flight.
        duration: seconds of the simulation.
    """

    client_limit: int
    server_limit: int
    latency: float = 0.5
    background_calls: Sequence[tuple[float, int]] = ()
    penalty: float = 0.0
    retry_after: bool = False
    explains_429: bool = True
    duration: float = 300.0

    def settings(self) -> Settings:
        return Settings(
            latency=self.latency,
            concurrency=self.server_limit,
            background_plan=tuple(f"{start}={calls}" for start, calls in self.background_calls),
            penalty=self.penalty,
            retry_after="on" if self.retry_after else "off",
            too_many_text="told" if self.explains_429 else "same",
            credits=0,
        )


@dataclass
class TrafficResult:
    """When calls succeeded and when they were refused with 429, in seconds since the start."""

    success_times: list[float] = field(default_factory=list)
    refusal_times: list[float] = field(default_factory=list)

    def count_successes(self, since: float = 0.0, until: float = float("inf")) -> int:
        return sum(since <= at < until for at in self.success_times)

    def count_refusals(self, since: float = 0.0) -> int:
        return sum(at >= since for at in self.refusal_times)


class FixedLimiter(ConcurrencyLimiter):
    """Limiter with a fixed limit; after a 429 all calls wait, longer each time."""

    _consecutive_refusals = 0

    def report_accepted(self, attempt: Attempt) -> None:
        self._consecutive_refusals = 0

    def report_refused(
        self,
        attempt: Attempt,
        retry_after: float | None,
        *,
        longest_pause: float = math.inf,
        stated: StatedLimit | None = None,
    ) -> None:
        self._consecutive_refusals += 1
        wait = self._random() * min(30.0, 0.5 * 2.0**self._consecutive_refusals)
        if retry_after is not None:
            wait = max(wait, retry_after + 1.0)
        limit = self._adaptive
        paused_until = max(limit.paused_until, self._clock() + wait)
        self._adaptive = type(limit)(limit.ceiling, limit.ceiling, limit.ceiling, paused_until)


def simulate_traffic(org: Org, seed: int = 0, fixed_limit: int | None = None) -> TrafficResult:
    """Simulate a client with the adaptive or a fixed limit, and return its result."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(_run_client(org, random.Random(seed), fixed_limit))
    finally:
        loop.close()


def find_best_fixed_limit(org: Org, seed: int = 0) -> tuple[int, TrafficResult]:
    """Return the fixed limit with which the most calls succeed, and its result."""
    results = {
        fixed: simulate_traffic(org, seed, fixed) for fixed in range(1, org.client_limit + 1)
    }
    best = max(results, key=lambda fixed: len(results[fixed].success_times))
    return best, results[best]


class _RecordingTransport(CrmTransport):
    """Transport that records when each call is answered."""

    def __init__(
        self, case: Case, servers: TaskGroup, machine: Machine, result: TrafficResult
    ) -> None:
        super().__init__(case.make_crm(), servers, machine, lambda *request, **moment: None)
        self._started_at = now()
        self._result = result

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer | NoResponse:
        answer = await super().send(method, url, headers, body)
        if isinstance(answer, Answer) and "/oauth/" not in url:
            times = self._result.success_times if answer.ok else self._result.refusal_times
            times.append(now() - self._started_at)
        return answer


async def _run_client(org: Org, rng: random.Random, fixed_limit: int | None) -> TrafficResult:
    case = Case([email(n, contact(n), OWNERS[0]) for n in range(CONTACTS)], [], {})
    case.settings = org.settings()
    machine, result = Machine(), TrafficResult()
    async with anyio.create_task_group() as servers:
        session = CrmSession(
            environment=machine_environment(
                machine,
                _RecordingTransport(case, servers, machine, result),
                random=rng.random,
                daily_usage=InMemoryDailyUsage(),
                limiter=ConcurrencyLimiter if fixed_limit is None else FixedLimiter,
            ),
            connection=CONNECTION,
            job=Job(mappings=(), concurrency=fixed_limit or org.client_limit, rate=None),
            stop=StopController(),
            ledger_path=Path(os.devnull),
            answers_path=Path(os.devnull),
        )
        with suppress(RunStoppedError, StoppedError):  # a client that gives up has a result too
            async with session:
                with anyio.move_on_after(org.duration):
                    async with task_group() as group:
                        for n in range(CONTACTS):
                            group.start_soon(_read_repeatedly, session.caller, contact(n))
        servers.cancel_scope.cancel()
    return result


async def _read_repeatedly(caller: Caller, contact_id: str) -> None:
    while True:
        await caller.make(emails_page_request(contact_id, None), contact_id=contact_id)
