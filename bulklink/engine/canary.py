"""Canary: the first batches of a run, read back and compared before the rest is sent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

import anyio
import msgspec
from anyio.abc import TaskGroup

from bulklink.engine.breaker import ReadRefusals
from bulklink.engine.canary_result import Compared, Found, View, found
from bulklink.engine.contact import ContactRun
from bulklink.engine.context import Desk
from bulklink.engine.dispatch import work_through
from bulklink.engine.pagination import Pages
from bulklink.engine.shutdown import HaltedError
from bulklink.engine.transitions import SETTLED_BY_READ
from bulklink.errors import BulklinkError, RunStoppedError, StoppedBy
from bulklink.ledger.records import Result, result_line
from bulklink.ledger.state import NOT_APPLIED
from bulklink.models import Message, Status
from bulklink.zoho.email_pages import Page, read_page


class Comparing:
    """Reads messages back that were answered with success.

    Args:
        desk: what all contacts of the run share.
        workers: contacts that are read side by side; the pacer says how many calls that are.
        differs: told at once of each that a read shows elsewhere which can be believed.
    """

    def __init__(self, desk: Desk, workers: int, differs: Callable[[Result, View], None]) -> None:
        self._desk = desk
        self._workers = workers
        self._differs = differs
        self._views: dict[int, View] = {}
        self._cut_off = False
        self._over = False
        self._refusals = ReadRefusals()
        self._believed_at = 0.0

    async def compare(self, results: Sequence[Result]) -> Compared:
        """Read the messages of these results, and once more those in question.

        A list may lag behind the calls by `--settle-after`: one wait for all, then what differs
        is read again.

        Raises:
            HaltedError: if the run was stopped.
        """
        clock = self._desk.clock
        self._believed_at = clock.monotonic() + self._desk.sending.settle_after
        await self._read(results)
        early = [one for one in self._different(results) if not self._views[one.row].believed]
        if early:
            await self._desk.stopping.sleep(max(0.0, self._believed_at - clock.monotonic()))
            await self._read(early)
        return Compared(self._views, tuple(self._different(results)), self._cut_off)

    def _different(self, results: Sequence[Result]) -> list[Result]:
        return [
            one
            for one in results
            if one.row in self._views and self._views[one.row].deal_id != one.deal_id
        ]

    async def _read(self, results: Sequence[Result]) -> None:
        ordered = sorted(results, key=_contact)
        contacts = [list(members) for _, members in groupby(ordered, key=_contact)]
        stopping = self._desk.stopping
        await work_through(contacts, self._contact, stopping, workers=self._workers)
        stopping.check()

    async def _contact(self, results: Sequence[Result]) -> None:
        """Read a contact's messages; what cannot be read is not counted against it."""
        if self._over:
            return
        try:
            await self._pages(results)
        except HaltedError:
            self._over = True
        except BulklinkError as error:
            self._over = True
            if not (isinstance(error, RunStoppedError) and error.by is StoppedBy.FATAL):
                self._desk.stopping.stop(error)

    async def _pages(self, results: Sequence[Result]) -> None:
        left: dict[str | None, list[Result]] = {}
        for result in results:
            left.setdefault(result.message_id, []).append(result)
        pages = Pages(
            _contact(results[0]),
            read_page,
            self._desk.caller,
            self._refusals,
            most=self._desk.sending.read_pages,
        )
        while left:
            believed = self._desk.clock.monotonic() >= self._believed_at
            page = await pages.next([one.row for same in left.values() for one in same])
            if page is None:
                break
            self._look(page, left, pages.last_call, believed=believed)
        self._cut_off = self._cut_off or bool(left and not pages.whole and not pages.failed)

    def _look(
        self, page: Page, left: dict[str | None, list[Result]], call: int | None, *, believed: bool
    ) -> None:
        """Take from a page what it shows of the messages that are left."""
        for message_id in page.links.keys() & left.keys():
            view = View(page.links[message_id], call, believed)
            for result in left.pop(message_id):
                self._views[result.row] = view
                if believed and view.deal_id != result.deal_id:
                    self._differs(result, view)


def _contact(result: Result) -> str:
    return result.contact_id or ""


