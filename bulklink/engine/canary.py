"""The canary: the first messages are sent and read back before the rest follows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import anyio
import msgspec
from anyio.abc import TaskGroup

from bulklink.engine.canary_result import Found, View, found
from bulklink.engine.comparing_part import Comparing
from bulklink.engine.contact import ContactRun
from bulklink.engine.context import Desk
from bulklink.engine.shutdown import HaltedError
from bulklink.engine.transitions import SETTLED_BY_READ
from bulklink.errors import BulklinkError
from bulklink.ledger.records import Result, result_line
from bulklink.ledger.state import NOT_APPLIED
from bulklink.models import Message, Status


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
