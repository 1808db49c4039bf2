"""Comparing what was answered with success with what pages show, contacts side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

from bulklink.engine.breaker import ReadRefusals
from bulklink.engine.canary_result import Compared, View
from bulklink.engine.context import Desk
from bulklink.engine.pagination import Pages
from bulklink.engine.shutdown import HaltedError
from bulklink.engine.workers import work_through
from bulklink.errors import BulklinkError, RunStoppedError, StoppedBy
from bulklink.ledger.records import Result
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
