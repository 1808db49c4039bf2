"""Pacing: who may make ready, who may be in flight, and when nobody may start."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio

from bulklink.engine.pacing.held import Held
from bulklink.engine.pacing.queue import FairQueue
from bulklink.engine.pacing.rate import Rate
from bulklink.engine.stopping import Stopping

_SPARE = 2
_PLACES_A_SPARE = 4
"""Calls made ready beyond the places that are free: two, and one for every four places."""
_RATE_SECONDS = 0.05
"""Where a rate holds calls back, the free places that count: what it lets start in this time."""


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
        in_flight: whether it has taken its place.
        lingers: seconds that it holds its place after its end, where the server may still be
            at work on it.
    """

    __slots__ = ("in_flight", "lingers", "ticket")

    def __init__(self, ticket: Ticket) -> None:
        self.ticket = ticket
        self.in_flight = False
        self.lingers = 0.0


class Pacer:
    """Gives out the right to have a call in flight.

    A call takes a turn, makes ready (its line goes to disk), and leaves: so no place stands empty
    while the disk works. Few calls make ready ahead of the places, and none in a pause. The oldest
    call goes first; while calls of others wait, a contact has half of the turns and half of the
    places at most.

    Args:
        max_in_flight: calls in flight at once.
        max_per_second: calls that start in a second; None is no limit.
        stopping: ends the waiting when the run stops.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        *,
        max_in_flight: int,
        max_per_second: float | None,
        stopping: Stopping,
        clock: Callable[[], float],
    ) -> None:
        self.max_in_flight = max_in_flight
        self._rate = Rate(max_per_second, stopping, clock) if max_per_second else None
        self._stopping = stopping
        self._clock = clock
        self._paused_until = 0.0
        self._calls = 0
        self._waiting: FairQueue[_Wait] = FairQueue()
        self._ready: FairQueue[_Wait] = FairQueue()
        self._turns = Held()
        self._places = Held()
        self._timer: asyncio.TimerHandle | None = None
        stopping.on_stop(self._wake_halted)

    def resize(self, max_in_flight: int) -> None:
        """Change the number of calls in flight; calls that are in flight stay so."""
        self.max_in_flight = max_in_flight
        self._give_out()

    def pause(self, seconds: float) -> None:
        """Let no call start for so many seconds: the server said that there are too many."""
        self._paused_until = max(self._paused_until, self._clock() + seconds)

    def ticket(self, contact_id: str | None = None, *, finishing: bool = False) -> Ticket:
        """Return the ticket of a call that queues from now on.

        Args:
            contact_id: the contact it concerns.
            finishing: whether it finishes a relink that a gentle stop must not tear.
        """
        self._calls += 1
        return Ticket(self._calls, contact_id or "", finishing=finishing)

    @asynccontextmanager
    async def turn(self, ticket: Ticket) -> AsyncIterator[Turn]:
        """Wait until a call may make ready; hold its turn, and its place once it has one.

        Raises:
            HaltedError: if the run was stopped.
        """
        self._stopping.check(finishing=ticket.finishing)
        if self._waiting or not self._may_make_ready():
            await self._wait(self._waiting, ticket)
        else:
            self._turns.add(ticket.contact_id)
        turn = Turn(ticket)
        try:
            self._stopping.check(finishing=ticket.finishing)
            yield turn
        finally:
            if turn.lingers:
                # The task goes on; only the place waits.
                asyncio.get_running_loop().call_later(turn.lingers, self._end, turn)
            else:
                self._end(turn)

    async def take_place(self, turn: Turn) -> None:
        """Wait for a place among the calls in flight.

        Raises:
            HaltedError: if the run was stopped.
        """
        ticket = turn.ticket
        self._stopping.check(finishing=ticket.finishing)
        if self._ready or not self._may_leave():
            await self._wait(self._ready, ticket)
        else:
            self._places.add(ticket.contact_id)
        turn.in_flight = True

    async def start(self, turn: Turn) -> None:
        """Wait for the moment to start; the request leaves right after.

        Raises:
            HaltedError: if the run was stopped.
        """
        if self._rate is None:
            self._stopping.check(finishing=turn.ticket.finishing)
        else:
            await self._rate.start(finishing=turn.ticket.finishing)

    async def _wait(self, queue: FairQueue[_Wait], ticket: Ticket) -> None:
        """Wait until `_give_out` gives what the queue waits for, or the run is stopped."""
        wait = _Wait(ticket)
        queue.put(ticket.age, ticket.contact_id, wait)
        self._set_timer()
        try:
            await wait.over.wait()
            if not wait.given:
                self._stopping.check(finishing=ticket.finishing)
        except BaseException:
            self._withdraw(queue, wait)
            raise

    def _withdraw(self, queue: FairQueue[_Wait], wait: _Wait) -> None:
        """Give back what was given to a call that is not there any more to take it."""
        contact_id = wait.ticket.contact_id
        if not wait.given:
            queue.drop(wait.ticket.age, contact_id)
        elif queue is self._waiting:
            self._turns.drop(contact_id)
        else:
            self._places.drop(contact_id)
        self._give_out()

    def _end(self, turn: Turn) -> None:
        self._turns.drop(turn.ticket.contact_id)
        if turn.in_flight:
            self._places.drop(turn.ticket.contact_id)
        self._give_out()

    def _give_out(self) -> None:
        """Give free places to calls that are ready, then turns to those that wait for one."""
        share = -(-self.max_in_flight // 2)
        while self._may_leave() and (ready := self._ready.take(self._places.by_contact, share)):
            self._places.add(ready.ticket.contact_id)
            ready.give()
        share = -(-(self.max_in_flight + self._spare) // 2)
        while self._may_make_ready() and (
            next_one := self._waiting.take(self._turns.by_contact, share)
        ):
            self._turns.add(next_one.ticket.contact_id)
            next_one.give()
        self._set_timer()

    @property
    def _spare(self) -> int:
        return _SPARE + self.max_in_flight // _PLACES_A_SPARE

    def _may_leave(self) -> bool:
        return self._places.total < self.max_in_flight and self._clock() >= self._paused_until

    def _may_make_ready(self) -> bool:
        getting_ready = self._turns.total - self._places.total
        free = max(0, self.max_in_flight - self._places.total)
        if self._rate is not None:
            free = min(free, int(self._rate.per_second * _RATE_SECONDS))
        return getting_ready < free + self._spare and self._clock() >= self._paused_until

    def _set_timer(self) -> None:
        """Have things given out when a pause ends."""
        left = self._paused_until - self._clock()
        if left > 0 and self._timer is None and (self._ready or self._waiting):
            self._timer = asyncio.get_running_loop().call_later(left, self._timer_rings)

    def _timer_rings(self) -> None:
        self._timer = None
        self._give_out()

    def _wake_halted(self) -> None:
        """Wake who waits and may not go on after a stop."""
        for wait in (*self._waiting.entries(), *self._ready.entries()):
            if self._stopping.halts(finishing=wait.ticket.finishing):
                wait.over.set()


class _Wait:
    """A call that waits for its turn or its place."""

    def __init__(self, ticket: Ticket) -> None:
        self.ticket = ticket
        self.over = anyio.Event()
        self.given = False

    def give(self) -> None:
        """Tell that it has what it waited for."""
        self.given = True
        self.over.set()
