"""Canary: the first batches of a run, read back and compared before the rest is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

import anyio
import msgspec
from anyio.abc import TaskGroup

from bulklink.engine.breaker import ReadBreaker
from bulklink.engine.canary_result import CanaryResult, ObservedLink, ReadBackResult, build_result
from bulklink.engine.contact import ContactSender
from bulklink.engine.context import RunContext
from bulklink.engine.dispatch import process_all
from bulklink.engine.pagination import PageReader
from bulklink.engine.shutdown import StoppedError
from bulklink.engine.signal import Signal
from bulklink.engine.transitions import SETTLED_BY_READ
from bulklink.errors import BulklinkError, RunStoppedError, StoppedBy
from bulklink.ledger.records import Result, result_line
from bulklink.ledger.state import NOT_APPLIED
from bulklink.models import Message, Status
from bulklink.zoho.email_pages import LinksPage, parse_links_page


class ReadBackComparer:
    """Reads messages back that were answered with success.

    Args:
        desk: what all contacts of the run share.
        workers: contacts that are read side by side; the pacer says how many calls that are.
        differs: told at once of each that a read shows elsewhere which can be believed.
    """

    def __init__(
        self,
        context: RunContext,
        workers: int,
        on_difference: Callable[[Result, ObservedLink], None],
    ) -> None:
        self._context = context
        self._workers = workers
        self._on_difference = on_difference
        self._observed: dict[int, ObservedLink] = {}
        self._truncated = False
        self._aborted = False
        self._breaker = ReadBreaker()
        self._trusted_at = 0.0

    async def compare(self, results: Sequence[Result]) -> ReadBackResult:
        """Read the messages of these results, and once more those in question.

        A list may lag behind the calls by `--settle-after`: one wait for all, then what differs
        is read again.

        Raises:
            StoppedError: if the run was stopped.
        """
        clock = self._context.clock
        self._trusted_at = clock.monotonic() + self._context.settings.settle_after
        await self._read(results)
        untrusted = [
            result for result in self._differing(results) if not self._observed[result.row].trusted
        ]
        if untrusted:
            await self._context.stop.sleep(max(0.0, self._trusted_at - clock.monotonic()))
            await self._read(untrusted)
        return ReadBackResult(self._observed, tuple(self._differing(results)), self._truncated)

    def _differing(self, results: Sequence[Result]) -> list[Result]:
        return [
            result
            for result in results
            if result.row in self._observed and self._observed[result.row].deal_id != result.deal_id
        ]

    async def _read(self, results: Sequence[Result]) -> None:
        ordered = sorted(results, key=_contact_id)
        contacts = [
            list(contact_results) for _, contact_results in groupby(ordered, key=_contact_id)
        ]
        stop = self._context.stop
        await process_all(contacts, self._read_contact, stop, workers=self._workers)
        stop.check()

    async def _read_contact(self, results: Sequence[Result]) -> None:
        """Read a contact's messages; what cannot be read is not counted against it."""
        if self._aborted:
            return
        try:
            await self._read_pages(results)
        except StoppedError:
            self._aborted = True
        except BulklinkError as error:
            self._aborted = True
            if not (isinstance(error, RunStoppedError) and error.stopped_by is StoppedBy.FATAL):
                self._context.stop.request(error)

    async def _read_pages(self, results: Sequence[Result]) -> None:
        remaining: dict[str | None, list[Result]] = {}
        for result in results:
            remaining.setdefault(result.message_id, []).append(result)
        pages = PageReader(
            _contact_id(results[0]),
            parse_links_page,
            self._context.caller,
            self._breaker,
            max_pages=self._context.settings.read_pages,
        )
        while remaining:
            trusted = self._context.clock.monotonic() >= self._trusted_at
            page = await pages.next_page(
                [wanted.row for group in remaining.values() for wanted in group]
            )
            if page is None:
                break
            self._take_page(page, remaining, pages.last_call, trusted=trusted)
        self._truncated = self._truncated or bool(
            remaining and not pages.complete and not pages.failed
        )

    def _take_page(
        self,
        page: LinksPage,
        remaining: dict[str | None, list[Result]],
        call: int | None,
        *,
        trusted: bool,
    ) -> None:
        """Take from a page what it shows of the messages that are left."""
        for message_id in page.links.keys() & remaining.keys():
            observed = ObservedLink(page.links[message_id], call, trusted)
            for result in remaining.pop(message_id):
                self._observed[result.row] = observed
                if trusted and observed.deal_id != result.deal_id:
                    self._on_difference(result, observed)


def _contact_id(result: Result) -> str:
    return result.contact_id or ""


