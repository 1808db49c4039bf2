"""Environment of a simulated command, with an emulated CRM, a virtual clock and no threads."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import TaskGroup

from bulklink.blocking import run_inline
from bulklink.emulator.crm import Crm
from bulklink.emulator.http import Answer as WireAnswer
from bulklink.emulator.http import DeliveryMode
from bulklink.emulator.http import Request as WireRequest
from bulklink.engine.clock import Clock
from bulklink.engine.quota.daily_usage import AllowanceRequest, DailyUsage, DailyUsageFile
from bulklink.ledger.writer import DiskLedgerFiles
from bulklink.operations.environment import Environment
from bulklink.zoho.http import Answer, NoResponse, Transport
from bulklink.zoho.transport import ANSWER_TIMEOUT_SECONDS
from tests.simulation.machine import Machine, MachineFiles, SimulatedCommand
from tests.virtual import now


class Failure(StrEnum):
    """How calls fail while the network is down."""

    REFUSED = "refused"
    """Nothing accepts connections; calls in flight lose their answers."""
    SILENT = "silent"
    """There is no answer until the time-out."""
    GATEWAY = "gateway"
    """A gateway answers HTTP 503, to calls in flight too."""


@dataclass(frozen=True, slots=True)
class Downtime:
    """A period in which nothing answers.

    Args:
        begins: when it begins, in seconds since the start.
        seconds: how long it lasts.
        failure: how calls fail meanwhile.
        accounts_only: whether only the accounts server is down.
    """

    begins: float
    seconds: float
    failure: Failure = Failure.REFUSED
    accounts_only: bool = False

    def covers(self, seconds: float, target: str) -> bool:
        """Return whether a request to `target` fails, given the seconds since the start."""
        concerns = not self.accounts_only or "/oauth/" in target
        return concerns and self.begins <= seconds < self.begins + self.seconds


class CrmTransport:
    """Transport to an emulated CRM without a network; the CRM survives a power loss."""

    def __init__(
        self,
        crm: Crm,
        servers: TaskGroup,
        machine: Machine,
        on_request: Callable[..., Callable[[int | None], None] | None],
        is_running: Callable[[], bool] = lambda: True,
        *,
        reports_credits: bool = True,
        downtimes: Sequence[Downtime] = (),
        started_at: float = 0.0,
    ) -> None:
        """Set up the transport.

        Args:
            crm: the CRM that answers requests.
            servers: runs the CRM's work on each request, even after the client is interrupted.
            machine: the client's machine.
            on_request: called when a request is sent; the function it returns is called with the
                status of the answer, or None if there is no answer.
            is_running: returns whether the run is not stopped.
            reports_credits: whether answers report the org's remaining credits.
            downtimes: when nothing answers.
            started_at: the time that downtimes count from.
        """
        self._crm = crm
        self._servers = servers
        self._machine = machine
        self._on_request = on_request
        self._is_running = is_running
        self._reports_credits = reports_credits
        self._downtimes = downtimes
        self._started_at = started_at

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer | NoResponse:
        was_running = self._is_running()  # before an interruption that the request may trigger
        self._machine.record_event()
        await self._machine.wait_forever_if_off()
        target = url.removeprefix("http://crm")
        on_answer = self._on_request(method, target, body or b"", was_running=was_running)
        failed = await self._fail(target)
        if failed is not None:
            return self._hand_over(failed, on_answer)
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
        answer = (
            _to_client_answer(answers[0], reports_credits=self._reports_credits)
            if answers
            else NoResponse("no answer in time", timed_out=True)
        )
        downtime = self._downtime(target)
        if downtime is not None and downtime.failure is Failure.GATEWAY:
            answer = Answer(503, b"<html>")
        elif downtime is not None:
            answer = NoResponse("the connection broke")
        return self._hand_over(answer, on_answer)

    def _downtime(self, target: str) -> Downtime | None:
        seconds = now() - self._started_at
        return next(
            (downtime for downtime in self._downtimes if downtime.covers(seconds, target)), None
        )

    async def _fail(self, target: str) -> Answer | NoResponse | None:
        """Return the outcome of a request sent while nothing answers, or else None."""
        match self._downtime(target):
            case None:
                return None
            case Downtime(failure=Failure.REFUSED):
                await anyio.sleep(0.01)
                return NoResponse("nothing accepts connections there", sent=False)
            case Downtime(failure=Failure.SILENT):
                await anyio.sleep(ANSWER_TIMEOUT_SECONDS)
                return NoResponse("no answer in time", timed_out=True)
            case _:
                await anyio.sleep(0.01)
                return Answer(503, b"<html>")

    @staticmethod
    def _hand_over(
        answer: Answer | NoResponse, on_answer: Callable[[int | None], None] | None
    ) -> Answer | NoResponse:
        if on_answer is not None:
            on_answer(answer.status if isinstance(answer, Answer) else None)
        return answer


def _to_client_answer(answer: WireAnswer, *, reports_credits: bool) -> Answer | NoResponse:
    if answer.delivery is not DeliveryMode.DELIVERED:
        return NoResponse("the connection broke")
    retry_after = answer.headers.get("Retry-After")
    credits_left = answer.headers.get("X-API-CREDITS-REMAINING")
    window = answer.headers.get("X-Bulklink-Credit-Window")
    return Answer(
        answer.status,
        bytes(answer.body),
        retry_after=float(retry_after) if retry_after else None,
        credits_left=int(credits_left) if credits_left and reports_credits else None,
        credit_window=float(window) if window else None,
    )


class InMemoryDailyUsage:
    """24-hour usage without threads or a disk."""

    def __init__(self) -> None:
        self._file = DailyUsageFile(None, "connection")

    async def take(self, request: AllowanceRequest) -> int:
        return self._file.take(request)

    async def spent_by_minute(self, minute: int) -> list[tuple[int, int]]:
        return self._file.spent_by_minute(minute)

    async def window_minutes(self) -> int:
        return self._file.window_minutes()

    async def org(self) -> str | None:
        return self._file.org()

    def close(self) -> None:
        pass  # the next command continues the count

    def __del__(self) -> None:
        self._file.close()


class _MachineDailyUsage:
    """24-hour usage as seen by one machine; a machine that is off gets no credits."""

    def __init__(self, daily_usage: DailyUsage, machine: Machine) -> None:
        self._daily_usage = daily_usage
        self._machine = machine

    async def take(self, request: AllowanceRequest) -> int:
        return 0 if self._machine.is_off else await self._daily_usage.take(request)

    async def spent_by_minute(self, minute: int) -> list[tuple[int, int]]:
        return await self._daily_usage.spent_by_minute(minute)

    async def window_minutes(self) -> int:
        return await self._daily_usage.window_minutes()

    async def org(self) -> str | None:
        return await self._daily_usage.org()

    def close(self) -> None:
        self._daily_usage.close()


class _SynchronousFiles:
    """Files written without a thread, as threads do not work with a virtual clock."""

    def __init__(self, ledger: Path, answers: Path) -> None:
        self._disk = DiskLedgerFiles(ledger, answers, sync=False)

    async def write(self, ledger: bytes, answers: bytes) -> None:
        self._disk.write_blocking(ledger, answers)

    def close(self) -> None:
        self._disk.close()


@asynccontextmanager
async def _never_sample(sample: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    del sample  # would be called twice a second, for days
    yield


@asynccontextmanager
async def _provide(transport: Transport) -> AsyncIterator[Transport]:
    yield transport


def machine_environment(
    machine: Machine,
    transport: Transport,
    *,
    random: Callable[[], float],
    daily_usage: DailyUsage,
    **options: Any,
) -> Environment:
    """Return the environment of a command that runs on a simulated machine.

    Args:
        machine: the machine.
        transport: the transport.
        random: returns random numbers in [0, 1).
        daily_usage: 24-hour usage, which outlives the machine.
        options: other fields of `Environment`.
    """

    def open_transport() -> AbstractAsyncContextManager[Transport]:
        return _provide(transport)

    return Environment(
        clock=Clock(wall=now, monotonic=now, random=random),
        transport=open_transport,
        files=lambda ledger, answers, sync: MachineFiles(machine, ledger),
        token_store=None,
        daily_usage=lambda key: _MachineDailyUsage(daily_usage, machine),
        run_blocking=run_inline,
        sample_periodically=_never_sample,
        machine_mark=lambda: machine.command.machine_mark,
        **options,
    )


@asynccontextmanager
async def simulated_environment(
    crm: Crm, on_request: Callable[[], None] = lambda: None
) -> AsyncIterator[Environment]:
    """Yield the environment of a command with an emulated CRM and real files.

    Args:
        crm: the emulated CRM.
        on_request: called when a request is sent.
    """
    async with anyio.create_task_group() as servers:
        machine = Machine(SimulatedCommand(), lambda: None, random.Random(1), b"", 0.0)

        @asynccontextmanager
        async def transport() -> AsyncIterator[Transport]:
            yield CrmTransport(crm, servers, machine, lambda *request, **how: on_request())

        yield Environment(
            clock=Clock(wall=now, monotonic=now, random=random.Random(2).random),
            transport=transport,
            files=lambda ledger, answers, sync: _SynchronousFiles(ledger, answers),
            token_store=None,
            daily_usage=lambda key: InMemoryDailyUsage(),
            machine_mark=lambda: "simulated",
            run_blocking=run_inline,
        )
        servers.cancel_scope.cancel()
