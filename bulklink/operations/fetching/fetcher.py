"""Reading of the contacts of a fetch into its log."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec

from bulklink.counts import count_of
from bulklink.engine.breaker import ReadBreaker
from bulklink.engine.pagination import PageReader
from bulklink.engine.record_lookups import read_contact_deals, read_stages
from bulklink.engine.shutdown import StopController
from bulklink.ledger.writer import LedgerWriter
from bulklink.load_results import LatencyFigures
from bulklink.operations.callbacks import RunCallbacks
from bulklink.operations.cost_model import sampled_calls
from bulklink.operations.environment import Environment
from bulklink.operations.fetching.confirmation import confirm_credits
from bulklink.operations.fetching.crm_selection import CrmSelection
from bulklink.operations.fetching.folder import FetchFolder, FetchRecord
from bulklink.operations.fetching.log import (
    candidate_line,
    contact_line,
    email_line,
    unread_line,
)
from bulklink.operations.fetching.opening import freeze_selection
from bulklink.operations.fetching.progress import FetchProgress
from bulklink.operations.forecast_renewal import ReadForecaster
from bulklink.operations.job import Job
from bulklink.operations.preflight import check_same_org
from bulklink.operations.sampling import draw_sample
from bulklink.operations.session import NO_CALLS, CrmSession, read_contacts, run_read_session
from bulklink.runs.forecast import CreditRange
from bulklink.runs.record import OrgRecord
from bulklink.zoho.connection import Connection
from bulklink.zoho.email_pages import EmailListPage, parse_email_list
from bulklink.zoho.link_response import AnswerVerdict

SAMPLE_CONTACTS = 200
"""Contacts drawn at random, from which the cost of the others is forecast."""
_UNREADABLE_LIST = AnswerVerdict(
    "no-answer", "There was no answer, or it was not a list of emails.", 0
)
_LIST_CUT = AnswerVerdict(
    "list-cut", "The list does not show its end, nor how to request what may be left.", 0
)


@dataclass(slots=True)
class Fetcher:
    """Selects the contacts of a fetch, and reads those that its folder does not hold yet.

    Args:
        folder: folder of the fetch.
        record: identity of the fetch.
        callbacks: called with phases, cost, progress and warnings.
        stop: stops the fetch.
        memory: memory limit of the selection, such as `512MB`.
        yes: whether the cost needs no confirmation.

    Attributes:
        progress: contacts read so far; None until the contacts are selected.
        credits: credits that this command spent.
        latency: latencies of its calls; None without one.
    """

    folder: FetchFolder
    record: FetchRecord
    callbacks: RunCallbacks
    stop: StopController
    memory: str
    yes: bool = False
    progress: FetchProgress | None = field(init=False, default=None)
    credits: int = field(init=False, default=0)
    latency: LatencyFigures | None = field(init=False, default=None)
    _breaker: ReadBreaker = field(init=False, default_factory=ReadBreaker)
    _forecaster: ReadForecaster = field(init=False)
    _calls: list[int] = field(init=False, default_factory=list)
    """Calls of each contact of the sample."""

    def __post_init__(self) -> None:
        if self.record.selected_sha256 is not None:
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
        if self.progress is not None and not self._announce(self.progress):
            return NO_CALLS.copy()
        return await run_read_session(
            self._read_counted,
            environment=environment,
            connection=connection,
            job=job,
            stop=self.stop,
            ledger_path=self.folder.log,
            answers_path=self.folder.answers,
            callbacks=self.callbacks,
        )

    async def _read_counted(self, session: CrmSession) -> None:
        try:
            await self._fetch(session)
        finally:
            self.credits = session.quota.budget.sent
            self.latency = session.latency

    def _announce(self, progress: FetchProgress) -> int:
        """Announce what is left to read; return the number of contacts."""
        contacts_read = progress.contacts_read
        if contacts_read:
            self.callbacks.warn(
                f"{contacts_read:,} of {count_of(self.record.contacts, 'contact')} were read by an"
                f" earlier command. To read them again, remove {self.folder.path}."
            )
        remaining = self.record.contacts - contacts_read
        calls = remaining * self._calls_per_contact
        at_least = calls + (remaining > 0)
        self.callbacks.on_cost(count_of(remaining, "contact"), credits_at_least=at_least)
        self._forecaster = ReadForecaster(calls)
        return remaining

    async def _fetch(self, session: CrmSession) -> None:
        self.callbacks.on_phase("Looking up the org")
        org = await session.look_up_org()
        check_same_org(self.record, org)
        self._save(org=OrgRecord(org.id, org.name, org.type))
        if self.progress is None:
            self.progress = await self._select(session)
            if not self._announce(self.progress):
                return
        if self.record.candidates:
            await self._read_stages(session)
        self.callbacks.on_phase("Fetching")
        try:
            await self._read_all(session, self.progress)
        finally:
            self._save(credits=self._forecaster.latest)

    async def _read_stages(self, session: CrmSession) -> None:
        """Read which stages are open, won and lost, unless an earlier command did."""
        if self.record.stages is None:
            self._save(stages=(await read_stages(session.caller)).types)

    def _save(self, **changes: Any) -> None:
        self.record = msgspec.structs.replace(self.record, **changes)
        self.folder.write(self.record)

    async def _select(self, session: CrmSession) -> FetchProgress:
        """Select the contacts, and freeze their list."""
        selection = CrmSelection(
            session, self.folder, self.record.conditions, self.callbacks, self._confirm_roles
        )
        await selection.run()
        freeze = partial(freeze_selection, self.folder, self.record, session.interrupt, self.memory)
        self.record, selected = await session.run_blocking(freeze)
        for name, contacts in selected.shared_names:
            called = count_of(contacts, "contact is called", "contacts are called")
            self.callbacks.warn(f"{called} {name}: all are fetched.")
        return await session.run_blocking(partial(FetchProgress, self.folder, self.record.contacts))

    def _confirm_roles(self, deals: int) -> None:
        description = f"contact roles of {count_of(deals, 'deal')}"
        self.callbacks.on_cost(description, credits_at_least=deals)
        self._confirm(description, CreditRange(deals, deals, deals))

    def _confirm(self, description: str, credit_range: CreditRange) -> None:
        """Ask at a terminal before many credits are spent.

        Raises:
            NotConfirmedError: if the answer is no.
        """
        confirm_credits(
            self.callbacks, description, credit_range, yes=self.yes, folder=self.folder.path
        )

    async def _read_all(self, session: CrmSession, progress: FetchProgress) -> None:
        """Read a random sample first to forecast the cost of the rest, then the rest."""
        left = self.record.contacts - progress.contacts_read
        if self.record.sampled is None and left > SAMPLE_CONTACTS:
            seed = int(session.clock.random() * 2**32)
            sample = draw_sample(self.record.contacts, SAMPLE_CONTACTS, seed)
            await self._read(session, progress, sample)
            session.stop.check()
            left = self.record.contacts - progress.contacts_read
            self._save(sampled=sampled_calls(self._calls, left, self._calls_per_contact))
        if self.record.sampled is not None and not self.record.confirmed:
            self._confirm_rest(session, left, self.record.sampled)
            self._save(confirmed=True)
        await self._read(session, progress)

    def _confirm_rest(self, session: CrmSession, left: int, calls: CreditRange) -> None:
        """Show what the contacts that are left will cost, and ask if it is much."""
        description = f"the {count_of(left, 'contact')} left"
        self.callbacks.on_cost(description, credits_at_least=calls.least, credit_range=calls)
        self._forecaster.fix(session.quota.budget.sent, calls)
        self._confirm(description, calls)

    async def _read(
        self, session: CrmSession, progress: FetchProgress, sample: Collection[int] | None = None
    ) -> None:
        """Read the contacts of a sample that are left, or all that are left."""

        def contacts() -> Iterator[tuple[int, str]]:
            for number, contact_id in self.folder.contacts_in_reading_order(self.record.contacts):
                if not progress.is_read(number) and (sample is None or number in sample):
                    yield number, contact_id

        await read_contacts(
            session,
            contacts(),
            partial(self._read_contact, session, progress),
            callbacks=self.callbacks,
            unit="contacts",
            total=self.record.contacts,
            count_done=lambda: progress.contacts_read + progress.contacts_unread,
            forecaster=self._forecaster,
        )

    @property
    def _calls_per_contact(self) -> int:
        """Minimum calls that a contact takes."""
        return 1 + self.record.candidates

    async def _read_contact(
        self, session: CrmSession, progress: FetchProgress, contact: tuple[int, str]
    ) -> None:
        """Read the deals and all pages of one contact, which count once the last page is read."""
        number, contact_id = contact
        emails = _ContactEmails(
            number,
            progress.invocation,
            PageReader(contact_id, parse_email_list, session.caller, self._breaker),
            session.ledger,
        )
        verdict = await self._read_deals(session, progress, contact)
        if verdict is None:
            verdict = await emails.read()
        calls = emails.pages.pages_read + self.record.candidates
        if self.record.sampled is None:
            self._calls.append(calls)
        self._forecaster.add_contact(self._calls_per_contact, calls)
        if verdict is None:
            session.ledger.append(contact_line(number, progress.invocation, emails.nameless))
            progress.mark_read(number, emails.nameless)
        else:
            line = unread_line(number, progress.invocation, contact_id, verdict)
            session.ledger.append(line)
            progress.mark_unread(number, contact_id, verdict)

    async def _read_deals(
        self, session: CrmSession, progress: FetchProgress, contact: tuple[int, str]
    ) -> AnswerVerdict | None:
        """Log the deals of a contact if they are wanted; return why they cannot be read."""
        if not self.record.candidates:
            return None
        number, contact_id = contact
        deals = await read_contact_deals(session.caller, self._breaker, contact_id)
        if isinstance(deals, AnswerVerdict):
            return deals
        session.ledger.append(
            *(
                candidate_line(number, progress.invocation, position, contact_id, deal)
                for position, deal in enumerate(deals)
            )
        )
        return None


@dataclass(slots=True)
class _ContactEmails:
    """The emails of one contact, which are logged as they are listed.

    Args:
        number: number of the contact.
        invocation: number of the command.
        pages: reads the pages of the contact.
        ledger: writes the log.

    Attributes:
        nameless: emails without a message id.
    """

    number: int
    invocation: int
    pages: PageReader[EmailListPage]
    ledger: LedgerWriter
    nameless: int = field(init=False, default=0)

    async def read(self) -> AnswerVerdict | None:
        """Read all pages; return why the contact was not read to its end, None if it was."""
        position = 0
        contact_id = self.pages.contact_id
        while (page := await self.pages.next_page()) is not None:
            for email in page.emails:
                line = email_line(self.number, self.invocation, position, contact_id, email)
                self.ledger.append(line)
                position += 1
            self.nameless += page.nameless
        if self.pages.failed:
            return self.pages.refusal or _UNREADABLE_LIST
        return None if self.pages.complete else _LIST_CUT
