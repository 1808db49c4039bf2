"""Reading for an audit: emails of a file, and the deals and timelines that the CRM shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import msgspec

from bulklink.advice import Advice, Keyword
from bulklink.counts import count_of
from bulklink.engine.record_lookups import read_stages
from bulklink.engine.shutdown import StopController
from bulklink.errors import (
    BadFileError,
    ConfigError,
    RefusedError,
    RunStoppedError,
    StoppedBy,
    UsageError,
    WrongOrgError,
)
from bulklink.finding.values import ContactFacts
from bulklink.mapping.audit_lists import AuditLists
from bulklink.mapping.database import PLANNING_MEMORY
from bulklink.mapping.input.files import check_readable
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.sorted_emails import EmailCounts, write_sorted_emails
from bulklink.mapping.sorted_emails_reader import cut_contacts
from bulklink.operations.auditing.contact_deals import ContactDealsReader
from bulklink.operations.auditing.context import ReadingContext
from bulklink.operations.auditing.deals_file import (
    DealsFile,
    DealsHeader,
    deals_file_path,
    utc_time,
)
from bulklink.operations.auditing.earlier_deals import (
    DealsUse,
    is_covered,
    other_org_error,
    seed_log,
)
from bulklink.operations.auditing.folder import AuditFolder, AuditRecord
from bulklink.operations.auditing.log import AuditProgress
from bulklink.operations.auditing.logged_deals import logged_contacts
from bulklink.operations.auditing.parts import PART_EMAILS, ContactPart
from bulklink.operations.auditing.timelines import HistoryPlanner, TimelineReader
from bulklink.operations.callbacks import RunCallbacks
from bulklink.operations.cancellation import make_planning_stop, run_planning
from bulklink.operations.environment import Environment
from bulklink.operations.fetching.progress import MAX_UNREAD_NAMED, UnreadContact
from bulklink.operations.job import Job
from bulklink.operations.preflight import check_same_org
from bulklink.operations.session import NO_CALLS, CrmSession, run_read_session
from bulklink.runs.record import OrgRecord
from bulklink.zoho.connection import Connection
from bulklink.zoho.coql import is_field_name

T = TypeVar("T")
MAX_AGE_SECONDS = 7 * 86_400
"""Age above which deals that were read are not used."""


class DealCounts(msgspec.Struct, frozen=True):
    """Counts of the deals that were read.

    Args:
        contacts: contacts whose deals were read.
        deals: their deals, each once for each contact.
        with_history: those of them whose history is known.
        without_history: those of them whose history was wanted but is not known, by code.
        unread: contacts whose deals could not be read.
        unread_contacts: the first 1,000 of them.
    """

    contacts: int = 0
    deals: int = 0
    with_history: int = 0
    without_history: dict[str, int] = {}
    unread: int = 0
    unread_contacts: tuple[UnreadContact, ...] = ()


@dataclass(slots=True, kw_only=True)
class AuditInputs:
    """What an audit judges; usable while its block is open.

    Args:
        emails: counts of the emails of the file.
        deals: counts of the deals.
        header: org, stages and time of the deals; None if the file has no emails.
        deals_path: file of the deals, beside the file of emails; None if there is none, because the
            reading was stopped or there are no emails.
        complete: whether everything was read; if not, only the contacts read so far are yielded.
        calls: requests of this command by kind.
        credits: credits that this command spent.
        sorted_emails: file of the emails, sorted by contact.
        deals_file: file of the deals that are used.
        planning_stop: interrupts the passes over them.

    Attributes:
        crowded: contacts left out because they have too many emails; filled by `contacts`.
    """

    emails: EmailCounts
    deals: DealCounts
    header: DealsHeader | None
    deals_path: Path | None
    complete: bool
    calls: dict[str, int]
    credits: int
    sorted_emails: Path
    deals_file: DealsFile
    planning_stop: PlanningStop
    crowded: set[str] = field(init=False, default_factory=set)

    def contacts(self) -> Iterator[ContactFacts]:
        """Yield each contact with its emails and deals, in the order of the ids as texts.

        May be called several times; blocks.

        Raises:
            BadFileError: if the file of deals is damaged.
            InterruptedPlanningError: if the audit was stopped.
        """
        whole = ContactPart(self.sorted_emails, self.deals_file)
        return whole.contacts(self.planning_stop, self.crowded.add)

    def parts(self, emails: int = PART_EMAILS) -> list[ContactPart]:
        """Return the contacts in parts, in the order of the ids as texts; blocks.

        Args:
            emails: emails of a part, unless a contact has more.
        """
        cuts = cut_contacts(self.sorted_emails, emails, self.planning_stop)
        offsets = self.deals_file.offsets(cuts, self.planning_stop)
        return [
            ContactPart(self.sorted_emails, self.deals_file, *place)
            for place in zip(["", *cuts], [*cuts, None], [0, *offsets], strict=True)
        ]


@dataclass(slots=True, frozen=True, kw_only=True)
class AuditReading:
    """Reads what an audit of a file needs; what was read before is not read again.

    Args:
        file: file of emails, in any format that a fetch writes.
        connection: endpoint and credentials of the CRM; None to use only what was read before.
        job: limits of calls and credits.
        environment: network, disk and clock.
        plan_histories: decides which timelines are read.
        number_field: API name of the field with the deals' own numbers; None for none.
        max_age: seconds after which deals that were read are not used.
        yes: whether the cost needs no confirmation.
        force: whether deals that an earlier audit read are read again.
        memory: DuckDB's memory limit, such as `512MB`.
    """

    file: Path
    connection: Connection | None
    job: Job
    environment: Environment
    plan_histories: HistoryPlanner
    number_field: str | None = None
    max_age: float = MAX_AGE_SECONDS
    yes: bool = False
    force: bool = False
    memory: str = PLANNING_MEMORY

    @asynccontextmanager
    async def open(
        self, callbacks: RunCallbacks, stop: StopController
    ) -> AsyncIterator[AuditInputs]:
        """Read what is missing, and provide the contacts with their emails and deals.

        Args:
            callbacks: called with phases, cost, progress and warnings.
            stop: stops the reading; `complete` is then False.

        Raises:
            UsageError: if the number field is none, or what was read has another one.
            BadFileError: if the file of emails or of deals cannot be read, or is too old.
            RefusedError: if the reading is refused before it begins.
            WrongOrgError: if what was read is of another org.
            InterruptedPlanningError: if it was stopped before the emails were sorted.
        """
        check_number_field(self.number_field)
        check_readable(self.file)
        folder = AuditFolder(Path(f"{self.file}.auditing"))
        with folder.locked():
            inputs = await _Opening(self, folder, callbacks, stop).open()
            try:
                yield inputs
            finally:
                if inputs.complete:
                    folder.remove()


@dataclass(slots=True)
class _Opening:
    """Sorts the emails, reads what is missing, and writes the deals."""

    reading: AuditReading
    folder: AuditFolder
    callbacks: RunCallbacks
    stop: StopController
    _calls: dict[str, int] = field(init=False, default_factory=NO_CALLS.copy)
    _credits: int = field(init=False, default=0)

    async def open(self) -> AuditInputs:
        counts = await run_planning(
            self._sort_emails, self.callbacks, self.stop, self.reading.environment.run_blocking
        )
        if counts.rows and not counts.emails:
            raise _no_emails_error(self.reading.file, counts.rows)
        deals_file, complete = DealsFile(deals_file_path(self.reading.file)), True
        header: DealsHeader | None = None
        if counts.contacts:
            header = await self._blocking(partial(self._find_deals, deals_file, counts))
        if counts.contacts and header is None:
            record = await self._read(deals_file)
            complete = self.stop.reason is None
            deals_file = deals_file if complete else DealsFile(self.folder.deals)
            header = await self._blocking(partial(self._write, deals_file, record, counts))
        planning_stop = make_planning_stop(self.stop if complete else None)
        deals = await self._blocking(partial(_count_deals, deals_file, planning_stop))
        if complete and header is not None and deals.contacts + deals.unread < header.contacts:
            raise deals_file.cut_short_error(deals.contacts + deals.unread, header.contacts)
        return AuditInputs(
            emails=counts,
            deals=deals,
            header=header,
            deals_path=deals_file.path if complete and header is not None else None,
            complete=complete,
            calls=self._calls,
            credits=self._credits,
            sorted_emails=self.folder.emails,
            deals_file=deals_file,
            planning_stop=planning_stop,
        )

    async def _blocking(self, function: Callable[[], T]) -> T:
        return await self.reading.environment.run_blocking(function)

    def _use(self, path: Path) -> DealsUse:
        reading = self.reading
        now = reading.environment.clock.wall()
        return DealsUse(path, reading.connection, reading.number_field, reading.max_age, now)

    def _sort_emails(self, stop: PlanningStop, warn: object) -> EmailCounts:
        del warn
        return write_sorted_emails(
            str(self.reading.file), self.folder.emails, stop=stop, memory=self.reading.memory
        )

    def _find_deals(self, deals_file: DealsFile, counts: EmailCounts) -> DealsHeader | None:
        """Return the header of the deals that an earlier audit read, if nothing is missing."""
        header = None if self.reading.force else deals_file.read_header()
        if header is None:
            return None
        self._use(deals_file.path).check(header, header.read_at.timestamp())
        stop = make_planning_stop(self.stop)
        plan_histories = self.reading.plan_histories
        if header.emails_digest == counts.digest or is_covered(
            self.folder.emails, deals_file, header, plan_histories, stop
        ):
            return header
        return None

    async def _read(self, deals_file: DealsFile) -> AuditRecord:
        """Read what is missing; return what is known of the org."""
        reading, folder = self.reading, self.folder
        connection = reading.connection
        if connection is None:
            raise ConfigError(
                "The deals of these contacts were not read yet, and there is no connection.",
                where=str(deals_file.path),
                advice="Sign in with `bulklink auth login`.",
            )
        is_new = await self._blocking(folder.read) is None
        record = await self._blocking(partial(self._begin, deals_file, connection))
        progress = await self._blocking(partial(AuditProgress, folder))
        contexts: list[ReadingContext] = []

        async def steps(session: CrmSession) -> None:
            context = ReadingContext(session, folder, record, progress, self.callbacks, reading.yes)
            contexts.append(context)
            try:
                await _read_steps(context, reading.plan_histories)
            finally:
                self._credits = session.quota.budget.sent

        try:
            self._calls = await run_read_session(
                steps,
                environment=reading.environment,
                connection=connection,
                job=reading.job,
                stop=self.stop,
                ledger_path=folder.log,
                answers_path=folder.answers,
                callbacks=self.callbacks,
            )
        except WrongOrgError as error:
            if is_new:
                folder.clear()
            path = deals_file.path if is_new else folder.path
            raise other_org_error(error, path, unfinished=not is_new) from error
        except UsageError:  # the org lacks the user's field
            folder.clear()
            raise
        return contexts[0].record if contexts else record

    def _begin(self, deals_file: DealsFile, connection: Connection) -> AuditRecord:
        """Continue an unfinished reading, or begin one from what an earlier audit read."""
        reading, folder = self.reading, self.folder
        record = folder.read()
        if record is not None:
            try:
                self._use(folder.path).check(record, record.started)
            except RefusedError:
                if not reading.force:
                    raise
                record = None
        if record is None:
            folder.clear()
            record = AuditRecord(
                reading.environment.clock.wall(),
                reading.number_field,
                connection.api_url,
                connection.data_centre,
            )
            header = None if reading.force else deals_file.read_header()
            if header is not None:
                record = seed_log(folder, record, deals_file, header, make_planning_stop(self.stop))
            folder.write(record)
        return record

    def _write(
        self, deals_file: DealsFile, record: AuditRecord, counts: EmailCounts
    ) -> DealsHeader:
        """Write the deals that were read."""
        folder = self.folder
        header = DealsHeader(
            utc_time(record.started),
            record.api_url or "",
            record.data_centre,
            record.org or OrgRecord(),
            record.stages or {},
            record.number_field,
            counts.digest,
            counts.contacts,
        )
        lists = AuditLists(folder.emails, folder.log, PlanningStop())
        deals_file.write(header, logged_contacts(lists.read_deals(), folder.log))
        return header


async def _read_steps(context: ReadingContext, plan_histories: HistoryPlanner) -> None:
    """Look up the org, and read stages, deals and timelines."""
    context.callbacks.on_phase("Looking up the org")
    org = await context.session.look_up_org()
    check_same_org(context.record, org)
    context.save(org=OrgRecord(org.id, org.name, org.type))
    if context.record.stages is None:
        stages = (await read_stages(context.session.caller)).types
        if not stages:
            raise _no_stages_error()
        context.save(stages=stages)
    await ContactDealsReader(context).read()
    await TimelineReader(context, plan_histories).read()
    await context.session.ledger.commit()


def _no_emails_error(file: Path, rows: int) -> BadFileError:
    return BadFileError(
        f"No row has a valid contact and message id; the file has {count_of(rows, 'row')}.",
        where=str(file),
        advice="A spreadsheet may have rewritten the ids: use the file that the fetch wrote, or"
        " fetch the emails again.",
    )


def _no_stages_error() -> RunStoppedError:
    return RunStoppedError(
        StoppedBy.FATAL,
        "The CRM shows no stage of deals, so nobody knows which deals were open.",
        where="Stage",
        advice="Check that the user of the token sees the field Stage in the layouts of deals.",
    )


def _count_deals(deals_file: DealsFile, stop: PlanningStop) -> DealCounts:
    contacts = deals = with_history = unread = 0
    without_history: Counter[str] = Counter()
    unread_contacts: list[UnreadContact] = []
    for contact in deals_file.contacts(stop):
        if contact.code is not None:
            unread += 1
            if unread <= MAX_UNREAD_NAMED:
                unread_contacts.append(
                    UnreadContact(contact.contact_id, contact.code, contact.message or "")
                )
            continue
        contacts += 1
        deals += len(contact.deals)
        with_history += sum(deal.history is not None for deal in contact.deals)
        without_history.update(contact.without_history.values())
    return DealCounts(
        contacts, deals, with_history, dict(without_history), unread, tuple(unread_contacts)
    )


def check_number_field(name: str | None) -> None:
    """Check the name of the field with the deals' own numbers.

    Args:
        name: API name of a field; None for none.

    Raises:
        UsageError: if it cannot be the API name of a field.
    """
    if name is not None and not is_field_name(name):
        raise UsageError(
            f"{name!r} is not the API name of a field.",
            where=Advice("{}", Keyword("number_field")),
            advice="Use letters, digits and underscores, as in Deal_Number.",
        )
