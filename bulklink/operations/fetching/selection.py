"""Selection of contacts and emails: selectors add contacts, filters leave emails out."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from enum import StrEnum
from itertools import count
from pathlib import Path
from typing import BinaryIO

import msgspec

from bulklink.advice import Advice, Keyword
from bulklink.counts import count_of
from bulklink.errors import UsageError
from bulklink.local_time import parse_point_in_time
from bulklink.mapping import contact_requests
from bulklink.mapping.contact_requests import ContactRequest, RequestKind
from bulklink.mapping.contact_selection import load_plan_contacts
from bulklink.mapping.faults import BAD_OP, CONFLICT
from bulklink.mapping.input.files import find_sources, unreadable_file_error
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.plan_writer import PLAN_FILE
from bulklink.operations.job import Job
from bulklink.operations.prepare import check_mapping
from bulklink.zoho.coql import can_be_quoted
from bulklink.zoho.coql_condition import ConditionError, parse_condition

_READABLE_REASONS = (BAD_OP, CONFLICT)
"""Faults of a row that still names its contact."""
_PLACEHOLDERS = (("op", "unlink"), ("owner_id", "1"), ("message_id", "x"), ("deal_id", "1"))
"""Values for columns that a mapping may lack if only its contacts are read."""


class Roles(StrEnum):
    """Whether contacts with a role on a deal are contacts of the deal.

    `NAMED` reads the roles of deals that are named by their ids, but not of those that a condition
    selects: each deal takes a call.
    """

    NAMED = "named"
    YES = "yes"
    NO = "no"


def parse_roles(text: str | None) -> Roles | None:
    """Return the deals whose contact roles count.

    Raises:
        UsageError: if the text is none of the words.
    """
    if text is None or text in tuple(Roles):
        return None if text is None else Roles(text)
    raise UsageError(
        f"{text!r} does not say which contact roles count.",
        where=Advice("{}", Keyword("roles")),
        advice=f"Choose one of {', '.join(Roles)}.",
    )


def parse_filter_time(keyword: str, text: str | None, *, end_of_day: bool = False) -> str | None:
    """Return a time that filters emails, with its offset.

    Args:
        keyword: the setting, for errors.
        text: ISO 8601; without an offset, local time. None for none.
        end_of_day: whether a date alone includes its day.

    Raises:
        UsageError: if it is not a time.
    """
    if text is None:
        return None
    try:
        return parse_point_in_time(text, end_of_day=end_of_day)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{text!r} is not a time.",
            where=Advice("{}", Keyword(keyword)),
            advice="Write it as 2026-01-31 or 2026-01-31T09:00+01:00.",
        ) from None


def check_filter_times(since: str | None, until: str | None) -> None:
    """Check that emails can pass a filter by time.

    Args:
        since: time from which they pass, ISO 8601 with offset; None for none.
        until: time before which they pass; None for none.

    Raises:
        UsageError: if none can.
    """
    if since is None or until is None:
        return
    if datetime.fromisoformat(since) >= datetime.fromisoformat(until):
        raise UsageError(
            f"No email is from {since} or later and before {until}.",
            where=Advice("{}, {}", Keyword("since"), Keyword("until")),
            advice="Exchange the times, or leave one of them out.",
        )


class Conditions(msgspec.Struct, frozen=True):
    """Conditions in COQL that select contacts, and whose contact roles count.

    Args:
        deals_where: conditions on deals, whose contacts are selected.
        contacts_where: conditions on contacts.
        roles: deals whose contact roles select contacts as well.
    """

    deals_where: tuple[str, ...] = ()
    contacts_where: tuple[str, ...] = ()
    roles: Roles = Roles.NAMED

    def __bool__(self) -> bool:
        """Whether there is a condition."""
        return bool(self.deals_where or self.contacts_where)

    def check(self) -> None:
        """Check the form of the conditions.

        Raises:
            UsageError: if one is not a condition.
        """
        for keyword, texts in (
            ("deals_where", self.deals_where),
            ("contacts_where", self.contacts_where),
        ):
            for text in texts:
                try:
                    parse_condition(text)
                except ConditionError as error:
                    raise UsageError(
                        f"{error}: {text}",
                        where=Advice("{}", Keyword(keyword)),
                        advice="Write what follows `where` in a COQL query, such as"
                        " Stage = 'Negotiation'.",
                    ) from None

    def check_form(self) -> None:
        """Check the form of conditions that were stored.

        Raises:
            ValueError: if one is not a condition.
        """
        for text in (*self.deals_where, *self.contacts_where):
            parse_condition(text)

    def clauses(self) -> Iterator[str]:
        """Yield the conditions as they count for the identity of a selection."""
        yield from (f"deals-where\t{text}" for text in self.deals_where)
        yield from (f"contacts-where\t{text}" for text in self.contacts_where)
        if self.roles is not Roles.NAMED:
            yield f"roles\t{self.roles}"


class Selection(msgspec.Struct, frozen=True):
    """What selects the contacts of a fetch.

    Args:
        contacts: ids, addresses and names; `@FILE` for a list, `-` for one from standard input.
        mapping_job: mappings whose contacts are selected, with their options; None for none.
        contacts_of_deals: ids of deals, or `@FILE` for a list, whose contacts are selected.
        emails_on: the same, and only emails on these deals are wanted.
        conditions: conditions on deals and contacts.
        standard_input: stream that `-` reads; None for the process's own.
    """

    contacts: Sequence[str] = ()
    mapping_job: Job | None = None
    contacts_of_deals: Sequence[str] = ()
    emails_on: Sequence[str] = ()
    conditions: Conditions = Conditions()
    standard_input: BinaryIO | None = None

    def __bool__(self) -> bool:
        """Whether anything is selected."""
        return bool(
            self.contacts
            or self.mapping_job
            or self.contacts_of_deals
            or self.emails_on
            or self.conditions
        )

    def requests(
        self, scratch: Path, stop: PlanningStop, warn: Callable[[str | Advice], None]
    ) -> Iterator[tuple[int, ContactRequest]]:
        """Yield each request with its position.

        Args:
            scratch: folder for temporary files.
            stop: interrupts the work.
            warn: called with the rows that cannot be read.

        Raises:
            UsageError: if an argument is not as it must be.
            BadFileError: if a file cannot be read.
        """
        positions = count()
        for request in self._named_contacts():
            stop.check()
            _check_quotable(request)
            yield next(positions), request
        last = next(positions)
        if self.mapping_job is not None:
            offset = last
            for row, contact_id in self._mapping_contacts(self.mapping_job, scratch, stop, warn):
                last = max(last, offset + row)
                yield offset + row, ContactRequest(RequestKind.CONTACT, contact_id, "")
        for position, request in enumerate(self.deal_requests(), last + 1):
            stop.check()
            yield position, request

    def _named_contacts(self) -> Iterator[ContactRequest]:
        for argument in self.contacts:
            if argument == "-":
                yield from contact_requests.read_contact_list(
                    self.standard_input or sys.stdin.buffer, argument
                )
            elif argument.startswith("@"):
                with _open_list(argument) as file:
                    yield from contact_requests.read_contact_list(file, argument[1:])
            else:
                yield contact_requests.parse_contact_argument(argument)

    def deal_requests(self) -> Iterator[ContactRequest]:
        """Yield the deals that are named by their ids.

        Raises:
            UsageError: if an argument is no id.
            BadFileError: if a list cannot be read.
        """
        for kind, keyword, arguments in (
            (RequestKind.DEAL, "contacts_of_deals", self.contacts_of_deals),
            (RequestKind.EMAILS_ON, "emails_on", self.emails_on),
        ):
            for argument in arguments:
                if argument.startswith("@"):
                    with _open_list(argument) as file:
                        yield from contact_requests.read_deal_list(file, argument[1:], kind)
                else:
                    yield contact_requests.parse_deal_argument(argument, kind, Keyword(keyword))

    def _mapping_contacts(
        self, job: Job, scratch: Path, stop: PlanningStop, warn: Callable[[str | Advice], None]
    ) -> Iterator[tuple[int, str]]:
        permissive_job = msgspec.structs.replace(job, defaults=_PLACEHOLDERS)
        with check_mapping(permissive_job, find_sources(job.inputs), scratch, stop) as checked:
            for text in checked.warnings:
                warn(text)
            unreadable_rows = 0
            for refused_row in checked.refused_rows():
                if refused_row.reason in _READABLE_REASONS and refused_row.contact_id:
                    yield refused_row.row, refused_row.contact_id
                else:
                    unreadable_rows += 1
            if unreadable_rows:
                warn(
                    f"{count_of(unreadable_rows, 'row')} of the mapping cannot be read: contacts"
                    " that no other row names are left out."
                )
            if checked.messages:
                checked.seal(scratch)
                yield from load_plan_contacts(scratch / PLAN_FILE)
                (scratch / PLAN_FILE).unlink()


def _check_quotable(request: ContactRequest) -> None:
    """Refuse an address or a name that cannot be part of a query.

    Raises:
        UsageError: if it has a quote or a backslash.
    """
    if request.kind is not RequestKind.CONTACT and not can_be_quoted(request.value):
        raise UsageError(
            f"{request.value!r} has a quote, a backslash or a character that is not visible, and"
            " Zoho does not say how a query must write it.",
            where=request.place,
            advice="Give the id of the contact instead.",
        )


def check_lists(arguments: Iterable[str]) -> None:
    """Check that the lists of `@FILE` arguments are there; nothing is read.

    Raises:
        BadFileError: if one cannot be found.
    """
    for argument in arguments:
        name = argument.removeprefix("@")
        if name != argument:
            try:
                Path(name).stat()
            except (OSError, ValueError) as error:
                raise unreadable_file_error(name, error) from None


@contextmanager
def _open_list(argument: str) -> Iterator[BinaryIO]:
    """Open the list of an `@FILE` argument.

    Raises:
        BadFileError: if it cannot be read.
    """
    name = argument[1:]
    try:
        with Path(name).open("rb") as file:
            yield file
    except OSError as error:
        raise unreadable_file_error(name, error) from None


class EmailFilter(msgspec.Struct, frozen=True):
    """Emails of the selected contacts to keep: those that pass every condition that is set.

    Args:
        since: earliest time, ISO 8601 with offset; None for none.
        until: time before which emails are kept, ISO 8601 with offset; None for none.
        on_no_deal: keep emails on no deal.
        on_deals: keep emails on the deals of the selection's `emails_on`; with `on_no_deal`, an
            email passes if it is on no deal or on one of these.
    """

    since: str | None = None
    until: str | None = None
    on_no_deal: bool = False
    on_deals: bool = False

    def check(self) -> None:
        """Check times that were stored.

        Raises:
            ValueError: if one is not a time with an offset.
        """
        for text in (self.since, self.until):
            if text is not None and datetime.fromisoformat(text).tzinfo is None:
                raise ValueError("the time has no offset")

    def __bool__(self) -> bool:
        """Whether anything is left out."""
        return self != NO_FILTER


NO_FILTER = EmailFilter()
