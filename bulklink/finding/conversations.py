"""Conversations: emails of a contact that belong together.

Emails with the same subject are one conversation while none comes later than six days after the
one before; after a longer gap, it is judged how far a conversation is the continuation of another
(`related`). A subject that anybody may use ("Documents") holds only a mailbox's own emails
together, and an email that is no reply begins a new conversation after a few days.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf

import msgspec

from bulklink.finding.subjects import Subject, parse_subject
from bulklink.finding.values import DAY, EmailFacts

MAX_GAP = 6 * DAY
"""Seconds between two emails of one conversation."""
_MAX_GAP_OF_NEW_SUBJECT = 4 * DAY
"""Seconds after which an email that is no reply begins a new conversation."""
_TELLING_WORDS = 3
"""Words from which a subject is unlikely to be used for two things at once."""


class ParsedEmail(msgspec.Struct, frozen=True, gc=False):
    """An email with what its subject tells.

    Args:
        index: its place among the emails of the contact.
        email: the email.
        subject: what its subject tells.
    """

    index: int
    email: EmailFacts
    subject: Subject


class Conversation:
    """Emails that belong together, oldest first.

    Args:
        number: its number among the conversations of the contact, from 0.
        first: the first email.
    """

    __slots__ = ("emails", "first_time", "last_time", "number", "subject")

    def __init__(self, number: int, first: ParsedEmail) -> None:
        self.number = number
        self.emails = [first]
        self.subject = first.subject
        """What the first subject tells."""
        self.first_time = known_time(first.email)
        """The time of the first email; minus infinity if that is unknown."""
        self.last_time = self.first_time
        """The time of the last email; minus infinity if that is unknown."""

    def add(self, email: ParsedEmail) -> None:
        """Add a later email."""
        self.emails.append(email)
        self.last_time = known_time(email.email)


def group_conversations(emails: Sequence[EmailFacts]) -> list[Conversation]:
    """Return the conversations of a contact, in the order of their first emails.

    Args:
        emails: the emails of the contact, in any order.
    """
    open_conversations: dict[tuple[str | None, str], Conversation] = {}
    conversations: list[Conversation] = []
    for parsed in _in_order(emails):
        key = _key(parsed)
        conversation = open_conversations.get(key)
        if conversation is not None and _continues(conversation, parsed):
            conversation.add(parsed)
            continue
        conversation = Conversation(len(conversations), parsed)
        open_conversations[key] = conversation
        conversations.append(conversation)
    return conversations


def known_time(email: EmailFacts) -> float:
    """Return the time of an email; minus infinity if that is unknown."""
    return -inf if email.time is None else email.time


def _in_order(emails: Sequence[EmailFacts]) -> Iterable[ParsedEmail]:
    """Return the emails by time, those without a time first."""
    order = sorted(range(len(emails)), key=lambda index: _sort_key(emails[index]))
    return (
        ParsedEmail(index, emails[index], parse_subject(emails[index].subject)) for index in order
    )


def _sort_key(email: EmailFacts) -> tuple[float, str, str]:
    return known_time(email), email.message_id, email.owner_id or ""


def _key(parsed: ParsedEmail) -> tuple[str | None, str]:
    """Return what the emails of one conversation have in common."""
    email, subject = parsed.email, parsed.subject
    if email.thread_id is not None:
        return "thread", email.thread_id
    if not subject.key or email.time is None:
        return "email", str(parsed.index)
    is_telling = bool(subject.numbers) or len(subject.words) >= _TELLING_WORDS
    return (None if is_telling else email.owner_id), subject.key


def _continues(conversation: Conversation, parsed: ParsedEmail) -> bool:
    time = parsed.email.time
    if time is None:
        return False
    gap = time - conversation.last_time
    return gap <= (MAX_GAP if parsed.subject.is_reply else _MAX_GAP_OF_NEW_SUBJECT)
