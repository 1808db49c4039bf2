"""What a command needs to contact the CRM: connection, client, limiter, quota, caller."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import msgspec

from bulklink.engine.breaker import ReadRefusals
from bulklink.engine.caller import Caller
from bulklink.engine.clock import Clock
from bulklink.engine.dispatch import workers_for
from bulklink.engine.lookups import organisation
from bulklink.engine.quota.budget import Limits
from bulklink.engine.quota.gate import Credits, Rules
from bulklink.engine.ratelimit.limiter import Pacer
from bulklink.engine.shutdown import HaltedError, Stopping
from bulklink.errors import BulklinkError, ConfigError, RefusedError
from bulklink.ledger.writer import LedgerWriter, open_ledger
from bulklink.operations.callbacks import Reading, Watch
from bulklink.operations.cancellation import looking
from bulklink.operations.credit_limits import credits_key, limits_of, quota_of
from bulklink.operations.environment import Surroundings
from bulklink.operations.job import Job, WhenCreditsOut
from bulklink.operations.monitor import Observer
from bulklink.zoho.client import Client
from bulklink.zoho.connection import Connection, secrets_of
from bulklink.zoho.lookup_responses import Org
from bulklink.zoho.tokens import Tokens

_CALLS_A_MESSAGE = 3


class Spending:
    """The credits of an invocation, counted in the org's day once the org is known.

    Args:
        job: what is asked.
        connection: where the CRM is.
        stopping: is told when credits are out.
        around: clock, and where the day is counted.
        doubted: whether the run stopped for want of credits before.
        warn: told what a person should know.
        waits: told until when the run waits for credits, and None when it goes on.
        messages_left: returns how many messages are left to do; None where nobody knows.
    """

    def __init__(
        self,
        job: Job,
        connection: Connection,
        stopping: Stopping,
        around: Surroundings,
        *,
        doubted: bool = False,
        warn: Callable[[str], None] = lambda text: None,
        waits: Callable[[float | None], None] = lambda until: None,
        messages_left: Callable[[], int] | None = None,
    ) -> None:
        self._job = job
        self._connection = connection
        self._around = around
        self._warn = warn
        self._key: str | None = None
        rules = Rules(
            limits_of(job),
            wait=job.when_credits_out is WhenCreditsOut.WAIT,
            most_in_flight=job.in_flight(),
            doubted=doubted,
        )
        self.credits = Credits(
            rules,
            stopping,
            wall=around.clock.wall,
            monotonic=around.clock.monotonic,
            told=waits,
            rest=None if messages_left is None else lambda: _CALLS_A_MESSAGE * messages_left(),
        )

    async def begin(self, org_id: str | None) -> None:
        """Count from the first call on, where the run has met its org before.

        Its licence is not known yet, so the reserve is not reckoned with: one call finds out.

        Raises:
            ConfigError: if the day has a limit and cannot be counted.
        """
        if org_id is not None:
            await self._open(
                Org(org_id), msgspec.structs.replace(limits_of(self._job), untold=None)
            )

    async def met(self, org: Org) -> None:
        """Count from now on, with what was spent so far: the org is known.

        Raises:
            ConfigError: if the day has a limit and cannot be counted.
        """
        limits = limits_of(self._job, quota_of(self._job, org))
        await self._open(org, limits)
        if limits.reserve and limits.untold is None:
            self._warn(
                "--reserve-credits is kept once the CRM tells what is left, from half of it on:"
                " the org's credits are not known. --credits-per-day or --edition tells them."
            )

    async def end(self) -> None:
        """Give back what was not spent of the day's credits; after a second Ctrl-C it stays."""
        with suppress(BulklinkError):
            await self.credits.close()

    async def _open(self, org: Org, limits: Limits) -> None:
        key = credits_key(self._connection.api_url, org.id)
        if key == self._key:
            self.credits.book.limits = limits
            return
        try:
            day = self._around.day(key)
        except OSError as error:
            if limits.a_day is None and limits.untold is None:
                self.credits.book.limits = limits
                return
            raise ConfigError(
                f"The credits of 24 hours cannot be counted: {error}.",
                where="--credits-per-day, --reserve-credits",
                advice="Make the folder for the state of programs writable (XDG_STATE_HOME).",
            ) from None
        self._key = key
        await self.credits.open(day, limits)


def too_early(resume_at: str) -> str:
    """Tell that a run is resumed before its time."""
    return (
        f"The run stopped for want of credits, and there may be none before {resume_at}: its first"
        " call finds out."
    )


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
