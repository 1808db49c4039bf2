"""Evidence: what speaks for and against each deal that a conversation may belong to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from math import inf, log

from bulklink.finding.conversations import Conversation, ParsedEmail
from bulklink.finding.deal_profile import (
    DealProfile,
    LifeStage,
    is_telling,
    named_deals,
    profile_deals,
)
from bulklink.finding.deal_state import DealStates
from bulklink.finding.link_origin import LinkFacts, LinkOrigin
from bulklink.finding.subjects import (
    Subject,
    normalize,
    number_shape,
    parse_subject,
    split_words,
)
from bulklink.finding.values import ContactFacts, EmailFacts

Finding = tuple[str, float, str]
"""Name of the evidence, by how much its weight is multiplied, and the reason for users."""

_LIFE_STAGES: Mapping[LifeStage, Finding] = {
    LifeStage.ALIVE: ("alive", 1.0, "open"),
    LifeStage.MAYBE_ALIVE: ("maybe_alive", 1.0, "perhaps open"),
    LifeStage.SOON: ("soon", 1.0, "created within 30 days"),
    LifeStage.EARLY: ("early", 1.0, "created within 120 days"),
    LifeStage.BEFORE: ("before", 1.0, "created long after"),
    LifeStage.JUST_WON: ("just_won", 1.0, "won within 30 days before"),
    LifeStage.JUST_LOST: ("just_lost", 1.0, "lost within 30 days before"),
    LifeStage.WON: ("won", 1.0, "won within 120 days before"),
    LifeStage.OVER: ("over", 1.0, "closed long before"),
    LifeStage.UNKNOWN: ("unknown_life", 1.0, "nothing is known of it then"),
}
_PARTLY_ALIVE: Finding = ("partly_alive", 1.0, "open for a part of it")
_BY_ROLE: Finding = ("by_role", 1.0, "the contact is on it by a contact role")
_FRESH: Finding = ("fresh", 1.0, "created within three days of an email")
_YOUNG: Finding = ("young", 1.0, "created within two weeks before")
_ACTIVE: Finding = ("active", 1.0, "a person changed it in the two weeks after")
_NUMBER: Finding = ("number", 1.0, "its number is in the subject")
_NAMED: Finding = ("named", 1.0, "its name is in the subject")
_PLAINLY_NAMED: Finding = ("plainly_named", 1.0, "its name is in the subject")
_SHARED_NAME: Finding = ("shared_name", 1.0, "its name is in the subject, as is that of others")
_SUMMARY_NAMED: Finding = ("summary_named", 1.0, "its name is in a summary")
_FULL_NAMES = frozenset({"named", "plainly_named", "shared_name"})
"""Evidence of a deal's full name."""
_UNLINKED: Finding = ("unlinked", 1.0, "taken off it by hand")
_NONE: Finding = ("none", 1.0, "no deal of the contact")
_AUTOMATIC: Finding = ("automatic", 1.0, "an invitation or an automatic reply")
_BULK: Finding = ("bulk", 1.0, "from a bulk sender")
_LONE_RECEIVED: Finding = ("lone_received", 1.0, "received, and nobody answered")
_LONE_SENT: Finding = ("lone_sent", 1.0, "sent, and nobody answered")
_DIALOGUE: Finding = ("dialogue", 1.0, "three emails or more")
_COLLEAGUES: Finding = ("colleagues", 1.0, "in the mailboxes of several users")
_OTHER_NUMBER: Finding = ("other_number", 1.0, "the number of another deal is in the subject")
_BULK_SENDERS = (
    *("no-reply", "noreply", "no_reply", "donotreply", "do-not-reply", "newsletter", "news@"),
    *("mailer-daemon", "postmaster", "bounce", "notification", "notifications", "marketing@"),
    *("mailing", "calendar-notification", "nicht-antworten", "keine-antwort", "ne-pas-repondre"),
)
_KNOWN_SENDERS = 1000
"""Addresses of the last senders, which are not looked at once more."""
_LEAST_DIALOGUE = 3
"""Emails of a conversation that is more than a question and its answer."""
_LEAST_SHAPE = 5
"""Characters from which a number of another deal's shape is taken for a deal's number."""
_UNLINKED_BY_HAND = "unlinked"
_LINKED = (*LinkOrigin, _UNLINKED_BY_HAND)
"""What the links of a conversation to a deal may be."""


