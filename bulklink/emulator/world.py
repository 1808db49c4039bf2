"""Immutable content of the emulated CRM before the first call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

Id = Annotated[str, msgspec.Meta(pattern=r"^[0-9]+$", max_length=100)]
MessageId = Annotated[str, msgspec.Meta(pattern=r"^[a-zA-Z0-9]+$", max_length=500)]
ForecastType = Literal["Open", "Closed Won", "Closed Lost"]
EmailIntent = Literal["request", "query", "purchase", "complaints", "spam", "others"]

_DEFAULT_TIME = "2026-01-05T09:00:00+00:00"


class User(msgspec.Struct, frozen=True):
    """A user of the org; the owner of a mailbox.

    Args:
        id: id of the user.
        full_name: name of the user.
        email: address of the mailbox.
        status: `active`, or any other status for a user who is not active.
        connected_time: when the mailbox was connected, an ISO 8601 time with offset; None if
            unknown.
    """

    id: Id
    full_name: str
    email: str = ""
    status: str = "active"
    connected_time: str | None = None


class Account(msgspec.Struct, frozen=True):
    """An account, the company of contacts and deals.

    Args:
        id: id of the account.
        name: its name.
    """

    id: Id
    name: str


class Contact(msgspec.Struct, frozen=True):
    """A contact.

    Args:
        id: id of the contact.
        name: full name.
        email: address.
        account_id: its account, or None.
    """

    id: Id
    name: str
    email: str = ""
    account_id: Id | None = None


class HistoryEntry(msgspec.Struct, frozen=True, gc=False):
    """An entry in the history of a deal.

    Args:
        time: ISO 8601 time with offset.
        field: API name of the changed field; None if only the modified time changed.
        old: value before.
        new: value after.
        source: what made the change, such as `crm_ui`, `crm_api` or `workflow`; None if unknown.
    """

    time: str
    field: str | None = None
    old: Any = None
    new: Any = None
    source: str | None = None


class Deal(msgspec.Struct, frozen=True):
    """A deal and the contact it belongs to.

    Args:
        id: id of the deal.
        name: name of the deal.
        contact_id: its contact.
        stage: display value or actual value of its stage.
        created_time: ISO 8601 time with offset.
        modified_time: ISO 8601 time with offset.
        owner_id: the user who owns it, or None.
        account_id: its account, or None.
        pipeline: name of its pipeline; None for the standard one.
        layout_id: id of its layout; None for the standard one.
        closing_date: expected day of closing, such as `2026-03-01`, or None.
        contact_roles: ids of the contacts that are on it by a contact role.
        fields: values of other fields by API name, or None.
        history: its changes, oldest first.
    """

    id: Id
    name: str
    contact_id: Id
    stage: str = "Qualification"
    created_time: str = _DEFAULT_TIME
    modified_time: str = _DEFAULT_TIME
    owner_id: Id | None = None
    account_id: Id | None = None
    pipeline: str | None = None
    layout_id: Id | None = None
    closing_date: str | None = None
    contact_roles: tuple[Id, ...] = ()
    fields: Mapping[str, Any] | None = None
    history: tuple[HistoryEntry, ...] = ()


class Stage(msgspec.Struct, frozen=True):
    """A stage of the pipeline.

    Args:
        display_value: its name as shown.
        actual_value: its name as stored.
        forecast_type: open, won or lost.
    """

    display_value: str
    actual_value: str
    forecast_type: ForecastType


class Participant(msgspec.Struct, frozen=True, gc=False):
    """A sender or recipient of an email.

    Args:
        email: the address.
        user_name: the name, or None.
    """

    email: str
    user_name: str | None = None


class EmailExtras(
    msgspec.Struct, frozen=True, gc=False, omit_defaults=True, rename={"sender": "from"}
):
    """What a world file may say about an email beyond the usual; None where it does not.

    Args:
        sender: who sent it.
        to: the recipients.
        cc: further recipients.
        source: where it came from, such as `imap`.
        thread_id: id of its conversation.
        summary: summary of its content.
        sent_from_deal: whether it was sent from the page of its deal.
        has_attachment: whether it has an attachment.
        intent: the intent that Zoho recognised.
    """

    sender: Participant | None = None
    to: tuple[Participant, ...] | None = None
    cc: tuple[Participant, ...] | None = None
    source: str | None = None
    thread_id: str | None = None
    summary: str | None = None
    sent_from_deal: bool | None = None
    has_attachment: bool | None = None
    intent: EmailIntent | None = None


NO_DETAILS = EmailExtras()


class Email(msgspec.Struct, frozen=True, gc=False):
    """An email of a contact in the mailbox of its owner.

    Args:
        contact_id: its contact.
        message_id: its id.
        owner_id: the user whose mailbox holds it.
        subject: its subject.
        time: ISO 8601 time with offset.
        received: whether it was received, not sent.
        deal_id: the deal it was on when the world was loaded; `CrmState` has the current one.
        details: what else the world file says; unset where it says no more, as a world may have
            millions of emails.
    """

    contact_id: Id
    message_id: MessageId
    owner_id: Id
    subject: str = ""
    time: str = _DEFAULT_TIME
    received: bool = True
    deal_id: Id | None = None
    details: EmailExtras | msgspec.UnsetType = msgspec.UNSET

    @property
    def known_details(self) -> EmailExtras:
        """What else is known of the email."""
        return NO_DETAILS if isinstance(self.details, msgspec.UnsetType) else self.details


class License(msgspec.Struct, frozen=True):
    """The licence of the org.

    Args:
        paid_type: the edition.
        users_license_purchased: number of user licences.
    """

    paid_type: str = "enterprise"
    users_license_purchased: int = 10


class Org(msgspec.Struct, frozen=True):
    """The organisation.

    Args:
        id: id of the org.
        company_name: its name.
        zgid: its id among all of Zoho's orgs.
        type: production, or a kind of test org.
        time_zone: IANA name of its time zone.
        license_details: its licence.
    """

    id: Id = "5843104000000020005"
    company_name: str = "bulklink emulator"
    zgid: str = "74582913"
    type: Literal["Production", "Sandbox", "Developer", "Bigin"] = "Sandbox"
    time_zone: str = "UTC"
    license_details: License = License()


class Mailbox(msgspec.Struct, frozen=True):
    """The emails of one contact.

    Args:
        emails: the emails, newest first.
        by_id: the same emails by message id.
    """

    emails: tuple[Email, ...]
    by_id: Mapping[str, Email]


EMPTY_MAILBOX = Mailbox((), {})

DEFAULT_STAGES = (
    Stage("Qualification", "Qualification", "Open"),
    Stage("Proposal", "Proposal/Price Quote", "Open"),
    Stage("Negotiation", "Negotiation/Review", "Open"),
    Stage("Closed Won", "Closed Won", "Closed Won"),
    Stage("Closed Lost", "Closed Lost", "Closed Lost"),
    Stage("Lost to Competition", "Closed-Lost to Competition", "Closed Lost"),
)


@dataclass(frozen=True, slots=True)
class World:
    """Content of the CRM before the first call.

    Args:
        module_id: id of the Deals module.
        org: the organisation.
        stages: stages of the pipeline.
        users: users by id.
        accounts: accounts by id.
        contacts: contacts by id.
        deals: deals by id.
        deals_by_contact: deals by the id of their contact.
        deals_by_role: deals by the id of a contact that is on them by a contact role only.
        mailboxes: mailboxes by contact id.
    """

    module_id: str
    org: Org
    stages: tuple[Stage, ...]
    users: Mapping[str, User]
    accounts: Mapping[str, Account]
    contacts: Mapping[str, Contact]
    deals: Mapping[str, Deal]
    deals_by_contact: Mapping[str, tuple[Deal, ...]]
    deals_by_role: Mapping[str, tuple[Deal, ...]]
    mailboxes: Mapping[str, Mailbox]


def parse_timestamp(text: str) -> float:
    """Return an ISO 8601 time with offset as seconds since 1970.

    Raises:
        ValueError: if `text` is not such a time or has no offset.
    """
    timestamp = datetime.fromisoformat(text)
    if timestamp.tzinfo is None:
        raise ValueError(f"the time {text} has no offset such as +00:00")
    return timestamp.timestamp()


def build_mailbox(emails: list[Email]) -> Mailbox:
    """Return the emails of one contact, newest first."""
    ordered = tuple(sorted(emails, key=lambda email: parse_timestamp(email.time), reverse=True))
    return Mailbox(ordered, {email.message_id: email for email in ordered})
