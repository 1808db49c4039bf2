"""Reading the CRM apart from a run: the session that commands share which change nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path

import msgspec

from bulklink.engine.breaker import ReadRefusals
from bulklink.engine.caller import Caller
from bulklink.engine.clock import Clock
from bulklink.engine.dispatch import workers_for
from bulklink.engine.lookups import organisation
from bulklink.engine.ratelimit.limiter import Pacer
from bulklink.engine.shutdown import HaltedError, Stopping
from bulklink.errors import BulklinkError, RefusedError
from bulklink.ledger.writer import LedgerWriter, open_ledger
from bulklink.operations.callbacks import Reading, Watch
from bulklink.operations.environment import Surroundings
from bulklink.operations.job import Job
from bulklink.operations.looking import looking
from bulklink.operations.monitor import Observer
from bulklink.operations.spending import Spending
from bulklink.zoho.client import Client
from bulklink.zoho.connection import Connection, secrets_of
from bulklink.zoho.lookup_responses import Org
from bulklink.zoho.tokens import Tokens


class ReadingSession(msgspec.Struct, frozen=True):
    """What readers of contacts share.

    `log` takes their lines, those of calls among them; `workers` is how many contacts are read at
    once.
    """

    caller: Caller
    log: LedgerWriter
    refusals: ReadRefusals
    stopping: Stopping
    clock: Clock
    pacer: Pacer
    limits: Job
    spending: Spending

    @property
    def workers(self) -> int:
        """Contacts that are read at once."""
        return workers_for(self.pacer.max_in_flight)

    async def org(self) -> Org:
        """Look up the org, and let its licence say how many calls may be in flight."""
        org = await organisation(self.caller)
        self.pacer.resize(self.limits.in_flight(org.paid_type))
        await self.spending.met(org)
        return org


def told_of(
    session: ReadingSession, watch: Watch, what: str, done: Callable[[], int], of: int
) -> AbstractAsyncContextManager[None]:
    """Tell whoever watches how far a reading is, while the block reads.

    Args:
        session: that reads.
        watch: is told.
        what: is read.
        done: returns how many of them are read.
        of: how many there are.
    """
    observer = Observer(
        session.caller.measured,
        session.pacer,
        session.spending.credits,
        session.limits.rate,
        done=done,
        left=lambda: of - done(),
    )

    async def look() -> None:
        await observer.look()
        watch.read(Reading(what, done(), of, observer.gauge()))

    return looking(look)


@contextmanager
def ends_told(stopping: Stopping) -> Iterator[None]:
    """Have what ends the reading told to `stopping`; only a refusal goes on as an error."""
    try:
        yield
    except HaltedError:
        pass
    except RefusedError:
        raise
    except BulklinkError as error:
        stopping.stop(error)


@asynccontextmanager
async def reading_session(
    log: Path,
    answers: Path,
    limits: Job,
    connection: Connection,
    stopping: Stopping,
    around: Surroundings,
    warn: Callable[[str], None],
) -> AsyncIterator[ReadingSession]:
    """Open a session that reads.

    Args:
        log: the file that takes the lines.
        answers: the file that takes answers which were no clean success.
        limits: how many calls are made, and how fast; it names no mapping.
        connection: where the CRM is and how to sign in.
        stopping: by which it can be stopped.
        around: network, disk and clock.
        warn: told what the user should know.

    Raises:
        LedgerError: at the end, if something could not be written.
    """
    clock = around.clock
    pacer = Pacer(
        max_in_flight=limits.in_flight(),
        max_per_second=limits.rate,
        stopping=stopping,
        clock=clock.monotonic,
        chance=clock.chance,
        notice=warn,
    )
    spending = Spending(limits, connection, stopping, around)
    files = around.files(log, answers, False)  # noqa: FBT003 - not synced: reads change nothing
    try:
        async with around.transport() as transport, open_ledger(files) as writer:
            tokens = Tokens(connection, transport, around.token_store, clock.wall)
            client = Client(tokens, transport, secrets_of(connection))
            caller = Caller(
                client,
                writer,
                pacer,
                spending.credits,
                stopping,
                clock,
                settle_after=limits.settle_after,
            )
            refusals = ReadRefusals()
            yield ReadingSession(caller, writer, refusals, stopping, clock, pacer, limits, spending)
    finally:
        try:
            await spending.end()
        finally:
            files.close()