class ContactEvidence:
    """Collects the evidence of a contact's conversations.

    Args:
        contact: the contact.
        states: the states of each of its deals over time.
        links: who made the present link of each email, in the order of the contact's emails.
        number_shapes: shapes of the numbers of the org's deals.
    """

    def __init__(
        self,
        contact: ContactFacts,
        states: Mapping[str, DealStates],
        links: Sequence[LinkFacts],
        number_shapes: frozenset[str],
    ) -> None:
        self._links = links
        self._number_shapes = number_shapes
        self._addresses = frozenset(contact.addresses or _usual_addresses(contact.emails))
        self.profiles = profile_deals(contact.deals, states, _company_words(self._addresses))
        self._numbers = {profile.number for profile in self.profiles} - {None}
        self._words = frozenset(word for profile in self.profiles for word in profile.words)
        self._names_by_words: dict[tuple[str, ...], list[Finding | None]] = {}

    def candidates(self, conversation: Conversation) -> list[tuple[str | None, list[Finding]]]:
        """Return each deal with its evidence, and None with what speaks for no deal."""
        emails = conversation.emails
        links = _link_evidence(emails, self._links)
        names = self._names(conversation.subject)
        summarized = self._named_in_summaries(emails)
        times = [email.email.time for email in emails if email.email.time is not None]
        numbers = frozenset(number for email in emails for number in email.subject.numbers)
        found: list[tuple[str | None, list[Finding]]] = []
        for profile, name in zip(self.profiles, names, strict=True):
            deal = profile.deal
            evidence = [_life(profile, conversation), *_turns(profile, conversation, times)]
            if deal.by_role:
                evidence.append(_BY_ROLE)
            evidence += _ownership(profile, emails)
            if profile.was_worked_on(conversation.first_time, conversation.last_time):
                evidence += _work(profile, times, len(emails))
            if profile.number in numbers:
                evidence.append(_NUMBER)
            if name is not None:
                evidence.append(name)
            if deal.id in summarized and (name is None or name[0] not in _FULL_NAMES):
                evidence.append(_SUMMARY_NAMED)
            if deal.id in links:
                evidence += links[deal.id]
            found.append((deal.id, evidence))
        found.append((None, self._none(emails, numbers)))
        return found

    def _names(self, subject: Subject) -> list[Finding | None]:
        """Return, for each deal, what the words of a subject tell; made once for each subject."""
        words = () if self._words.isdisjoint(subject.words) else subject.words
        names = self._names_by_words.get(words)
        if names is None:
            named = named_deals(words, self.profiles)
            names = [_name(profile, words, named) for profile in self.profiles]
            self._names_by_words[words] = names
        return names

    def _named_in_summaries(self, emails: Sequence[ParsedEmail]) -> frozenset[str]:
        """Return the deals whose full names are in summaries of emails."""
        summaries = {email.email.summary for email in emails} - {None}
        return frozenset(
            profile.deal.id
            for summary in summaries
            for profile, name in zip(
                self.profiles, self._names(parse_subject(summary)), strict=True
            )
            if name is not None and name[0] in _FULL_NAMES
        )

    def _none(self, emails: Sequence[ParsedEmail], numbers: frozenset[str]) -> list[Finding]:
        """Return what speaks for no deal of the contact."""
        found = [_NONE]
        if any(email.subject.is_automatic for email in emails):
            found.append(_AUTOMATIC)
        elif any(_is_bulk(email.email) for email in emails):
            found.append(_BULK)
        if len(emails) == 1 and not emails[0].subject.is_reply:
            direction = emails[0].email.direction
            if direction == "received":
                found.append(_LONE_RECEIVED)
            elif direction == "sent":
                found.append(_LONE_SENT)
        elif len(emails) >= _LEAST_DIALOGUE:
            found.append(_DIALOGUE)
        if len({email.email.owner_id for email in emails}) > 1:
            found.append(_COLLEAGUES)
        bystanders = sum([self._is_bystander(email.email) for email in emails])
        if bystanders:
            share = bystanders / len(emails)
            found.append(("bystander", share, "the contact only had a copy"))
        if numbers and self._is_other_number(numbers):
            found.append(_OTHER_NUMBER)
        return found

    def _is_bystander(self, email: EmailFacts) -> bool:
        """Return whether the contact neither wrote an email nor was its first recipient."""
        if not self._addresses or email.sender is None:
            return False
        if email.sender.address in self._addresses:
            return False
        recipients = [person.address for person in email.to]
        return bool(recipients) and self._addresses.isdisjoint(recipients)

    def _is_other_number(self, numbers: frozenset[str]) -> bool:
        """Return whether numbers of a subject are those of deals, but of none of the contact."""
        if not numbers.isdisjoint(self._numbers):
            return False
        return any(
            len(number) >= _LEAST_SHAPE and number_shape(number) in self._number_shapes
            for number in numbers
        )


def _name(
    profile: DealProfile, words: tuple[str, ...], named: Sequence[DealProfile]
) -> Finding | None:
    """Return what the words of a subject tell of a deal, of those whose names it has."""
    if profile in named:
        if len(named) > 1:
            return _SHARED_NAME
        if profile.telling_words:
            return _NAMED
        return _PLAINLY_NAMED if len(profile.words) > 1 else None
    matched = profile.telling_words.intersection(words)
    if not matched:
        return None
    name = "all_words" if len(matched) == len(profile.telling_words) else "words"
    return name, 1.0, f"the subject has {', '.join(sorted(matched))}"


