"""What a program or the command line sees of a run while it goes on."""

from __future__ import annotations

import msgspec

from bulklink.ledger.lines import Result
from bulklink.ledger.replay import Replay
from bulklink.models import Status


class Progress(msgspec.Struct, frozen=True):
    """How far a run is: its rows in all, and those settled by status."""

    rows: int
    counts: dict[Status, int]

    @property
    def settled(self) -> int:
        """Rows whose fate is known, or known to be unknowable."""
        return sum(self.counts.values())


class Question(msgspec.Struct, frozen=True):
    """What a person is asked before an org is changed; fields are None where not known."""

    org_name: str | None
    org_type: str | None
    op: str
    messages: int


class Watch:
    """Call-backs of a run; this one does nothing, override what is of interest.

    All are called on the event loop and must not block it; `confirm` may, nothing is in flight
    then. `warn` is also called from the thread that checks the mapping.
    """

    #: Whether `confirm` can ask anybody; if not, a change to a live org needs `Job.yes`.
    can_ask = False

    def warn(self, text: str) -> None:
        """Told of what a person should know, but what does not stop the run."""

    def phase(self, text: str) -> None:
        """Told what the run does now: checking, looking up, sending."""

    def progress(self, progress: Progress) -> None:
        """Told every half second while messages are sent, and once at the end."""

    def price(self, what: str, *, credits_at_least: int) -> None:
        """Told what is read and what it costs, before its first call; a call costs one credit."""

    def read(self, done: int, of: int) -> None:
        """Told every half second while the CRM is read: how many of how many."""

    def waits(self, until: float | None) -> None:
        """Told until when the run waits for credits, and None when it goes on.

        Seconds since 1970; they may be there later still.
        """

    def not_done(self, result: Result) -> None:
        """Told of each message that failed or is in doubt."""

    def go_on(self, found: str, left: int) -> bool:
        """Asked whether the run goes on after a canary that did not pass; may block, as `confirm`.

        Args:
            found: what the canary found, in words.
            left: messages that are not sent yet.
        """
        del found, left
        return False

    def confirm(self, question: Question) -> bool:
        """Asked before an org that is not on this machine is changed."""
        del question
        return False


class Counter:
    """Counts results on top of what the ledger holds, and lets no row be settled twice.

    Args:
        rows: of the run.
        told: what the ledger says; kept up to date.
    """

    def __init__(self, rows: int, told: Replay) -> None:
        self.told = told
        self._rows = rows

    @property
    def counts(self) -> dict[Status, int]:
        """The rows of each status."""
        return self.told.counts

    @property
    def pending(self) -> int:
        """The rows without a result."""
        return self._rows - sum(self.counts.values())

    @property
    def left(self) -> int:
        """Rows that are to be sent, again or for the first time."""
        return self._rows - sum(self.counts.values()) + self.told.again

    def add(self, result: Result) -> None:
        """Count a result.

        Raises:
            RuntimeError: if its row was settled already, which would be a mistake in bulklink.
        """
        if not self.told.is_to_do(result.row):
            raise RuntimeError(f"row {result.row} was settled twice")
        self.told.mark(result.row, result.status)

    def correct(self, result: Result) -> None:
        """Count a result in the place of the one that its row has: a read showed otherwise."""
        self.told.mark(result.row, result.status, corrects=True)

    def progress(self) -> Progress:
        """Return how far the run is."""
        return Progress(self._rows, self.counts)
