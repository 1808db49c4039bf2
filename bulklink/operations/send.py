"""Sending what is left of a sealed plan, from the pre-flight checks to the end of the run."""

from __future__ import annotations

from functools import partial

import anyio.to_thread
import msgspec

from bulklink.engine.active_contacts import ActiveContacts
from bulklink.engine.breaker import CircuitBreaker
from bulklink.engine.caller import Caller
from bulklink.engine.context import RunContext, SendSettings
from bulklink.engine.dispatch import worker_count
from bulklink.engine.lookups import look_up_org
from bulklink.engine.message_state import MessageState, initial_state
from bulklink.engine.metrics import find_bottleneck
from bulklink.engine.ratelimit.limiter import ConcurrencyLimiter
from bulklink.engine.shutdown import StopController, StoppedError
from bulklink.errors import (
    BulklinkError,
    LedgerError,
    RefusedError,
    RunDirError,
    RunStoppedError,
    StoppedBy,
)
from bulklink.ledger.records import timestamp
from bulklink.ledger.state import LedgerState, replay
from bulklink.ledger.statistics import count_results
from bulklink.ledger.writer import LedgerWriter, open_ledger
from bulklink.mapping.plan_reader import SealedPlan
from bulklink.models import Message, Status
from bulklink.operations.callbacks import ResultCounter, RunCallbacks
from bulklink.operations.cancellation import sample_periodically
from bulklink.operations.delivery import CanaryStep, Delivery, canary_size
from bulklink.operations.environment import Environment
from bulklink.operations.job import Job
from bulklink.operations.monitor import MetricsSampler, RunMonitor, TimelineWriter
from bulklink.operations.preflight import (
    NameResolver,
    check_same_host,
    check_same_org,
    confirm_changes,
    resolve_module_id,
)
from bulklink.operations.session import QuotaSession, early_resume_warning
from bulklink.runs.folder import RunFolder
from bulklink.runs.hashes import ledger_hash
from bulklink.runs.record import (
    CanaryRecord,
    Invocation,
    LimitingFactor,
    OrgRecord,
    RunRecord,
    RunState,
    close_last_invocation,
)
from bulklink.runs.status import PENDING, RunResult, build_run_result, run_exit_code, status_counts
from bulklink.zoho.client import Client
from bulklink.zoho.connection import Connection, secrets_of
from bulklink.zoho.http import CallKind
from bulklink.zoho.lookup_responses import Org
from bulklink.zoho.tokens import TokenProvider


def end_invocation(
    folder: RunFolder,
    record: RunRecord,
    counter: ResultCounter,
    stop: StopController,
    refusal: RefusedError | None,
    previous_record: RunRecord,
    now: float,
    seconds: float,
) -> RunResult:
    """Write how an invocation ended and return where the run stands.

    Args:
        folder: of the run.
        record: as it stands.
        counter: the results of this invocation.
        stop: why it stopped, if it did.
        refusal: why it was refused, if it was.
        previous_record: the record as the invocation found it.
        now: seconds since 1970.
        seconds: how long the invocation lasted.

    Raises:
        LedgerError: if the ledger does not hold what was done.
    """
    reason = stop.reason
    if refusal and previous_record.invocations:
        # It was not taken up again, and can be as before.
        record = record.replace(
            state=previous_record.state,
            stopped_by=previous_record.stopped_by,
            reason=previous_record.reason,
            resume_at=previous_record.resume_at,
            org=previous_record.org,
        )
    else:
        record = record.replace(
            state=RunState.REFUSED
            if refusal
            else RunState.STOPPED
            if reason
            else RunState.FINISHED,
            stopped_by=reason.stopped_by if reason and not refusal else None,
            reason=refusal.code if refusal else reason.message if reason else None,
            resume_at=_resume_at(reason),
        )
    ledger_state = replay(folder.ledger)
    counts = status_counts(record, ledger_state)
    code = run_exit_code(record.state, record.stopped_by, counts)
    *earlier, last = record.invocations
    invocation = Invocation(
        last.started, timestamp(now), round(seconds, 3), record.stopped_by, code
    )
    hashes = ledger_hash(folder.ledger)
    record = record.replace(counts=counts, invocations=(*earlier, invocation), **hashes)
    ledger_broken = reason is not None and reason.stopped_by is StoppedBy.LEDGER
    try:
        folder.write(record)
    except RunDirError as error:
        if not ledger_broken:
            raise LedgerError(error.message, where=error.where, advice=error.advice) from None
    summary = build_run_result(folder, record, ledger_state)
    if not ledger_broken:
        _check_accounting(record, counter, summary)
    return summary


