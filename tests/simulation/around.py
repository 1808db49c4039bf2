"""What a command that only reads meets here: the emulated CRM, its clock, files without threads."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from bulklink.emulator.crm import Crm
from bulklink.engine.clock import Clock
from bulklink.ledger.writer import DiskFiles
from bulklink.operations.environment import Surroundings
from bulklink.zoho.transport import Transport
from tests.simulation.machine import Life, Machine
from tests.simulation.simulated import CrmTransport, DayInMemory
from tests.virtual import now


class _Now:
    """Files that are written at once: threads and a virtual clock do not go together."""

    def __init__(self, ledger: Path, answers: Path) -> None:
        self._disk = DiskFiles(ledger, answers, sync=False)

    async def write(self, ledger: bytes, answers: bytes) -> None:
        self._disk.write_now(ledger, answers)

    def close(self) -> None:
        self._disk.close()


@asynccontextmanager
async def surroundings(
    crm: Crm, on_request: Callable[[], None] = lambda: None
) -> AsyncIterator[Surroundings]:
    """Lend the surroundings of a command whose CRM is emulated; it may be told of each request."""
    async with anyio.create_task_group() as servers:
        machine = Machine(Life(), lambda: None, random.Random(1), b"", 0.0)

        @asynccontextmanager
        async def transport() -> AsyncIterator[Transport]:
            yield CrmTransport(crm, servers, machine, lambda *request, **how: on_request())

        yield Surroundings(
            clock=Clock(wall=now, monotonic=now, chance=random.Random(2).random),
            transport=transport,
            files=lambda ledger, answers, sync: _Now(ledger, answers),
            token_store=None,
            day=lambda key: DayInMemory(),
        )
        servers.cancel_scope.cancel()
