"""What is held, by contact."""

from __future__ import annotations


class Held:
    """How many turns or places each contact holds, and all together; absent is 0."""

    def __init__(self) -> None:
        self.total = 0
        self.by_contact: dict[str, int] = {}

    def add(self, contact_id: str) -> None:
        """Count one more."""
        self.total += 1
        self.by_contact[contact_id] = self.by_contact.get(contact_id, 0) + 1

    def drop(self, contact_id: str) -> None:
        """Count one less."""
        self.total -= 1
        left = self.by_contact[contact_id] - 1
        if left:
            self.by_contact[contact_id] = left
        else:
            del self.by_contact[contact_id]
