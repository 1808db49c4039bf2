"""Digest of all links, for comparing two states of a CRM."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field


@dataclass(slots=True)
class LinkDigest:
    """Digest of which email is on which deal, independent of order."""

    _sum: int = field(default=0, init=False)

    def add(self, contact_id: str, message_id: str, deal_id: str | None) -> None:
        """Add one email."""
        text = f"{contact_id}/{message_id}/{deal_id or ''}".encode()
        self._sum += int.from_bytes(hashlib.blake2b(text, digest_size=16).digest())

    def __str__(self) -> str:
        return f"{self._sum % (1 << 128):032x}"
