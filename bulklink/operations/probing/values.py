"""Values of a probe: questions, answers, and the records that it works with."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from bulklink.models import Message, Op


class Question(msgspec.Struct, frozen=True):
    """A question that Zoho's documentation leaves open.

    Args:
        key: key of its answer in the file of a probe.
        text: the question, for the user.
        option: option of the emulator that chooses the answer, without its dashes; empty if there
            is none.
    """

    key: str
    text: str
    option: str = ""


class ProbeAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a probe found out about one question. No part of it identifies anybody.

    Args:
        answer: the answer, in the words of the emulator's option if it has one for it; None if it
            is unknown.
        reason: why it is unknown.
        seen: what the CRM answered: HTTP status and codes.
    """

    answer: str | None = None
    reason: str = ""
    seen: str = ""


Answers = Mapping[str, ProbeAnswer]
"""Answers by the keys of their questions."""


class ExperimentError(Exception):
    """Raised when an experiment cannot answer its questions.

    Args:
        reason: why, one sentence without ids and names.
        seen: what the CRM answered.
    """

    def __init__(self, reason: str, seen: str = "") -> None:
        super().__init__(reason)
        self.answer = ProbeAnswer(reason=reason, seen=seen)


class ProbeDeal(msgspec.Struct, frozen=True):
    """A deal that emails are linked to.

    Args:
        id: id of the deal.
        name: its name.
    """

    id: str
    name: str


class ProbeEmail(msgspec.Struct, frozen=True):
    """An email that a probe changes, as it was before.

    Args:
        contact_id: contact that lists it.
        message_id: id of the email.
        owner_id: user who owns it.
        owner_name: name of that user.
        deal: the deal that it was on; None for no deal.
        subject: its subject, for the user; None if the CRM does not report it.
    """

    contact_id: str
    message_id: str
    owner_id: str
    owner_name: str
    deal: ProbeDeal | None = None
    subject: str | None = None

    @property
    def message(self) -> Message:
        """The email as a message of a call."""
        return Message(
            row=0,
            op=Op.LINK,
            contact_id=self.contact_id,
            owner_id=self.owner_id,
            message_id=self.message_id,
            owner_name=self.owner_name,
        )


class Materials(msgspec.Struct, frozen=True):
    """The records that the experiments of a probe use.

    Args:
        email: the email that most experiments change.
        deal: a deal of its contact.
        deal_modified_time: when that was last modified, as Zoho writes it; None if unknown.
        second: another email of the same contact and owner; None if there is none.
        of_other_owner: an email of the contact that another user owns; None if there is none.
        shared: an email of the contact that another contact has too; None if there is none.
        shared_with: that email as the other contact has it.
        other_owner: id and name of a user who does not own `email`; None if there is none.
        role_deal: a deal that has the contact by a contact role only; None if there is none.
        role_deal_listed: whether the deals of the contact include such deals; None if unknown.
        foreign_deal: a deal that does not have the contact at all; None if there is none.
        private: an email of a private mailbox, on no deal; None if there is none.
        pages: pages of a contact's list that must be read to find every email.
    """

    email: ProbeEmail
    deal: ProbeDeal
    deal_modified_time: str | None = None
    second: ProbeEmail | None = None
    of_other_owner: ProbeEmail | None = None
    shared: ProbeEmail | None = None
    shared_with: ProbeEmail | None = None
    other_owner: tuple[str, str] | None = None
    role_deal: ProbeDeal | None = None
    role_deal_listed: bool | None = None
    foreign_deal: ProbeDeal | None = None
    private: ProbeEmail | None = None
    pages: int = 1

    @property
    def emails(self) -> tuple[ProbeEmail, ...]:
        """All emails that can be changed, each once."""
        own = (self.email, self.second, self.of_other_owner, self.shared, self.private)
        named = (*own, self.shared_with)
        return tuple(dict.fromkeys(email for email in named if email is not None))
