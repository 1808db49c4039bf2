"""Quota gate: a credit for every call; where there is none, wait for it or stop the run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import anyio
import msgspec

from bulklink.engine.quota.budget import Book, Hold, Limits, Short, gone, spent
from bulklink.engine.quota.daily_usage import Day, Purse
from bulklink.engine.quota.diagnosis import Cause, Doubt
from bulklink.engine.shutdown import HaltedError, Stopping
from bulklink.zoho.http import Answer, Silence

STEP = 15.0
"""Seconds between two looks at the clocks."""


class Wait:
    """How long is left of a wait, told by looking at two clocks now and then.

    A machine that slept shows it on its wall clock: that time has passed. A wall clock that was
    set back shows less than nothing: then the time that the other clock tells has passed, but
    never more than between two looks.

    Args:
        seconds: to wait.
        wall: seconds since 1970 now.
        monotonic: seconds of a clock that nobody sets, now.
    """

    def __init__(self, seconds: float, wall: float, monotonic: float) -> None:
        self.left = max(0.0, seconds)
        self._wall = wall
        self._monotonic = monotonic

    def look(self, wall: float, monotonic: float) -> float:
        """Note what the clocks show now and return the seconds that are left."""
        by_wall, by_monotonic = wall - self._wall, monotonic - self._monotonic
        passed = by_wall if by_wall >= 0 else min(max(0.0, by_monotonic), 2 * STEP)
        self._wall, self._monotonic = wall, monotonic
        self.left = max(0.0, self.left - passed)
        return self.left


class Pause:
    """Begins, is looked at, and ends.

    Args:
        wall: seconds since 1970.
        monotonic: seconds that nobody sets.
        told: told until when the run waits, in seconds since 1970, and None when it goes on.

    Attributes:
        waited: seconds of all pauses that ended.
    """

    def __init__(
        self,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
        told: Callable[[float | None], None],
    ) -> None:
        self.waited = 0.0
        self._wall = wall
        self._monotonic = monotonic
        self._told = told
        self._wait: Wait | None = None
        self._began = 0.0

    @property
    def is_on(self) -> bool:
        """Whether calls wait."""
        return self._wait is not None

    @property
    def waited_so_far(self) -> float:
        """Seconds of all pauses, the one that goes on included."""
        return self.waited + (self._monotonic() - self._began if self.is_on else 0.0)

    def begin(self, seconds: float) -> None:
        """Have calls wait for so long."""
        self._began = self._monotonic()
        self._wait = Wait(seconds, self._wall(), self._began)
        self._told(self._wall() + seconds)

    def left(self) -> float:
        """Return the seconds that are left; where none are, the pause is over."""
        if self._wait is None:
            return 0.0
        left = self._wait.look(self._wall(), self._monotonic())
        if not left:
            self._wait = None
            self.waited += self._monotonic() - self._began
            self._told(None)
        return left


DAY_SECONDS = 86_400.0
LOOK_SECONDS = 3_600.0
"""How often it is tried whether there are credits again, where nobody can know when."""
_OTHERS_LOOK = 20
"""Steps after which those who do not look at the clocks see whether somebody does."""
_PART = 10
"""A wait ends when this part of the day's limit is free again: for less it would end too soon."""
TO_FINISH = 2
"""Credits that are set aside with the unlink of a relink: for its link, and for putting back."""


class Rules(msgspec.Struct, frozen=True):
    """How a run deals with credits.

    `wait` waits where they are out, else the run stops. `most_in_flight` is how many calls may be
    in flight. `doubted` tells that the run stopped for want of credits, which may not be there
    yet: then the first call finds out alone.
    """

    limits: Limits = Limits()
    wait: bool = False
    most_in_flight: int = 10
    doubted: bool = False


class Credit:
    """The credit of one request.

    Attributes:
        need: credits that the request and what must follow it take.
        finishing: whether it finishes a relink.
        number: of the request among those that left; None while it has not.
        cause: why it was refused; None where it was not.
    """

    __slots__ = ("cause", "finishing", "need", "number")

    def __init__(self, need: int, *, finishing: bool) -> None:
        self.need = need
        self.finishing = finishing
        self.number: int | None = None
        self.cause: Cause | None = None


