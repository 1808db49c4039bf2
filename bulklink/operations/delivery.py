"""Delivery of a plan: rows in flight first, then the canary, then the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from anyio.abc import TaskGroup

from bulklink.advice import Advice, NextCall
from bulklink.blocking import ThreadRunner
from bulklink.counts import count_of
from bulklink.engine.canary import Canary
from bulklink.engine.canary_result import CanaryResult
from bulklink.engine.context import RunContext
from bulklink.engine.dispatch import contact_windows, send_all, send_first
from bulklink.engine.failure_limit import FailureCounter, MaxFailures
from bulklink.engine.read_ahead import ReadAhead
from bulklink.engine.shutdown import StopController
from bulklink.engine.worker_pool import ItemSource
from bulklink.errors import BulklinkError, RunStoppedError, StoppedBy
from bulklink.ledger.done_batch import DoneBatch
from bulklink.ledger.records import Result
from bulklink.models import Message, Status
from bulklink.operations.callbacks import ResultCounter, RunCallbacks
from bulklink.operations.estimate import DEFAULT_CANARY_MESSAGES, has_canary
from bulklink.operations.wording import ACCEPT_CANARY
from bulklink.runs.record import CanaryRecord, CanaryState
from bulklink.task_group import task_group


def canary_size(record: CanaryRecord | None, requested: int | None, to_send: int) -> int:
    """Return how many messages to send as a canary before the rest; 0 for none.

    Args:
        record: the canary in `run.json`: only an unfinished one is repeated; None if there was
            none.
        requested: messages that the job requests; None chooses by the size of the run.
        to_send: messages that are left to send.
    """
    if record is not None:
        unfinished = record.state is CanaryState.TRYING
        return record.messages if unfinished and to_send else 0
    if not has_canary(requested, to_send):
        return 0
    return DEFAULT_CANARY_MESSAGES if requested is None else requested


def _canary_stop_reason(result: CanaryResult, run_dir: str) -> RunStoppedError:
    """Return why a run stops after its canary, and what to do."""
    settings = [ACCEPT_CANARY]
    next_steps = Advice(
        "Look at these emails in the CRM, or read them back: {}. Then send the rest without"
        " another canary: {}. To retry failed emails too: {}.",
        NextCall("verify", run_dir),
        NextCall("resume", run_dir, settings=settings),
        NextCall("retry", run_dir, settings=settings),
    )
    return RunStoppedError(
        StoppedBy.CANARY,
        f"The canary did not pass. {result.summary}",
        advice=Advice.join("\n", [*result.advice, next_steps]),
    )


@dataclass(slots=True, kw_only=True)
class Delivery:
    """Sends messages and counts results until all are settled or too many have failed.

    Args:
        counter: results of the run.
        max_failures: failures that this invocation accepts; None is the default limit.
        save_canary: saves the state of the canary in `run.json`; returns whether the rest is now
            read before it is sent.
        callbacks: called with failures and phases, and asked after a failed canary.
        stop: stops the run; requested if too many messages fail.
        run_dir: the run folder, for advice.
    """

    counter: ResultCounter
    max_failures: MaxFailures | None
    save_canary: Callable[[CanaryRecord], bool]
    callbacks: RunCallbacks
    stop: StopController
    run_dir: str
    _failures: FailureCounter = field(init=False)
    _canary: Canary | None = field(init=False, default=None)
    _reads_rest_first: bool = field(init=False, default=False)
    _during_question: Callable[[], AbstractAsyncContextManager[None]] = field(init=False)

    def __post_init__(self) -> None:
        self._failures = FailureCounter(self.max_failures)

    @property
    def canary_running(self) -> bool:
        """Whether a canary is running."""
        return self._canary is not None

    def on_result(self, result: Result) -> None:
        """Count a result; stop the run if too many have failed."""
        self.counter.add(result)
        if result.status in (Status.FAILED, Status.IN_DOUBT):
            self.callbacks.on_failure(result)
        if self._canary is not None:
            self._failures.add(result)
            self._canary.add(result)  # it decides first, over a few messages
        else:
            self._failures.add(result, early=not result.attempts)
            self._stop_for_failures()

    def on_done_batch(self, batch: DoneBatch) -> None:
        """Count messages that one answer settled as done; like `on_result` for each of them."""
        if self._canary is not None or self._failures.failed:
            for result in batch.results():
                self.on_result(result)
        else:
            self.counter.add_done([message.row for message in batch.messages])
            self._failures.settled += len(batch.messages)

    def end_contact(self, contact_id: str) -> None:
        """Record that a contact is done; stop the run if too many have failed."""
        self._failures.end_contact(contact_id)
        if self._canary is None:
            self._stop_for_failures()

    async def send(
        self,
        context: RunContext,
        read_plan: Callable[[str], Iterable[Sequence[Message]]],
        *,
        workers: int,
        get_canary_size: Callable[[], int],
        run_blocking: ThreadRunner,
        during_question: Callable[[], AbstractAsyncContextManager[None]],
    ) -> None:
        """Send the rest of a plan, until the run stops.

        Args:
            context: state that all contacts share; calls `on_result` with each result.
            read_plan: returns a stream of the plan's messages, sorted by contact and owner; called
                with the rows to read, as `SealedPlan.chunks` takes them.
            workers: contacts processed concurrently.
            get_canary_size: returns how many messages to send before the rest.
            run_blocking: reads the plan.
            during_question: opened while the user is asked.
        """
        self._during_question = during_question
        context.quota.on_wait(context.breaker.resolve_suspended)
        ledger_state = self.counter.ledger_state
        open_rows = frozenset(ledger_state.open_rows)

        def read_windows(rows: str, group: TaskGroup) -> ReadAhead[list[Message]]:
            settings = context.settings
            windows = contact_windows(
                read_plan(rows), settings.batch_size, by_contact=settings.by_contact
            )
            return ReadAhead(windows, run_blocking, group, size_of=len)

        async with task_group() as group:
            if open_rows:
                # Rows that an earlier invocation left in flight come first: they may be relinks
                # between their halves.
                in_flight = read_windows(ledger_state.select_open_rows(), group)
                await send_first(in_flight, context, group, workers=workers)
            remaining = read_windows(ledger_state.select_unfinished_rows(open_rows), group)
            if self.stop.reason is None and (min_messages := get_canary_size()):
                await self._run_canary(remaining, min_messages, context, group, workers)
            await send_all(remaining, context, workers=workers)

    async def _run_canary(
        self,
        windows: ItemSource[list[Message]],
        min_messages: int,
        context: RunContext,
        task_group: TaskGroup,
        workers: int,
    ) -> None:
        """Run the canary; the rest follows, or the run stops."""
        self._canary = canary = Canary(
            context,
            min_messages,
            workers=workers,
            too_many_failed=lambda: self._failures.limit_exceeded,
            on_correction=self._on_correction,
            on_phase=self.callbacks.on_phase,
        )
        self.callbacks.on_phase(f"Trying the first {count_of(min_messages, 'email')}")
        try:
            state = await self._canary_state(canary, windows, context, task_group)
        except BulklinkError as error:
            # The ledger or run.json cannot be written; calls in flight still have to end.
            self.stop.request(error)
            state = CanaryState.TRYING
        self._canary = None
        if state is CanaryState.CONFIRMED:
            self._failures = FailureCounter(self.max_failures)
        self._stop_for_failures()
        canary.release_rest(read_again=state is CanaryState.CONFIRMED or self._reads_rest_first)
        self.callbacks.on_phase("Sending")

    async def _canary_state(
        self,
        canary: Canary,
        windows: ItemSource[list[Message]],
        context: RunContext,
        task_group: TaskGroup,
    ) -> CanaryState:
        """Run a canary, save its state, and ask for confirmation if it fails."""
        self.save_canary(CanaryRecord(canary.min_messages))
        result = await canary.run(windows, task_group)
        if result is None:
            return CanaryState.TRYING
        state = (
            CanaryState.PASSED if result.passed else await self._ask_to_continue(result, context)
        )
        record = CanaryRecord(canary.min_messages, state, result.summary)
        self._reads_rest_first = self.save_canary(record)
        return state

    async def _ask_to_continue(self, result: CanaryResult, context: RunContext) -> CanaryState:
        """Ask whether to send the rest after a failed canary; nothing is in flight then."""
        await context.ledger.commit()
        if self.callbacks.can_ask:
            async with self._during_question():
                confirmed = self.callbacks.confirm_after_canary(
                    result.summary, self.counter.to_send
                )
            if confirmed:
                return CanaryState.CONFIRMED
        if self.stop.reason is not None:
            return CanaryState.TRYING  # stopped before the question was answered
        self.stop.request(_canary_stop_reason(result, self.run_dir))
        return CanaryState.STOPPED

    def _on_correction(self, result: Result) -> None:
        self.counter.correct(result)
        self.callbacks.on_failure(result)

    def _stop_for_failures(self) -> None:
        if self._failures.limit_exceeded and self.stop.reason is None:
            self.stop.request(self._failures.stop_reason(self.run_dir))
