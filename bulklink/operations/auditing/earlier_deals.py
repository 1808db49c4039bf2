"""Deals that an earlier command read: whether they can be used, and whether they suffice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import msgspec

from bulklink.advice import Advice, Keyword
from bulklink.errors import BadFileError, UsageError, WrongOrgError
from bulklink.finding.values import ContactFacts
from bulklink.folder_files import create_file
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.sorted_emails_reader import stream_contact_ids
from bulklink.operations.auditing.deals_file import ContactDeals, DealsFile, DealsHeader
from bulklink.operations.auditing.facts import stream_facts
from bulklink.operations.auditing.folder import AuditFolder, AuditRecord
from bulklink.operations.auditing.log import (
    addresses_lines,
    history_lines,
    listed_deal_line,
    read_contact_line,
    timeline_line,
)
from bulklink.operations.auditing.timelines import HistoryPlanner
from bulklink.operations.preflight import RunOrigin, check_same_host
from bulklink.zoho.connection import Connection

_EARLIER = 0
"""Number of the command whose lines are those of an earlier audit."""
_DAY = 86_400
_OTHER_ORG_ADVICE = Advice(
    "Connect as when they were read, or read them again with {}.", Keyword("read_again", value=True)
)


class Origin(RunOrigin, Protocol):
    """Where deals were read, and with which number."""

    @property
    def number_field(self) -> str | None:
        """API name of the field with the deals' own numbers; None for none."""
        ...


class DealsUse(msgspec.Struct, frozen=True):
    """Conditions under which deals that were read before are used.

    Args:
        path: file or folder that holds them.
        connection: endpoint of the CRM; None if no call will be made.
        number_field: API name of the field with the deals' own numbers; None for any.
        max_age: seconds after which they are too old.
        now: the time, in seconds since 1970.
    """

    path: Path
    connection: Connection | None
    number_field: str | None
    max_age: float
    now: float

    def check(self, origin: Origin, read_at: float) -> None:
        """Check that deals can be used.

        Args:
            origin: where they were read.
            read_at: when they were read, in seconds since 1970.

        Raises:
            WrongOrgError: if they are of another host, data centre or org, as far as is known.
            BadFileError: if they are too old.
            UsageError: if they have another number field.
        """
        if self.connection is not None:
            self._check_host(origin, self.connection)
            self._check_org(origin, self.connection.org_id)
        if self.now - read_at > self.max_age:
            raise BadFileError(
                f"These deals were read {_days(self.now - read_at)} ago; they are used for"
                f" {_days(self.max_age)}.",
                where=str(self.path),
                advice=Advice(
                    "Read them again with {}, or allow their age with {}.",
                    Keyword("read_again", value=True),
                    Keyword("max_age"),
                ),
            )
        if self.number_field not in (None, origin.number_field):
            raise UsageError(
                f"These deals were read with the number field {origin.number_field or 'none'}, not"
                f" {self.number_field}.",
                where=str(self.path),
                advice=Advice(
                    "Omit {}, or read them again with {}.",
                    Keyword("number_field"),
                    Keyword("read_again", value=True),
                ),
            )

    def _check_host(self, origin: Origin, connection: Connection) -> None:
        try:
            check_same_host(origin, connection)
        except WrongOrgError:
            raise WrongOrgError(
                f"These deals were read from {origin.api_url}, and the connection is to"
                f" {connection.api_url}.",
                where=str(self.path),
                advice=_OTHER_ORG_ADVICE,
            ) from None

    def _check_org(self, origin: Origin, org_id: str | None) -> None:
        org = origin.org
        if org is not None and None not in (org.id, org_id) and org.id != org_id:
            raise WrongOrgError(
                f"These deals were read from the org {org.name} ({org.id}), and the profile is of"
                f" the org {org_id}.",
                where=str(self.path),
                advice=_OTHER_ORG_ADVICE,
            )


def _days(seconds: float) -> str:
    days = seconds / _DAY
    return f"{days:.1f} days" if days < 10 else f"{days:,.0f} days"


def other_org_error(error: WrongOrgError, path: Path, *, unfinished: bool) -> WrongOrgError:
    """Return the error for deals of another org than a call has found.

    Args:
        error: what was found.
        path: file or folder that holds the deals.
        unfinished: whether they are those of an unfinished reading.
    """
    advice = "Connect as when they were read, or remove the folder: its deals are then read again."
    return WrongOrgError(
        error.message, where=str(path), advice=advice if unfinished else _OTHER_ORG_ADVICE
    )


def is_covered(
    emails: Path,
    deals_file: DealsFile,
    header: DealsHeader,
    plan_histories: HistoryPlanner,
    stop: PlanningStop,
) -> bool:
    """Return whether deals suffice for the emails of a file: no contact or history is missing.

    Args:
        emails: file that `write_sorted_emails` wrote.
        deals_file: the deals.
        header: their header.
        plan_histories: decides which histories matter.
        stop: interrupts the passes.
    """
    tried: set[str] = set()
    known = iter(deals_file.contacts(stop))
    for contact_id in stream_contact_ids(emails, stop):
        contact = next((one for one in known if one.contact_id >= contact_id), None)
        if contact is None or contact.contact_id != contact_id:
            return False
        tried.update(contact.without_history)

    def contacts() -> Iterator[ContactFacts]:
        return stream_facts(emails, deals_file.contacts(stop), stop)

    return all(
        tried.issuperset(deal_ids) for _, deal_ids in plan_histories(contacts, header.stages)
    )


def seed_log(
    folder: AuditFolder,
    record: AuditRecord,
    deals_file: DealsFile,
    header: DealsHeader,
    stop: PlanningStop,
) -> AuditRecord:
    """Begin a log with what an earlier audit read, so that only the rest is read.

    Args:
        folder: folder of the audit, without a log.
        record: the new record.
        deals_file: deals that an earlier audit read.
        header: its header.
        stop: interrupts the work.

    Returns:
        The record, with what is known of the org.
    """
    with create_file(folder.log) as file:
        for contact in deals_file.contacts(stop):
            if contact.code is None:
                file.writelines(_lines_of(contact))
    return msgspec.structs.replace(
        record,
        started=header.read_at.timestamp(),
        number_field=header.number_field,
        org=header.org,
        stages=header.stages,
    )


def _lines_of(contact: ContactDeals) -> Iterable[bytes]:
    for deal in contact.deals:
        bare = msgspec.structs.replace(deal, history=None, history_since=None)
        yield listed_deal_line(contact.contact_id, bare)
        code = contact.without_history.get(deal.id)
        if deal.history is not None and deal.history_since is None:
            yield from history_lines(deal.id, _EARLIER, deal.history)
        elif code is None:
            continue  # older emails may need what is not known of it
        yield timeline_line(deal.id, _EARLIER, code)
    if contact.addresses:
        contact_ids = [contact.contact_id]
        yield from addresses_lines(contact_ids, {contact.contact_id: contact.addresses})
    yield read_contact_line(contact.contact_id)
