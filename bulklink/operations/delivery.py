"""Sending what is left of a plan: what was in flight, then the canary, then the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import anyio
from anyio.abc import TaskGroup

from bulklink.engine.canary import Canary
from bulklink.engine.context import Desk
from bulklink.engine.dispatch import send_all, send_first
from bulklink.engine.failure_limit import Failures, MaxFailures
from bulklink.engine.shutdown import Stopping
from bulklink.engine.windows import contact_windows
from bulklink.errors import BulklinkError
from bulklink.ledger.records import Result
from bulklink.models import Message, Status
from bulklink.operations.callbacks import Counter, Watch
from bulklink.operations.canary import Trial
from bulklink.runs.record import CanaryState


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
        counter: Counter,
        max_failures: MaxFailures | None,
        trial: Trial,
        watch: Watch,
        stopping: Stopping,
        run_dir: str,
    ) -> None:
        self._counter = counter
        self._failures = Failures(max_failures)
        self._trial = trial
        self._watch = watch
        self._stopping = stopping
        self._run_dir = run_dir
        self._canary: Canary | None = None

    @property
    def trying(self) -> bool:
        """Whether a canary flies."""
        return self._canary is not None

    def settled(self, result: Result) -> None:
        """Count a result; stop the run where too many failed."""
        self._counter.add(result)
        if result.status in (Status.FAILED, Status.IN_DOUBT):
            self._watch.not_done(result)
        self._failures.add(result)
        if self._canary is not None:
            self._canary.add(result)  # it decides first, over a few messages
        else:
            self._stop_for_failures()

    async def send(
        self,
        desk: Desk,
        plan: Callable[[], Iterable[Sequence[Message]]],
        *,
        workers: int,
        due: Callable[[], int],
    ) -> None:
        """Send what is left to do, until the run stops.

        Args:
            desk: what all contacts share; tells `settled` of each result.
            plan: begins to return the messages of the plan, sorted by contact and owner.
            workers: contacts worked on at once.
            due: tells how many messages are tried before the rest.
        """
        desk.caller.on_wait(desk.refusals.judge_held)
        told = self._counter.told
        was_open = frozenset(told.open)

        def windows(wanted: Callable[[int], bool]) -> Iterator[list[Message]]:
            left = ([m for m in chunk if wanted(m.row)] for chunk in plan())
            sending = desk.sending
            return contact_windows(left, sending.batch_size, by_contact=sending.by_contact)

        async with anyio.create_task_group() as contacts:
            if was_open:
                # What an earlier invocation left in flight comes first: relinks can be torn there.
                await send_first(windows(was_open.__contains__), desk, contacts, workers=workers)
            rest = windows(lambda row: row not in was_open and told.is_to_do(row))
            if self._stopping.reason is None and (at_least := due()):
                await self._try_first(rest, at_least, desk, contacts, workers)
            await send_all(rest, desk, workers=workers)

    async def _try_first(
        self,
        windows: Iterator[list[Message]],
        at_least: int,
        desk: Desk,
        contacts: TaskGroup,
        workers: int,
    ) -> None:
        """Send the first messages and read them back; the rest follows, or the run stops."""
        self._canary = canary = Canary(
            desk,
            at_least,
            workers=workers,
            enough=lambda: self._failures.too_many,
            told=self._corrected,
            phase=self._watch.phase,
        )
        self._watch.phase(f"Trying the first {at_least:,} emails")
        try:
            verdict = await self._trial.run(canary, windows, contacts, desk)
        except BulklinkError as error:
            # The ledger or run.json cannot be written: what is in flight is ended all the same.
            self._stopping.stop(error)
            verdict = CanaryState.TRYING
        self._canary = None
        if verdict is CanaryState.CONFIRMED:
            self._failures = Failures(self._failures.asked)
        self._stop_for_failures()
        canary.go_on(anew=verdict is CanaryState.CONFIRMED)
        self._watch.phase("Sending")

    def _corrected(self, result: Result) -> None:
        self._counter.correct(result)
        self._watch.not_done(result)

    def _stop_for_failures(self) -> None:
        if self._failures.too_many and self._stopping.reason is None:
            self._stopping.stop(self._failures.reason(self._run_dir))