def _link_evidence(
    emails: Sequence[ParsedEmail], links: Sequence[LinkFacts]
) -> dict[str, list[Finding]]:
    """Return what the links of a conversation tell, by deal."""
    counts: dict[str, dict[str, int]] = {}
    for email in emails:
        link, deal_id, made_by = links[email.index], email.email.deal_id, ""
        if deal_id is not None:
            made_by = link.origin
        elif len(link.no_link_reasons) == 1:
            deal_id, made_by = link.expected_deal_id, _UNLINKED_BY_HAND
        if deal_id is not None:
            of_deal = counts.setdefault(deal_id, dict.fromkeys(_LINKED, 0))
            of_deal[made_by] += 1
    return {deal_id: _count_links(of_deal, len(emails)) for deal_id, of_deal in counts.items()}


def _count_links(links: Mapping[str, int], emails: int) -> list[Finding]:
    """Return what the links to a deal tell, counted by who made them."""
    found: list[Finding] = []
    sent, by_hand = links[LinkOrigin.SENT], links[LinkOrigin.HAND]
    if sent:
        found.append(("sent", 1.0, f"{sent} of {emails} sent from it"))
    if by_hand:
        found.append(("by_hand", 1.0, f"{by_hand} of {emails} linked to it by hand"))
    linked = links[LinkOrigin.RULE] + links[LinkOrigin.UNCERTAIN]
    if linked:
        # Emails that people put on it count above, and must not lower the share of the others.
        share = linked / (emails - sent - by_hand)
        found.append(("linked", share, f"{linked} of {emails} on it"))
    if links[_UNLINKED_BY_HAND]:
        found.append(_UNLINKED)
    return found


def _life(profile: DealProfile, conversation: Conversation) -> Finding:
    """Return where in the life of a deal a conversation was."""
    if conversation.first_time == -inf:
        return _LIFE_STAGES[LifeStage.UNKNOWN]
    first = last = profile.life_stage(conversation.first_time)
    if conversation.last_time != conversation.first_time:
        last = profile.life_stage(conversation.last_time)
    if first is last:
        return _LIFE_STAGES[first]
    if LifeStage.ALIVE in (first, last):
        return _PARTLY_ALIVE
    if LifeStage.MAYBE_ALIVE in (first, last):
        return _LIFE_STAGES[LifeStage.MAYBE_ALIVE]
    return _LIFE_STAGES[min(first, last)]


def _turns(
    profile: DealProfile, conversation: Conversation, times: Sequence[float]
) -> Iterable[Finding]:
    """Yield whether a deal began at the time of a conversation, and went on after it."""
    if profile.is_fresh(times):
        yield _FRESH
    if profile.is_young(conversation.first_time):
        yield _YOUNG
    if profile.is_active(conversation.last_time):
        yield _ACTIVE


def _ownership(profile: DealProfile, emails: Sequence[ParsedEmail]) -> Iterable[Finding]:
    """Yield the share of the emails that are in the mailbox of the deal's owner."""
    owned = sum([profile.is_owner(email.email) is True for email in emails])
    if owned:
        text = f"{owned} of {len(emails)} in the mailbox of its owner"
        yield "owner", owned / len(emails), text


def _work(profile: DealProfile, times: Sequence[float], emails: int) -> Iterable[Finding]:
    """Yield what people did to a deal at the times of emails."""
    worked = sum([profile.was_worked_on(time, time) for time in times])
    if worked:
        yield "worked_on", 1.0, f"a person changed it at the time of {worked} of {emails}"
    edited = profile.edits_after(times)
    text = f"a person changed it after {edited} of {emails}"
    if edited:
        yield "edited", 1.0, text
    if edited > 1:
        yield "edited_again", log(edited), text


def _usual_addresses(emails: Iterable[EmailFacts]) -> tuple[str, ...]:
    """Return the address that a contact most likely writes from."""
    senders = Counter(
        email.sender.address
        for email in emails
        if email.direction == "received" and email.sender is not None
    )
    if not senders:
        return ()
    most = max(senders.values())
    return (min(address for address, count in senders.items() if count == most),)


def _company_words(addresses: Iterable[str]) -> frozenset[str]:
    """Return the words of the domains of addresses."""
    return frozenset(
        word
        for address in addresses
        for word in split_words(
            normalize(address.partition("@")[2].replace("-", " ")).replace(".", " ")
        )
        if is_telling(word)
    )


def _is_bulk(email: EmailFacts) -> bool:
    if email.intent == "spam":
        return True
    return email.sender is not None and _is_bulk_sender(email.sender.address)


@lru_cache(_KNOWN_SENDERS)
def _is_bulk_sender(address: str) -> bool:
    return address.startswith(_BULK_SENDERS)
