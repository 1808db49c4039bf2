"""One contact of a run, phase by phase: snapshot, unlink, link, put back, settle.

The phases keep the calls few: what is to be unlinked goes first, all of it, then what is to be
linked, so that full batches can be cut from what is really left to do.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from itertools import groupby

import anyio
import msgspec

from bulklink.engine.batching import first_batches, link_batches, unlink_batches
from bulklink.engine.breaker import Refusals
from bulklink.engine.caller import Caller, Exchange
from bulklink.engine.context import Desk, Sending
from bulklink.engine.message_state import Need, Track
from bulklink.engine.pagination import Pages
from bulklink.engine.quota.budget import Hold
from bulklink.engine.quota.gate import TO_FINISH, ShortError
from bulklink.engine.shutdown import HaltedError
from bulklink.engine.transitions import ANSWERED, leave_in_doubt, seen, unreadable
from bulklink.errors import BulklinkError
from bulklink.ledger.records import result_line, snapshot_line, step_line
from bulklink.models import Message, Op, Status
from bulklink.zoho import requests
from bulklink.zoho.email_pages import read_page
from bulklink.zoho.error_policy import AnswerClass, class_of
from bulklink.zoho.http import Answer, CallKind, Request, Silence
from bulklink.zoho.link_response import Reading, Verdict, read_answer


def batches_of(tracks: Sequence[Track], need: Need, sending: Sending) -> Iterable[list[Track]]:
    """Cut tracks into calls: per owner and lot, unlinks packed by the length of their ids."""
    shared = sending.by_contact and need is not Need.UNLINK
    by_row = {track.message.row: track for track in tracks}
    cut = unlink_batches if need is Need.UNLINK else link_batches

    def group(track: Track) -> tuple[str, int]:
        return "" if shared else track.message.owner_id, track.lot

    for _, members in groupby(sorted(tracks, key=group), key=group):
        for batch in cut([track.message for track in members], sending.batch_size):
            yield [by_row[message.row] for message in batch]


def relinks(batch: Sequence[Track]) -> bool:
    """Tell whether a batch carries relinks."""
    return any(track.message.op is Op.RELINK for track in batch)


def may_be_applied(verdict: Verdict) -> bool:
    """Tell whether a refusal is a failure of the server, after which anything can be true."""
    return class_of(verdict.http_status, verdict.code) in (AnswerClass.AGAIN, AnswerClass.BUSY)


def read_writing(
    batch: Sequence[Track], need: Need, exchange: Exchange, sending: Sending
) -> Reading:
    """Read what came back from a link or unlink call; silence names nobody."""
    if isinstance(exchange.outcome, Silence):
        return Reading({})
    single = len(batch) == 1 and sending.single_endpoint and need is not Need.UNLINK
    ids = [track.message.message_id for track in batch]
    return read_answer(ids, exchange.outcome, echo_of=batch[0].target[0] if single else None)


def request_for(batch: Sequence[Track], need: Need, sending: Sending) -> Request:
    """Return the request that does what these messages need."""
    messages = [track.message for track in batch]
    one = len(batch) == 1 and sending.single_endpoint
    if need is Need.UNLINK:
        return requests.unlink_one(messages[0]) if one else requests.unlink(messages)
    deals = [track.target for track in batch]
    if one:
        return requests.link_one(messages[0], deals[0], sending.module_id, names=sending.names)
    return requests.link(messages, deals, sending.module_id, names=sending.names)


async def read_links(
    contact_id: str,
    tracks: Sequence[Track],
    caller: Caller,
    refusals: Refusals,
    *,
    most_pages: int,
    finishing: bool,
    hold: Hold,
    told: Callable[[Sequence[Track]], None],
) -> None:
    """Read a contact's pages until all messages are seen, or no page is left.

    Each goes on as soon as its page came: what a page shows is true then, and may not be later.

    Args:
        contact_id: whose emails.
        tracks: of the messages.
        caller: makes the calls.
        refusals: judges a refusal.
        most_pages: pages that are read at most.
        finishing: whether it serves relinks that a gentle stop must not tear.
        hold: credits that are set aside to finish relinks of the contact.
        told: takes those that a page, or the end of the pages, let go on.

    Raises:
        HaltedError: if the run was stopped.
        RunStoppedError: if no read can succeed.
    """
    left: dict[str, list[Track]] = {}
    for track in tracks:
        left.setdefault(track.message.message_id, []).append(track)
    pages = Pages(
        contact_id, read_page, caller, refusals, most=most_pages, finishing=finishing, hold=hold
    )
    while left and (page := await pages.next(_rows(left.values()))) is not None:
        listed = []
        for message_id in [one for one in page.links if one in left]:
            for track in left.pop(message_id):
                seen(track, True, page.links[message_id], pages.last_call)  # noqa: FBT003 - listed
                listed.append(track)
        told(listed)
    unseen = [track for same in left.values() for track in same]
    for track in unseen:
        if pages.failed:
            unreadable(track, pages.verdict, pages.last_call)
        else:
            seen(track, False, None, pages.last_call)  # noqa: FBT003 - on no page
    told(unseen)


def _rows(left: Iterable[Sequence[Track]]) -> list[int]:
    return [track.message.row for same in left for track in same]


_PHASES = (Need.SNAPSHOT, Need.UNLINK, Need.LINK, Need.PUT_BACK, Need.SETTLE)


class ContactRun:
    """The work on some messages of one contact, until each is settled or the run stops.

    Args:
        messages: of one contact.
        desk: what all contacts of the run share.
    """

    def __init__(self, messages: Sequence[Message], desk: Desk) -> None:
        self._contact_id = messages[0].contact_id
        self._tracks = [desk.track(message) for message in messages]
        self._desk = desk
        self._lots = 0
        self._hold = Hold()
        self._short = False
        self._write_ended = desk.clock.monotonic()

    async def run_first(self, at_least: int) -> None:
        """Do what the first whole batches need that carry so many messages; `run` does the rest."""
        while before := [track for track in self._open() if track.need is Need.SNAPSHOT]:
            await self._guarded(self._read, before, Need.SNAPSHOT)
        everything, sending = self._tracks, self._desk.sending
        size, shared = sending.batch_size, sending.by_contact
        self._tracks = first_batches(self._open(), at_least, size, by_contact=shared)
        await self.run()
        self._tracks = everything

    def begin_anew(self) -> None:
        """Forget what was read of messages that were not sent: it was too long ago."""
        self._tracks = [
            track
            if track.attempts or track.need is Need.NOTHING
            else self._desk.track(track.message)
            for track in self._tracks
        ]

    async def run(self) -> None:
        """Do what the tracks need, phase by phase."""
        while tracks := self._open():
            need = next(phase for phase in _PHASES if any(t.need is phase for t in tracks))
            asking = [track for track in tracks if track.need is need]
            if need in (Need.SNAPSHOT, Need.SETTLE):
                await self._guarded(self._read, asking, need)
            else:
                await self._write(asking, need)

    def _open(self) -> list[Track]:
        """Return the tracks that may go on; after a stop, at most those between two halves.

        These also go first where credits are short, before the contact waits for some.
        """
        tracks = [track for track in self._tracks if track.need is not Need.NOTHING]
        torn = [track for track in tracks if track.torn]
        self._hold.torn = bool(torn)
        if not torn:
            self._desk.caller.release(self._hold)
        if self._desk.stopping.reason is not None:
            return [] if self._desk.stopping.halts(finishing=True) else torn
        self._short = self._short and bool(torn)
        return torn if self._short else tracks

    async def _guarded(
        self, work: Callable[[list[Track], Need], Awaitable[None]], tracks: list[Track], need: Need
    ) -> None:
        """Do some work; what ends the run is told to all, and the tracks stay as they are."""
        try:
            await work(tracks, need)
        except ShortError:
            self._short = True
        except HaltedError:
            pass
        except BulklinkError as error:
            self._desk.stopping.stop(error)

    async def _write(self, tracks: Sequence[Track], need: Need) -> None:
        """Send what is to be changed, all batches at once; the pacer holds back what must wait."""
        batches = list(batches_of(tracks, need, self._desk.sending))
        if len(batches) == 1:
            await self._guarded(self._send, batches[0], need)
        else:
            async with anyio.create_task_group() as group:
                for batch in batches:
                    group.start_soon(self._guarded, self._send, batch, need)

    async def _send(self, batch: Sequence[Track], need: Need) -> None:
        exchange = await self._desk.caller.make(
            request_for(batch, need, self._desk.sending),
            contact_id=self._contact_id,
            rows=[track.message.row for track in batch],
            tried=max(track.sendings for track in batch),
            finishing=any(track.torn for track in batch),
            hold=self._hold,
            aside=TO_FINISH if need is Need.UNLINK and relinks(batch) else 0,
        )
        self._write_ended = self._desk.clock.monotonic()
        for track in batch:
            track.sent(exchange.call, exchange.tries, lost=exchange.lost)
        await self._take(batch, need, exchange)

    async def _take(self, batch: Sequence[Track], need: Need, exchange: Exchange) -> None:
        """Take an answer in: what it says of each message, then what the run makes of that."""
        reading = read_writing(batch, need, exchange, self._desk.sending)
        ids = [track.message.message_id for track in batch]
        if isinstance(exchange.outcome, Answer) and exchange.outcome.ok and not reading.clean(ids):
            self._desk.caller.keep(exchange)
        if any(verdict.success for verdict in reading.named.values()):
            self._desk.refusals.succeeded(exchange.kind, self._contact_id)
        refused = []
        for track in batch:
            verdict = reading.named.get(track.message.message_id)
            if verdict is not None and verdict.success:
                ANSWERED[need](track, verdict)
            else:
                refused.append((track, verdict))
        self._record(batch)
        if reading.whole is not None:
            await self._refused_whole(batch, need, exchange.kind, reading.whole)
        else:
            await self._refused(refused, need, exchange.kind)
        self._record(batch)

    async def _refused(
        self, refused: Sequence[tuple[Track, Verdict | None]], need: Need, kind: CallKind
    ) -> None:
        """Go on with messages that an answer refuses by name, or does not name at all."""
        for said in {verdict.code: verdict for _, verdict in refused if verdict}.values():
            await self._judge(kind, said, [track for track, _ in refused])
        for track, verdict in refused:
            if verdict is None or may_be_applied(verdict):
                track.lose()
            else:
                ANSWERED[need](track, verdict)

    async def _refused_whole(
        self, batch: Sequence[Track], need: Need, kind: CallKind, verdict: Verdict
    ) -> None:
        """Go on with a call that was refused without a name: halve it until one stands alone."""
        await self._judge(kind, verdict, batch)
        meaning = class_of(verdict.http_status, verdict.code)
        if may_be_applied(verdict):
            for track in batch:
                track.lose()
        elif meaning is AnswerClass.FATAL_IF_COMMON or len(batch) == 1:
            for track in batch:
                ANSWERED[need](track, verdict)
        else:
            self._halve(batch, need)

    async def _judge(self, kind: CallKind, verdict: Verdict, batch: Sequence[Track]) -> None:
        """Return where a refusal concerns these messages or this contact alone."""
        finishing = any(track.torn for track in batch)
        await self._desk.refusals.judge(kind, self._contact_id, verdict, finishing=finishing)

    def _halve(self, batch: Sequence[Track], need: Need) -> None:
        """Have a refused batch sent in two halves.

        The refusal names nobody, so some may have been applied: unlinks are read back first.
        """
        middle = (len(batch) + 1) // 2
        for half in (batch[:middle], batch[middle:]):
            self._lots += 1
            for track in half:
                track.lot, track.doubt = self._lots, True
                if need is Need.UNLINK:
                    track.settle()

    async def _read(self, tracks: Sequence[Track], need: Need) -> None:
        """Read the links back until all these messages are seen, and go on with each."""
        finishing, sending = all(track.torn for track in tracks), self._desk.sending
        if need is Need.SETTLE and not sending.read_back:
            for track in tracks:
                leave_in_doubt(track)
            self._record(tracks)
            return
        if any(track.patient for track in tracks):
            believed_at = self._write_ended + sending.settle_after
            left = believed_at - self._desk.clock.monotonic()
            await self._desk.stopping.sleep(max(0.0, left), finishing=finishing)
        await read_links(
            self._contact_id,
            tracks,
            self._desk.caller,
            self._desk.refusals,
            most_pages=sending.read_pages,
            finishing=finishing,
            told=partial(self._record, snapshot=need is Need.SNAPSHOT),
            hold=self._hold,
        )

    def _record(self, tracks: Iterable[Track], *, snapshot: bool = False) -> None:
        """Write what is new of these tracks to the ledger."""
        desk = self._desk
        ts = desk.clock.timestamp()
        for track in tracks:
            row, previous = track.message.row, track.previous
            if track.result is not None:
                result, track.result = track.result, None
                desk.ledger.append(result_line(ts, result))
                if result.status is Status.DONE:
                    # A read tells it too, where the answer was lost.
                    desk.refusals.worked(
                        CallKind.UNLINK if result.op is Op.UNLINK else CallKind.LINK
                    )
                desk.settled(result)
            elif snapshot and not isinstance(previous, msgspec.UnsetType) and track.call:
                name = previous.name if previous else None
                line = snapshot_line(ts, row, previous.id if previous else None, name, track.call)
                desk.ledger.append(line)
            if track.unlinked and not track.step_told:
                track.step_told = True
                desk.ledger.append(step_line(ts, row))
