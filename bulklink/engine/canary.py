"""The canary: the first messages are sent and read back before the rest follows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

import anyio
import msgspec
from anyio.abc import TaskGroup

from bulklink.engine.contact import ContactRun, Desk
from bulklink.engine.failures import Failures
from bulklink.engine.pages import Pages
from bulklink.engine.refusals import ReadRefusals
from bulklink.engine.stopping import HaltedError
from bulklink.errors import BulklinkError, RunStoppedError, StoppedBy
from bulklink.ledger.lines import Result, result_line
from bulklink.models import Message, Op, Status
from bulklink.zoho.links import Deal, read_page

NOT_APPLIED = "not-applied"
"""Code of a message that was answered with success, and that a read shows not as wanted."""
_SHOWN = 3


class Found(msgspec.Struct, frozen=True):
    """What the canary found.

    `tried` messages were settled, `as_wanted` of them done or unchanged. Of those that were
    answered with success, `listed` were on a page and `not_listed` were not, because the pages
    that may be read ended where `cut_off`. `different` says of each that is not as it was
    answered where it is; `failures` of what failed else how much and why.
    """

    tried: int
    as_wanted: int
    listed: int
    not_listed: int
    cut_off: bool
    different: tuple[str, ...]
    ops: tuple[Op, ...]
    failures: str
    resolutions: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the run goes on by itself."""
        return self.as_wanted > 0 and not self.different

    @property
    def in_words(self) -> str:
        """Say what was found, one or two sentences."""
        said = []
        if self.different:
            said.append(
                f"{len(self.different):,} of {self.listed:,} emails that were answered with success"
                f" are not {_wanted(self.ops)}: {'; '.join(self.different[:_SHOWN])}."
            )
        elif self.passed:
            said.append(
                f"the first {self.tried:,} emails were tried; {self.listed:,} of those answered"
                " with success were read back, all as recorded."
            )
        if not self.as_wanted and self.failures:
            said.append(f"None of the first {self.tried:,} emails is as wanted: {self.failures}.")
        if self.not_listed:
            why = "within --read-pages" if self.cut_off else "that could be read"
            said.append(f"{self.not_listed:,} were on no page {why}.")
        return " ".join(said)


class Canary:
    """Sends the first whole batches, reads them back, and says whether the rest may follow.

    Args:
        desk: what all contacts of the run share.
        at_least: messages that are tried.
        enough: tells that so much failed that no further contact is begun.
        told: told of each result that a read corrects.
        phase: told what is done now.
    """

    def __init__(
        self,
        desk: Desk,
        at_least: int,
        *,
        enough: Callable[[], bool],
        told: Callable[[Result], None],
        phase: Callable[[str], None],
    ) -> None:
        self._desk = desk
        self.at_least = at_least
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
            self._desk.refusals.begin()
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
        self._desk.refusals.end()

    async def _quiet(self) -> None:
        """Wait until every contact that was begun is done with its first part, or is held."""
        holds = self._desk.refusals.holds
        while any(not holds(contact) for contact in self._at_work):
            self._moved = anyio.Event()
            await self._moved.wait()

    def _wake(self) -> None:
        self._moved.set()

    async def _read_back(self) -> Found:
        """Read what was answered with success; what differs is read again when it is believed."""
        clock, sending = self._desk.clock, self._desk.sending
        believed_at = clock.monotonic() + sending.settle_after
        done = [one for one in self._results.values() if one.status is Status.DONE]
        seen, cut_off = await self._read(done)
        differing = [one for one in done if one.row in seen and not _as_recorded(one, seen)]
        if differing and believed_at > clock.monotonic():
            await self._desk.stopping.sleep(believed_at - clock.monotonic())
            again, _ = await self._read(differing)
            seen |= again
        different = [one for one in differing if not _as_recorded(one, seen)]
        for one in different:
            self._correct(one, *seen[one.row])
        return self._found(done, seen, different, cut_off=cut_off)

    async def _read(
        self, results: Sequence[Result]
    ) -> tuple[dict[int, tuple[Deal | None, int | None]], bool]:
        """Return deal and call by row for what pages list, and whether pages were left unread."""
        seen: dict[int, tuple[Deal | None, int | None]] = {}
        cut_off = False
        refusals = ReadRefusals()
        ordered = sorted(results, key=lambda one: one.contact_id or "")
        for contact_id, members in groupby(ordered, key=lambda one: one.contact_id or ""):
            left = {one.message_id: one.row for one in members}
            most = self._desk.sending.read_pages
            pages = Pages(contact_id, read_page, self._desk.caller, refusals, most=most)
            try:
                while left and (page := await pages.next(list(left.values()))) is not None:
                    for message_id in page.links.keys() & left.keys():
                        seen[left.pop(message_id)] = (page.links[message_id], pages.last_call)
            except RunStoppedError as error:
                if error.by is not StoppedBy.FATAL:
                    raise
                break  # what cannot be read is not counted against it
            cut_off = cut_off or bool(left and not pages.whole and not pages.failed)
        return seen, cut_off

    def _correct(self, result: Result, deal: Deal | None, call: int | None) -> None:
        """Record that a read shows a message elsewhere than it was answered to be."""
        corrected = msgspec.structs.replace(
            result,
            status=Status.FAILED,
            code=NOT_APPLIED,
            message=f"It was answered with success, and a read shows it {_place(deal)}.",
            call=call,
            current_deal_id=deal.id if deal else None,
        )
        self._results[result.row] = corrected
        self._desk.ledger.append(result_line(self._desk.clock.timestamp(), corrected))
        self._told(corrected)

    def _found(
        self,
        done: Sequence[Result],
        seen: dict[int, tuple[Deal | None, int | None]],
        different: Sequence[Result],
        *,
        cut_off: bool,
    ) -> Found:
        failures = Failures()
        for result in self._results.values():
            failures.add(result)
        return Found(
            tried=len(self._results),
            as_wanted=failures.settled - failures.failed,
            listed=len(seen),
            not_listed=len(done) - len(seen),
            cut_off=cut_off,
            different=tuple(f"row {one.row} is {_place(seen[one.row][0])}" for one in different),
            ops=tuple({one.op for one in different if one.op is not None}),
            failures=failures.in_words if failures.failed else "",
            resolutions=tuple(failures.explained()),
        )


def _as_recorded(result: Result, seen: dict[int, tuple[Deal | None, int | None]]) -> bool:
    deal = seen[result.row][0]
    return (deal.id if deal else None) == result.deal_id


def _place(deal: Deal | None) -> str:
    return f"on deal {deal.id}" if deal else "on no deal"


def _wanted(ops: Sequence[Op]) -> str:
    if Op.UNLINK not in ops:
        return "on the wanted deal"
    return "off their deal" if len(ops) == 1 else "as wanted"
