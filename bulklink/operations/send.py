"""Sending the rest of a sealed plan, from the pre-flight checks to the end of the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import anyio

from bulklink.advice import Advice, Keyword
from bulklink.engine.active_contacts import ActiveContacts
from bulklink.engine.breaker import CircuitBreaker
from bulklink.engine.context import RunContext, SendSettings
from bulklink.engine.message_state import MessageState, initial_state, need_one_call
from bulklink.engine.shutdown import StopController
from bulklink.errors import BulklinkError, RefusedError, RunStoppedError, StoppedBy, StoppedError
from bulklink.ledger.done_batch import DoneBatch
from bulklink.ledger.records import Result, timestamp
from bulklink.ledger.state import LedgerState
from bulklink.ledger.statistics import count_results
from bulklink.models import Message, Status
from bulklink.operations.callbacks import Metrics, ResultCounter, RunCallbacks
from bulklink.operations.delivery import Delivery, canary_size
from bulklink.operations.environment import Environment
from bulklink.operations.forecast_renewal import RunForecaster
from bulklink.operations.invocation import (
    accepted_canary,
    begin_invocation,
    last_call_at,
    limiting_factor,
)
from bulklink.operations.invocation_end import InvocationEnd
from bulklink.operations.job import Job
from bulklink.operations.load_run import LoadRun
from bulklink.operations.monitor import RunMonitor, TimelineWriter
from bulklink.operations.preflight import (
    check_expected_org,
    check_is_test_org,
    check_same_host,
    check_same_org,
    confirm_changes,
    resolve_module_id,
    resolve_names,
)
from bulklink.operations.session import CrmSession
from bulklink.runs.folder import RunFolder
from bulklink.runs.forecast import CreditRange, RenewedForecast
from bulklink.runs.job_folder import commanded_path
from bulklink.runs.record import CanaryRecord, CanaryState, OrgRecord, RunRecord
from bulklink.runs.status import RunResult
from bulklink.zoho.connection import Connection
from bulklink.zoho.http import CallKind

_CALLS_PER_MESSAGE = 3


async def send(
    folder: RunFolder,
    ledger_state: LedgerState,
    *,
    job: Job,
    connection: Connection,
    callbacks: RunCallbacks,
    stop: StopController,
    environment: Environment,
    accept_canary: bool = False,
    load: LoadRun | None = None,
) -> RunResult:
    """Send the rest of the sealed plan in a run folder that this process has locked.

    The reason of an early stop is in the result and in `stop.reason`.

    Args:
        folder: the run folder.
        ledger_state: state of its ledger.
        job: options of sending.
        connection: endpoint and credentials of the CRM.
        callbacks: called with progress and failures, and asked for confirmation.
        stop: stops the run.
        environment: network, disk and clock.
        accept_canary: whether to continue after a failed canary.
        load: the load test that the run is; None for any other run.

    Raises:
        RefusedError: if the run is refused before the first change.
        LedgerError: if the ledger does not match the results.
    """
    previous_record = folder.read()
    check_same_host(previous_record, connection)
    clock = environment.clock
    started_at = clock.monotonic()
    machine = environment.machine_mark()
    record = begin_invocation(previous_record, ledger_state, job, connection, clock, machine)
    if accept_canary and previous_record.needs_accept_canary:
        record = record.replace(canary=accepted_canary(previous_record))
    folder.write(record)
    callbacks.on_start(str(folder.path))
    run = _SendRun(
        folder=folder,
        record=record,
        previous_record=previous_record,
        started_at=started_at,
        ledger_state=ledger_state,
        job=job,
        callbacks=callbacks,
        stop=stop,
        connection=connection,
        environment=environment,
        load=load,
    )
    refusal: RefusedError | None = None
    try:
        if record.messages:
            await run.execute()
    except RefusedError as error:
        refusal = error
    except StoppedError:
        pass
    except BulklinkError as error:
        stop.request(error)
    except Exception as error:
        internal_error = BulklinkError(
            f"Bug in bulklink: {error!r}.",
            where=str(folder.path),
            advice="Keep the run folder and report the bug. The run can be resumed.",
        )
        stop.request(internal_error)
        raise
    except BaseException:  # cancelled: a resume settles the calls in flight
        stop.interrupt()
        raise
    finally:
        with anyio.CancelScope(shield=True):
            result = await run.make_end().record_end(refusal)
    if refusal is not None:
        raise refusal
    return result


@dataclass(slots=True, kw_only=True)
class _SendRun:
    """State and steps of one invocation that sends.

    Attributes:
        record: `run.json` as it is on disk; `previous_record` is the one before this invocation.
        started_at: monotonic seconds.
    """

    folder: RunFolder
    record: RunRecord
    previous_record: RunRecord
    started_at: float
    ledger_state: LedgerState
    job: Job
    callbacks: RunCallbacks
    stop: StopController
    connection: Connection
    environment: Environment
    load: LoadRun | None
    counter: ResultCounter = field(init=False)
    delivery: Delivery = field(init=False)
    forecaster: RunForecaster = field(init=False)
    session: CrmSession = field(init=False)
    monitor: RunMonitor = field(init=False)

    def __post_init__(self) -> None:
        self.counter = ResultCounter(self.record.rows, self.ledger_state)
        self.delivery = Delivery(
            counter=self.counter,
            max_failures=self.job.max_failures,
            save_canary=self._save_canary,
            callbacks=self.callbacks,
            stop=self.stop,
            run_dir=str(commanded_path(self.folder, self.record)),
        )
        calls = self.ledger_state.calls
        self.forecaster = RunForecaster(
            self.record.forecast,
            self.job,
            messages=self.record.messages,
            earlier_calls=calls.link + calls.unlink + calls.read + calls.lookup,
        )
        self.session = CrmSession(
            environment=self.environment,
            connection=self.connection,
            job=self.job,
            stop=self.stop,
            ledger_path=self.folder.ledger,
            answers_path=self.folder.answers,
            sync=self.job.sync,
            warn=self.callbacks.warn,
            first_call=self.ledger_state.next_call,
            ledger_digest=self.ledger_state.digest.copy(),
            stopped_for_credits=self.previous_record.stopped_by == StoppedBy.CREDITS,
            on_wait=self._on_wait,
            on_outage=self.callbacks.on_outage,
            on_org=self.callbacks.on_org,
            calls_left=lambda: _CALLS_PER_MESSAGE * self.counter.pending,
            adapts=self.load is None or not self.load.options.is_open,
            shares_limit=self.load is None,
        )

    async def execute(self) -> None:
        """Send the rest of the plan in a session."""
        self._warn_of_early_resume()
        async with self.session:
            self.monitor = self._make_monitor()
            try:
                async with self.environment.sample_periodically(self.monitor.sample):
                    await self._run_steps()
            finally:
                self.monitor.close()
                self._record_bottleneck()

    async def _run_steps(self) -> None:
        if self.load is None or not self.connection.loopback:
            await self._prepare_org()
        deals_module_id = await self._resolve_module_id()
        self.callbacks.on_phase("Looking up names")
        names_path = await resolve_names(
            self.session,
            self.folder,
            self.record,
            self.counter,
            self.callbacks,
            save_names_hash=lambda sha256: self._update(names_sha256=sha256),
        )
        await self._load_failure_codes()
        self.callbacks.on_phase("Sending")
        plan = self.environment.open_plan(self.folder.plan, self.session.interrupt)
        read_plan = partial(plan.chunks, names_path)
        if self.load is not None:
            settings, on_phase = self._make_settings(deals_module_id), self.callbacks.on_phase
            await self.load.drive(
                self.session, settings, self.counter, read_plan, self.monitor, on_phase
            )
            return
        await self.monitor.start_sending()
        await self.delivery.send(
            self._make_context(deals_module_id),
            read_plan,
            workers=self.session.workers,
            get_canary_size=lambda: canary_size(
                self.record.canary, self.job.canary, self.counter.to_send
            ),
            run_blocking=self.session.run_blocking,
            during_question=self.monitor.not_sending,
        )
        await self.monitor.sample()

    async def _resolve_module_id(self) -> str:
        """Return the id of the Deals module; a server that is no CRM has none."""
        try:
            return await resolve_module_id(self.record, self.connection, self.session.caller)
        except RunStoppedError as error:
            if self.load is None or error.stopped_by is StoppedBy.NO_ANSWER:
                raise
            self.callbacks.warn(
                "The server does not tell the id of the Deals module: its calls name the id 0."
            )
            return "0"

    async def _prepare_org(self) -> None:
        """Look up the org, check it, count its credits and ask for confirmation."""
        if self.record.org is not None and self.record.org.id is not None:
            await self.session.use_known_org(self.record.org.id)
        self.callbacks.on_phase("Looking up the org")
        org = await self.session.find_org()
        check_same_org(self.record, org)
        check_expected_org(self.job.expect_org, org)
        if self.load is None:  # several load tests may measure one server together
            await self.session.lock_org(
                org, self.folder.path, wait=self.job.wait_for_org, on_wait=self.callbacks.on_phase
            )
        if self.load is not None:
            check_is_test_org(org, self.connection)
        await self.session.use_org(org)
        self._warn_of_uncounted_reserve()
        confirm_changes(org, self.record, self.job, self.connection, self.callbacks)
        self._update(org=OrgRecord(org.id, org.name, org.type))

    async def _load_failure_codes(self) -> None:
        """Count the failures of earlier invocations by code."""
        final_counts = self.ledger_state.final_counts
        if final_counts[Status.FAILED] or final_counts[Status.IN_DOUBT]:
            self.callbacks.on_phase("Reading the ledger")
            count = partial(
                count_results,
                self.folder.ledger,
                exclude=self.ledger_state.is_unfinished,
                check=self.session.interrupt.check,
            )
            earlier_results = await self.session.run_blocking(count)
            self.counter.failure_codes = {
                failure.code: failure.count for failure in earlier_results.failures
            }

    def _warn_of_early_resume(self) -> None:
        resume_at = self.previous_record.resume_at
        if (
            self.session.stopped_for_credits
            and resume_at
            and resume_at > self.environment.clock.timestamp()
        ):
            self.callbacks.warn(
                "The run stopped for lack of credits, and there may be none before"
                f" {resume_at}. Its first call will show."
            )

    def _warn_of_uncounted_reserve(self) -> None:
        limits = self.session.quota.budget.limits
        if limits.reserve and limits.per_day_if_unreported is None:
            self.callbacks.warn(
                Advice(
                    "The org's credits are unknown: {} applies only once the CRM reports the"
                    " credits left, when half are used. Set {} or {}.",
                    Keyword("reserve_credits"),
                    Keyword("credits_per_day"),
                    Keyword("edition"),
                )
            )

    def _make_monitor(self) -> RunMonitor:
        counter, invocations = self.counter, self.record.invocations
        timeline = TimelineWriter(
            self.folder.timeline,
            earlier_seconds=sum(invocation.seconds or 0.0 for invocation in invocations),
            rate=self.job.rate,
            warn=self.callbacks.warn,
            timestamp=self.environment.clock.timestamp,
            run_blocking=self.environment.run_blocking,
        )
        sampler = self.session.metrics_sampler(
            done=lambda: sum(counter.invocation_counts.values()),
            remaining=lambda: counter.to_send,
            forecast=self._latest_forecast,
        )
        return RunMonitor(
            sampler=sampler,
            timeline=timeline,
            counter=counter,
            on_metrics=self._report_progress,
            is_canary_running=lambda: self.delivery.canary_running,
        )

    def _report_progress(self, metrics: Metrics) -> None:
        if self.load is not None:
            self.callbacks.on_load(self.load.progress(metrics))
        else:
            self.callbacks.on_progress(self.counter.progress(metrics))

    def _make_settings(self, deals_module_id: str) -> SendSettings:
        job = self.job
        return SendSettings(
            batch_size=job.batch_size,
            by_contact=job.by_contact,
            single_endpoint=job.single_endpoint,
            send_names=job.names,
            module_id=deals_module_id,
            read_back=job.read_back,
            read_pages=job.read_pages,
            settle_after=job.settle_after,
        )

    def _make_context(self, deals_module_id: str) -> RunContext:
        breaker = CircuitBreaker(self.stop, map(CallKind, self.ledger_state.confirmed_kinds))
        return RunContext(
            settings=self._make_settings(deals_module_id),
            caller=self.session.caller,
            quota=self.session.quota,
            ledger=self.session.ledger,
            breaker=breaker,
            contacts=ActiveContacts(breaker, self.stop, self.delivery.end_contact),
            stop=self.stop,
            clock=self.environment.clock,
            on_result=self._on_result,
            on_done_batch=self._on_done_batch,
            may_skip_states=self._may_skip_states,
            on_contact_read=self.forecaster.add_reading,
            initial_state=self._make_message_state,
            earlier_calls_at=last_call_at(self.record, self.ledger_state, self.environment.clock),
        )

    def _on_result(self, result: Result) -> None:
        self.forecaster.add_result(result)
        self.delivery.on_result(result)
        if self._is_choice_due():
            self._update(
                snapshot_choice=self.forecaster.choose_snapshot() or self.record.snapshot_choice
            )

    def _on_done_batch(self, batch: DoneBatch) -> None:
        if self._is_choice_due(after=len(batch.messages)):
            for result in batch.results():
                self._on_result(result)
        else:
            self.forecaster.add_done_batch(batch)
            self.delivery.on_done_batch(batch)

    def _is_choice_due(self, after: int = 0) -> bool:
        """Return whether to choose again whether links are read first."""
        choice = self.record.snapshot_choice
        return (
            choice is not None and not choice.reads_first and self.forecaster.is_choice_due(after)
        )

    def _may_skip_states(self, messages: Sequence[Message]) -> bool:
        """Return whether messages of one contact need one call and nothing else, if it succeeds."""
        op = messages[0].op
        return (
            self.environment.settles_whole_batches
            and not self.job.single_endpoint
            and not self.job.needs_snapshot(op, links_first_read=self._links_first_read)
            and need_one_call(messages)
            and self.ledger_state.are_untouched(message.row for message in messages)
        )

    def _save_canary(self, canary: CanaryRecord) -> bool:
        """Save the state of the canary, the choice of snapshot and the renewed forecast.

        Returns:
            Whether links are read first from now on.
        """
        if canary.state is CanaryState.TRYING:
            self._update(canary=canary)
            return False
        choice = self.record.snapshot_choice or self.forecaster.choose_snapshot()
        self.record = self.record.replace(canary=canary, snapshot_choice=choice)
        self._update(renewed=self._renew_forecast())
        return self._links_first_read

    @property
    def _links_first_read(self) -> bool:
        choice = self.record.snapshot_choice
        return choice is not None and choice.reads_first

    def _renew_forecast(self) -> RenewedForecast | None:
        elapsed = self.environment.clock.monotonic() - self.started_at
        return self.forecaster.renew(
            self.session.caller.totals(),
            to_send=self.counter.to_send,
            reads_first=self._links_first_read,
            elapsed=elapsed + sum(call.seconds or 0.0 for call in self.record.invocations),
            in_flight=self.session.limiter.limit,
        )

    def _latest_forecast(self) -> CreditRange | None:
        """Return the credits of the run, for the live view; None before the canary has ended."""
        if self.record.renewed is None:
            return None
        return self.forecaster.latest(
            self.session.quota.budget.sent,
            self.counter.to_send,
            reads_first=self._links_first_read,
        )

    def _make_message_state(self, message: Message) -> MessageState:
        return initial_state(
            message,
            self.ledger_state,
            snapshot=self.job.needs_snapshot(message.op, links_first_read=self._links_first_read),
            no_put_back=self.job.accept_no_put_back,
        )

    def _on_wait(self, until: float | None) -> None:
        """Record and announce that the run is waiting for credits."""
        self._update(resume_at=None if until is None else timestamp(until))
        self.callbacks.on_wait(until)

    def _update(self, **changes: Any) -> None:
        """Change fields of the record and write it."""
        self.record = self.record.replace(**changes)
        self.folder.write(self.record)

    def _record_bottleneck(self) -> None:
        """Record the bottleneck of this invocation; its end writes it."""
        limited = limiting_factor(self.monitor.figures(), self.session.quota, self.stop.reason)
        self.record = self.record.replace(limited=limited)

    def make_end(self) -> InvocationEnd:
        """Return what records the end of this invocation."""
        return InvocationEnd(
            folder=self.folder,
            record=self.record,
            previous_record=self.previous_record,
            started_at=self.started_at,
            ledger_state=self.ledger_state,
            counter=self.counter,
            session=self.session,
            callbacks=self.callbacks,
            stop=self.stop,
            environment=self.environment,
        )
