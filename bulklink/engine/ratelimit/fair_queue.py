"""Calls that wait: the oldest goes first, but no contact takes more than its share."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """What waits, by contact and age.

    An entry goes in with the age of its call, a number that no other call has, so that a call
    which waits a second time is as old as it was.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, list[tuple[int, T]]] = {}
        self._oldest: list[tuple[int, str]] = []
        """The age of the oldest entry of each contact; entries of the past are passed over."""
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def put(self, age: int, contact: str, entry: T) -> None:
        """Let an entry wait."""
        waiting = self._waiting.setdefault(contact, [])
        heapq.heappush(waiting, (age, entry))
        if waiting[0][0] == age:
            heapq.heappush(self._oldest, (age, contact))
        self._count += 1

    def take(
        self,
        held: Mapping[str, int],
        share: int,
        alone: Callable[[str], bool] = lambda contact: True,
    ) -> T | None:
        """Return the oldest entry of a contact that holds less than its share.

        Where every contact that waits holds its share, the oldest of all goes if it is alone.

        Args:
            held: what each contact holds.
            share: what one may hold while others wait.
            alone: tells whether no other contact is about to come for its share.
        """
        passed_over: list[tuple[int, str]] = []
        chosen: str | None = None
        while self._oldest and chosen is None:
            age, contact = heapq.heappop(self._oldest)
            waiting = self._waiting.get(contact)
            if waiting is None or waiting[0][0] != age:
                continue
            if held.get(contact, 0) < share:
                chosen = contact
            else:
                passed_over.append((age, contact))
        if chosen is None and passed_over and alone(passed_over[0][1]):
            chosen = passed_over.pop(0)[1]
        for age, contact in passed_over:
            heapq.heappush(self._oldest, (age, contact))
        return None if chosen is None else self._pop(chosen)

    def _pop(self, contact: str) -> T:
        waiting = self._waiting[contact]
        _, entry = heapq.heappop(waiting)
        self._count -= 1
        self._tell_oldest(contact)
        return entry

    def drop(self, age: int, contact: str) -> None:
        """Forget an entry that waits no more."""
        waiting = self._waiting.get(contact, [])
        left = [one for one in waiting if one[0] != age]
        self._count -= len(waiting) - len(left)
        heapq.heapify(left)
        self._waiting[contact] = left
        self._tell_oldest(contact)

    def entries(self) -> list[T]:
        """Return all that waits."""
        return [entry for waiting in self._waiting.values() for _, entry in waiting]

    def _tell_oldest(self, contact: str) -> None:
        waiting = self._waiting[contact]
        if waiting:
            heapq.heappush(self._oldest, (waiting[0][0], contact))
        else:
            del self._waiting[contact]