def _resume_at(reason: RunStoppedError | None) -> str | None:
    return timestamp(reason.resume_at) if reason and reason.resume_at is not None else None


def _check_accounting(record: RunRecord, counter: ResultCounter, summary: RunResult) -> None:
    """Hold what this process did against what the ledger holds: promise 1, checked at each end."""
    recorded_counts = counter.counts
    ledger_counts = {status: summary.counts[status] for status in Status}
    pending = summary.counts[PENDING]
    if (
        recorded_counts != ledger_counts
        or pending < 0
        or (record.state is RunState.FINISHED and pending)
    ):
        raise LedgerError(
            f"The ledger does not add up: it tells {ledger_counts} of {record.rows} rows, but"
            f" {recorded_counts} were"
            " recorded. This is a mistake in bulklink.",
            where=summary.run_dir,
            advice="Keep the run folder and report it; do not trust the counts.",
        )


async def send(
    folder: RunFolder,
    ledger_state: LedgerState,
    job: Job,
    connection: Connection,
    callbacks: RunCallbacks,
    stop: StopController,
    environment: Environment,
) -> RunResult:
    """Send what is left to do of the sealed plan in a run folder that this process drives.

    What stops the run on the way is in the summary, and in `stop.reason`.

    Args:
        folder: of the run.
        ledger_state: what its ledger says so far.
        job: how it is to be sent.
        connection: where the CRM is and how to sign in.
        callbacks: call-backs.
        stop: by which it can be stopped from outside.
        environment: network, disk and clock.

    Raises:
        RefusedError: if it is refused before the first change.
        LedgerError: if the ledger does not say what was done.
    """
    previous_record = folder.read()
    check_same_host(previous_record, connection)
    clock = environment.clock
    started = clock.monotonic()
    record = previous_record.replace(
        state=RunState.RUNNING,
        stopped_by=None,
        reason=None,
        resume_at=None,
        api_url=connection.api_url,
        data_centre=connection.data_centre,
        invocations=(
            *close_last_invocation(previous_record.invocations, ledger_state.last_timestamp),
            Invocation(started=timestamp(clock.wall())),
        ),
    )
    folder.write(record)
    callbacks.on_start(str(folder.path))
    session = _SendSession(
        folder, previous_record, record, ledger_state, job, connection, callbacks, stop, environment
    )
    refusal: RefusedError | None = None
    try:
        if record.messages:
            await session.execute()
    except RefusedError as error:
        refusal = error
    except StoppedError:
        pass
    except BulklinkError as error:
        stop.request(error)
    except Exception as error:
        internal_error = BulklinkError(
            f"A mistake in bulklink: {error!r}.",
            where=str(folder.path),
            advice="Keep the run folder and report it; a resume goes on from what is recorded.",
        )
        stop.request(internal_error)
        raise
    except BaseException:  # cancelled: what was in flight is left open, for a resume to settle
        stop.interrupt()
        raise
    finally:
        seconds = clock.monotonic() - started
        summary = end_invocation(
            folder,
            session.record,
            session.counter,
            stop,
            refusal,
            previous_record,
            clock.wall(),
            seconds,
        )
    if refusal is not None:
        raise refusal
    return summary


_OUT_OF_CREDITS = (StoppedBy.CREDITS, StoppedBy.MAX_CREDITS)


