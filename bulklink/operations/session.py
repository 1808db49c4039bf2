"""Session with the CRM: connection, client, limiter, quota, caller."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import msgspec

from bulklink.advice import Advice, Keyword
from bulklink.engine.caller import Caller
from bulklink.engine.clock import Clock
from bulklink.engine.dispatch import worker_count
from bulklink.engine.lookups import look_up_org
from bulklink.engine.outage import Outage, OutageGate
from bulklink.engine.quota.budget import CreditLimits
from bulklink.engine.quota.gate import QuotaGate, QuotaPolicy
from bulklink.engine.ratelimit.limiter import ConcurrencyLimiter
from bulklink.engine.read_ahead import ReadAhead
from bulklink.engine.shutdown import StopController
from bulklink.engine.worker_pool import WorkerPool
from bulklink.errors import (
    BulklinkError,
    ConfigError,
    InterruptedPlanningError,
    RefusedError,
    StoppedError,
)
from bulklink.ledger.checkpoint import LedgerDigest
from bulklink.ledger.writer import RUN_LEDGER, LedgerWording, LedgerWriter
from bulklink.load_results import LatencyFigures
from bulklink.mapping.interrupt import PlanningStop
from bulklink.models import Status
from bulklink.operations.callbacks import ReadProgress, RunCallbacks
from bulklink.operations.cancellation import make_planning_stop
from bulklink.operations.credit_limits import (
    connection_key,
    credit_limits,
    daily_quota,
    org_key,
    usage_key,
)
from bulklink.operations.environment import Environment
from bulklink.operations.forecast_renewal import ReadForecaster
from bulklink.operations.job import Job, WhenCreditsOut
from bulklink.operations.monitor import MetricsSampler
from bulklink.operations.org_lock import OrgLock, org_locked_error
from bulklink.operations.shared_limit import SharedLimit
from bulklink.runs.figures import summarize_latencies
from bulklink.runs.forecast import CreditRange
from bulklink.task_group import task_group
from bulklink.zoho.client import Client
from bulklink.zoho.connection import Connection, secrets_of
from bulklink.zoho.lookup_responses import Org
from bulklink.zoho.tokens import TokenProvider

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class CrmSession:
    """Everything a command needs to contact the CRM, open while its block runs.

    Credits are counted in the 24-hour usage, from the first call on. At the end the
    ledger is written, unspent credits are given back and the files are closed, in this order.

    Args:
        environment: clock, network and disk.
        connection: endpoint and credentials of the CRM.
        job: limits of calls and credits.
        stop: stops the calls.
        ledger_path: file of the ledger lines.
        answers_path: file of the answers that are not a clean success.
        sync: whether each call waits until its ledger line is flushed to disk.
        ledger_wording: how an error calls that file.
        warn: called with a warning for the user.
        first_call: number of the first call in the ledger.
        ledger_digest: digest of the ledger's lines so far; lines that are written are added.
        stopped_for_credits: whether the run previously stopped for lack of credits.
        on_wait: called when a wait for credits begins (with its end, seconds since 1970) and ends
            (None).
        on_outage: called when an outage begins, and with None when it ends.
        on_org: called with name and type of the org once it is looked up.
        calls_left: returns the calls that the run may still need; None if unknown.
        adapts: whether refusals lower the limit of calls in flight and pause the calls.
        shares_limit: whether commands of this machine that contact the same org share its limit of
            calls in flight; load tests do not.

    Attributes:
        recorded_calls: requests that the ledger records, as `Caller` counts them.
        recorded_results: results that were written to the ledger, by status.
        interrupt: interrupts blocking functions when the run stops.
        limiter: limits the calls in flight and per second.
        quota: limits the credits.
        shared_limit: keeps the calls in flight to this session's share.
        ledger: writes the ledger; set while the session is open.
        caller: makes the calls; set while the session is open.
    """

    environment: Environment
    connection: Connection
    job: Job
    stop: StopController
    ledger_path: Path
    answers_path: Path
    sync: bool = True
    ledger_wording: LedgerWording = RUN_LEDGER
    warn: Callable[[str | Advice], None] = lambda text: None
    first_call: int = 1
    ledger_digest: LedgerDigest = field(default_factory=LedgerDigest)
    stopped_for_credits: bool = False
    on_wait: Callable[[float | None], None] = lambda until: None
    on_outage: Callable[[Outage | None], None] = lambda outage: None
    on_org: Callable[[str | None, str | None], None] = lambda name, kind: None
    calls_left: Callable[[], int] | None = None
    adapts: bool = True
    shares_limit: bool = True
    recorded_calls: Counter[str] = field(default_factory=Counter, init=False)
    recorded_results: Counter[Status] = field(default_factory=Counter, init=False)
    interrupt: PlanningStop = field(init=False)
    limiter: ConcurrencyLimiter = field(init=False)
    quota: QuotaGate = field(init=False)
    shared_limit: SharedLimit = field(init=False)
    ledger: LedgerWriter = field(init=False)
    caller: Caller = field(init=False)
    _stack: AsyncExitStack = field(init=False)
    _shared_limit: SharedLimit = field(init=False)

    def __post_init__(self) -> None:
        self.interrupt = make_planning_stop(self.stop)
        self.limiter = self.environment.limiter(
            max_in_flight=self.job.max_in_flight(),
            max_per_second=self.job.rate,
            stop=self.stop,
            clock=self.clock.monotonic,
            random=self.clock.random,
            notify=self.warn,
            adapts=self.adapts,
        )
        self.shared_limit = SharedLimit(
            limiter=self.limiter,
            max_in_flight=self.job.max_in_flight(),
            shares=self.environment.org_shares if self.shares_limit else None,
            stop=self.stop,
            monotonic=self.clock.monotonic,
            run_blocking=self.environment.run_blocking,
            warn=self.warn,
        )
        policy = QuotaPolicy(
            credit_limits(self.job),
            wait_for_credits=self.job.when_credits_out is WhenCreditsOut.WAIT,
            max_in_flight=self.job.max_in_flight(),
            exhausted_before=self.stopped_for_credits,
        )
        self.quota = self.environment.quota_gate(
            policy,
            self.stop,
            wall=self.clock.wall,
            monotonic=self.clock.monotonic,
            on_wait_change=self.on_wait,
            calls_left=self.calls_left,
        )

    async def __aenter__(self) -> Self:
        """Open the session.

        Raises:
            ConfigError: if the 24-hour usage has a limit and cannot be counted.
            LedgerError: at the end, if lines could not be written.
        """
        async with AsyncExitStack() as stack:
            files = self.environment.files(self.ledger_path, self.answers_path, self.sync)
            stack.callback(files.close)
            stack.push_async_callback(self._close_quota)
            transport = await stack.enter_async_context(self.environment.transport())
            self.ledger = await stack.enter_async_context(
                LedgerWriter(files, self.ledger_digest, self.recorded_results, self.ledger_wording)
            )
            await stack.enter_async_context(self.limiter)
            await stack.enter_async_context(self.shared_limit)
            tokens = TokenProvider(
                self.connection,
                transport,
                self.environment.token_store,
                self.clock.wall,
                warn=self.warn,
            )
            self.caller = Caller(
                Client(tokens, transport, secrets_of(self.connection)),
                self.ledger,
                self.limiter,
                self.quota,
                OutageGate(self.job.outage, self.stop, self.clock, self.on_outage),
                self.stop,
                self.clock,
                recorded=self.recorded_calls,
                first_call=self.first_call,
                settle_after=self.job.settle_after,
                may_leave=self.environment.may_leave,
            )
            await self._open_quota()
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        return await self._stack.__aexit__(kind, error, trace)

    async def run_blocking(self, function: Callable[[], T]) -> T:
        """Run a blocking function, which `interrupt` interrupts, and return its result.

        Raises:
            StoppedError: if the run was stopped meanwhile.
        """
        try:
            return await self.environment.run_blocking(function)
        except InterruptedPlanningError:
            raise StoppedError from None

    @property
    def clock(self) -> Clock:
        """The clock of the environment."""
        return self.environment.clock

    @property
    def workers(self) -> int:
        """Contacts processed concurrently."""
        return worker_count(self.shared_limit.max_in_flight)

    @property
    def latency(self) -> LatencyFigures | None:
        """Mean, percentiles and maximum of the calls so far; None without one."""
        return summarize_latencies(self.caller.meter.latencies)

    def metrics_sampler(
        self,
        *,
        done: Callable[[], int],
        remaining: Callable[[], int],
        forecast: Callable[[], CreditRange | None] = lambda: None,
    ) -> MetricsSampler:
        """Return a sampler of this session's calls and credits.

        Args:
            done: returns the number of emails (or contacts) done.
            remaining: returns the number left to do.
            forecast: returns the credits of the whole command; None if unknown.
        """
        return MetricsSampler(
            self.caller.totals,
            self.limiter,
            self.quota,
            self.job.rate,
            done=done,
            remaining=remaining,
            forecast=forecast,
        )

    async def look_up_org(self) -> Org:
        """Look up the org and apply its licence."""
        org = await self.find_org()
        await self.use_org(org)
        return org

    async def find_org(self) -> Org:
        """Look up the org; this call is in its share already if an earlier command found it."""
        await self.shared_limit.join(
            await self.quota.allowance.org() or connection_key(self.connection)
        )
        return await look_up_org(self.caller)

    async def use_org(self, org: Org) -> None:
        """Apply the licence of the org, and count its credits, including those of earlier calls."""
        self.on_org(org.name, org.type)
        await self.shared_limit.join(org_key(self.connection, org))
        await self.shared_limit.resize(self.job.max_in_flight(org.paid_type))
        limits = credit_limits(self.job, daily_quota(self.job, org))
        if org.id is None:
            self.quota.budget.limits = limits
        else:
            await self._count_for(org.id, limits)

    async def use_known_org(self, org_id: str) -> None:
        """Count the credits of the org that the run has used before, from the first call on."""
        await self._count_for(org_id, self.quota.budget.limits)

    async def _count_for(self, org_id: str, limits: CreditLimits) -> None:
        await self.quota.use_org(usage_key(self.connection.api_url, org_id), limits)

    async def lock_org(
        self, org: Org, run_dir: Path, *, wait: bool = False, on_wait: Callable[[str], None]
    ) -> None:
        """Lock the org on this machine until the session ends, and share its limit.

        Args:
            org: the org, which was looked up.
            run_dir: folder of what is sent, for others that find the org locked.
            wait: whether to wait until another run has ended.
            on_wait: called with what it waits for.

        Raises:
            LockedError: if another run has the lock, and `wait` is false.
            StoppedError: if the run was stopped meanwhile.
        """
        if self.environment.org_locks is None:
            return
        take = partial(self.environment.org_locks.take, org_key(self.connection, org), run_dir)
        is_waiting = False
        while (lock := await self._try_lock(take)) is not None and lock.holder is not None:
            if not wait:
                raise org_locked_error(org, lock.holder, run_dir)
            if not is_waiting:
                await self.shared_limit.leave()  # it makes no call meanwhile
                on_wait(f"Waiting until {lock.holder or 'another run'} ends")
            is_waiting = True
            await self.stop.sleep(_LOCK_POLL_SECONDS)
        if lock is not None:
            self._stack.callback(lock.release)
        await self.shared_limit.join(org_key(self.connection, org))

    async def _try_lock(self, take: Callable[[], OrgLock]) -> OrgLock | None:
        """Try to take the lock of the org; return None, with a warning, if there can be none."""
        try:
            return await self.environment.run_blocking(take)
        except (OSError, BulklinkError) as error:
            self.warn(
                f"The org cannot be locked on this machine ({error}): make sure that no other run"
                " is sent to it at the same time."
            )
            return None

    async def _open_quota(self) -> None:
        """Open the 24-hour usage.

        The licence of the org is unknown until its look-up, so the reserve does not apply to that
        call.

        Raises:
            ConfigError: if the usage has a limit and cannot be counted.
        """
        limits = credit_limits(self.job)
        limits_of_look_up = msgspec.structs.replace(limits, per_day_if_unreported=None)
        try:
            daily_usage = self.environment.daily_usage(connection_key(self.connection))
        except OSError as error:
            if limits.per_day is None and not limits.reserve:
                return
            raise ConfigError(
                f"Cannot count the credits of the last 24 hours: {error}.",
                where=Advice("{}, {}", Keyword("credits_per_day"), Keyword("reserve_credits")),
                advice="Make the state folder writable (XDG_STATE_HOME).",
            ) from None
        await self.quota.open(daily_usage, limits_of_look_up)

    async def _close_quota(self) -> None:
        """Give unspent credits back to the 24-hour usage, except after a second Ctrl-C."""
        with suppress(BulklinkError):
            await self.quota.close()


async def run_read_session(
    steps: Callable[[CrmSession], Awaitable[None]],
    *,
    environment: Environment,
    connection: Connection,
    job: Job,
    stop: StopController,
    ledger_path: Path,
    answers_path: Path,
    callbacks: RunCallbacks,
    keeps_answers: bool = True,
) -> dict[str, int]:
    """Run the steps of a command that only reads; return its requests by kind.

    An error that ends the reading early becomes the reason of `stop`.

    Args:
        steps: called with the open session.
        environment: clock, network and disk.
        connection: endpoint and credentials of the CRM.
        job: limits of calls and credits.
        stop: stops the reading.
        ledger_path: file of the calls and the emails read.
        answers_path: file of the answers that are not a clean success.
        callbacks: called with warnings, and with outages.
        keeps_answers: whether that file is there for the user when the command has ended.

    Raises:
        RefusedError: if the command is refused before anything is read.
    """
    session = CrmSession(
        environment=environment,
        connection=connection,
        job=job,
        stop=stop,
        ledger_path=ledger_path,
        answers_path=answers_path,
        sync=False,  # reads change nothing
        ledger_wording=LedgerWording(
            "what was read",
            str(ledger_path),
            "Free some space, or fix the disk, then run the same command again.",
        ),
        warn=callbacks.warn,
        on_outage=callbacks.on_outage,
        on_org=callbacks.on_org,
    )
    try:
        async with session:
            await steps(session)
    except StoppedError:
        pass
    except RefusedError:
        raise
    except BulklinkError as error:
        stop.request(error)
    if stop.reason is not None:
        stop.reason.advise_reading(str(answers_path) if keeps_answers else "")
    return {kind: session.recorded_calls[kind] for kind in NO_CALLS}


async def read_contacts(
    session: CrmSession,
    contacts: Iterator[T],
    read_contact: Callable[[T], Awaitable[None]],
    *,
    callbacks: RunCallbacks,
    unit: str,
    total: int,
    count_done: Callable[[], int],
    size_of: Callable[[T], int] = lambda contact: 1,
    forecaster: ReadForecaster,
    at_once: int | None = None,
) -> None:
    """Read contacts concurrently, until all are read or the run stops.

    Args:
        session: open session.
        contacts: yields the contacts; iterated in threads.
        read_contact: reads a contact; an error stops the run.
        callbacks: `on_read` is called with the progress.
        unit: what is counted: emails or contacts.
        total: number of emails or contacts.
        count_done: returns the number read.
        size_of: returns the size of a contact in memory, in emails.
        forecaster: renews the forecast from the contacts read.
        at_once: maximum contacts in progress; None for as many as calls can be.
    """
    workers = session.workers if at_once is None else min(at_once, session.workers)
    sampler = session.metrics_sampler(
        done=count_done,
        remaining=lambda: total - count_done(),
        forecast=lambda: forecaster.renew(session.quota.budget.sent),
    )

    async def sample() -> None:
        await sampler.sample()
        callbacks.on_read(ReadProgress(unit, count_done(), total, sampler.metrics()))

    async def read(contact: T) -> None:
        with suppress(StoppedError):
            try:
                await read_contact(contact)
            except BulklinkError as error:
                session.stop.request(error)

    async with session.environment.sample_periodically(sample):
        try:
            async with task_group() as group:
                ahead = ReadAhead(contacts, session.run_blocking, group, size_of=size_of)
                await WorkerPool(ahead, read, session.stop, workers).run()
        finally:
            forecaster.renew(session.quota.budget.sent)


_LOCK_POLL_SECONDS = 1.0
"""Pause between two attempts to lock an org."""
NO_CALLS = {"read": 0, "lookup": 0, "retried": 0}
"""Requests by kind of a command that made none."""
