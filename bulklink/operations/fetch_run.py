"""Reading the emails of contacts into the folder of a fetch."""

from __future__ import annotations

from contextlib import suppress

import msgspec

from bulklink.engine.pagination import Pages
from bulklink.engine.shutdown import HaltedError, Stopping
from bulklink.engine.workers import work_through
from bulklink.errors import BulklinkError
from bulklink.operations.callbacks import Watch
from bulklink.operations.environment import Surroundings
from bulklink.operations.fetched import (
    Progress,
    UnreadContact,
    email_line,
    finished_line,
    unread_line,
)
from bulklink.operations.fetchfolder import FetchFolder, FetchRecord
from bulklink.operations.job import Job
from bulklink.operations.preflight import check_org
from bulklink.operations.session import ReadingSession, ends_told, reading_session, told_of
from bulklink.operations.verification import calls_since
from bulklink.runs.record import OrgRecord
from bulklink.zoho.connection import Connection
from bulklink.zoho.email_pages import Listing, read_listing
from bulklink.zoho.link_response import Verdict

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