class Canary:
    """Sends the first whole batches, reads them back, and says whether the rest may follow.

    Args:
        desk: what all contacts of the run share.
        min_messages: messages that are tried.
        workers: contacts that are read back side by side.
        enough: tells that so much failed that no further contact is begun.
        told: told of each result that a read corrects.
        phase: told what is done now.
    """

    def __init__(
        self,
        context: RunContext,
        min_messages: int,
        *,
        workers: int,
        too_many_failed: Callable[[], bool],
        on_correction: Callable[[Result], None],
        on_phase: Callable[[str], None],
    ) -> None:
        self._context = context
        self.min_messages = min_messages
        self._workers = workers
        self._too_many_failed = too_many_failed
        self._on_correction = on_correction
        self._on_phase = on_phase
        self._results: dict[int, Result] = {}
        self._planned_counts: dict[str, int] = {}
        self._in_progress: set[str] = set()
        self._changed = Signal()
        self._released = anyio.Event()
        self._read_again = False
        context.stop.on_stop(self.release_rest)
        context.stop.on_stop(self._changed.notify)
        context.breaker.on_suspend(self._changed.notify)

    def add(self, result: Result) -> None:
        """Take a result of what is tried."""
        self._results[result.row] = result

    def release_rest(self, *, read_again: bool = False) -> None:
        """Let the rest of the contacts that were begun follow.

        Args:
            read_again: whether what was read of them is too old, because a person was waited for.
        """
        self._read_again = self._read_again or read_again
        self._released.set()

    async def run(
        self, windows: Iterator[list[Message]], task_group: TaskGroup
    ) -> CanaryResult | None:
        """Try the first messages and read them back; None if the run stops meanwhile.

        Args:
            windows: contacts in the order of the plan; those that are begun are taken from it.
            task_group: works on what is left of those until the end of the run.
        """
        self._on_phase(f"Trying the first {self.min_messages:,} emails")
        await self._send_first(windows, task_group)
        if self._context.stop.reason is not None or not self._results:
            return None
        self._on_phase("Reading them back")
        try:
            return await self._read_back()
        except StoppedError:
            return None
        except BulklinkError as error:
            self._context.stop.request(error)
            return None

    async def _send_first(self, windows: Iterator[list[Message]], task_group: TaskGroup) -> None:
        """Begin contacts until enough messages are settled; one that is held does not count."""
        for window in windows:
            missing = self.min_messages - self._planned_count()
            contact_id = window[0].contact_id
            self._planned_counts[contact_id] = min(len(window), missing)
            self._in_progress.add(contact_id)
            self._context.contacts.start(contact_id)
            task_group.start_soon(
                self._send_contact, ContactSender(window, self._context), contact_id, missing
            )
            if self._planned_count() >= self.min_messages:
                await self._wait_until_idle()
                if self._planned_count() >= self.min_messages or self._too_many_failed():
                    return
            if self._context.stop.reason is not None:
                return
        await self._wait_until_idle()

    def _planned_count(self) -> int:
        """Count the messages that are tried with contacts that are not held."""
        is_suspended = self._context.breaker.is_suspended
        return sum(
            count
            for contact_id, count in self._planned_counts.items()
            if not is_suspended(contact_id)
        )

    async def _send_contact(
        self, sender: ContactSender, contact_id: str, min_messages: int
    ) -> None:
        await sender.run_first(min_messages)
        self._in_progress.discard(contact_id)
        self._changed.notify()
        await self._released.wait()
        if self._read_again:
            sender.reset_unsent()
        await sender.run()
        self._context.contacts.end(contact_id)

    async def _wait_until_idle(self) -> None:
        """Wait until every contact that was begun is done with its first part, or is held."""
        is_suspended = self._context.breaker.is_suspended
        while any(not is_suspended(contact_id) for contact_id in self._in_progress):
            await self._changed.wait()

    async def _read_back(self) -> CanaryResult:
        """Read what was answered with success, and say what was found."""
        succeeded = [result for result in self._results.values() if result.status is Status.DONE]
        comparison = await ReadBackComparer(self._context, self._workers, self._correct).compare(
            succeeded
        )
        return build_result(self._results.values(), len(succeeded), comparison)

    def _correct(self, result: Result, observed: ObservedLink) -> None:
        """Record that a read shows a message elsewhere than it was answered to be.

        Where a read had shown it as wanted, that was so: somebody moved it since.
        """
        if result.code == SETTLED_BY_READ:
            return
        corrected = msgspec.structs.replace(
            result,
            status=Status.FAILED,
            code=NOT_APPLIED,
            message=f"It was answered with success, and a read shows it {observed.location}.",
            call=observed.call,
            current_deal_id=observed.deal_id,
        )
        self._results[result.row] = corrected
        self._context.ledger.append(result_line(self._context.clock.timestamp(), corrected))
        self._on_correction(corrected)
