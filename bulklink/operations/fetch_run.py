"""Fetching the emails of contacts into the fetch folder, and their table."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial

import msgspec

from bulklink.engine.breaker import ReadBreaker
from bulklink.engine.pagination import PageReader
from bulklink.engine.shutdown import StopController
from bulklink.errors import RunDirError
from bulklink.folder_files import (
    check_folder_file,
    line_blocks,
    open_to_append,
    split_lines,
)
from bulklink.ledger.records import Count, json_line
from bulklink.ledger.state import repair_torn_line
from bulklink.mapping.database import Database, spill_folder
from bulklink.mapping.interrupt import PlanningStop
from bulklink.models import NO_DEAL
from bulklink.operations.callbacks import RunCallbacks
from bulklink.operations.environment import Environment
from bulklink.operations.fetch_folder import _REMOVE, FetchFolder, FetchRecord
from bulklink.operations.forecast_renewal import ReadForecaster
from bulklink.operations.job import Job
from bulklink.operations.preflight import check_same_org
from bulklink.operations.session import NO_CALLS, CrmSession, read_contacts, run_read_session
from bulklink.runs.record import OrgRecord
from bulklink.tables import Cell, TableColumn
from bulklink.zoho.connection import Connection
from bulklink.zoho.email_pages import EmailListPage, ListedEmail, parse_email_list
from bulklink.zoho.link_response import AnswerVerdict

FETCH_COLUMNS = (
    TableColumn("contact_id", is_id=True),
    TableColumn("owner_id", is_id=True),
    TableColumn("owner_name"),
    TableColumn("message_id", is_id=True),
    TableColumn("deal_id", is_id=True),
    TableColumn("from_deal_id", is_id=True),
    TableColumn("from_deal_name"),
    TableColumn("subject"),
    TableColumn("time"),
    TableColumn("direction"),
    TableColumn("deal_name"),
)
"""`deal_id` and `deal_name` are empty: the user fills them in, and the file is a mapping."""
MAX_UNREAD_NAMED = 1000
"""Unread contacts to name in the result."""
_MAX_SUBJECT_LENGTH = 32_767
"""Characters: the limit of a spreadsheet cell."""
_MEMORY = "160MB"
_UNREADABLE_LIST = AnswerVerdict(
    "no-answer", "There was no answer, or it was not a list of emails.", 0
)
_LIST_CUT = AnswerVerdict(
    "list-cut", "The list says that there are more emails, but not how to request them.", 0
)


class UnreadContact(msgspec.Struct, frozen=True):
    """A contact whose emails could not be read, and why.

    Args:
        contact_id: id of the contact.
        code: code of the refusal or failure.
        message: message of the refusal or failure.
    """

    contact_id: str
    code: str
    message: str


def email_line(
    contact_number: int, invocation: int, position: int, contact_id: str, email: ListedEmail
) -> bytes:
    """Return the line of one email.

    Args:
        contact_number: number of its contact, from 0.
        invocation: number of the command; lines of a command killed amid the contact do not count.
        position: position of the email in the contact's list, from 0.
        contact_id: id of the contact.
        email: the email as it was listed.
    """
    # An email on no deal has `none` as its guard: an empty cell would guard nothing.
    deal = email.deal
    known_deal = deal if deal is not msgspec.UNSET else None
    direction = {True: "received", False: "sent", None: None}[email.received]
    return json_line(
        {
            "event": "email",
            "n": contact_number,
            "life": invocation,
            "place": position,
            "contact_id": contact_id,
            "owner_id": email.owner_id,
            "owner_name": email.owner_name,
            "message_id": email.message_id,
            "from_deal_id": NO_DEAL if deal is None else known_deal.id if known_deal else None,
            "from_deal_name": known_deal.name if known_deal else None,
            "subject": (email.subject or "")[:_MAX_SUBJECT_LENGTH] or None,
            "time": email.time,
            "direction": direction,
        }
    )


def contact_line(contact_number: int, invocation: int, nameless: int) -> bytes:
    """Return the line that ends a contact; `nameless` of its emails have no message id."""
    return json_line(
        {"event": "contact", "n": contact_number, "life": invocation, "nameless": nameless}
    )


def unread_line(
    contact_number: int, invocation: int, contact_id: str, verdict: AnswerVerdict
) -> bytes:
    """Return the line of a contact that could not be read."""
    fields = {"contact_id": contact_id, "code": verdict.code, "message": verdict.text}
    return json_line({"event": "unread", "n": contact_number, "life": invocation, **fields})


class _FetchLine(msgspec.Struct):
    """Types of all fields of the log, from which the table is built."""

    event: str
    n: Count = 0
    life: Count = 0
    place: Count = 0
    nameless: Count = 0
    contact_id: str | None = None
    owner_id: str | None = None
    owner_name: str | None = None
    message_id: str | None = None
    from_deal_id: str | None = None
    from_deal_name: str | None = None
    subject: str | None = None
    time: str | None = None
    direction: str | None = None


class FetchProgress:
    """Progress of a fetch, rebuilt from its lines; one byte per contact.

    Args:
        folder: folder of the fetch.
        contacts: number of contacts.

    Raises:
        RunDirError: if a line of the log is damaged.

    Attributes:
        invocation: number of this command on the fetch.
        contacts_read: contacts read to the end.
        contacts_unread: contacts that this command could not read.
        nameless: emails without a message id.
    """

    def __init__(self, folder: FetchFolder, contacts: int) -> None:
        self._read_flags = bytearray(contacts)
        self._unread_contacts: dict[int, UnreadContact] = {}
        self.invocation = 1
        self.contacts_read = self.contacts_unread = self.nameless = 0
        decode = msgspec.json.Decoder(_FetchLine).decode
        os.close(open_to_append(folder.log))
        number = 0
        for block in line_blocks(folder.log):
            for line in split_lines(block):
                number += 1
                try:
                    self._add(decode(line))
                except (ValueError, IndexError, RecursionError):
                    raise RunDirError(
                        "This line does not belong to a fetch of these contacts.",
                        where=f"{folder.log}:{number}",
                        advice=_REMOVE,
                    ) from None
        repair_torn_line(folder.log, folder.log_torn)

    def _add(self, line: _FetchLine) -> None:
        self.invocation = max(self.invocation, line.life + 1)
        if line.event == "contact" and not self.is_read(line.n):
            self.mark_read(line.n, line.nameless)

    def is_read(self, contact_number: int) -> bool:
        """Return whether a contact was read."""
        return self._read_flags[contact_number] != 0

    def mark_read(self, contact_number: int, nameless: int) -> None:
        """Count a contact that was read."""
        self._read_flags[contact_number] = 1
        self.contacts_read += 1
        self.nameless += nameless

    def mark_unread(self, contact_number: int, contact_id: str, verdict: AnswerVerdict) -> None:
        """Count a contact that could not be read."""
        self.contacts_unread += 1
        if len(self._unread_contacts) < MAX_UNREAD_NAMED:
            contact = UnreadContact(contact_id, verdict.code, verdict.text)
            self._unread_contacts[contact_number] = contact

    @property
    def unread_contacts(self) -> tuple[UnreadContact, ...]:
        """The first contacts that could not be read, in the requested order."""
        return tuple(contact for _, contact in sorted(self._unread_contacts.items()))


class FetchTable:
    """Table of all fetched emails, contact by contact in the requested order, newest first.

    Args:
        folder: folder of the fetch.
        stop: ends the work from another thread.

    Attributes:
        counts: counts of its emails: `emails` in total, `on_no_deal`, and `not_told` if unknown.
    """

    def __init__(self, folder: FetchFolder, stop: PlanningStop) -> None:
        self._folder = folder
        self._stop = stop
        self.counts: Counter[str] = Counter(emails=0, on_no_deal=0, not_told=0)

    def rows(self) -> Iterator[list[tuple[Cell, ...]]]:
        """Stream the rows, about two thousand at a time."""
        check_folder_file(self._folder.log)
        spill = spill_folder(self._folder.log)
        with closing(Database(spill, self._stop, threads=1, memory=_MEMORY)) as database:
            lines = database.files.read_json(self._folder.log, _LINE_TYPES)
            query = _TABLE_QUERY.format(lines=lines)
            for batch in database.batches(query):
                for row in batch:
                    self.counts["emails"] += 1
                    self.counts["on_no_deal"] += row[5] == NO_DEAL
                    self.counts["not_told"] += row[5] is None
                yield batch


_LINE_TYPES = {"n": "BIGINT", "life": "BIGINT", "place": "BIGINT"} | dict.fromkeys(
    (
        *("event", "contact_id", "owner_id", "owner_name", "message_id", "from_deal_id"),
        *("from_deal_name", "subject", "time", "direction"),
    ),
    "VARCHAR",
)
#: An email may be listed twice if new ones arrived while the pages were read.
_TABLE_QUERY = """
WITH lines AS (SELECT * FROM {lines})
SELECT emails.contact_id, owner_id, owner_name, message_id, NULL, from_deal_id, from_deal_name,
    subject, time, direction, NULL
