"""Evidence: what speaks for and against each deal that a conversation may belong to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

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
from bulklink.finding.subjects import normalize, number_shape, split_words
from bulklink.finding.values import ContactFacts, EmailFacts

Finding = tuple[str, float, str]
"""Name of the evidence, by how much its weight is multiplied, and the reason for users."""

_LIFE_STAGES: Mapping[LifeStage, tuple[str, str]] = {
    LifeStage.ALIVE: ("alive", "open"),
    LifeStage.MAYBE_ALIVE: ("maybe_alive", "perhaps open"),
    LifeStage.SOON: ("soon", "created within 30 days"),
    LifeStage.EARLY: ("early", "created within 120 days"),
    LifeStage.BEFORE: ("before", "created long after"),
    LifeStage.JUST_WON: ("just_won", "won within 30 days before"),
    LifeStage.JUST_LOST: ("just_lost", "lost within 30 days before"),
    LifeStage.WON: ("won", "won within 120 days before"),
    LifeStage.OVER: ("over", "closed long before"),
    LifeStage.UNKNOWN: ("unknown_life", "nothing is known of it then"),
}
_BULK_SENDERS = (
    *("no-reply", "noreply", "no_reply", "donotreply", "do-not-reply", "newsletter", "news@"),
    *("mailer-daemon", "postmaster", "bounce", "notification", "notifications", "marketing@"),
    *("mailing", "calendar-notification", "nicht-antworten", "keine-antwort", "ne-pas-repondre"),
)
_LEAST_SHAPE = 5
"""Characters from which a number of another deal's shape is taken for a deal's number."""


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

    def candidates(self, conversation: Conversation) -> list[tuple[str | None, list[Finding]]]:
        """Return each deal with its evidence, and None with what speaks for no deal."""
        emails = conversation.emails
        links = _count_links(emails, self._links)
        named = _named(emails, self.profiles)
        life = [_life(profile, emails) for profile in self.profiles]
        found: list[tuple[str | None, list[Finding]]] = []
        for profile, stage in zip(self.profiles, life, strict=True):
            evidence = [stage]
            if profile.deal.by_role:
                evidence.append(("by_role", 1.0, "the contact is on it by a contact role"))
            evidence += _owner(profile, emails)
            evidence += _work(profile, emails)
            evidence += self._names(profile, emails, named)
            evidence += _link_evidence(profile.deal.id, links, len(emails))
            found.append((profile.deal.id, evidence))
        found.append((None, self._none(emails)))
        return found

    def _names(
        self, profile: DealProfile, emails: Sequence[ParsedEmail], named: Sequence[DealProfile]
    ) -> Iterable[Finding]:
        subject = emails[0].subject
        if profile.number is not None and any(
            profile.number in email.subject.numbers for email in emails
        ):
            yield "number", 1.0, "its number is in the subject"
        if profile in named:
            if len(named) > 1:
                yield "shared_name", 1.0, "its name is in the subject, as is that of others"
            elif profile.telling_words or len(profile.words) > 1:
                strong = bool(profile.telling_words)
                name = "named" if strong else "plainly_named"
                yield name, 1.0, "its name is in the subject"
            return
        matched = profile.telling_words.intersection(subject.words)
        if matched:
            share = len(matched) / len(profile.telling_words)
            name = "all_words" if share == 1 else "words"
            yield name, 1.0, f"the subject has {', '.join(sorted(matched))}"

    def _none(self, emails: Sequence[ParsedEmail]) -> list[Finding]:
        """Return what speaks for no deal of the contact."""
        found: list[Finding] = [("none", 1.0, "no deal of the contact")]
        if any(email.subject.is_automatic for email in emails):
            found.append(("automatic", 1.0, "an invitation or an automatic reply"))
        elif any(_is_bulk(email.email) for email in emails):
            found.append(("bulk", 1.0, "from a bulk sender"))
        if not any(email.subject.is_reply for email in emails) and len(emails) == 1:
            direction = emails[0].email.direction
            if direction == "received":
                found.append(("lone_received", 1.0, "received, and nobody answered"))
            elif direction == "sent":
                found.append(("lone_sent", 1.0, "sent, and nobody answered"))
        bystanders = sum(self._is_bystander(email.email) for email in emails)
        if bystanders:
            share = bystanders / len(emails)
            found.append(("bystander", share, "the contact only had a copy"))
        if self._names_other_number(emails):
            found.append(("other_number", 1.0, "the number of another deal is in the subject"))
        return found

    def _is_bystander(self, email: EmailFacts) -> bool:
        """Return whether the contact neither wrote an email nor was its first recipient."""
        if not self._addresses or email.sender is None:
            return False
        if email.sender.address in self._addresses:
            return False
        return bool(email.to) and not any(person.address in self._addresses for person in email.to)

    def _names_other_number(self, emails: Sequence[ParsedEmail]) -> bool:
        numbers = {number for email in emails for number in email.subject.numbers}
        if not numbers or numbers & self._numbers:
            return False
        return any(
            len(number) >= _LEAST_SHAPE and number_shape(number) in self._number_shapes
            for number in numbers
        )


def _count_links(
    emails: Sequence[ParsedEmail], links: Sequence[LinkFacts]
) -> Counter[tuple[str, str]]:
    """Count the links of a conversation by who made them and deal."""
    counts: Counter[tuple[str, str]] = Counter()
    for email in emails:
        link = links[email.index]
        deal_id = email.email.deal_id
        if deal_id is not None:
            counts[link.origin, deal_id] += 1
        elif link.expected_deal_id is not None and len(link.no_link_reasons) == 1:
            counts["unlinked", link.expected_deal_id] += 1
    return counts


def _link_evidence(deal_id: str, links: Counter[tuple[str, str]], emails: int) -> Iterable[Finding]:
    sent = links[LinkOrigin.SENT, deal_id]
    if sent:
        yield "sent", 1.0, f"{sent} of {emails} sent from it"
    by_hand = links[LinkOrigin.HAND, deal_id]
    if by_hand:
        yield "by_hand", 1.0, f"{by_hand} of {emails} linked to it by hand"
    by_rule = links[LinkOrigin.RULE, deal_id]
    uncertain = links[LinkOrigin.UNCERTAIN, deal_id]
    if by_rule or uncertain:
        # Emails that people put on it count above, and must not lower the share of the others.
        share = (by_rule + uncertain) / (emails - sent - by_hand)
        yield "linked", share, f"{by_rule + uncertain} of {emails} on it"
    if links["unlinked", deal_id]:
        yield "unlinked", 1.0, "taken off it by hand"


def _life(profile: DealProfile, emails: Sequence[ParsedEmail]) -> Finding:
    """Return where in the life of a deal a conversation was."""
    times = [email.email.time for email in emails if email.email.time is not None]
    if not times:
        name, text = _LIFE_STAGES[LifeStage.UNKNOWN]
        return name, 1.0, text
    first = profile.life_stage(times[0])
    last = profile.life_stage(times[-1]) if len(times) > 1 else first
    if first is last:
        name, text = _LIFE_STAGES[first]
        return name, 1.0, text
    if LifeStage.ALIVE in (first, last):
        return "partly_alive", 1.0, "open for a part of it"
    if LifeStage.MAYBE_ALIVE in (first, last):
        name, text = _LIFE_STAGES[LifeStage.MAYBE_ALIVE]
        return name, 1.0, text
    name, text = _LIFE_STAGES[first if first.value < last.value else last]
    return name, 1.0, text


def _owner(profile: DealProfile, emails: Sequence[ParsedEmail]) -> Iterable[Finding]:
    owned = profile.is_owner(emails[0].email)
    if owned:
        yield "owner", 1.0, "in the mailbox of its owner"


def _work(profile: DealProfile, emails: Sequence[ParsedEmail]) -> Iterable[Finding]:
    times = [email.email.time for email in emails if email.email.time is not None]
    worked = sum(map(profile.was_worked_on, times))
    if worked:
        yield "worked_on", 1.0, f"a person changed it at the time of {worked} of {len(emails)}"


def _named(emails: Sequence[ParsedEmail], profiles: Sequence[DealProfile]) -> list[DealProfile]:
    return named_deals(emails[0].subject, profiles)


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
    sender = email.sender.address if email.sender is not None else ""
    return sender.startswith(_BULK_SENDERS)
