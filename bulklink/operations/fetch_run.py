"""Reading the emails of contacts into the fetch folder, and the table made of them."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import filelock
import msgspec
import orjson

from bulklink.atomic_files import replacing, unwritable
from bulklink.engine.dispatch import work_through
from bulklink.engine.pagination import Pages
from bulklink.engine.shutdown import HaltedError, Stopping
from bulklink.errors import BulklinkError, LockedError, RunDirError
from bulklink.ledger.state import mend
from bulklink.mapping.database import Database, literal
from bulklink.mapping.interrupt import Stop
from bulklink.models import NO_DEAL
from bulklink.operations.callbacks import Watch
from bulklink.operations.environment import Surroundings
from bulklink.operations.job import Job
from bulklink.operations.preflight import check_org
from bulklink.operations.session import ReadingSession, ends_told, reading_session, told_of
from bulklink.operations.verify_run import calls_since
from bulklink.runs.record import OrgRecord
from bulklink.tables import Cell, Column
from bulklink.zoho.connection import Connection
from bulklink.zoho.email_pages import ListedEmail, Listing, read_listing
from bulklink.zoho.link_response import Verdict


class FetchRecord(msgspec.Struct, frozen=True):
    """What a fetch is of: the same contacts of the same org can be gone on with."""

    contacts: int
    contacts_sha256: str
    api_url: str | None = None
    data_centre: str | None = None
    org: OrgRecord | None = None


class FetchFolder(msgspec.Struct, frozen=True):
    """The folder of a fetch that has not come to its end."""

    path: Path

    @property
    def contacts(self) -> Path:
        """The contacts, one a line."""
        return self.path / "contacts.txt"

    @property
    def record(self) -> Path:
        """What the fetch is of."""
        return self.path / "fetch.json"

    @property
    def lines(self) -> Path:
        """The emails as they came, and the calls."""
        return self.path / "fetched.jsonl"

    @property
    def answers(self) -> Path:
        """The answers that were no clean success."""
        return self.path / "answers.jsonl"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder and work in it alone.

        Raises:
            LockedError: if another process does.
            RunDirError: if it cannot be made.
        """
        try:
            self.path.mkdir(mode=0o700, exist_ok=True)
            (self.path / ".gitignore").write_text("*\n")
            lock = filelock.FileLock(self.path / "lock", timeout=0, mode=0o600)
            lock.acquire()
        except filelock.Timeout:
            raise LockedError(
                "Another process fetches into this file.",
                where=str(self.path),
                advice="Wait until it ends, or name another file.",
            ) from None
        except OSError as error:
            raise unwritable(self.path, error) from None
        try:
            yield
        finally:
            lock.release()

    def read(self) -> FetchRecord | None:
        """Return what is being fetched here, None if nothing is."""
        try:
            return msgspec.json.decode(self.record.read_bytes(), type=FetchRecord)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            raise RunDirError(
                f"It cannot be read: {error}.",
                where=str(self.record),
                advice="Remove its folder; then the same command fetches anew.",
            ) from None

    def write(self, record: FetchRecord) -> None:
        """Replace the record."""
        with replacing(self.record) as temporary:
            temporary.write_bytes(msgspec.json.encode(record))

    def clear(self) -> None:
        """Forget what was fetched, but stay."""
        for path in (self.record, self.lines, self.answers):
            path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the folder and all in it."""
        shutil.rmtree(self.path, ignore_errors=True)

    def contact_ids(self) -> Iterator[tuple[int, str]]:
        """Yield the contacts, numbered from 0."""
        with self.contacts.open(encoding="ascii") as file:
            for number, line in enumerate(file):
                yield number, line.rstrip("\n")


COLUMNS = (
    Column("contact_id", ident=True),
    Column("owner_id", ident=True),
    Column("owner_name"),
    Column("message_id", ident=True),
    Column("deal_id", ident=True),
    Column("from_deal_id", ident=True),
    Column("from_deal_name"),
    Column("subject"),
    Column("time"),
    Column("direction"),
)
MOST_NAMED = 1000
"""Contacts that could not be read, and are named."""
_LONGEST_SUBJECT = 32_767
"""Characters: what a cell of a sheet holds."""
_MEMORY = "160MB"


class UnreadContact(msgspec.Struct, frozen=True):
    """A contact whose emails could not be read, and why."""

    contact_id: str
    code: str
    message: str


def email_line(number: int, life: int, place: int, contact_id: str, email: ListedEmail) -> bytes:
    """Return the line of one email.

    Args:
        number: of its contact.
        life: the command that read it; lines of one that was killed on the contact do not count.
        place: of the email in the contact's list.
        contact_id: of the contact.
        email: as it was listed.
    """
    # For an email on no deal it says so: as a guard, an empty cell would guard nothing.
    deal = email.deal
    known = deal if deal is not msgspec.UNSET else None
    received = {True: "received", False: "sent", None: None}[email.received]
    return _line(
        {
            "event": "email",
            "n": number,
            "life": life,
            "place": place,
            "contact_id": contact_id,
            "owner_id": email.owner_id,
            "owner_name": email.owner_name,
            "message_id": email.message_id,
            "from_deal_id": NO_DEAL if deal is None else known.id if known else None,
            "from_deal_name": known.name if known else None,
            "subject": (email.subject or "")[:_LONGEST_SUBJECT] or None,
            "time": email.time,
            "direction": received,
        }
    )


def finished_line(number: int, life: int, nameless: int) -> bytes:
    """Return the line that ends a contact; `nameless` of its emails have no message id."""
    return _line({"event": "contact", "n": number, "life": life, "nameless": nameless})


def unread_line(number: int, life: int, contact_id: str, verdict: Verdict) -> bytes:
    """Return the line of a contact that could not be read."""
    told = {"contact_id": contact_id, "code": verdict.code, "message": verdict.text}
    return _line({"event": "unread", "n": number, "life": life, **told})


class _Told(msgspec.Struct):
    event: str
    n: int = 0
    life: int = 0
    nameless: int = 0


class Progress:
    """How far a fetch is, by its lines. Memory: a byte a contact.

    Attributes:
        life: the number of this command on it.
        finished: how many contacts were read.
        nameless: emails without a message id.
    """

    def __init__(self, folder: FetchFolder, contacts: int) -> None:
        self._done = bytearray(contacts)
        self._unread: dict[int, UnreadContact] = {}
        self.unread = 0
        self.life = 1
        self.finished = 0
        self.nameless = 0
        mend(folder.lines, folder.path / "fetched.torn")
        decoder = msgspec.json.Decoder(_Told)
        os.close(os.open(folder.lines, os.O_RDONLY | os.O_CREAT, 0o600))
        with folder.lines.open("rb") as file:
            for line in file:
                told = decoder.decode(line)
                self.life = max(self.life, told.life + 1)
                if told.event == "contact":
                    self.finish(told.n, told.nameless)

    def is_done(self, number: int) -> bool:
        """Tell whether a contact was read."""
        return self._done[number] != 0

    def finish(self, number: int, nameless: int) -> None:
        """Note a contact that was read."""
        self._done[number] = 1
        self.finished += 1
        self.nameless += nameless

    def leave(self, number: int, unread: UnreadContact) -> None:
        """Note a contact that could not be read."""
        self.unread += 1
        if len(self._unread) < MOST_NAMED:
            self._unread[number] = unread

    @property
    def named(self) -> tuple[UnreadContact, ...]:
        """Contacts that could not be read, the first so many in the order asked for."""
        return tuple(one for _, one in sorted(self._unread.items()))


class FetchedTable:
    """The table of all that was fetched, contact by contact as asked for, newest email first.

    Args:
        folder: of the fetch.
        stop: ends the work from another thread.

    Attributes:
        counts: its emails: `emails` in all, `on_no_deal`, and `not_told` where no deal is told.
    """

    def __init__(self, folder: FetchFolder, stop: Stop) -> None:
        self._folder = folder
        self._stop = stop
        self.counts: Counter[str] = Counter(emails=0, on_no_deal=0, not_told=0)

    def rows(self) -> Iterator[list[tuple[Cell, ...]]]:
        """Stream its rows, some two thousand at a time."""
        spill = self._folder.path / "spill"
        query = _TABLE.format(lines=literal(str(self._folder.lines)))
        with closing(Database(spill, self._stop, threads=1, memory=_MEMORY)) as database:
            for batch in database.batches(query):
                for row in batch:
                    self.counts["emails"] += 1
                    self.counts["on_no_deal"] += row[5] == NO_DEAL
                    self.counts["not_told"] += row[5] is None
                yield batch


#: An email may be listed twice, where new ones came while the pages were read.
_TABLE = """
WITH lines AS (
    SELECT * FROM read_json({lines}, format = 'newline_delimited', columns = {{
        event: 'VARCHAR', n: 'BIGINT', life: 'BIGINT', place: 'BIGINT', contact_id: 'VARCHAR',
        owner_id: 'VARCHAR', owner_name: 'VARCHAR', message_id: 'VARCHAR',
        from_deal_id: 'VARCHAR', from_deal_name: 'VARCHAR', subject: 'VARCHAR', time: 'VARCHAR',
        direction: 'VARCHAR'
    }})
)
SELECT emails.contact_id, owner_id, owner_name, message_id, NULL, from_deal_id, from_deal_name,
    subject, time, direction
