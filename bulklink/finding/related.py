"""Evidence from other conversations of the contact: what they are about, this one may be about too.

Each conversation is first judged by itself. What comes of that is evidence for those near it in
time, for those that go on under its subject after a gap, and for those with the same number.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import accumulate
from math import inf

from bulklink.finding.conversations import Conversation
from bulklink.finding.evidence import Finding
from bulklink.finding.values import DAY

Probabilities = Mapping[str | None, float]
"""Probability of each candidate of a conversation."""

_NEAR = 14 * DAY
_HALF_WAY = 3 * DAY
"""Seconds between two conversations at which one counts half for the other."""
_MAX_NEIGHBOURS = 40
"""Conversations looked at on each side, of those near in time."""
_CONTINUED = 60 * DAY
_STALE = 21 * DAY
"""Seconds after which the subject of a conversation may stand over something new."""
TEXT_EVIDENCE = frozenset({"number", "named", "plainly_named", "shared_name", "all_words", "words"})
"""Evidence that comes from the subject."""


class RelatedConversations:
    """Finds the conversations of a contact that are related to each other.

    Args:
        conversations: the conversations, in the order of their first emails.
        probabilities: what each was found to be about by itself.
    """

    def __init__(
        self, conversations: Sequence[Conversation], probabilities: Sequence[Probabilities]
    ) -> None:
        self._conversations = conversations
        self._probabilities = probabilities
        by_owner: dict[str | None, list[Conversation]] = defaultdict(list)
        self._by_subject: dict[str, list[Conversation]] = defaultdict(list)
        self._by_number: dict[str, list[Conversation]] = defaultdict(list)
        for conversation in conversations:
            by_owner[conversation.emails[0].email.owner_id].append(conversation)
            if conversation.subject.key:
                self._by_subject[conversation.subject.key].append(conversation)
            for number in conversation.subject.numbers:
                self._by_number[number].append(conversation)
        self._mailboxes = {owner: _Mailbox(group) for owner, group in by_owner.items()}

    def evidence(
        self, conversation: Conversation, candidates: Sequence[tuple[str | None, list[Finding]]]
    ) -> list[tuple[str | None, list[Finding]]]:
        """Return what other conversations add to the evidence for each candidate."""
        near = self._near(conversation)
        before = self._before(conversation)
        same_number = self._same_number(conversation)
        if not near and before is None and not same_number:
            return [(deal_id, []) for deal_id, _ in candidates]
        gap = 0.0 if before is None else conversation.first_time - before.last_time
        earlier = {} if before is None else self._probabilities[before.number]
        found: list[tuple[str | None, list[Finding]]] = []
        for deal_id, evidence in candidates:
            added: list[Finding] = []
            if deal_id is not None:
                if deal_id in near:
                    added.append(("near", near[deal_id], "emails at that time are about it"))
                if earlier.get(deal_id):
                    name = "continued" if gap <= _CONTINUED else "resumed"
                    days = round(gap / DAY)
                    text = f"its subject was about it {days} days before"
                    added.append((name, earlier[deal_id], text))
                if deal_id in same_number:
                    text = "other emails with the same number are about it"
                    added.append(("same_number", same_number[deal_id], text))
                if gap > _STALE and any(name in TEXT_EVIDENCE for name, _, _ in evidence):
                    added.append(("stale_text", 1.0, "the subject is an old one"))
            found.append((deal_id, added))
        return found

    def _near(self, conversation: Conversation) -> dict[str, float]:
        """Return how far the mailbox's conversations at that time are about each deal."""
        weights: dict[str, float] = defaultdict(float)
        for other in self._mailboxes[conversation.emails[0].email.owner_id].near(conversation):
            gap = max(
                other.first_time - conversation.last_time,
                conversation.first_time - other.last_time,
                0.0,
            )
            if other is conversation or not gap <= _NEAR:
                continue
            closeness = 1 / (1 + gap / _HALF_WAY)
            for deal_id, probability in self._probabilities[other.number].items():
                if deal_id is not None:
                    weights[deal_id] += closeness * probability
        if not weights:
            return weights
        total = max(1.0, sum(weights.values()))
        return {deal_id: weight / total for deal_id, weight in weights.items()}

    def _before(self, conversation: Conversation) -> Conversation | None:
        """Return the conversation that this one continues after a gap, if it is a reply."""
        if not conversation.subject.is_reply:
            return None
        earlier = [
            other
            for other in self._by_subject.get(conversation.subject.key, ())
            if other.number < conversation.number
            and -inf < other.last_time <= conversation.first_time
        ]
        return max(earlier, key=lambda other: other.last_time, default=None)

    def _same_number(self, conversation: Conversation) -> dict[str, float]:
        """Return how probably other subjects with the same number are about each deal."""
        most: dict[str, float] = {}
        for number in conversation.subject.numbers:
            for other in self._by_number[number][:_MAX_NEIGHBOURS]:
                if other.subject.key == conversation.subject.key:
                    continue
                for deal_id, probability in self._probabilities[other.number].items():
                    if deal_id is not None:
                        most[deal_id] = max(probability, most.get(deal_id, 0.0))
        return most


class _Mailbox:
    """The conversations of one mailbox, in the order of their first emails."""

    def __init__(self, conversations: Sequence[Conversation]) -> None:
        self._conversations = conversations
        self._starts = [conversation.first_time for conversation in conversations]
        ends = (conversation.last_time for conversation in conversations)
        self._ended = list(accumulate(ends, max))
        """When each conversation, and all before it, had ended."""

    def near(self, conversation: Conversation) -> Sequence[Conversation]:
        """Return a few conversations around one; all others are not near it in time."""
        place = bisect_left(self._starts, conversation.first_time)
        least, most = max(0, place - _MAX_NEIGHBOURS), place + _MAX_NEIGHBOURS + 1
        start = bisect_left(self._ended, conversation.first_time - _NEAR, least, place)
        end = bisect_right(self._starts, conversation.last_time + _NEAR, place)
        return self._conversations[start : min(end, most)]
