"""A command that the page drives: a thread with an event loop, its progress and its questions."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.to_thread
import msgspec
from anyio.from_thread import BlockingPortal

from bulklink.advice import Keyword, NextCall
from bulklink.counts import count_of
from bulklink.engine.outage import Outage
from bulklink.engine.shutdown import StopController
from bulklink.errors import BulklinkError, StoppedBy
from bulklink.file_names import file_name_text
from bulklink.mapping.interrupt import PlanningStage
from bulklink.operations.callbacks import (
    ConfirmationRequest,
    ReadProgress,
    RunCallbacks,
    RunProgress,
)
from bulklink.ui.wording import page_words

_MAX_WARNINGS = 50
_TEST_ORGS = ("sandbox", "developer")
_LOGGER = logging.getLogger(__name__)


class PageQuestion(msgspec.Struct, frozen=True):
    """A question that a command waits for.

    Args:
        number: number of the question, which the answer names.
        text: the question.
        to_type: text that the user types to confirm; None if a click is enough.
    """

    number: int
    text: str
    to_type: str | None = None


class Progress(msgspec.Struct, frozen=True):
    """What a command shows while it works.

    Args:
        phase: what it does now.
        run: progress of a run; None before it is known.
        reading: progress of reading; None if nothing is read.
        waiting_until: when the wait for credits ends, in seconds since 1970; None without a wait.
        outage: the outage; None without one.
        question: the question that it waits for; None without one.
        warnings: its last warnings.
    """

    phase: str = "Starting"
    run: RunProgress | None = None
    reading: ReadProgress | None = None
    waiting_until: float | None = None
    outage: Outage | None = None
    question: PageQuestion | None = None
    warnings: tuple[str, ...] = ()


@dataclass(slots=True, kw_only=True)
class Activity:
    """A command on a run, in a thread of its own, so that a question blocks nothing else.

    Args:
        verb: what it does: apply, resume, retry or verify.
        work: the command, called with its callbacks and its stop controller.

    Attributes:
        progress: what it shows now.
        version: increased by every change.
        result: what it returned; None before its end, and after an error.
        error: why it failed or was refused; None without an error.
        is_stopping: whether it was asked to stop.
    """

    verb: str
    work: Callable[[RunCallbacks, StopController], Awaitable[Any]]
    progress: Progress = field(default=Progress(), init=False)
    version: int = field(default=0, init=False)
    result: Any = field(default=None, init=False)
    error: BulklinkError | None = field(default=None, init=False)
    is_stopping: bool = field(default=False, init=False)
    _stop: StopController = field(default_factory=StopController, init=False)
    _changed: threading.Condition = field(default_factory=threading.Condition, init=False)
    _answered: threading.Event = field(default_factory=threading.Event, init=False)
    _answer: bool = field(default=False, init=False)
    _questions: int = field(default=0, init=False)
    _warnings: deque[str] = field(default_factory=lambda: deque(maxlen=_MAX_WARNINGS), init=False)
    _portal: BlockingPortal = field(init=False)
    _scope: anyio.CancelScope = field(init=False)
    _thread: threading.Thread = field(init=False)
    _has_loop: threading.Event = field(default_factory=threading.Event, init=False)
    _has_ended: bool = field(default=False, init=False)

    def start(self) -> None:
        """Start the command."""
        self._thread = threading.Thread(target=anyio.run, args=(self._run,), name=self.verb)
        self._thread.start()
        self._has_loop.wait()

    @property
    def is_active(self) -> bool:
        """Whether it is still working."""
        return not self._has_ended

    @property
    def changes_counts(self) -> bool:
        """Whether it sends emails, so that its progress is that of the run."""
        return self.verb != "verify"

    def stop(self, by: StoppedBy = StoppedBy.INTERRUPTED) -> None:
        """Stop it gently: calls in flight are finished and recorded. Blocks while its loop does."""
        self._end_questions()
        self._call(self._stop.interrupt, by)

    def abort(self) -> None:
        """Stop it immediately: calls in flight are not settled. Blocks while its loop does."""
        self._end_questions()
        self._call(self._scope.cancel)

    def answer(self, number: int, typed: str, *, confirmed: bool) -> bool:
        """Answer its question; return whether that was the question, and was typed as asked.

        Args:
            number: number of the question.
            typed: what the user typed.
            confirmed: whether the user agrees.
        """
        question = self.progress.question
        if question is None or question.number != number:
            return False
        number_typed = typed.strip().replace(",", "")
        if confirmed and question.to_type not in (None, number_typed):
            return False
        self._give_answer(confirmed=confirmed)
        return True

    def join(self) -> None:
        """Wait for the end of its thread; blocks."""
        self._thread.join()

    async def close(self) -> None:
        """Wait for its end; if that is cancelled, end it immediately."""
        try:
            await anyio.to_thread.run_sync(self.join, abandon_on_cancel=True)
        except anyio.get_cancelled_exc_class():
            self.abort()
            raise

    def update(self, **changes: Any) -> None:
        """Change what it shows."""
        with self._changed:
            self.progress = msgspec.structs.replace(self.progress, **changes)
            self.version += 1
            self._changed.notify_all()

    def wait_for_change(self, version: int, seconds: float) -> int:
        """Wait until there is another version or the time is up; return the version. Blocks."""
        with self._changed:
            self._changed.wait_for(lambda: self.version != version or self._has_ended, seconds)
        return self.version

    def warn(self, text: str) -> None:
        """Show a warning."""
        self._warnings.append(file_name_text(text))
        self.update(warnings=tuple(self._warnings))

    def ask(self, text: str, *, to_type: str | None = None) -> bool:
        """Ask the user, and wait for the answer; blocks the thread of the command."""
        self._answered.clear()
        self._questions += 1
        self.update(question=PageQuestion(self._questions, text, to_type))
        if not self.is_stopping:
            self._answered.wait()
        self.update(question=None)
        return self._answer and not self.is_stopping

    def _give_answer(self, *, confirmed: bool) -> None:
        self._answer = confirmed
        self._answered.set()

    def _end_questions(self) -> None:
        """Answer no to the question that blocks the loop of the command, and to all others."""
        self.is_stopping = True
        self._give_answer(confirmed=False)
        self.update()

    def _call(self, action: Callable[..., None], *args: Any) -> None:
        with suppress(RuntimeError):  # the loop has ended
            self._portal.start_task_soon(action, *args)

    async def _run(self) -> None:
        try:
            async with BlockingPortal() as self._portal:
                with anyio.CancelScope() as self._scope:
                    self._has_loop.set()
                    self.result = await self._work()
        finally:
            self._has_ended = True
            self.update(phase="Done")

    async def _work(self) -> Any:
        try:
            return await self.work(PageCallbacks(self), self._stop)
        except BulklinkError as error:
            self.error = error
        except Exception as error:
            _LOGGER.exception("unexpected error")
            self.error = BulklinkError(
                f"Unexpected error: {type(error).__name__}. This is a bug in bulklink.",
                where=self.verb,
                advice="The terminal where the page was started shows what happened; report it. The"
                " run folder shows how far the command came.",
            )


class PageCallbacks(RunCallbacks):
    """Callbacks that show the progress of a command on the page, and ask there.

    Args:
        activity: the command.
    """

    can_ask = True

    def __init__(self, activity: Activity) -> None:
        self._activity = activity

    def word(self, part: Keyword | NextCall) -> str:
        """Return a setting by its label, or a next step by its name, as the page shows them."""
        return page_words(part)

    def on_warning(self, text: str) -> None:
        """Show a warning."""
        self._activity.warn(text)

    def on_phase(self, text: str) -> None:
        """Show the phase."""
        self._activity.update(phase=text)

    def on_progress(self, progress: RunProgress) -> None:
        """Show the progress of the run."""
        self._activity.update(run=progress)

    def on_planning(self, stage: PlanningStage) -> None:
        """Show the stage of planning."""
        reading = None
        if stage.share is not None:
            reading = ReadProgress(unit="%", done=round(100 * stage.share), total=100)
        self._activity.update(phase=stage.name, reading=reading)

    def on_read(self, progress: ReadProgress) -> None:
        """Show the progress of reading."""
        self._activity.update(reading=progress)

    def on_wait(self, until: float | None) -> None:
        """Show until when the run waits for credits."""
        self._activity.update(waiting_until=until)

    def on_outage(self, outage: Outage | None) -> None:
        """Show that no call is answered."""
        self._activity.update(outage=outage)

    def confirm(self, request: ConfirmationRequest) -> bool:
        """Ask before an org is changed; unless it is one for tests, its number is typed."""
        org = request.org_name or "an org with an unknown name"
        kind = request.org_type or "unknown type"
        emails = count_of(request.messages, "email")
        is_for_tests = kind.lower() in _TEST_ORGS
        return self._activity.ask(
            f"{request.op.capitalize()}: change {emails} of {org} ({kind})?",
            to_type=None if is_for_tests else str(request.messages),
        )

    def confirm_after_canary(self, summary: str, remaining: int) -> bool:
        """Ask whether to continue after a failed canary."""
        others = count_of(remaining, "other email")
        return self._activity.ask(f"{summary} Send the {others} anyway?")

    def confirm_cost(self, description: str, credit_range: Any) -> bool:
        """Ask before many credits are spent on reading."""
        price = count_of(credit_range.likely, "credit")
        return self._activity.ask(f"Read {description} for about {price}?")