FROM (SELECT * FROM lines WHERE event = 'email') AS emails
JOIN (SELECT n, life FROM lines WHERE event = 'contact') AS finished USING (n, life)
QUALIFY row_number() OVER (PARTITION BY n, message_id, owner_id ORDER BY place) = 1
ORDER BY n, place
"""


@dataclass(slots=True)
class Fetcher:
    """Reads the contacts that a fetch folder does not hold yet.

    Args:
        folder: folder of the fetch.
        record: identity of the fetch.
        callbacks: called with phases, cost, progress and warnings.
        stop: stops the fetch.

    Attributes:
        progress: contacts read so far.
    """

    folder: FetchFolder
    record: FetchRecord
    callbacks: RunCallbacks
    stop: StopController
    progress: FetchProgress = field(init=False)
    _breaker: ReadBreaker = field(init=False, default_factory=ReadBreaker)
    _forecaster: ReadForecaster = field(init=False)

    def __post_init__(self) -> None:
        self.progress = FetchProgress(self.folder, self.record.contacts)

    async def run(
        self, job: Job, connection: Connection, environment: Environment
    ) -> dict[str, int]:
        """Read the contacts that are left; return the calls made, by kind.

        Args:
            job: limits of calls and credits.
            connection: endpoint and credentials of the CRM.
            environment: network, disk and clock.

        Raises:
            RefusedError: if the fetch is refused before any contact is read.
        """
        contacts_read = self.progress.contacts_read
        if contacts_read:
            self.callbacks.warn(
                f"{contacts_read:,} of {self.record.contacts:,} contacts were read by an earlier"
                f" command. To read them again, remove {self.folder.path}."
            )
        remaining = self.record.contacts - contacts_read
        description = "1 contact" if remaining == 1 else f"{remaining:,} contacts"
        self.callbacks.on_cost(description, credits_at_least=remaining + (remaining > 0))
        if not remaining:
            return NO_CALLS.copy()
        self._forecaster = ReadForecaster(remaining)
        return await run_read_session(
            self._fetch_contacts,
            environment=environment,
            connection=connection,
            job=job,
            stop=self.stop,
            ledger_path=self.folder.log,
            answers_path=self.folder.answers,
            callbacks=self.callbacks,
        )

    async def _fetch_contacts(self, session: CrmSession) -> None:
        self.callbacks.on_phase("Looking up the org")
        org = await session.look_up_org()
        check_same_org(self.record, org)
        record = msgspec.structs.replace(self.record, org=OrgRecord(org.id, org.name, org.type))
        self.folder.write(record)
        self.callbacks.on_phase("Fetching")
        try:
            await read_contacts(
                session,
                (item for item in self.folder.contact_ids() if not self.progress.is_read(item[0])),
                partial(self._read_contact, session),
                callbacks=self.callbacks,
                unit="contacts",
                total=self.record.contacts,
                count_done=lambda: self.progress.contacts_read + self.progress.contacts_unread,
                forecaster=self._forecaster,
            )
        finally:
            self.folder.write(msgspec.structs.replace(record, credits=self._forecaster.latest))

    async def _read_contact(self, session: CrmSession, contact: tuple[int, str]) -> None:
        """Read all pages of one contact; its emails count once the last page is read."""
        contact_number, contact_id = contact
        pages = PageReader(contact_id, parse_email_list, session.caller, self._breaker)
        position = nameless = 0
        list_cut = False
        invocation = self.progress.invocation
        while (page := await pages.next_page()) is not None:
            for email in page.emails:
                session.ledger.append(
                    email_line(contact_number, invocation, position, contact_id, email)
                )
                position += 1
            nameless += page.nameless
            list_cut = page.truncated
        self._forecaster.add_contact(1, pages.pages_read)
        verdict = _unread_verdict(pages, list_cut=list_cut)
        if verdict is None:
            session.ledger.append(contact_line(contact_number, invocation, nameless))
            self.progress.mark_read(contact_number, nameless)
        else:
            session.ledger.append(unread_line(contact_number, invocation, contact_id, verdict))
            self.progress.mark_unread(contact_number, contact_id, verdict)


def _unread_verdict(pages: PageReader[EmailListPage], *, list_cut: bool) -> AnswerVerdict | None:
    """Return why a contact was not read to its end; None if it was."""
    if pages.failed:
        return pages.refusal or _UNREADABLE_LIST
    return _LIST_CUT if list_cut or not pages.complete else None
