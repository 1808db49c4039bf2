"""Delivery in order: what was in flight, then the canary, then the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import anyio
import msgspec
from anyio.abc import TaskGroup

from bulklink.engine.canary import Canary
from bulklink.engine.canary_result import Found
from bulklink.engine.context import Desk
from bulklink.engine.dispatch import contact_windows, send_all, send_first
from bulklink.engine.failure_limit import Failures, MaxFailures
from bulklink.engine.shutdown import Stopping
from bulklink.errors import BulklinkError, RunStoppedError, StoppedBy
from bulklink.ledger.records import Result
from bulklink.models import Message, Status
from bulklink.operations.callbacks import Counter, Watch
from bulklink.runs.record import CanaryRecord, CanaryState
from bulklink.shell import quoted

MESSAGES = 20
"""Messages that a canary tries where nothing else is asked for."""
MOST_WITHOUT = 200
"""Messages that a run sends without a canary where nothing else is asked for."""


def canary_due(kept: CanaryRecord | None, asked: int | None, left: int) -> int:
    """Return how many messages are to be tried before the rest; 0 for none.

    Args:
        kept: what `run.json` keeps of a canary: what was tried to its end is not tried again, what
            was not, is.
        asked: messages that are asked for; None leaves it to the size of the run.
        left: messages that are to be sent.
    """
    if kept is not None:
        again = kept.state is CanaryState.TRYING
        return kept.messages if again and left else 0
    if asked is not None:
        return asked if left else 0
    return MESSAGES if left > MOST_WITHOUT else 0


class Trial(msgspec.Struct, frozen=True):
    """Lets a canary fly: has it kept how it goes, and asks where it does not pass.

    Args:
        keep: keeps in `run.json` how it goes.
        watch: can ask a person.
        counter: tells how many messages are left.
        run_dir: the run folder, for advice.
    """

    keep: Callable[[CanaryRecord], None]
    watch: Watch
    counter: Counter
    run_dir: str

    async def run(
        self, canary: Canary, windows: Iterator[list[Message]], contacts: TaskGroup, desk: Desk
    ) -> CanaryState:
        """Send the first messages and read them back; return how that went.

        Args:
            canary: that is to fly.
            windows: contacts in the order of the plan.
            contacts: works on what is left of those that were begun.
            desk: what the contacts share.
        """
        self.keep(CanaryRecord(canary.at_least))
        found = await canary.run(windows, contacts)
        if found is None:
            return CanaryState.TRYING
        state = CanaryState.PASSED if found.passed else await self._asked(found, desk)
        self.keep(CanaryRecord(canary.at_least, state, found.in_words))
        return state

    async def _asked(self, found: Found, desk: Desk) -> CanaryState:
        """Ask whether the rest is sent after all; nothing is in flight then."""
        await desk.ledger.commit()
        if self.watch.can_ask and self.watch.go_on(found.in_words, self.counter.left):
            return CanaryState.CONFIRMED
        if desk.stopping.reason is not None:
            return CanaryState.TRYING  # ended at the question, which was not answered
        desk.stopping.stop(_stop(found, self.counter.left, self.run_dir))
        return CanaryState.STOPPED


def _stop(found: Found, left: int, run_dir: str) -> RunStoppedError:
    """Return why a run stops after its canary, and what to do."""
    advice = (
        f"Look at these emails in the CRM. Then {quoted('resume', run_dir)} sends the other"
        f" {left:,} without another canary; {quoted('retry', run_dir)} sends what failed too."
    )
    return RunStoppedError(
        StoppedBy.CANARY,
        f"The canary did not pass. {found.in_words}",
        advice="\n".join([*found.resolutions, advice]),
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
