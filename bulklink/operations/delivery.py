"""Delivery in order: what was in flight, then the canary, then the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import anyio
import msgspec
from anyio.abc import TaskGroup

from bulklink.engine.canary import Canary
from bulklink.engine.canary_result import CanaryResult
from bulklink.engine.context import RunContext
from bulklink.engine.dispatch import contact_windows, send_all, send_first
from bulklink.engine.failure_limit import FailureCounter, MaxFailures
from bulklink.engine.shutdown import StopController
from bulklink.errors import BulklinkError, RunStoppedError, StoppedBy
from bulklink.ledger.records import Result
from bulklink.models import Message, Status
from bulklink.operations.callbacks import ResultCounter, RunCallbacks
from bulklink.runs.record import CanaryRecord, CanaryState
from bulklink.shell import bulklink_command

DEFAULT_CANARY_MESSAGES = 20
"""Messages that a canary tries where nothing else is asked for."""
MAX_MESSAGES_WITHOUT_CANARY = 200
"""Messages that a run sends without a canary where nothing else is asked for."""


def canary_size(record: CanaryRecord | None, requested: int | None, to_send: int) -> int:
    """Return how many messages are to be tried before the rest; 0 for none.

    Args:
        record: what `run.json` keeps of a canary: what was tried to its end is not tried again,
            what was not, is.
        requested: messages that are asked for; None leaves it to the size of the run.
        to_send: messages that are to be sent.
    """
    if record is not None:
        unfinished = record.state is CanaryState.TRYING
        return record.messages if unfinished and to_send else 0
    if requested is not None:
        return requested if to_send else 0
    return DEFAULT_CANARY_MESSAGES if to_send > MAX_MESSAGES_WITHOUT_CANARY else 0


class CanaryStep(msgspec.Struct, frozen=True):
    """Lets a canary fly: has it kept how it goes, and asks where it does not pass.

    Args:
        save: keeps in `run.json` how it goes.
        callbacks: can ask a person.
        counter: tells how many messages are left.
        run_dir: the run folder, for advice.
    """

    save: Callable[[CanaryRecord], None]
    callbacks: RunCallbacks
    counter: ResultCounter
    run_dir: str

    async def run(
        self,
        canary: Canary,
        windows: Iterator[list[Message]],
        task_group: TaskGroup,
        context: RunContext,
    ) -> CanaryState:
        """Send the first messages and read them back; return how that went.

        Args:
            canary: that is to fly.
            windows: contacts in the order of the plan.
            task_group: works on what is left of those that were begun.
            context: what the contacts share.
        """
        self.save(CanaryRecord(canary.min_messages))
        result = await canary.run(windows, task_group)
        if result is None:
            return CanaryState.TRYING
        state = (
            CanaryState.PASSED if result.passed else await self._ask_to_continue(result, context)
        )
        self.save(CanaryRecord(canary.min_messages, state, result.summary))
        return state

    async def _ask_to_continue(self, result: CanaryResult, context: RunContext) -> CanaryState:
        """Ask whether the rest is sent after all; nothing is in flight then."""
        await context.ledger.commit()
        if self.callbacks.can_ask and self.callbacks.confirm_after_canary(
            result.summary, self.counter.to_send
        ):
            return CanaryState.CONFIRMED
        if context.stop.reason is not None:
            return CanaryState.TRYING  # ended at the question, which was not answered
        context.stop.request(_canary_stop_reason(result, self.counter.to_send, self.run_dir))
        return CanaryState.STOPPED


def _canary_stop_reason(result: CanaryResult, remaining: int, run_dir: str) -> RunStoppedError:
    """Return why a run stops after its canary, and what to do."""
    advice = (
        f"Look at these emails in the CRM. Then {bulklink_command('resume', run_dir)} sends the"
        " other"
        f" {remaining:,} without another canary; {bulklink_command('retry', run_dir)} sends what"
        " failed"
        " too."
    )
    return RunStoppedError(
        StoppedBy.CANARY,
        f"The canary did not pass. {result.summary}",
        advice="\n".join([*result.advice, advice]),
    )


class Delivery:
    """Sends messages and counts what becomes of them, until all are settled or too many fail.

    Args:
        counter: of the run, on top of what its ledger says.
        max_failures: what this invocation takes in failures.
        trial: lets a canary fly where one is due.
        watch: call-backs.
        stopping: is told when too many fail.
        run_dir: the run folder, for advice.
    """

    def __init__(
        self,
        counter: ResultCounter,
        max_failures: MaxFailures | None,
        canary_step: CanaryStep,
        callbacks: RunCallbacks,
        stop: StopController,
        run_dir: str,
    ) -> None:
        self._counter = counter
        self._failures = FailureCounter(max_failures)
        self._canary_step = canary_step
        self._callbacks = callbacks
        self._stop = stop
        self._run_dir = run_dir
        self._canary: Canary | None = None

    @property
    def canary_running(self) -> bool:
        """Whether a canary flies."""
        return self._canary is not None

    def on_result(self, result: Result) -> None:
        """Count a result; stop the run where too many failed."""
        self._counter.add(result)
        if result.status in (Status.FAILED, Status.IN_DOUBT):
            self._callbacks.on_failure(result)
        self._failures.add(result)
        if self._canary is not None:
            self._canary.add(result)  # it decides first, over a few messages
        else:
            self._stop_for_failures()

    async def send(
        self,
        context: RunContext,
        read_plan: Callable[[], Iterable[Sequence[Message]]],
        *,
        workers: int,
        get_canary_size: Callable[[], int],
    ) -> None:
        """Send what is left to do, until the run stops.

        Args:
            context: what all contacts share; tells `on_result` of each result.
            read_plan: begins to return the messages of the plan, sorted by contact and owner.
            workers: contacts worked on at once.
            get_canary_size: tells how many messages are tried before the rest.
        """
        context.quota.on_wait(context.breaker.resolve_suspended)
        ledger_state = self._counter.ledger_state
        open_rows = frozenset(ledger_state.open_rows)

        def make_windows(is_selected: Callable[[int], bool]) -> Iterator[list[Message]]:
            chunks = ([m for m in chunk if is_selected(m.row)] for chunk in read_plan())
            settings = context.settings
            return contact_windows(chunks, settings.batch_size, by_contact=settings.by_contact)

        async with anyio.create_task_group() as task_group:
            if open_rows:
                # What an earlier invocation left in flight comes first: relinks can be torn there.
                await send_first(
                    make_windows(open_rows.__contains__), context, task_group, workers=workers
                )
            remaining = make_windows(
                lambda row: row not in open_rows and ledger_state.is_unfinished(row)
            )
            if self._stop.reason is None and (at_least := get_canary_size()):
                await self._run_canary(remaining, at_least, context, task_group, workers)
            await send_all(remaining, context, workers=workers)

    async def _run_canary(
        self,
        windows: Iterator[list[Message]],
        at_least: int,
        context: RunContext,
        task_group: TaskGroup,
        workers: int,
    ) -> None:
        """Send the first messages and read them back; the rest follows, or the run stops."""
        self._canary = canary = Canary(
            context,
            at_least,
            workers=workers,
            too_many_failed=lambda: self._failures.limit_exceeded,
            on_correction=self._on_correction,
            on_phase=self._callbacks.on_phase,
        )
        self._callbacks.on_phase(f"Trying the first {at_least:,} emails")
        try:
            outcome = await self._canary_step.run(canary, windows, task_group, context)
        except BulklinkError as error:
            # The ledger or run.json cannot be written: what is in flight is ended all the same.
            self._stop.request(error)
            outcome = CanaryState.TRYING
        self._canary = None
        if outcome is CanaryState.CONFIRMED:
            self._failures = FailureCounter(self._failures.max_failures)
        self._stop_for_failures()
        canary.release_rest(read_again=outcome is CanaryState.CONFIRMED)
        self._callbacks.on_phase("Sending")

    def _on_correction(self, result: Result) -> None:
        self._counter.correct(result)
        self._callbacks.on_failure(result)

    def _stop_for_failures(self) -> None:
        if self._failures.limit_exceeded and self._stop.reason is None:
            self._stop.request(self._failures.stop_reason(self._run_dir))
