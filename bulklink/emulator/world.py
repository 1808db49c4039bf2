"""Immutable content of the emulated CRM before the first call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

import msgspec

Id = Annotated[str, msgspec.Meta(pattern=r"^[0-9]+$", max_length=100)]
MessageId = Annotated[str, msgspec.Meta(pattern=r"^[a-zA-Z0-9]+$", max_length=500)]
ForecastType = Literal["Open", "Closed Won", "Closed Lost"]

_DEFAULT_TIME = "2026-01-05T09:00:00+00:00"


class User(msgspec.Struct, frozen=True):
    """A user of the org; the owner of a mailbox.

    Args:
        id: id of the user.
        full_name: name of the user.
        email: address of the mailbox.
        status: `active`, or any other status for a user who is not active.
    """

    id: Id
    full_name: str
    email: str = ""
    status: str = "active"


class Contact(msgspec.Struct, frozen=True):
    """A contact.

    Args:
        id: id of the contact.
        name: full name.
        email: address.
    """

    id: Id
    name: str
    email: str = ""


class Deal(msgspec.Struct, frozen=True):
    """A deal and the contact it belongs to.

    Args:
        id: id of the deal.
        name: name of the deal.
        contact_id: its contact.
        stage: display value or actual value of its stage.
        created_time: ISO 8601 time with offset.
        modified_time: ISO 8601 time with offset.
    """

    id: Id
    name: str
    contact_id: Id
    stage: str = "Qualification"
    created_time: str = _DEFAULT_TIME
    modified_time: str = _DEFAULT_TIME


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
    """

    contact_id: Id
    message_id: MessageId
    owner_id: Id
    subject: str = ""
    time: str = _DEFAULT_TIME
    received: bool = True
    deal_id: Id | None = None


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
        contacts: contacts by id.
        deals: deals by id.
        deals_by_contact: deals by contact id.
        mailboxes: mailboxes by contact id.
    """

    module_id: str
    org: Org
    stages: tuple[Stage, ...]
    users: Mapping[str, User]
    contacts: Mapping[str, Contact]
    deals: Mapping[str, Deal]
    deals_by_contact: Mapping[str, tuple[Deal, ...]]
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
