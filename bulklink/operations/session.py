"""What a command needs to contact the CRM: connection, client, limiter, quota, caller."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from pathlib import Path

import msgspec

from bulklink.engine.breaker import ReadBreaker
from bulklink.engine.caller import Caller
from bulklink.engine.clock import Clock
from bulklink.engine.dispatch import worker_count
from bulklink.engine.lookups import look_up_org
from bulklink.engine.quota.budget import CreditLimits
from bulklink.engine.quota.gate import QuotaGate, QuotaPolicy
from bulklink.engine.ratelimit.limiter import ConcurrencyLimiter
from bulklink.engine.shutdown import StopController, StoppedError
from bulklink.errors import BulklinkError, ConfigError, RefusedError
from bulklink.ledger.writer import LedgerWriter, open_ledger
from bulklink.operations.callbacks import ReadProgress, RunCallbacks
from bulklink.operations.cancellation import sample_periodically
from bulklink.operations.credit_limits import credit_limits, credits_key, daily_quota
from bulklink.operations.environment import Environment
from bulklink.operations.job import Job, WhenCreditsOut
from bulklink.operations.monitor import MetricsSampler
from bulklink.zoho.client import Client
from bulklink.zoho.connection import Connection, secrets_of
from bulklink.zoho.lookup_responses import Org
from bulklink.zoho.tokens import TokenProvider

_CALLS_PER_MESSAGE = 3


class QuotaSession:
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
        stop: StopController,
        environment: Environment,
        *,
        stopped_for_credits: bool = False,
        warn: Callable[[str], None] = lambda text: None,
        on_wait: Callable[[float | None], None] = lambda until: None,
        messages_left: Callable[[], int] | None = None,
    ) -> None:
        self._job = job
        self._connection = connection
        self._environment = environment
        self._warn = warn
        self._usage_key: str | None = None
        rules = QuotaPolicy(
            credit_limits(job),
            wait_for_credits=job.when_credits_out is WhenCreditsOut.WAIT,
            max_in_flight=job.max_in_flight(),
            exhausted_before=stopped_for_credits,
        )
        self.quota = QuotaGate(
            rules,
            stop,
            wall=environment.clock.wall,
            monotonic=environment.clock.monotonic,
            on_wait_change=on_wait,
            calls_left=None
            if messages_left is None
            else lambda: _CALLS_PER_MESSAGE * messages_left(),
        )

    async def open_known_org(self, org_id: str | None) -> None:
        """Count from the first call on, where the run has met its org before.

        Its licence is not known yet, so the reserve is not reckoned with: one call finds out.

        Raises:
            ConfigError: if the day has a limit and cannot be counted.
        """
        if org_id is not None:
            await self._open(
                Org(org_id),
                msgspec.structs.replace(credit_limits(self._job), per_day_if_unreported=None),
            )

    async def open_org(self, org: Org) -> None:
        """Count from now on, with what was spent so far: the org is known.

        Raises:
            ConfigError: if the day has a limit and cannot be counted.
        """
        limits = credit_limits(self._job, daily_quota(self._job, org))
        await self._open(org, limits)
        if limits.reserve and limits.per_day_if_unreported is None:
            self._warn(
                "--reserve-credits is kept once the CRM tells what is left, from half of it on:"
                " the org's credits are not known. --credits-per-day or --edition tells them."
            )

    async def close(self) -> None:
        """Give back what was not spent of the day's credits; after a second Ctrl-C it stays."""
        with suppress(BulklinkError):
            await self.quota.close()

    async def _open(self, org: Org, limits: CreditLimits) -> None:
        usage_key = credits_key(self._connection.api_url, org.id)
        if usage_key == self._usage_key:
            self.quota.budget.limits = limits
            return
        try:
            daily_usage = self._environment.daily_usage(usage_key)
        except OSError as error:
            if limits.per_day is None and limits.per_day_if_unreported is None:
                self.quota.budget.limits = limits
                return
            raise ConfigError(
                f"The credits of 24 hours cannot be counted: {error}.",
                where="--credits-per-day, --reserve-credits",
                advice="Make the folder for the state of programs writable (XDG_STATE_HOME).",
            ) from None
        self._usage_key = usage_key
        await self.quota.open(daily_usage, limits)


