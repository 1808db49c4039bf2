"""Canary: the first batches of a run, read back and compared before the rest is sent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import groupby

import anyio
import msgspec
from anyio.abc import TaskGroup

from bulklink.counts import count_of
from bulklink.engine.breaker import ReadBreaker
from bulklink.engine.canary_result import CanaryResult, ObservedLink, ReadBackResult, build_result
from bulklink.engine.contact import ContactSender
from bulklink.engine.context import RunContext
from bulklink.engine.pagination import ContactReading, PageReader
from bulklink.engine.signal import Signal
from bulklink.engine.worker_pool import ItemsInMemory, ItemSource, WorkerPool
from bulklink.errors import BulklinkError, RunStoppedError, StoppedBy, StoppedError
from bulklink.ledger.records import Result, result_line
from bulklink.ledger.state import NOT_APPLIED, SETTLED_BY_READ
from bulklink.models import Message, Op, Status
from bulklink.zoho.email_pages import LinkedDeal, LinksPage, parse_links_page


@dataclass(slots=True)
class ReadBackComparer:
    """Reads back the canary's successful messages.

    Args:
        context: shared by all contacts of the run.
        workers: contacts read at once; the limiter decides how many calls are in flight.
        on_difference: called immediately with each message that a trusted read contradicts.
        windows: planned messages by contact.
    """

    context: RunContext
    workers: int
    on_difference: Callable[[Result, ObservedLink], None]
    windows: Mapping[str, Sequence[Message]]
    _observed: dict[int, ObservedLink] = field(default_factory=dict, init=False)
    _truncated: bool = field(default=False, init=False)
    _aborted: bool = field(default=False, init=False)
    _breaker: ReadBreaker = field(default_factory=ReadBreaker, init=False)
    _trusted_at: float = field(default=0.0, init=False)

    async def compare(self, results: Sequence[Result]) -> ReadBackResult:
        """Read the messages of these results, and reread those that differ.

        A page may lag behind the calls by `settle_after` seconds, so messages that differ are read
        again after a single wait.

        Raises:
            StoppedError: if the run was stopped.
        """
        clock = self.context.clock
        self._trusted_at = clock.monotonic() + self.context.settings.settle_after
        await self._read(results)
        untrusted = [
            result for result in self._differing(results) if not self._observed[result.row].trusted
        ]
        if untrusted:
            await self.context.stop.sleep(max(0.0, self._trusted_at - clock.monotonic()))
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
        stop = self.context.stop
        await WorkerPool(ItemsInMemory(contacts), self._read_contact, stop, self.workers).run()
        stop.check()

    async def _read_contact(self, results: Sequence[Result]) -> None:
        """Read a contact's messages; unreadable messages do not count as different."""
        if self._aborted:
            return
        try:
            await self._read_pages(results)
        except StoppedError:
            self._aborted = True
        except BulklinkError as error:
            self._aborted = True
            if not (isinstance(error, RunStoppedError) and error.stopped_by is StoppedBy.FATAL):
                self.context.stop.request(error)

    async def _read_pages(self, results: Sequence[Result]) -> None:
        remaining: dict[str | None, list[Result]] = {}
        for result in results:
            remaining.setdefault(result.message_id, []).append(result)
        pages = PageReader(
            _contact_id(results[0]),
            parse_links_page,
            self.context.caller,
            self._breaker,
            max_pages=self.context.settings.read_pages,
        )
        listed: dict[str, LinkedDeal | None] = {}
        while remaining:
            trusted = self.context.clock.monotonic() >= self._trusted_at
            page = await pages.next_page(
                [wanted.row for group in remaining.values() for wanted in group]
            )
            if page is None:
                break
            listed |= page.links
            self._take_page(page, remaining, pages.last_call, trusted=trusted)
        self._truncated = self._truncated or bool(
            remaining and not pages.complete and not pages.failed
        )
        window = self.windows[_contact_id(results[0])]
        self.context.on_contact_read(_reading(window, results, listed, pages.pages_read))

    def _take_page(
        self,
        page: LinksPage,
        remaining: dict[str | None, list[Result]],
        call: int | None,
        *,
        trusted: bool,
    ) -> None:
        """Record the remaining messages that a page lists."""
        for message_id in page.links.keys() & remaining.keys():
            observed = ObservedLink(page.links[message_id], call, trusted)
            for result in remaining.pop(message_id):
                self._observed[result.row] = observed
                if trusted and observed.deal_id != result.deal_id:
                    self.on_difference(result, observed)


def _reading(
    window: Sequence[Message],
    results: Sequence[Result],
    listed: Mapping[str, LinkedDeal | None],
    pages: int,
) -> ContactReading:
    """Return how many of a contact's planned emails its pages list."""
    tried = {result.message_id for result in results}
    others = [
        listed[message.message_id]
        for message in window
        if message.op is Op.LINK
        and message.message_id in listed
        and message.message_id not in tried
    ]
    linked = sum(deal is not None for deal in others)
    return ContactReading(len(window), len(results), pages, len(others), linked)


