"""Environment of a read-only command: emulated CRM, virtual clock, synchronous files."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from bulklink.blocking import run_inline
from bulklink.emulator.crm import Crm
from bulklink.engine.clock import Clock
from bulklink.ledger.writer import DiskLedgerFiles
from bulklink.operations.environment import Environment
from bulklink.zoho.transport import Transport
from tests.simulation.machine import Machine, SimulatedCommand
from tests.simulation.simulator import CrmTransport, InMemoryDailyUsage
from tests.virtual import now


class _SynchronousFiles:
    """Files written without a thread: threads and a virtual clock do not go together."""

    def __init__(self, ledger: Path, answers: Path) -> None:
        self._disk = DiskLedgerFiles(ledger, answers, sync=False)

    async def write(self, ledger: bytes, answers: bytes) -> None:
        self._disk.write_blocking(ledger, answers)

    def close(self) -> None:
        self._disk.close()


@asynccontextmanager
async def simulated_environment(
    crm: Crm, on_request: Callable[[], None] = lambda: None
) -> AsyncIterator[Environment]:
    """Yield the environment of a command whose CRM is emulated.

    Args:
        crm: the emulated CRM.
        on_request: called when a request leaves.
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
            run_blocking=run_inline,
        )
        servers.cancel_scope.cancel()
