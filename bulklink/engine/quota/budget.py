"""Budget of credits of one invocation, and the reasons to stop. Pure."""

from __future__ import annotations

from enum import Enum, auto

import msgspec

from bulklink.errors import RunStoppedError, StoppedBy
from bulklink.ledger.records import timestamp

_TO_FIND_OUT = 3
"""Credits believed to be left where nobody knows: enough for any call and what must follow it."""


class Limits(msgspec.Struct, frozen=True):
    """What an invocation may spend.

    `most` is for the invocation alone, `a_day` for all runs on the org in 24 hours, `reserve` is
    what must be left of the org's credits. `untold` is what all runs may spend in 24 hours as long
    as the CRM does not tell what is left. None is no limit.
    """

    most: int | None = None
    a_day: int | None = None
    reserve: int = 0
    untold: int | None = None


class Short(Enum):
    """Which credits are too few for what is asked."""

    OF_INVOCATION = auto()
    OF_ORG = auto()
    OF_DAY = auto()


class Hold:
    """Credits set aside to finish the relinks of a contact, and whether some are to be finished.

    Attributes:
        amount: credits.
        torn: whether emails of the contact are between the halves of a relink.
    """

    __slots__ = ("amount", "torn")

    def __init__(self) -> None:
        self.amount = 0
        self.torn = False

    @property
    def open(self) -> bool:
        """Whether there are relinks that must be finished before the contact may wait."""
        return self.torn or self.amount > 0


class Book:
    """The credits of an invocation.

    A credit is taken for a call before its line is written, and sent when the call leaves; one
    that is set aside waits for the call that finishes a relink.

    Attributes:
        limits: what may be spent.
        sent: calls that left.
        taken: credits of calls that have not left yet.
        aside: credits set aside.
        granted: credits of the day that are counted there and neither taken nor set aside; below
            0 where calls had to be made that are not counted there yet.
        finished: calls to finish relinks, beyond what was set aside for them.
        left_from: how many calls may have left in all by what the CRM said is left; None where
            it said nothing.
        day_from: how many calls may have left in all by the day's limit, as it was last looked at;
            None where there is none.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.sent = 0
        self.taken = 0
        self.aside = 0
        self.granted = 0
        self.finished = 0
        self.left_from: int | None = None
        self.day_from: int | None = None
        self._told_by = 0
        self._asking = False

    @property
    def left(self) -> int | None:
        """What the org has left by the last header, less all that was promised since."""
        return None if self.left_from is None else self.left_from - self._promised

    @property
    def told_left(self) -> int | None:
        """What the org has left as the CRM said; None where it did not, or too long ago."""
        if self.left_from is None or self._asking:
            return None
        return max(0, self.left_from - self.sent)

    @property
    def spendable(self) -> int | None:
        """What may still be spent before the first of the limits that are known; None for none."""
        most, left = self.limits.most, self.told_left
        known = [
            None if most is None else most - self.sent,
            None if left is None else left - self.limits.reserve,
            None if self.day_from is None else self.day_from - self.sent,
        ]
        return min((max(0, limit) for limit in known if limit is not None), default=None)

    @property
    def a_day(self) -> int | None:
        """What all runs on the org may spend in 24 hours by what is known now."""
        untold = self.limits.untold if self.left_from is None else None
        known = [limit for limit in (self.limits.a_day, untold) if limit is not None]
        return min(known, default=None)

    @property
    def overrun(self) -> int:
        """Calls beyond the most of the invocation, to finish relinks."""
        return max(0, self.sent - self.limits.most) if self.limits.most is not None else 0

    @property
    def _promised(self) -> int:
        return self.sent + self.taken + self.aside

    def short(self, need: int, *, counted: bool) -> Short | None:
        """Tell which credits are too few for new work, None where it may be done.

        Args:
            need: credits that it takes.
            counted: whether what is granted of the day's credits is to be looked at.
        """
        most = self.limits.most
        if most is not None and most - self._promised < need:
            return Short.OF_INVOCATION
        if self.left is not None and self.left - self.limits.reserve < need:
            return Short.OF_ORG
        return Short.OF_DAY if counted and self.granted < need else None

    def take(self, hold: Hold | None, aside: int) -> None:
        """Take a credit for new work, and set some aside to finish it."""
        self.taken += 1
        self.granted -= 1 + aside
        self.aside += aside
        if hold is not None:
            hold.amount += aside

    def take_to_finish(self, hold: Hold | None) -> None:
        """Take a credit for a call that finishes a relink: of those set aside, or beyond them."""
        self.taken += 1
        if hold is not None and hold.amount:
            hold.amount -= 1
            self.aside -= 1
        else:
            self.finished += 1
            self.granted -= 1

    def release(self, hold: Hold) -> None:
        """Free what was set aside and not needed."""
        self.aside -= hold.amount
        self.granted += hold.amount
        hold.amount = 0

    def end(self) -> None:
        """Free all that was set aside: no call follows."""
        self.granted += self.aside
        self.aside = 0

    def leave(self) -> int:
        """Note that a call leaves with its credit; return its number among those that left."""
        self.taken -= 1
        self.sent += 1
        return self.sent

    def keep(self) -> None:
        """Take back the credit of a call that did not leave."""
        self.taken -= 1
        self.granted += 1

    def told(self, number: int, left: int | None) -> None:
        """Note what an answer says is left, unless the answer to a later call said it already.

        What was sent after that call may not be in it, and is taken off. An answer that says
        nothing counts only where it was asked for: more than half of the credits are left then.
        """
        if left is not None and number >= self._told_by:
            self._told_by, self.left_from, self._asking = number, number + left, False
        elif left is None and self._asking:
            self.left_from, self._asking = None, False

    def forget_told(self) -> None:
        """Let one call find out what is left: what was said is too old."""
        if self.left_from is not None:
            self._asking = True
            self.left_from = self._promised + self.limits.reserve + _TO_FIND_OUT


def _later(until: float) -> str:
    return (
        f"`bulklink resume` goes on with the run, from {timestamp(until)} on;"
        " --when-credits-out wait waits by itself."
    )


def spent(short: Short, book: Book, until: float) -> RunStoppedError:
    """Return why a run stops that keeps to its own limits.

    Args:
        short: which credits are too few.
        book: of the run.
        until: when there are some again, in seconds since 1970.
    """
    limits = book.limits
    if short is Short.OF_INVOCATION:
        return RunStoppedError(
            StoppedBy.MAX_CREDITS,
            f"The credits of this command are spent: --max-credits {limits.most:,}.",
            advice="`bulklink resume` goes on with the run, with a --max-credits of its own.",
        )
    said = {
        Short.OF_DAY: f"The credits of 24 hours are spent: {book.a_day or 0:,}, by all runs on"
        " this org from this machine.",
        Short.OF_ORG: f"The org has no more than {limits.reserve:,} credits left, which are kept."
        if limits.reserve
        else "The org has no credits left, as the CRM says.",
    }[short]
    return RunStoppedError(StoppedBy.CREDITS, said, advice=_later(until), resume_at=until)


def gone(until: float) -> RunStoppedError:
    """Return why a run stops that the CRM gives no credits any more."""
    return RunStoppedError(
        StoppedBy.CREDITS,
        "The org's credits are gone: the CRM refuses all calls.",
        advice=_later(until),
        resume_at=until,
    )
