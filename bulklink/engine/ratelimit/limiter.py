"""Concurrency limiter: which call may be in flight, fair to every contact."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio

from bulklink.engine.ratelimit import adaptive
from bulklink.engine.ratelimit.fair_queue import FairQueue
from bulklink.engine.ratelimit.rate import Rate
from bulklink.engine.shutdown import Stopping


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


_SPARE = 2
_PLACES_A_SPARE = 4
"""Calls made ready beyond the places that are free: two, and one for every four places."""
_SHORTEST_TIMER = 0.001
_RATE_SECONDS = 0.05
"""Where a rate holds calls back, the free places that count: what it lets start in this time."""


class Pacer:
    """Gives out the right to have a call in flight.

    A call takes a turn, makes ready (its line goes to disk), and leaves: so no place stands empty
    while the disk works. Few calls make ready ahead of the places, and none in a pause. The oldest
    call goes first; while calls of others wait, a contact has half of the turns and half of the
    places at most. What the server answers lowers the calls in flight, as `capacity` has it.

    Args:
        max_in_flight: calls in flight at once, at most.
        max_per_second: calls that start in a second; None is no limit.
        stopping: ends the waiting when the run stops.
        clock: monotonic seconds.
        chance: returns a random number from 0 to 1.
        notice: told, once an episode, that the server takes fewer calls.
    """

    def __init__(
        self,
        *,
        max_in_flight: int,
        max_per_second: float | None,
        stopping: Stopping,
        clock: Callable[[], float],
        chance: Callable[[], float] = lambda: 0.5,
        notice: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._capacity = adaptive.capacity(max_in_flight)
        self._rate = Rate(max_per_second, stopping, clock) if max_per_second else None
        self._stopping = stopping
        self._clock = clock
        self._chance = chance
        self._notice = notice
        self._calls = 0
        self._held_up = 0.0
        self._waiting: FairQueue[Wait] = FairQueue()
        self._ready: FairQueue[Wait] = FairQueue()
        self._turns = Held()
        self._places = Held()
        self._timer: asyncio.TimerHandle | None = None
        stopping.on_stop(self._wake_halted)

    @property
    def max_in_flight(self) -> int:
        """Calls in flight at once, at most; the server may take fewer."""
        return self._capacity.ceiling

    @property
    def limit(self) -> int:
        """Calls that may be in flight now."""
        return self._capacity.limit

    @property
    def paused(self) -> bool:
        """Whether nobody may leave now because the server refused a call."""
        return self._clock() < self._capacity.paused_until

    @property
    def held_up(self) -> float:
        """Seconds so far in which nobody could leave because the server refused a call."""
        return self._held_up - max(0.0, self._capacity.paused_until - self._clock())

    def resize(self, max_in_flight: int) -> None:
        """Change how many calls are in flight at most; calls that are in flight stay so."""
        self._capacity = adaptive.with_ceiling(self._capacity, max_in_flight)
        self._give_out()

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
            if turn.has_place and not turn.told:
                self._capacity = adaptive.ended(self._capacity, self._clock())
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
        held = self._places.by_contact.get(ticket.contact_id, 0)
        its_turn = held < self._share or self._alone(ticket.contact_id)
        if self._ready or not its_turn or not self._may_leave():
            await self._wait(self._ready, ticket)
        else:
            self._give_place(ticket)
        turn.has_place = True

    async def start(self, turn: Turn) -> None:
        """Wait for the moment to start; the request leaves right after.

        Raises:
            HaltedError: if the run was stopped.
        """
        ticket = turn.ticket
        await self._next_slot(ticket)
        while (left := self._capacity.paused_until - self._clock()) > 0:
            # It keeps its place: to the gate of credits it is in flight already.
            await self._stopping.sleep(left, finishing=ticket.finishing)
            await self._next_slot(ticket)
        turn.left_at = self._clock()
        turn.beside = self._places.total
        self._capacity = adaptive.left(self._capacity, turn.left_at)
        self._set_timer()

    def answered(self, turn: Turn) -> None:
        """Take in that the server accepted a call and answered it."""
        if turn.left_at is not None:
            turn.told = True
            now = self._clock()
            self._capacity = adaptive.answered(self._capacity, turn.left_at, now)

    def explains(self, turn: Turn) -> bool:
        """Tell whether too many calls in flight is reason enough for a refusal of this one."""
        in_flight = max(turn.beside, self._places.total)
        return turn.left_at is not None and adaptive.explains(
            self._capacity, turn.left_at, in_flight
        )

    def refused(self, turn: Turn, retry_after: float | None) -> None:
        """Take in that the server refused a call because too many were in flight."""
        if turn.left_at is None:
            return
        turn.told = True
        before, in_flight = self._capacity, max(turn.beside, self._places.total)
        now = self._clock()
        self._capacity = adaptive.refused(
            before, turn.left_at, in_flight, now, retry_after, self._chance()
        )
        longer = self._capacity.paused_until - max(before.paused_until, now)
        self._held_up += max(0.0, longer)
        if before.began is None and not before.probed:
            self._notice(
                f"The CRM says that there are too many requests, with {in_flight} calls in flight:"
                " all wait for a moment and go on with fewer."
            )

    async def _next_slot(self, ticket: Ticket) -> None:
        if self._rate is None:
            self._stopping.check(finishing=ticket.finishing)
        else:
            await self._rate.start(finishing=ticket.finishing)

    def _give_place(self, ticket: Ticket) -> None:
        self._places.add(ticket.contact_id)
        self._capacity = adaptive.granted(self._capacity)

    async def _wait(self, queue: FairQueue[Wait], ticket: Ticket) -> None:
        """Wait until `_give_out` gives what the queue waits for, or the run is stopped."""
        wait = Wait(ticket)
        queue.put(ticket.age, ticket.contact_id, wait)
        self._set_timer()
        try:
            await wait.over.wait()
            if not wait.given:
                self._stopping.check(finishing=ticket.finishing)
        except BaseException:
            self._withdraw(queue, wait)
            raise

    def _withdraw(self, queue: FairQueue[Wait], wait: Wait) -> None:
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
        if turn.has_place:
            self._places.drop(turn.ticket.contact_id)
        self._give_out()

    def _give_out(self) -> None:
        """Give free places to calls that are ready, then turns to those that wait for one."""
        self._capacity = adaptive.passed(self._capacity, self._clock())
        while self._may_leave() and (
            ready := self._ready.take(self._places.by_contact, self._share, self._alone)
        ):
            self._give_place(ready.ticket)
            ready.give()
        share = -(-(self.limit + self._spare) // 2)
        while self._may_make_ready() and (
            next_one := self._waiting.take(self._turns.by_contact, share)
        ):
            self._turns.add(next_one.ticket.contact_id)
            next_one.give()
        self._set_timer()

    @property
    def _share(self) -> int:
        """Places of one contact while others wait: half of them, and the odd one."""
        return -(-self.limit // 2)

    def _alone(self, contact_id: str) -> bool:
        """Tell whether no other contact makes a call ready, for which its place is kept."""
        others = self._turns.total - self._turns.by_contact.get(contact_id, 0)
        return others <= self._places.total - self._places.by_contact.get(contact_id, 0)

    @property
    def _spare(self) -> int:
        return _SPARE + self.limit // _PLACES_A_SPARE

    def _may_leave(self) -> bool:
        now, in_flight = self._clock(), self._places.total
        if in_flight >= self.limit:
            self._capacity = adaptive.wanted(self._capacity, now)
        return adaptive.may_leave(self._capacity, in_flight, now)

    def _may_make_ready(self) -> bool:
        getting_ready = self._turns.total - self._places.total
        free = max(0, self.limit - self._places.total)
        if self._rate is not None:
            free = min(free, int(self._rate.per_second * _RATE_SECONDS))
        paused = self._clock() < self._capacity.paused_until
        return getting_ready < free + self._spare and not paused

    def _set_timer(self) -> None:
        """Have things given out when time alone lets more calls leave."""
        now = self._clock()
        due = adaptive.next_change(self._capacity, now)
        if due is None or self._timer is not None or not (self._ready or self._waiting):
            return
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(max(due - now, _SHORTEST_TIMER), self._timer_rings)

    def _timer_rings(self) -> None:
        self._timer = None
        self._give_out()

    def _wake_halted(self) -> None:
        """Wake who waits and may not go on after a stop."""
        for wait in (*self._waiting.entries(), *self._ready.entries()):
            if self._stopping.halts(finishing=wait.ticket.finishing):
                wait.over.set()
