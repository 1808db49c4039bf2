"""Parts of the contacts of an audit, and the processes that work on them.

Contacts are judged independently of each other, so a pass over them is one over parts of them, in
as many processes as are wanted. A process reads the emails and deals of its part itself, and the
results come in the order of the parts: they do not depend on the number of processes.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Generic, NamedTuple, Self, TypeVar

import msgspec

from bulklink.blocking import blocks
from bulklink.finding.values import ContactFacts
from bulklink.mapping.interrupt import PlanningStop
from bulklink.operations.auditing.deals_file import DealsFile
from bulklink.operations.auditing.facts import stream_facts

T = TypeVar("T")
PART_EMAILS = 4_096
"""Emails of a part: a second's work, in which nobody misses progress or an answer to Ctrl-C."""
_MOST_PROCESSES = 4
_LEAST_PARTS = 4
"""Parts for each process, below which its start takes longer than it saves."""


class ContactPart(msgspec.Struct, frozen=True):
    """Contacts that follow each other in the files of an audit.

    Args:
        emails: file that `write_sorted_emails` wrote.
        deals_file: the deals.
        first: id of the first contact.
        end: id of the contact before which the part ends; None for the last part.
        offset: offset of its first line in the file of deals.
    """

    emails: Path
    deals_file: DealsFile
    first: str = ""
    end: str | None = None
    offset: int = 0

    def contacts(
        self, stop: PlanningStop, on_crowded: Callable[[str], None]
    ) -> Iterator[ContactFacts]:
        """Yield the contacts of the part; see `stream_facts`."""
        deals = self.deals_file.contacts(stop, self.offset)
        return stream_facts(
            self.emails, deals, stop, first=self.first, end=self.end, on_crowded=on_crowded
        )


class PartResult(NamedTuple, Generic[T]):
    """Result of the work on a part.

    Args:
        value: what the work returned.
        emails: emails of the part.
        crowded: contacts left out because they have too many emails.
    """

    value: T
    emails: int
    crowded: list[str]


Work = Callable[[Iterable[ContactFacts]], T]
"""Work on the contacts of a part, which processes can get: a function of a module, or a partial."""


def judging_processes() -> int:
    """Return the processes that use the cores of this process, at most 4.

    With more, their memory together would be more than that of sorting the emails.
    """
    if sys.platform == "linux":
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return min(cores, _MOST_PROCESSES)


class PartProcesses:
    """Processes for passes over the parts of an audit; a context manager, left without waiting.

    Args:
        workers: most processes; fewer, or this one alone, if there are few parts.
        stop: interrupts the passes.
    """

    def __init__(self, workers: int, stop: PlanningStop) -> None:
        self._workers = workers
        self._stop = stop
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def map(self, work: Work[T], parts: Sequence[ContactPart]) -> Iterator[PartResult[T]]:
        """Yield the result of each part, in their order; blocks.

        Args:
            work: what is done with the contacts of a part.
            parts: the parts, as many in each pass.

        Raises:
            InterruptedPlanningError: if the audit was stopped.
        """
        blocks("judging emails")
        workers = min(self._workers, len(parts) // _LEAST_PARTS)
        if workers < 2:
            for part in parts:
                yield _work_on(work, part, self._stop)
            return
        if self._pool is None:
            context = get_context("spawn")  # a copy of a process with threads may hang
            self._pool = ProcessPoolExecutor(workers, context, _depend_on_parent)
        with self._stop.calling(partial(self._pool.shutdown, wait=False, cancel_futures=True)):
            try:
                yield from self._results(work, parts, self._pool, 2 * workers)
            except BaseException:
                self._pool.shutdown(cancel_futures=True)  # while the files are there
                raise

    def _results(
        self, work: Work[T], parts: Sequence[ContactPart], pool: ProcessPoolExecutor, ahead: int
    ) -> Iterator[PartResult[T]]:
        """Yield the results of a pool, which works a few parts ahead of the one awaited."""
        begun: deque[Future[PartResult[T]] | None] = deque()
        for place, part in enumerate(parts):
            for next_part in parts[place + len(begun) : place + ahead]:
                begun.append(_begin(pool, work, next_part))
            result = _await(begun.popleft())
            self._stop.check()
            yield _work_on(work, part, self._stop) if result is None else result


def _begin(
    pool: ProcessPoolExecutor, work: Work[T], part: ContactPart
) -> Future[PartResult[T]] | None:
    """Submit a part; return None if the pool takes no more."""
    try:
        with _blocked_interrupts():
            return pool.submit(_work_on, work, part)
    except RuntimeError:  # a process was killed, or the audit is stopped
        return None


def _await(future: Future[PartResult[T]] | None) -> PartResult[T] | None:
    """Return the result of a part; None if its process was killed, or it was cancelled."""
    try:
        return None if future is None else future.result()
    except (BrokenProcessPool, CancelledError):
        return None


def _work_on(work: Work[T], part: ContactPart, stop: PlanningStop | None = None) -> PartResult[T]:
    emails, crowded = 0, list[str]()

    def contacts() -> Iterator[ContactFacts]:
        nonlocal emails
        for contact in part.contacts(stop or PlanningStop(), crowded.append):
            emails += len(contact.emails)
            yield contact

    with _cyclic_gc_paused():
        return PartResult(work(contacts()), emails, crowded)


@contextmanager
def _cyclic_gc_paused() -> Iterator[None]:
    """Pause the search for reference cycles, a fifth of the time: values of contacts have none."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def _blocked_interrupts() -> Iterator[None]:
    """Let no process that starts in the meantime be interrupted, not even while it imports.

    A terminal sends Ctrl-C to all processes, and the one that judges stops the others.
    """
    if sys.platform == "win32":
        yield
    else:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _depend_on_parent() -> None:
    """Leave Ctrl-C to the process that judges, and end when that was killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    if (parent := parent_process()) is not None:
        parent.join()
        os._exit(1)
