"""Priority queue that takes the oldest entry first and is fair between contacts."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Entries ordered by the sequence number of their call, in a heap for each contact.

    The number is unique to a call, so a call that waits a second time keeps its age.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, list[tuple[int, T]]] = {}
        self._oldest: list[tuple[int, str]] = []
        """Sequence number of each contact's oldest entry; outdated items are skipped."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, sequence: int, contact_id: str, entry: T) -> None:
        """Add an entry."""
        entries = self._waiting.setdefault(contact_id, [])
        heapq.heappush(entries, (sequence, entry))
        if entries[0][0] == sequence:
            heapq.heappush(self._oldest, (sequence, contact_id))
        self._count += 1

    def take(
        self,
        counts: Mapping[str, int],
        share: int,
        is_alone: Callable[[str], bool] = lambda contact_id: True,
    ) -> T | None:
        """Remove and return the oldest entry of a contact that holds less than its share.

        If every waiting contact holds its share, the oldest entry goes if its contact is alone.

        Args:
            counts: number held by each contact.
            share: number that a contact may hold while others wait.
            is_alone: returns whether no other contact is about to claim its share.
        """
        skipped: list[tuple[int, str]] = []
        chosen: str | None = None
        while self._oldest and chosen is None:
            sequence, contact_id = heapq.heappop(self._oldest)
            entries = self._waiting.get(contact_id)
            if entries is None or entries[0][0] != sequence:
                continue
            if counts.get(contact_id, 0) < share:
                chosen = contact_id
            else:
                skipped.append((sequence, contact_id))
        if chosen is None and skipped and is_alone(skipped[0][1]):
            chosen = skipped.pop(0)[1]
        for sequence, contact_id in skipped:
            heapq.heappush(self._oldest, (sequence, contact_id))
        return None if chosen is None else self._pop(chosen)

    def _pop(self, contact_id: str) -> T:
        entries = self._waiting[contact_id]
        _, entry = heapq.heappop(entries)
        self._count -= 1
        self._push_oldest(contact_id)
        return entry

    def remove(self, sequence: int, contact_id: str) -> None:
        """Remove an entry that no longer waits."""
        waiting = self._waiting.get(contact_id, [])
        remaining = [item for item in waiting if item[0] != sequence]
        self._count -= len(waiting) - len(remaining)
        heapq.heapify(remaining)
        self._waiting[contact_id] = remaining
        self._push_oldest(contact_id)

    def entries(self) -> list[T]:
        """Return all entries."""
        return [entry for waiting in self._waiting.values() for _, entry in waiting]

    def _push_oldest(self, contact_id: str) -> None:
        entries = self._waiting[contact_id]
        if entries:
            heapq.heappush(self._oldest, (entries[0][0], contact_id))
        else:
            del self._waiting[contact_id]