def early_resume_warning(resume_at: str) -> str:
    """Tell that a run is resumed before its time."""
    return (
        f"The run stopped for want of credits, and there may be none before {resume_at}: its first"
        " call finds out."
    )


class ReadSession(msgspec.Struct, frozen=True):
    """What readers of contacts share.

    `log` takes their lines, those of calls among them; `workers` is how many contacts are read at
    once.
    """

    caller: Caller
    log: LedgerWriter
    breaker: ReadBreaker
    stop: StopController
    clock: Clock
    limiter: ConcurrencyLimiter
    job: Job
    spending: QuotaSession

    @property
    def workers(self) -> int:
        """Contacts that are read at once."""
        return worker_count(self.limiter.max_in_flight)

    async def look_up_org(self) -> Org:
        """Look up the org, and let its licence say how many calls may be in flight."""
        org = await look_up_org(self.caller)
        self.limiter.resize(self.job.max_in_flight(org.paid_type))
        await self.spending.open_org(org)
        return org


def report_read_progress(
    session: ReadSession,
    callbacks: RunCallbacks,
    unit: str,
    count_done: Callable[[], int],
    total: int,
) -> AbstractAsyncContextManager[None]:
    """Tell whoever watches how far a reading is, while the block reads.

    Args:
        session: that reads.
        callbacks: is told.
        unit: is read.
        count_done: returns how many of them are read.
        total: how many there are.
    """
    observer = MetricsSampler(
        session.caller.totals,
        session.limiter,
        session.spending.quota,
        session.job.rate,
        done=count_done,
        remaining=lambda: total - count_done(),
    )

    async def sample() -> None:
        await observer.sample()
        callbacks.on_read(ReadProgress(unit, count_done(), total, observer.metrics()))

    return sample_periodically(sample)


@contextmanager
def stop_on_error(stop: StopController) -> Iterator[None]:
    """Have what ends the reading told to `stop`; only a refusal goes on as an error."""
    try:
        yield
    except StoppedError:
        pass
    except RefusedError:
        raise
    except BulklinkError as error:
        stop.request(error)


@asynccontextmanager
async def open_read_session(
    log: Path,
    answers: Path,
    job: Job,
    connection: Connection,
    stop: StopController,
    environment: Environment,
    warn: Callable[[str], None],
) -> AsyncIterator[ReadSession]:
    """Open a session that reads.

    Args:
        log: the file that takes the lines.
        answers: the file that takes answers which were no clean success.
        job: how many calls are made, and how fast; it names no mapping.
        connection: where the CRM is and how to sign in.
        stop: by which it can be stopped.
        environment: network, disk and clock.
        warn: told what the user should know.

    Raises:
        LedgerError: at the end, if something could not be written.
    """
    clock = environment.clock
    limiter = ConcurrencyLimiter(
        max_in_flight=job.max_in_flight(),
        max_per_second=job.rate,
        stop=stop,
        clock=clock.monotonic,
        random=clock.random,
        notify=warn,
    )
    spending = QuotaSession(job, connection, stop, environment)
    files = environment.files(log, answers, False)  # noqa: FBT003 - not synced: reads change nothing
    try:
        async with environment.transport() as transport, open_ledger(files) as writer, limiter:
            tokens = TokenProvider(connection, transport, environment.token_store, clock.wall)
            client = Client(tokens, transport, secrets_of(connection))
            caller = Caller(
                client,
                writer,
                limiter,
                spending.quota,
                stop,
                clock,
                settle_after=job.settle_after,
            )
            breaker = ReadBreaker()
            yield ReadSession(caller, writer, breaker, stop, clock, limiter, job, spending)
    finally:
        try:
            await spending.close()
        finally:
            files.close()
