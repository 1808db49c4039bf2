"""Conversations packed as JSON for the script of the page: each text once, in chunks."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Iterator
from typing import Any

import msgspec

from bulklink.html_pages.page import escape_json
from bulklink.html_pages.review.model import ReviewCandidate, ReviewConversation, ReviewEmail

MAX_PACKED_BYTES = 40_000_000
"""Maximum bytes of all conversations; a browser holds about five times as much of them."""
MAX_OTHER_EMAILS = 50
"""Emails of a conversation that are shown although nothing is proposed for them."""
MAX_DEALS = 9
"""Deals of a conversation that can be chosen, by the keys 1 to 9."""
_CHUNK_BYTES = 100_000
_HASHES = 1 << 256


class _Interned:
    """Values that are written once, and then by their index.

    Attributes:
        fresh: values since the last chunk.
    """

    def __init__(self) -> None:
        self._indexes: dict[Hashable, int] = {}
        self.fresh: list[Any] = []

    def index(self, value: Hashable) -> int:
        index = self._indexes.get(value)
        if index is None:
            index = self._indexes[value] = len(self._indexes)
            self.fresh.append(value)
        return index

    def take(self) -> list[Any]:
        fresh, self.fresh = self.fresh, []
        return fresh


class ConversationPacker:
    """Packs conversations until a limit is reached.

    A chunk is an object: `texts`, `deals`, `owners` and `evidence` continue the lists of the chunks
    before it, and `conversations` refers to them by index. `data.js` reads the values of a
    conversation by their places in the lists.

    Args:
        max_bytes: limit on all chunks together, exceeded by one conversation at most.

    Attributes:
        conversations: conversations that were packed.
        proposals: emails among them for which a change is proposed, by tier.
    """

    def __init__(self, max_bytes: int = MAX_PACKED_BYTES) -> None:
        self._bytes_left = max_bytes
        self._hashes = 0
        self._texts, self._deals = _Interned(), _Interned()
        self._owners, self._evidence = _Interned(), _Interned()
        self.conversations = 0
        self.proposals: dict[str, int] = {}

    @property
    def digest(self) -> str:
        """Return a digest of what can be decided, whatever its order and its tiers."""
        return f"{self._hashes % _HASHES:064x}"

    def chunks(self, conversations: Iterable[ReviewConversation]) -> Iterator[str]:
        """Yield the chunks as JSON that may stand in an element of a page.

        Args:
            conversations: the most important first; those beyond the limit are not read.
        """
        packed: list[bytes] = []
        size = 0
        for conversation in conversations:
            cells = msgspec.json.encode(self._conversation(conversation))
            packed.append(cells)
            size += len(cells)
            if size >= _CHUNK_BYTES:
                yield self._chunk(packed)
                packed, size = [], 0
            if self._bytes_left - size <= 0:
                break
        if packed:
            yield self._chunk(packed)

    def _chunk(self, conversations: list[bytes]) -> str:
        chunk = msgspec.json.encode(
            {
                "texts": self._texts.take(),
                "deals": self._deals.take(),
                "owners": self._owners.take(),
                "evidence": self._evidence.take(),
                "conversations": list(map(msgspec.Raw, conversations)),
            }
        )
        escaped = escape_json(chunk)
        self._bytes_left -= len(escaped)
        return escaped.decode()

    def _conversation(self, conversation: ReviewConversation) -> list[Any]:
        candidates = _shown_candidates(conversation.candidates)
        emails, left_out = _shown_emails(conversation.emails)
        self.conversations += 1
        self._hashes += _hash_choices(conversation, candidates)
        return [
            conversation.contact_id,
            conversation.number,
            [self._candidate(candidate) for candidate in candidates],
            [self._email(email) for email in emails],
            left_out,
        ]

    def _candidate(self, candidate: ReviewCandidate) -> list[Any]:
        deal = None if candidate.deal_id is None else (candidate.deal_id, candidate.deal_name)
        return [
            None if deal is None else self._deals.index(deal),
            candidate.confidence,
            [
                value
                for one in candidate.evidence
                for value in (
                    self._evidence.index((one.name, one.text)),
                    round(100 * one.log_odds),
                )
            ],
        ]

    def _email(self, email: ReviewEmail) -> list[Any]:
        if email.kind is not None and email.tier is not None:
            self.proposals[email.tier] = self.proposals.get(email.tier, 0) + 1
        owner = None if email.owner_id is None else (email.owner_id, email.owner_name)
        deal = None if email.from_deal_id is None else (email.from_deal_id, email.from_deal_name)
        return [
            email.message_id,
            None if owner is None else self._owners.index(owner),
            self._text(email.subject),
            email.time,
            self._text(email.direction),
            self._text(email.from_address),
            self._text(email.from_name),
            None if deal is None else self._deals.index(deal),
            self._text(email.linked_by),
            self._text(email.rule),
            self._text(email.kind),
            self._text(email.tier),
        ]

    def _text(self, text: str | None) -> int | None:
        return None if text is None else self._texts.index(text)


def _hash_choices(conversation: ReviewConversation, candidates: Iterable[ReviewCandidate]) -> int:
    """Hash the proposals of a conversation, and the deals that can be chosen for them."""
    choices = (
        conversation.contact_id,
        conversation.number,
        [candidate.deal_id for candidate in candidates],
        [
            (email.message_id, email.owner_id, email.from_deal_id)
            for email in conversation.emails
            if email.kind is not None
        ],
    )
    return int.from_bytes(hashlib.sha256(msgspec.json.encode(choices)).digest())


def _shown_candidates(candidates: Iterable[ReviewCandidate]) -> list[ReviewCandidate]:
    """Return the first deals, and no deal, in their order."""
    shown: list[ReviewCandidate] = []
    deals = 0
    for candidate in candidates:
        deals += candidate.deal_id is not None
        if candidate.deal_id is None or deals <= MAX_DEALS:
            shown.append(candidate)
    return shown


def _shown_emails(emails: Iterable[ReviewEmail]) -> tuple[list[ReviewEmail], int]:
    """Return the emails with a proposal and some of the others, and how many are left out."""
    shown: list[ReviewEmail] = []
    others = 0
    for email in emails:
        others += email.kind is None
        if email.kind is not None or others <= MAX_OTHER_EMAILS:
            shown.append(email)
    return shown, max(0, others - MAX_OTHER_EMAILS)