class Canary:
    """Sends the first whole batches, reads them back, and says whether the rest may follow.

    Args:
        desk: what all contacts of the run share.
        at_least: messages that are tried.
        workers: contacts that are read back side by side.
        enough: tells that so much failed that no further contact is begun.
        told: told of each result that a read corrects.
        phase: told what is done now.
    """

    def __init__(
        self,
        desk: Desk,
        at_least: int,
        *,
        workers: int,
        enough: Callable[[], bool],
        told: Callable[[Result], None],
        phase: Callable[[str], None],
    ) -> None:
        self._desk = desk
        self.at_least = at_least
        self._workers = workers
        self._enough = enough
        self._told = told
        self._phase = phase
        self._results: dict[int, Result] = {}
        self._parts: dict[str, int] = {}
        self._at_work: set[str] = set()
        self._moved = anyio.Event()
        self._decided = anyio.Event()
        self._anew = False
        desk.stopping.on_stop(self.go_on)
        desk.stopping.on_stop(self._wake)
        desk.refusals.on_held(self._wake)

    def add(self, result: Result) -> None:
        """Take a result of what is tried."""
        self._results[result.row] = result

    def go_on(self, *, anew: bool = False) -> None:
        """Let the rest of the contacts that were begun follow.

        Args:
            anew: whether what was read of them is too old, because a person was waited for.
        """
        self._anew = self._anew or anew
        self._decided.set()

    async def run(self, windows: Iterator[list[Message]], group: TaskGroup) -> Found | None:
        """Try the first messages and read them back; None if the run stops meanwhile.

        Args:
            windows: contacts in the order of the plan; those that are begun are taken from it.
            group: works on what is left of those until the end of the run.
        """
        self._phase(f"Trying the first {self.at_least:,} emails")
        await self._try(windows, group)
        if self._desk.stopping.reason is not None or not self._results:
            return None
        self._phase("Reading them back")
        try:
            return await self._read_back()
        except HaltedError:
            return None
        except BulklinkError as error:
            self._desk.stopping.stop(error)
            return None

    async def _try(self, windows: Iterator[list[Message]], group: TaskGroup) -> None:
        """Begin contacts until enough messages are settled; one that is held does not count."""
        for window in windows:
            lacking = self.at_least - self._tried()
            contact_id = window[0].contact_id
            self._parts[contact_id] = min(len(window), lacking)
            self._at_work.add(contact_id)
            self._desk.refusals.begin(contact_id)
            group.start_soon(self._work, ContactRun(window, self._desk), contact_id, lacking)
            if self._tried() >= self.at_least:
                await self._quiet()
                if self._tried() >= self.at_least or self._enough():
                    return
            if self._desk.stopping.reason is not None:
                return
        await self._quiet()

    def _tried(self) -> int:
        """Count the messages that are tried with contacts that are not held."""
        holds = self._desk.refusals.holds
        return sum(count for contact, count in self._parts.items() if not holds(contact))

    async def _work(self, contact: ContactRun, contact_id: str, at_least: int) -> None:
        await contact.run_first(at_least)
        self._at_work.discard(contact_id)
        self._wake()
        await self._decided.wait()
        if self._anew:
            contact.begin_anew()
        await contact.run()
        self._desk.refusals.end(contact_id)

    async def _quiet(self) -> None:
        """Wait until every contact that was begun is done with its first part, or is held."""
        holds = self._desk.refusals.holds
        while any(not holds(contact) for contact in self._at_work):
            self._moved = anyio.Event()
            await self._moved.wait()

    def _wake(self) -> None:
        self._moved.set()

    async def _read_back(self) -> Found:
        """Read what was answered with success, and say what was found."""
        done = [one for one in self._results.values() if one.status is Status.DONE]
        compared = await Comparing(self._desk, self._workers, self._correct).compare(done)
        return found(self._results.values(), len(done), compared)

    def _correct(self, result: Result, view: View) -> None:
        """Record that a read shows a message elsewhere than it was answered to be.

        Where a read had shown it as wanted, that was so: somebody moved it since.
        """
        if result.code == SETTLED_BY_READ:
            return
        corrected = msgspec.structs.replace(
            result,
            status=Status.FAILED,
            code=NOT_APPLIED,
            message=f"It was answered with success, and a read shows it {view.place}.",
            call=view.call,
            current_deal_id=view.deal_id,
        )
        self._results[result.row] = corrected
        self._desk.ledger.append(result_line(self._desk.clock.timestamp(), corrected))
        self._told(corrected)
