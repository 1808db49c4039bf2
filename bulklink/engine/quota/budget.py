"""Budget of one invocation, and stop reasons for exhausted quota (pure)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto

import msgspec

from bulklink.advice import Advice, Keyword
from bulklink.counts import count_of
from bulklink.errors import RunStoppedError, StoppedBy
from bulklink.ledger.records import timestamp

_ASSUMED_LEFT = 3
"""Credits assumed left if unknown: enough for any call and the calls that must follow it."""


class CreditLimits(msgspec.Struct, frozen=True):
    """Limits on credits; None for no limit.

    Args:
        per_invocation: credits of this invocation.
        per_day: credits of all runs on the org in 24 hours.
        reserve: credits of the org that must be left.
        per_day_if_unreported: like `per_day`, while the CRM does not report the credits left.
    """

    per_invocation: int | None = None
    per_day: int | None = None
    reserve: int = 0
    per_day_if_unreported: int | None = None


class Shortage(Enum):
    """Which limit has too few credits left."""

    INVOCATION = auto()
    ORG = auto()
    DAY = auto()


@dataclass(slots=True)
class Reservation:
    """Credits reserved to complete the relinks of one contact.

    Args:
        amount: credits reserved.
        has_detached: whether the contact has half-done relinks.
    """

    amount: int = 0
    has_detached: bool = False

    @property
    def is_pending(self) -> bool:
        """Whether relinks must be completed before the contact may wait."""
        return self.has_detached or self.amount > 0


@dataclass(slots=True)
class Budget:
    """The credits of an invocation.

    The credits of a call are taken before its line is written, and spent when the call starts.
    Nearly all calls cost one. A reserved credit is set aside for the call that completes a relink.

    Args:
        limits: limits on credits.

    Attributes:
        sent: credits of calls started.
        unsent: credits of calls not started yet.
        reserved: credits set aside.
        granted: credits counted in the 24-hour usage but neither taken nor reserved; negative
            while calls that had to be made are not counted there yet.
        unreserved_finishes: calls that completed relinks without a reserved credit.
        org_call_limit: limit on `sent`, from the credits that the CRM reports as left; None if it
            reports none.
        day_call_limit: limit on `sent`, from the 24-hour limit when last checked; None if there is
            no limit.
    """

    limits: CreditLimits
    sent: int = field(default=0, init=False)
    unsent: int = field(default=0, init=False)
    reserved: int = field(default=0, init=False)
    granted: int = field(default=0, init=False)
    unreserved_finishes: int = field(default=0, init=False)
    org_call_limit: int | None = field(default=None, init=False)
    day_call_limit: int | None = field(default=None, init=False)
    _reported_by: int = field(default=0, init=False)
    _recheck_pending: bool = field(default=False, init=False)

    @property
    def org_left(self) -> int | None:
        """Credits the org has left by the last header, minus those committed since."""
        return None if self.org_call_limit is None else self.org_call_limit - self._committed

    @property
    def reported_left(self) -> int | None:
        """Credits left as reported by the CRM; None without a report, or if it is too old."""
        if self.org_call_limit is None or self._recheck_pending:
            return None
        return max(0, self.org_call_limit - self.sent)

    @property
    def spendable(self) -> int | None:
        """Credits left before the first of the known limits; None if there is no limit."""
        invocation_limit, reported_left = self.limits.per_invocation, self.reported_left
        remaining = [
            None if invocation_limit is None else invocation_limit - self.sent,
            None if reported_left is None else reported_left - self.limits.reserve,
            None if self.day_call_limit is None else self.day_call_limit - self.sent,
        ]
        return min((max(0, amount) for amount in remaining if amount is not None), default=None)

    @property
    def daily_limit(self) -> int | None:
        """Credits that all runs on the org may spend in 24 hours; None for no limit."""
        per_day, if_unreported = self.limits.per_day, self.limits.per_day_if_unreported
        if if_unreported is None or self.org_call_limit is not None:
            return per_day
        return if_unreported if per_day is None else min(per_day, if_unreported)

    @property
    def overrun(self) -> int:
        """Credits beyond the limit of the invocation, spent to complete relinks."""
        return (
            max(0, self.sent - self.limits.per_invocation)
            if self.limits.per_invocation is not None
            else 0
        )

    @property
    def _committed(self) -> int:
        return self.sent + self.unsent + self.reserved

    def shortage(self, required: int, *, daily_limited: bool) -> Shortage | None:
        """Return the limit with too few credits left for new work; None if there are enough.

        Args:
            required: credits that the work needs.
            daily_limited: whether the granted credits of the daily quota limit the work.
        """
        invocation_limit = self.limits.per_invocation
        if invocation_limit is not None and invocation_limit - self._committed < required:
            return Shortage.INVOCATION
        if self.org_left is not None and self.org_left - self.limits.reserve < required:
            return Shortage.ORG
        return Shortage.DAY if daily_limited and self.granted < required else None

    def take(self, reservation: Reservation | None, reserve: int, cost: int = 1) -> None:
        """Take the credits of a call for new work, and reserve credits to complete it."""
        self.unsent += cost
        self.granted -= cost + reserve
        self.reserved += reserve
        if reservation is not None:
            reservation.amount += reserve

    def take_to_complete_relink(self, reservation: Reservation | None) -> None:
        """Take a credit for a call that completes a relink, reserved if possible."""
        self.unsent += 1
        if reservation is not None and reservation.amount:
            reservation.amount -= 1
            self.reserved -= 1
        else:
            self.unreserved_finishes += 1
            self.granted -= 1

    def release(self, reservation: Reservation) -> None:
        """Release the credits of a reservation."""
        self.reserved -= reservation.amount
        self.granted += reservation.amount
        reservation.amount = 0

    def release_all(self) -> None:
        """Release all reserved credits at the end of the run."""
        self.granted += self.reserved
        self.reserved = 0

    def start_call(self, cost: int = 1) -> int:
        """Record that a call starts; return its number: the credits of all calls started so far.

        Numbers increase in the order in which calls start, and leave out some if a call costs more
        than one credit.
        """
        self.unsent -= cost
        self.sent += cost
        return self.sent

    def return_unsent(self, cost: int = 1) -> None:
        """Return the credits of a call that was not sent."""
        self.unsent -= cost
        self.granted += cost

    def on_reported_left(self, number: int, reported_left: int | None) -> None:
        """Record the credits that an answer reports as left, unless a later call reported first.

        Calls started after this one may not be counted in its report, and are subtracted. An answer
        without a report matters only during a recheck: more than half of the credits are left then.

        Args:
            number: number of the call, see `start_call`.
            reported_left: credits left; None if the answer reports none.
        """
        if reported_left is not None and number >= self._reported_by:
            self._reported_by, self.org_call_limit, self._recheck_pending = (
                number,
                number + reported_left,
                False,
            )
        elif reported_left is None and self._recheck_pending:
            self.org_call_limit, self._recheck_pending = None, False

    def recheck_reported_left(self) -> None:
        """Let one call determine how many credits are left, as the last report is too old."""
        if self.org_call_limit is not None:
            self._recheck_pending = True
            self.org_call_limit = self._committed + self.limits.reserve + _ASSUMED_LEFT


def _resume_advice(until: float) -> Advice:
    return Advice(
        "Resume the run at {} or later. With {}, a run waits for credits by itself.",
        timestamp(until),
        Keyword("when_credits_out", "wait"),
    )


def _reading_advice(until: float) -> str:
    return f"Run the same command again at {timestamp(until)} or later."


def command_credits_error(
    limit: int, advice: Advice, reading: str | Advice = ""
) -> RunStoppedError:
    """Return the stop reason of a command that has spent its credits.

    Args:
        limit: its credits.
        advice: how to continue.
        reading: how to continue a command that only reads.
    """
    return RunStoppedError(
        StoppedBy.MAX_CREDITS,
        f"This command has spent all of its credits ({limit:,}).",
        advice=advice,
        reading=reading,
    )


def credits_spent_error(shortage: Shortage, budget: Budget, until: float) -> RunStoppedError:
    """Return the stop reason of a run that has reached one of its limits on credits.

    Args:
        shortage: the limit with too few credits left.
        budget: budget of the invocation.
        until: when credits are available, in seconds since 1970.
    """
    limits = budget.limits
    if shortage is Shortage.INVOCATION:
        return command_credits_error(
            limits.per_invocation or 0,
            Advice("Resume the run with another {}.", Keyword("max_credits")),
            Advice("Run the same command again with another {}.", Keyword("max_credits")),
        )
    message = {
        Shortage.DAY: "Runs on this org from this machine have spent"
        f" {count_of(budget.daily_limit or 0, 'credit')} in 24 hours, which is the limit.",
        Shortage.ORG: f"The org's last {count_of(limits.reserve, 'credit is', 'credits are')}"
        " reserved."
        if limits.reserve
        else "The CRM reports that the org has no credits left.",
    }[shortage]
    return RunStoppedError(
        StoppedBy.CREDITS,
        message,
        advice=_resume_advice(until),
        resume_at=until,
        reading=_reading_advice(until),
    )


def credits_exhausted_error(until: float) -> RunStoppedError:
    """Return the stop reason of a run whose calls the CRM refuses for lack of credits."""
    return RunStoppedError(
        StoppedBy.CREDITS,
        "The org has no credits left: the CRM refuses all calls.",
        advice=_resume_advice(until),
        resume_at=until,
        reading=_reading_advice(until),
    )