class ShortError(HaltedError):
    """Raised where a contact may not wait for credits, because it has relinks to finish first."""


class Credits:
    """Gives out the right to spend a credit.

    Args:
        rules: how the run deals with them.
        stopping: is told when they are out and nobody waits.
        wall: seconds since 1970.
        monotonic: seconds that nobody sets.
        told: told until when the run waits for credits, and None when it goes on.
        rest: returns how many calls the run may still need.

    Attributes:
        book: what is spent and what is left.
    """

    def __init__(
        self,
        rules: Rules,
        stopping: Stopping,
        *,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
        told: Callable[[float | None], None] = lambda until: None,
        rest: Callable[[], int] | None = None,
    ) -> None:
        self.book = Book(rules.limits)
        self._rules = rules
        self._stopping = stopping
        self._wall = wall
        self._monotonic = monotonic
        self._rest = rest
        self._purse = Purse(self.book, wall)
        self._doubt = Doubt(rules.most_in_flight, decisive=rules.doubted)
        self._pause = Pause(wall, monotonic, told)
        self._probe_at = 0.0
        self._refused_at = 0.0
        self._watched = False
        self._changed = anyio.Event()
        self._on_wait: list[Callable[[], None]] = []
        stopping.on_stop(self._change)

    @property
    def waited(self) -> float:
        """Seconds that were waited for credits, in waits that are over."""
        return self._pause.waited

    @property
    def waited_so_far(self) -> float:
        """Seconds that were waited for credits, the wait that goes on included."""
        return self._pause.waited_so_far

    @property
    def waits(self) -> bool:
        """Whether the run waits for credits."""
        return self._pause.is_on

    @property
    def refused(self) -> int:
        """Calls that were answered 429."""
        return self._doubt.refused_429

    async def open(self, day: Day, limits: Limits) -> None:
        """Begin to count in the day's credits of the org, once it is known.

        Args:
            day: the org's credits of the day.
            limits: what may be spent, now that the org is known.
        """
        self.book.limits = limits
        await self._purse.open(day)

    async def look(self) -> None:
        """See what the day's limit leaves, for `book.spendable`."""
        await self._purse.look()

    async def close(self) -> None:
        """Give back what was taken of the day's credits and not spent."""
        self.book.end()
        await self._purse.close()

    @asynccontextmanager
    async def credit(
        self, *, hold: Hold | None = None, aside: int = 0, finishing: bool = False
    ) -> AsyncIterator[Credit]:
        """Take the credit of a call before its line is written; wait for it, or stop the run.

        Args:
            hold: of the contact that the call concerns.
            aside: credits that must be left for what has to follow; they go into `hold`.
            finishing: whether it finishes a relink: then no limit of ours holds it back.

        Raises:
            HaltedError: if the run was stopped.
            ShortError: if it would wait while `hold` has relinks to finish.
        """
        await self._take(hold, aside, finishing=finishing)
        credit = Credit(1 + aside, finishing=finishing)
        try:
            yield credit
        finally:
            if credit.number is None:
                self.book.keep()
            else:
                self._doubt.flying.discard(credit.number)
            self._change()

    async def leave(self, credit: Credit) -> None:
        """Wait while the CRM takes no call; the call of this credit leaves right after.

        Raises:
            HaltedError: if the run was stopped.
        """
        while True:
            await self._purse.fill(0)
            self._stopping.check(finishing=credit.finishing)
            if self._stopping.barred:
                await self._sit_out()
            elif not self._doubt.may_leave:
                await self._change_within(STEP)
            elif self._doubt.suspected and (left := self._probe_at - self._monotonic()) > 0:
                await self._change_within(left)
            else:
                break
        credit.number = self.book.leave()
        self._doubt.left(credit.number)

    async def answered(
        self, credit: Credit, outcome: Answer | Silence, *, busy: bool, explained: bool = False
    ) -> None:
        """Note what came back for a call, in `credit.cause` why it was refused if it was a 429.

        Args:
            credit: of the call.
            outcome: what came back.
            busy: whether it is a 429.
            explained: whether too many calls in flight is reason enough for one.
        """
        number, known = credit.number or 0, self.book.left
        self._doubt.flying.discard(number)
        if isinstance(outcome, Answer):
            self.book.told(number, outcome.credits_left)
            if not busy:
                self._doubt.passed(number)
            else:
                now = self._monotonic()
                waited, self._refused_at = now - self._refused_at, now
                cause, pause = self._doubt.refused(
                    number,
                    outcome,
                    need=credit.need,
                    known=known,
                    explained=explained,
                    waited=waited,
                )
                credit.cause = cause
                if cause is Cause.CREDITS:
                    await self._gone(outcome.retry_after)
                pause = max(pause, (outcome.retry_after or 0.0) + 1.0)
                self._probe_at = self._monotonic() + pause
        self._change()

    def on_wait(self, action: Callable[[], None]) -> None:
        """Have something done when the run begins to wait for credits."""
        self._on_wait.append(action)

    def release(self, hold: Hold) -> None:
        """Free what was set aside for a contact that has no relink to finish any more."""
        if hold.amount:
            self.book.release(hold)
            self._change()

    async def _take(self, hold: Hold | None, aside: int, *, finishing: bool) -> None:
        while not finishing:
            await self._purse.fill(1 + aside)
            self._stopping.check()
            short = self.book.short(1 + aside, counted=self._purse.limited)
            if short is None and not self._stopping.barred:
                self.book.take(hold, aside)
                return
            if hold is not None and hold.open:
                raise ShortError
            await self._wait_or_stop(short, 1 + aside)
        self._stopping.check(finishing=True)
        self.book.take_to_finish(hold)

    async def _wait_or_stop(self, short: Short | None, need: int) -> None:
        """Bear that credits are short: what is in flight ends first and may bring some back."""
        if self._pause.is_on or short is None:
            await self._sit_out()
        elif self.book.taken or self._doubt.flying:
            await self._change_within(STEP)
        else:
            until, sure = await self._until(need)
            if short is Short.OF_INVOCATION or not self._rules.wait:
                self._stopping.stop(spent(short, self.book, until))
            elif not self._pause.is_on:
                self._begin(until, sure=sure)

    async def _gone(self, retry_after: float | None) -> None:
        """Bear that the CRM takes no call any more, not even one that finishes a relink."""
        if self._stopping.barred:
            return
        self._stopping.bar()
        until, sure = await self._until(1)
        if retry_after is not None:
            until, sure = self._wall() + retry_after + 1.0, True
        if self._rules.wait:
            self._begin(until, sure=sure)
        else:
            self._stopping.stop(gone(until))
        self._change()

    def _begin(self, until: float, *, sure: bool) -> None:
        left = until - self._wall()
        self._pause.begin(left if sure else min(left, LOOK_SECONDS))
        for action in self._on_wait:
            action()

    async def _sit_out(self) -> None:
        """Wait out a step of the pause; one of those who wait looks at the clocks for all."""
        if self._watched or not self._pause.is_on:
            await self._change_within(_OTHERS_LOOK * STEP)
            return
        self._watched = True
        try:
            left = self._pause.left()
            if left:
                await self._change_within(min(STEP, left))
        finally:
            self._watched = False
        if not left:
            self._pause_over()

    def _pause_over(self) -> None:
        """Let calls go on, one alone where the CRM took none before."""
        self.book.forget_told()
        if self._stopping.barred:
            self._stopping.unbar()
            self._doubt.ask_again()
        self._change()

    async def _until(self, need: int) -> tuple[float, bool]:
        """Return when credits are free again, and whether that is known: else in 24 hours."""
        limit = self.book.a_day or 0
        worth = max(need, limit // _PART)
        if self._rest is not None:
            worth = max(need, min(worth, self._rest()))
        free = await self._purse.free_at(worth)
        return (self._wall() + DAY_SECONDS, False) if free is None else (free, True)

    def _change(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    async def _change_within(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            await self._changed.wait()
