"""A call on its way through the pacer: its ticket, and the turn of each of its tries."""

from __future__ import annotations

import anyio


class Ticket:
    """A call that queues; all its tries share it.

    Attributes:
        age: a number that no other call has; older calls have lower ones.
        contact_id: the contact it concerns, empty for none.
        finishing: whether it finishes a relink that a gentle stop must not tear.
    """

    __slots__ = ("age", "contact_id", "finishing")

    def __init__(self, age: int, contact_id: str, *, finishing: bool) -> None:
        self.age = age
        self.contact_id = contact_id
        self.finishing = finishing


class Turn:
    """One try of a call, from making ready to its answer.

    Attributes:
        ticket: of the call.
        has_place: whether it holds a place among the calls in flight.
        left_at: when it left, None before.
        beside: most calls that were in flight since, itself included.
        told: whether the pacer was told what became of it.
        lingers: seconds that it holds its place after its end, where the server may still be
            at work on it.
    """

    __slots__ = ("beside", "has_place", "left_at", "lingers", "ticket", "told")

    def __init__(self, ticket: Ticket) -> None:
        self.ticket = ticket
        self.has_place = False
        self.left_at: float | None = None
        self.beside = 0
        self.told = False
        self.lingers = 0.0


class Wait:
    """A call that waits for its turn or its place."""

    __slots__ = ("given", "over", "ticket")

    def __init__(self, ticket: Ticket) -> None:
        self.ticket = ticket
        self.over = anyio.Event()
        self.given = False

    def give(self) -> None:
        """Tell that it has what it waited for."""
        self.given = True
        self.over.set()