FROM (SELECT * FROM lines WHERE event = 'email') AS emails
JOIN (SELECT n, life FROM lines WHERE event = 'contact') AS finished USING (n, life)
QUALIFY row_number() OVER (PARTITION BY n, message_id, owner_id ORDER BY place) = 1
ORDER BY n, place
"""


def _line(content: dict[str, object]) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE)


NO_ANSWER = Verdict("no-answer", "Nobody answered, or what came is no list of emails.", 0)
LIST_CUT = Verdict("list-cut", "The list says that there is more, and not how to ask for it.", 0)


class Fetcher:
    """Reads contacts into the folder of a fetch, those that are not there yet.

    Args:
        folder: of the fetch.
        record: what it is of.
        watch: call-backs.
        stopping: by which it can be stopped.

    Attributes:
        progress: how far it is.
    """

    def __init__(
        self, folder: FetchFolder, record: FetchRecord, watch: Watch, stopping: Stopping
    ) -> None:
        self._folder = folder
        self._record = record
        self._watch = watch
        self._stopping = stopping
        self.progress = Progress(folder, record.contacts)

    async def run(
        self, limits: Job, connection: Connection, around: Surroundings
    ) -> dict[str, int]:
        """Read what is to be read; return the calls made, by kind.

        Args:
            limits: how many calls are made, and how fast.
            connection: where the CRM is and how to sign in.
            around: network, disk and clock.

        Raises:
            RefusedError: if it is refused before any contact is read.
        """
        lines = self._folder.lines
        if self.progress.finished:
            self._watch.warn(
                f"{self.progress.finished:,} of {self._record.contacts:,} contacts were read by an"
                f" earlier command; to read them anew, remove {self._folder.path}."
            )
        left = self._record.contacts - self.progress.finished
        what = "1 contact" if left == 1 else f"{left:,} contacts"
        self._watch.price(what, credits_at_least=left + (left > 0))
        start = lines.stat().st_size
        answers, warn = self._folder.answers, self._watch.warn
        if left:
            with ends_told(self._stopping):
                async with reading_session(
                    lines, answers, limits, connection, self._stopping, around, warn
                ) as session:
                    await self._steps(session)
        return calls_since(lines, start)

    async def _steps(self, session: ReadingSession) -> None:
        self._watch.phase("Looking up the org")
        org = await session.org()
        check_org(self._record, org)
        known = OrgRecord(org.id, org.name, org.type)
        self._folder.write(msgspec.structs.replace(self._record, org=known))
        self._watch.phase("Fetching")

        async def work(contact: tuple[int, str]) -> None:
            with suppress(HaltedError):
                try:
                    await self._read(*contact, session)
                except BulklinkError as error:
                    session.stopping.stop(error)

        def done() -> int:
            return self.progress.finished + self.progress.unread

        async with told_of(session, self._watch, "contacts", done, self._record.contacts):
            todo = (one for one in self._folder.contact_ids() if not self.progress.is_done(one[0]))
            await work_through(todo, work, session.stopping, workers=session.workers)

    async def _read(self, number: int, contact_id: str, session: ReadingSession) -> None:
        """Read all pages of one contact; its emails count when the last is read."""
        pages = Pages(contact_id, read_listing, session.caller, session.refusals)
        place = nameless = 0
        cut = False
        life = self.progress.life
        while (page := await pages.next()) is not None:
            for email in page.emails:
                session.log.append(email_line(number, life, place, contact_id, email))
                place += 1
            nameless += page.nameless
            cut = page.cut
        verdict = _unread(pages, cut=cut)
        if verdict is None:
            session.log.append(finished_line(number, life, nameless))
            self.progress.finish(number, nameless)
        else:
            session.log.append(unread_line(number, life, contact_id, verdict))
            unread = UnreadContact(contact_id, verdict.code, verdict.text)
            self.progress.leave(number, unread)


def _unread(pages: Pages[Listing], *, cut: bool) -> Verdict | None:
    """Return why a contact was not read to its end, None if it was."""
    if pages.failed:
        return pages.verdict or NO_ANSWER
    return LIST_CUT if cut or not pages.whole else None
