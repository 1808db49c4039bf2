"""What a program or the command line sees of a run while it goes on."""

from __future__ import annotations

import msgspec

from bulklink.engine.metrics import LimitedBy
from bulklink.ledger.records import Result, failure_code
from bulklink.ledger.state import LedgerState
from bulklink.ledger.statistics import OTHER_CODES
from bulklink.mapping.interrupt import PlanningStage
from bulklink.models import Status

_FAILURE_STATUSES = (Status.FAILED, Status.IN_DOUBT)
_MAX_CODES = 200


class Metrics(msgspec.Struct, frozen=True):
    """What is measured of the calls and the credits of a command right now.

    Args:
        rate: emails (or contacts) a second, lately; None until that can be told.
        seconds_left: that the rest takes at that rate; None until that can be told.
        in_flight: calls in flight, the mean of the last seconds.
        allowed_in_flight: calls that may be in flight now; a CRM that refuses calls lowers it.
        max_in_flight: the most that may ever be in flight.
        credits_spent: credits that this command spent.
        credits_left: what the org has left as the CRM told; None where it did not.
        credits_spendable: what this command may still spend before the first of the limits that are
            known is reached: --max-credits, those of the day, the org's; None where none is known.
        credits_last_for: the emails that these credits are enough for, where that is not all; else
            None.
        limited_by: what it cannot go faster for now; None until that can be told.
    """

    rate: float | None = None
    seconds_left: float | None = None
    in_flight: float = 0.0
    allowed_in_flight: int = 0
    max_in_flight: int = 0
    credits_spent: int = 0
    credits_left: int | None = None
    credits_spendable: int | None = None
    credits_last_for: int | None = None
    limited_by: LimitedBy | None = None


class RunProgress(msgspec.Struct, frozen=True):
    """How far a run is.

    Args:
        rows: of the run in all.
        counts: those settled by status; what is to be sent again is not among them.
        failure_codes: those that failed or are in doubt, by code.
        metrics: what is measured.
    """

    rows: int
    counts: dict[Status, int]
    failure_codes: dict[str, int] = {}
    metrics: Metrics = Metrics()

    @property
    def settled(self) -> int:
        """Rows whose fate is known, or known to be unknowable."""
        return sum(self.counts.values())


class ReadProgress(msgspec.Struct, frozen=True):
    """How far a reading of the CRM is.

    Args:
        unit: is read: emails, contacts or names.
        done: how many of them are read.
        total: how many there are to read.
        metrics: what is measured; its rate is of what is read.
    """

    unit: str
    done: int
    total: int
    metrics: Metrics = Metrics()


class ConfirmationRequest(msgspec.Struct, frozen=True):
    """What a person is asked before an org is changed; fields are None where not known."""

    org_name: str | None
    org_type: str | None
    op: str
    messages: int


class RunCallbacks:
    """Call-backs of a run; this one does nothing, override what is of interest.

    All are called on the event loop and must not block it; `confirm` and `confirm_after_canary`
    may, nothing is in flight then. Where one raises, the run stops as `StopController.interrupt`
    has it, no other is called, and the error goes to whoever started the run, when it has ended.
    """

    #: Whether `confirm` can ask anybody; if not, a change to a live org needs `Job.yes`.
    can_ask = False

    def on_start(self, run_dir: str) -> None:
        """Told the run folder when its plan is sealed: from here on the run can be resumed."""

    def on_warning(self, text: str) -> None:
        """Told of what a person should know, but what does not stop the run."""

    def on_phase(self, text: str) -> None:
        """Told what the run does now: checking, looking up, sending."""

    def on_progress(self, progress: RunProgress) -> None:
        """Told every half second while messages are sent, and once at the end."""

    def on_cost(self, description: str, *, credits_at_least: int) -> None:
        """Told what is read and what it costs, before its first call; a call costs one credit."""

    def on_planning(self, stage: PlanningStage) -> None:
        """Told every half second what is done while a mapping is checked and its plan made."""

    def on_read(self, progress: ReadProgress) -> None:
        """Told every half second how far it is while the CRM is read, or names are looked up."""

    def on_wait(self, until: float | None) -> None:
        """Told until when the run waits for credits, and None when it goes on.

        Seconds since 1970; they may be there later still.
        """

    def on_failure(self, result: Result) -> None:
        """Told of each message that failed or is in doubt."""

    def confirm_after_canary(self, summary: str, remaining: int) -> bool:
        """Asked whether the run goes on after a canary that did not pass; may block, as `confirm`.

        Args:
            summary: what the canary found, in words.
            remaining: messages that are not sent yet.
        """
        del summary, remaining
        return False

    def confirm(self, request: ConfirmationRequest) -> bool:
        """Asked before an org that is not on this machine is changed."""
        del request
        return False


class ResultCounter:
    """Counts results on top of what the ledger holds, and lets no row be settled twice.

    Args:
        rows: of the run.
        ledger_state: what the ledger says; kept up to date.

    Attributes:
        invocation_counts: that were added, by status.
        failure_codes: of the rows that failed or are in doubt and are not sent again.
    """

    def __init__(self, rows: int, ledger_state: LedgerState) -> None:
        self.ledger_state = ledger_state
        self.invocation_counts = dict.fromkeys(Status, 0)
        self.failure_codes: dict[str, int] = {}
        self._rows = rows

    @property
    def counts(self) -> dict[Status, int]:
        """The rows of each status."""
        return self.ledger_state.counts

    @property
    def pending(self) -> int:
        """The rows without a result."""
        return self._rows - sum(self.counts.values())

    @property
    def to_send(self) -> int:
        """Rows that are to be sent, again or for the first time."""
        return self._rows - sum(self.counts.values()) + self.ledger_state.retry_count

    def add(self, result: Result) -> None:
        """Count a result.

        Raises:
            RuntimeError: if its row was settled already, which would be a mistake in bulklink.
        """
        if not self.ledger_state.is_unfinished(result.row):
            raise RuntimeError(f"row {result.row} was settled twice")
        self.ledger_state.record_result(result.row, result.status)
        self._count(result)

    def correct(self, result: Result) -> None:
        """Count a result in the place of the one that its row has: a read showed otherwise."""
        self.ledger_state.record_result(result.row, result.status, is_correction=True)
        self._count(result)

    def _count(self, result: Result) -> None:
        self.invocation_counts[result.status] += 1
        if result.status in _FAILURE_STATUSES:
            code = failure_code(result)
            if code not in self.failure_codes and len(self.failure_codes) >= _MAX_CODES:
                code = OTHER_CODES
            self.failure_codes[code] = self.failure_codes.get(code, 0) + 1

    def progress(self, metrics: Metrics) -> RunProgress:
        """Return how far the run is, with what is measured."""
        return RunProgress(
            self._rows, self.ledger_state.final_counts, self.failure_codes.copy(), metrics
        )