def _contact_id(result: Result) -> str:
    return result.contact_id or ""


@dataclass(slots=True)
class Canary:
    """Sends the first whole batches, reads them back, and compares.

    Args:
        context: shared by all contacts of the run.
        min_messages: minimum messages to try.
        workers: contacts read back at once.
        too_many_failed: returns whether too many failed to start another contact.
        on_correction: called with each result that a read corrects.
        on_phase: called with the name of each phase.
    """

    context: RunContext
    min_messages: int
    workers: int = field(kw_only=True)
    too_many_failed: Callable[[], bool] = field(kw_only=True)
    on_correction: Callable[[Result], None] = field(kw_only=True)
    on_phase: Callable[[str], None] = field(kw_only=True)
    _results: dict[int, Result] = field(default_factory=dict, init=False)
    _windows: dict[str, Sequence[Message]] = field(default_factory=dict, init=False)
    _planned_counts: dict[str, int] = field(default_factory=dict, init=False)
    _in_progress: set[str] = field(default_factory=set, init=False)
    _changed: Signal = field(default_factory=Signal, init=False)
    _released: anyio.Event = field(default_factory=anyio.Event, init=False)
    _read_again: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self.context.stop.on_stop(self.release_rest)
        self.context.stop.on_stop(self._changed.notify)
        self.context.breaker.on_suspend(self._changed.notify)

    def add(self, result: Result) -> None:
        """Record the result of a message if its contact is part of the canary."""
        if _contact_id(result) in self._planned_counts:
            self._results[result.row] = result

    def release_rest(self, *, read_again: bool = False) -> None:
        """Send the rest of the contacts that were started.

        Args:
            read_again: whether snapshots must be read again, because they became outdated while
                the user was prompted, or were not required before.
        """
        self._read_again = self._read_again or read_again
        self._released.set()

    async def run(
        self, windows: ItemSource[list[Message]], task_group: TaskGroup
    ) -> CanaryResult | None:
        """Send the first messages and read them back; return None if the run stops meanwhile.

        Args:
            windows: the contacts in the order of the plan.
            task_group: runs the tasks that send the rest of these contacts.
        """
        self.on_phase(f"Trying the first {count_of(self.min_messages, 'email')}")
        with suppress(StoppedError):
            await self._send_first(windows, task_group)
        if self.context.stop.reason is not None or not self._results:
            return None
        self.on_phase("Reading them back")
        try:
            return await self._read_back()
        except StoppedError:
            return None
        except BulklinkError as error:
            self.context.stop.request(error)
            return None

    async def _send_first(self, windows: ItemSource[list[Message]], task_group: TaskGroup) -> None:
        """Start contacts until enough messages are settled; a suspended one does not count."""
        while (window := await windows.next()) is not None:
            missing = self.min_messages - self._planned_count()
            contact_id = window[0].contact_id
            self._windows[contact_id] = window
            self._planned_counts[contact_id] = min(len(window), missing)
            self._in_progress.add(contact_id)
            self.context.contacts.start(contact_id)
            task_group.start_soon(
                self._send_contact, ContactSender(window, self.context), contact_id, missing
            )
            if self._planned_count() >= self.min_messages:
                await self._wait_until_idle()
                if self._planned_count() >= self.min_messages or self.too_many_failed():
                    return
            if self.context.stop.reason is not None:
                return
        await self._wait_until_idle()

    def _planned_count(self) -> int:
        """Return the number of messages tried, without those of suspended contacts."""
        is_suspended = self.context.breaker.is_suspended
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
        self.context.contacts.end(contact_id)

    async def _wait_until_idle(self) -> None:
        """Wait until each started contact has finished its first batches or is suspended."""
        is_suspended = self.context.breaker.is_suspended
        while any(not is_suspended(contact_id) for contact_id in self._in_progress):
            await self._changed.wait()

    async def _read_back(self) -> CanaryResult:
        """Read back the messages that succeeded, and return the canary's result."""
        succeeded = [result for result in self._results.values() if result.status is Status.DONE]
        comparer = ReadBackComparer(self.context, self.workers, self._correct, self._windows)
        comparison = await comparer.compare(succeeded)
        return build_result(self._results.values(), len(succeeded), comparison)

    def _correct(self, result: Result, observed: ObservedLink) -> None:
        """Record that a read contradicts the answer for a message.

        If an earlier read confirmed the message, it has been moved since: its result stands.
        """
        if result.code == SETTLED_BY_READ:
            return
        corrected = msgspec.structs.replace(
            result,
            status=Status.FAILED,
            code=NOT_APPLIED,
            message="The call was answered with success, but a read shows the email"
            f" {observed.location}.",
            call=observed.call,
            current_deal_id=observed.deal_id,
        )
        self._results[result.row] = corrected
        line = result_line(self.context.clock.timestamp(), corrected)
        self.context.ledger.append_results(corrected.status, line)
        self.on_correction(corrected)
