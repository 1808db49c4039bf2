"""What a program or the command line sees of a run while it goes on."""

from __future__ import annotations

import msgspec

from bulklink.engine.metrics import LimitedBy
from bulklink.ledger.records import Result, code_of
from bulklink.ledger.state import Replay
from bulklink.ledger.statistics import OTHERS
from bulklink.mapping.interrupt import Stage
from bulklink.models import Status

_NOT_DONE = (Status.FAILED, Status.IN_DOUBT)
_MOST_CODES = 200


class Gauge(msgspec.Struct, frozen=True):
    """What is measured of the calls and the credits of a command right now.

    Args:
        rate: emails (or contacts) a second, lately; None until that can be told.
        seconds_left: that the rest takes at that rate; None until that can be told.
        in_flight: calls in flight, the mean of the last seconds.
        allowed: calls that may be in flight now; a CRM that refuses calls lowers it.
        cap: the most that may ever be in flight.
        spent: credits that this command spent.
        credits_left: what the org has left as the CRM told; None where it did not.
        spendable: what this command may still spend before the first of the limits that are known
            is reached: --max-credits, those of the day, the org's; None where none is known.
        lasts_for: the emails that these credits are enough for, where that is not all; else None.
        limited_by: what it cannot go faster for now; None until that can be told.
    """

    rate: float | None = None
    seconds_left: float | None = None
    in_flight: float = 0.0
    allowed: int = 0
    cap: int = 0
    spent: int = 0
    credits_left: int | None = None
    spendable: int | None = None
    lasts_for: int | None = None
    limited_by: LimitedBy | None = None


class Progress(msgspec.Struct, frozen=True):
    """How far a run is.

    Args:
        rows: of the run in all.
        counts: those settled by status; what is to be sent again is not among them.
        codes: those that failed or are in doubt, by code.
        gauge: what is measured.
    """

    rows: int
    counts: dict[Status, int]
    codes: dict[str, int] = {}
    gauge: Gauge = Gauge()

    @property
    def settled(self) -> int:
        """Rows whose fate is known, or known to be unknowable."""
        return sum(self.counts.values())


class Reading(msgspec.Struct, frozen=True):
    """How far a reading of the CRM is.

    Args:
        what: is read: emails, contacts or names.
        done: how many of them are read.
        of: how many there are to read.
        gauge: what is measured; its rate is of what is read.
    """

    what: str
    done: int
    of: int
    gauge: Gauge = Gauge()


class Question(msgspec.Struct, frozen=True):
    """What a person is asked before an org is changed; fields are None where not known."""

    org_name: str | None
    org_type: str | None
    op: str
    messages: int


class Watch:
    """Call-backs of a run; this one does nothing, override what is of interest.

    All are called on the event loop and must not block it; `confirm` and `go_on` may, nothing is in
    flight then. Where one raises, the run stops as `Stopping.interrupt` has it, no other is called,
    and the error goes to whoever started the run, when it has ended.
    """

    #: Whether `confirm` can ask anybody; if not, a change to a live org needs `Job.yes`.
    can_ask = False

    def began(self, run_dir: str) -> None:
        """Told the run folder when its plan is sealed: from here on the run can be resumed."""

    def warn(self, text: str) -> None:
        """Told of what a person should know, but what does not stop the run."""

    def phase(self, text: str) -> None:
        """Told what the run does now: checking, looking up, sending."""

    def progress(self, progress: Progress) -> None:
        """Told every half second while messages are sent, and once at the end."""

    def price(self, what: str, *, credits_at_least: int) -> None:
        """Told what is read and what it costs, before its first call; a call costs one credit."""

    def planning(self, stage: Stage) -> None:
        """Told every half second what is done while a mapping is checked and its plan made."""

    def read(self, reading: Reading) -> None:
        """Told every half second how far it is while the CRM is read, or names are looked up."""

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

    Attributes:
        results: that were added, by status.
        codes: of the rows that failed or are in doubt and are not sent again.
    """

    def __init__(self, rows: int, told: Replay) -> None:
        self.told = told
        self.results = dict.fromkeys(Status, 0)
        self.codes: dict[str, int] = {}
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
        self._count(result)

    def correct(self, result: Result) -> None:
        """Count a result in the place of the one that its row has: a read showed otherwise."""
        self.told.mark(result.row, result.status, corrects=True)
        self._count(result)

    def _count(self, result: Result) -> None:
        self.results[result.status] += 1
        if result.status in _NOT_DONE:
            code = code_of(result)
            if code not in self.codes and len(self.codes) >= _MOST_CODES:
                code = OTHERS
            self.codes[code] = self.codes.get(code, 0) + 1

    def progress(self, gauge: Gauge) -> Progress:
        """Return how far the run is, with what is measured."""
        return Progress(self._rows, self.told.standing, self.codes.copy(), gauge)