class _SendSession:
    """What the steps of one invocation share."""

    def __init__(
        self,
        folder: RunFolder,
        previous_record: RunRecord,
        record: RunRecord,
        ledger_state: LedgerState,
        job: Job,
        connection: Connection,
        callbacks: RunCallbacks,
        stop: StopController,
        environment: Environment,
    ) -> None:
        self.folder = folder
        self.record = record
        self.ledger_state = ledger_state
        self.job = job
        self.connection = connection
        self.callbacks = callbacks
        self.stop = stop
        self.environment = environment
        self.clock = environment.clock
        self.counter = ResultCounter(record.rows, ledger_state)
        run_dir = str(folder.path)
        canary_step = CanaryStep(self._save_canary, callbacks, self.counter, run_dir)
        self.delivery = Delivery(
            self.counter, job.max_failures, canary_step, callbacks, stop, run_dir
        )
        self.limiter = ConcurrencyLimiter(
            max_in_flight=job.max_in_flight(),
            max_per_second=job.rate,
            stop=stop,
            clock=self.clock.monotonic,
            random=self.clock.random,
            notify=callbacks.on_warning,
        )
        stopped_for_credits = previous_record.stopped_by == StoppedBy.CREDITS
        if (
            stopped_for_credits
            and previous_record.resume_at
            and previous_record.resume_at > self.clock.timestamp()
        ):
            callbacks.on_warning(early_resume_warning(previous_record.resume_at))
        self.quota_session = QuotaSession(
            job,
            connection,
            stop,
            environment,
            stopped_for_credits=stopped_for_credits,
            warn=callbacks.on_warning,
            on_wait=self._on_wait,
            messages_left=lambda: self.counter.pending,
        )

    async def execute(self) -> None:
        """Do the whole run with its session and ledger open."""
        files = self.environment.files(self.folder.ledger, self.folder.answers, self.job.sync)
        store = self.environment.token_store
        try:
            async with (
                self.environment.transport() as transport,
                open_ledger(files) as ledger,
                self.limiter,
            ):
                tokens = TokenProvider(self.connection, transport, store, self.clock.wall)
                client = Client(tokens, transport, secrets_of(self.connection))
                caller = Caller(
                    client,
                    ledger,
                    self.limiter,
                    self.quota_session.quota,
                    self.stop,
                    self.clock,
                    first_call=self.ledger_state.next_call,
                    settle_after=self.job.settle_after,
                )
                monitor = self._make_monitor(caller)
                try:
                    async with sample_periodically(monitor.sample):
                        await self._run_steps(caller, ledger, monitor)
                finally:
                    monitor.close()
                    self._record_bottleneck(caller)
        finally:
            try:
                await self.quota_session.close()
            finally:
                files.close()

    async def _run_steps(self, caller: Caller, ledger: LedgerWriter, monitor: RunMonitor) -> None:
        await self.quota_session.open_known_org(self.record.org.id if self.record.org else None)
        self.callbacks.on_phase("Looking up the org")
        org = await look_up_org(caller)
        check_same_org(self.record, org)
        await self.quota_session.open_org(org)
        confirm_changes(org, self.record, self.job, self.connection, self.callbacks)
        self._record_org(org)
        deals_module_id = await resolve_module_id(self.record, self.connection, caller)
        self.callbacks.on_phase("Looking up names")
        resolver = NameResolver(self.folder, self.record, self.job, self.counter, self.callbacks)
        names_path = await resolver.resolve(caller, ledger, self.clock.timestamp())
        await self._load_failure_codes()
        self.callbacks.on_phase("Sending")
        context = self._make_context(caller, ledger, deals_module_id)
        plan = SealedPlan(self.folder.plan)
        monitor.sending = True
        await monitor.sample()
        await self.delivery.send(
            context,
            lambda: plan.chunks(names_path),
            workers=worker_count(self.limiter.max_in_flight),
            get_canary_size=lambda: canary_size(
                self.record.canary, self.job.canary, self.counter.to_send
            ),
        )
        await monitor.sample()

    async def _load_failure_codes(self) -> None:
        """Have the counter know by which codes failed what an earlier invocation left so."""
        standing = self.ledger_state.final_counts
        if standing[Status.FAILED] or standing[Status.IN_DOUBT]:
            self.callbacks.on_phase("Reading the ledger")
            count = partial(
                count_results, self.folder.ledger, exclude=self.ledger_state.is_unfinished
            )
            earlier_results = await anyio.to_thread.run_sync(count)
            self.counter.failure_codes = {
                failure.code: failure.count for failure in earlier_results.failures
            }

    def _make_monitor(self, caller: Caller) -> RunMonitor:
        rate, counter, quota = self.job.rate, self.counter, self.quota_session.quota
        earlier_seconds = sum(invocation.seconds or 0.0 for invocation in self.record.invocations)
        return RunMonitor(
            MetricsSampler(
                caller.totals,
                self.limiter,
                quota,
                rate,
                done=lambda: sum(counter.invocation_counts.values()),
                remaining=lambda: counter.to_send,
            ),
            TimelineWriter(self.folder.timeline, earlier_seconds, rate, self.callbacks.on_warning),
            caller.totals,
            quota,
            counter,
            lambda: self.delivery.canary_running,
            self.callbacks,
            self.clock,
        )

    def _save_canary(self, canary: CanaryRecord) -> None:
        self.record = self.record.replace(canary=canary)
        self.folder.write(self.record)

    def _record_org(self, org: Org) -> None:
        self.limiter.resize(self.job.max_in_flight(org.paid_type))
        self.record = self.record.replace(org=OrgRecord(org.id, org.name, org.type))
        self.folder.write(self.record)

    def _record_bottleneck(self, caller: Caller) -> None:
        """Have the record say what limited this invocation."""
        figures = caller.meter.figures(self.job.rate, self.quota_session.quota.waited)
        if figures is not None:
            out_of_credits = (
                self.stop.reason is not None and self.stop.reason.stopped_by in _OUT_OF_CREDITS
            )
            waiting = self.quota_session.quota.is_waiting  # it was ended while it waited
            bottleneck = find_bottleneck(figures, out_of_credits=out_of_credits or waiting)
            recorded_figures = msgspec.structs.asdict(figures) | {
                "answered_429": self.quota_session.quota.refused_429,
                "beyond_max_credits": self.quota_session.quota.budget.overrun,
            }
            self.record = self.record.replace(limited=LimitingFactor(bottleneck, recorded_figures))

    def _on_wait(self, until: float | None) -> None:
        """Have the folder and whoever watches know that the run waits for credits."""
        resume_at = timestamp(until) if until is not None else None
        self.record = self.record.replace(resume_at=resume_at)
        self.folder.write(self.record)
        self.callbacks.on_wait(until)

    def _make_context(
        self, caller: Caller, ledger: LedgerWriter, deals_module_id: str
    ) -> RunContext:
        job = self.job
        settings = SendSettings(
            batch_size=job.batch_size,
            by_contact=job.by_contact,
            single_endpoint=job.single_endpoint,
            send_names=job.names,
            module_id=deals_module_id,
            read_back=job.read_back,
            read_pages=job.read_pages,
            settle_after=job.settle_after,
        )
        breaker = CircuitBreaker(self.stop, map(CallKind, self.ledger_state.confirmed_kinds))
        return RunContext(
            settings=settings,
            caller=caller,
            quota=self.quota_session.quota,
            ledger=ledger,
            breaker=breaker,
            contacts=ActiveContacts(breaker, self.stop),
            stop=self.stop,
            clock=self.clock,
            on_result=self.delivery.on_result,
            initial_state=self._make_message_state,
        )

    def _make_message_state(self, message: Message) -> MessageState:
        return initial_state(
            message,
            self.ledger_state,
            snapshot=self.job.needs_snapshot(message.op),
            no_put_back=self.job.accept_no_put_back,
        )
