"""Reading of the contacts of a fetch into its log."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

import msgspec

from bulklink.engine.breaker import ReadBreaker
from bulklink.engine.pagination import PageReader
from bulklink.engine.shutdown import StopController
from bulklink.operations.callbacks import RunCallbacks
from bulklink.operations.environment import Environment
from bulklink.operations.fetching.folder import FetchFolder, FetchRecord
from bulklink.operations.fetching.log import contact_line, email_line, unread_line
from bulklink.operations.fetching.progress import FetchProgress
from bulklink.operations.forecast_renewal import ReadForecaster
from bulklink.operations.job import Job
from bulklink.operations.preflight import check_same_org
from bulklink.operations.session import NO_CALLS, CrmSession, read_contacts, run_read_session
from bulklink.runs.record import OrgRecord
from bulklink.zoho.connection import Connection
from bulklink.zoho.email_pages import EmailListPage, parse_email_list
from bulklink.zoho.link_response import AnswerVerdict

_UNREADABLE_LIST = AnswerVerdict(
    "no-answer", "There was no answer, or it was not a list of emails.", 0
)
_LIST_CUT = AnswerVerdict(
    "list-cut", "The list says that there are more emails, but not how to request them.", 0
)


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
