"""Callbacks of a run and the values they receive."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bulklink.advice import Advice, Keyword, NextCall
from bulklink.engine.metrics import LimitedBy
from bulklink.engine.outage import Outage
from bulklink.ledger.records import Result, failure_code
from bulklink.ledger.state import LedgerState
from bulklink.ledger.statistics import OTHER_CODES
from bulklink.mapping.interrupt import PlanningStage
from bulklink.models import Status
from bulklink.runs.forecast import CreditRange

_FAILURE_STATUSES = (Status.FAILED, Status.IN_DOUBT)
_MAX_CODES = 200


class Metrics(msgspec.Struct, frozen=True):
    """Current metrics of a command's calls and credits.

    Args:
        rate: emails (or contacts) a second, recently; None until it is known.
        seconds_left: seconds that the rest takes at that rate; None until it is known.
        in_flight: calls in flight, the mean of the last seconds.
        allowed_in_flight: current limit of calls in flight; lower while the CRM refuses calls.
        max_in_flight: maximum calls in flight.
        credits_spent: credits that this command spent.
        credits_left: credits that the org has left as the CRM reports; None if it did not.
        credits_spendable: credits that this command may still spend before it reaches the first
            known limit: --max-credits, the 24-hour limits, the org's; None if none is known.
        credits_last_for: emails that these credits are enough for; None if they last for all.
        limited_by: what limits the rate at present; None until it is known.
        credits_forecast: forecast of the credits of the whole run or command, including those
            spent; None before enough calls were made.
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
    credits_forecast: CreditRange | None = None


class RunProgress(msgspec.Struct, frozen=True):
    """Progress of a run.

    Args:
        rows: all rows of the run.
        counts: settled rows by status, without those that will be sent again.
        failure_codes: failed and in-doubt rows by code.
        metrics: current metrics.
    """

    rows: int
    counts: dict[Status, int]
    failure_codes: dict[str, int] = {}
    metrics: Metrics = Metrics()

    @property
    def settled(self) -> int:
        """Rows that have a final status."""
        return sum(self.counts.values())


class ReadProgress(msgspec.Struct, frozen=True):
    """Progress of reading from the CRM.

    Args:
        unit: what is read: emails, contacts or names.
        done: how many of them have been read.
        total: how many there are to read.
        metrics: current metrics; the rate counts the same unit.
    """

    unit: str
    done: int
    total: int
    metrics: Metrics = Metrics()


class ConfirmationRequest(msgspec.Struct, frozen=True):
    """What the user is asked to confirm before an org is changed.

    Args:
        org_name: name of the org; None if it is unknown.
        org_type: type of the org, such as production; None if it is unknown.
        op: operation, or undo.
        messages: emails to be changed.
    """

    org_name: str | None
    org_type: str | None
    op: str
    messages: int


class LoadProgress(msgspec.Struct, frozen=True):
    """Progress of a load test.

    Args:
        seconds: seconds since it began, the warm-up included.
        total: seconds that its schedule takes; None if a number of emails ends it.
        phase: name of the current phase.
        asked: calls a second that the schedule asks for now; None in the closed model.
        calls: calls started.
        messages: emails that they changed.
        errors: calls that failed, by code.
        late: calls that left late.
        metrics: current metrics.
    """

    seconds: float
    total: float | None
    phase: str
    asked: float | None
    calls: int
    messages: int
    errors: dict[str, int]
    late: int
    metrics: Metrics = Metrics()


class ChosenEmail(msgspec.Struct, frozen=True):
    """An email that a probe links and unlinks.

    Args:
        contact_id: its contact.
        message_id: its id.
        subject: its subject; None if the CRM does not report it.
        deal_name: name of the deal that it is on; None for no deal.
    """

    contact_id: str
    message_id: str
    subject: str | None
    deal_name: str | None


class ProbeConfirmation(msgspec.Struct, frozen=True):
    """What the user is asked to confirm before a probe changes anything.

    Args:
        org_name: name of the org; None if it is unknown.
        org_type: type of the org, such as sandbox; None if it is unknown.
        emails: the emails that are changed, and put back at the end.
        credits: most credits that the probe takes.
    """

    org_name: str | None
    org_type: str | None
    emails: tuple[ChosenEmail, ...]
    credits: int


class RunCallbacks:
    """Callbacks of a run; override the ones you need.

    Coroutine functions call them on the event loop, which they must not block, except those whose
    names begin with `confirm`: nothing is in flight then. Blocking functions call
    them in the caller's thread. If one raises, the run stops as after `StopController.interrupt`,
    no other is called, and the error is raised to the caller once the run has ended.
    """

    #: Whether `confirm` can ask the user; if not, a change to a live org needs `Job.yes`.
    can_ask = False

    def on_start(self, run_dir: str) -> None:
        """Called with the run folder once the plan is sealed; it can be resumed from then on."""

    def on_org(self, org_name: str | None, org_type: str | None) -> None:
        """Called with name and type of the org once they are known, before it is changed.

        Args:
            org_name: name of the org; None if the CRM does not report it.
            org_type: production, sandbox, ...; None if the CRM does not report it.
        """

    def on_warning(self, text: str) -> None:
        """Called with a warning for the user."""

    def word(self, part: Keyword | NextCall) -> str:
        """Return a setting or a next step as warnings show it; by default, as Python."""
        return str(part)

    def warn(self, text: str | Advice) -> None:
        """Call `on_warning` with a text, formatted by `word`."""
        self.on_warning(text.worded(self.word) if isinstance(text, Advice) else text)

    def on_phase(self, text: str) -> None:
        """Called when a new phase begins."""

    def on_progress(self, progress: RunProgress) -> None:
        """Called every half second while sending, and once at the end."""

    def on_load(self, progress: LoadProgress) -> None:
        """Called every half second of a load test, and once at the end."""

    def on_cost(
        self, description: str, *, credits_at_least: int, credit_range: CreditRange | None = None
    ) -> None:
        """Called before the first call with the cost of reading.

        Args:
            description: emails or contacts to read.
            credits_at_least: minimum credits.
            credit_range: range of credits; None if the emails of contacts are unknown.
        """

    def on_query(self, text: str) -> None:
        """Called with a whole query before it is sent, if a part of it is the user's."""

    def on_planning(self, stage: PlanningStage) -> None:
        """Called every half second while planning."""

    def on_read(self, progress: ReadProgress) -> None:
        """Called every half second while reading or looking up names."""

    def on_wait(self, until: float | None) -> None:
        """Called when a wait for credits begins, and with None when it ends.

        Args:
            until: expected end of the wait, in seconds since 1970.
        """

    def on_outage(self, outage: Outage | None) -> None:
        """Called when an outage begins, and with None when it ends.

        Args:
            outage: why there is no answer, and when the run stops without one.
        """

    def on_failure(self, result: Result) -> None:
        """Called for each message that failed or is in doubt."""

    def confirm_after_canary(self, summary: str, remaining: int) -> bool:
        """Return whether to continue after a failed canary; may block.

        Args:
            summary: result of the canary as text.
            remaining: messages not sent yet.
        """
        del summary, remaining
        return False

    def confirm_cost(self, description: str, credit_range: CreditRange) -> bool:
        """Return whether to spend these credits on reading; may block. Called only if `can_ask`.

        Args:
            description: what is read.
            credit_range: credits that it takes.
        """
        del description, credit_range
        return True

    def on_probe(self, request: ProbeConfirmation) -> None:
        """Called before a probe changes anything, with its emails and its price."""

    def confirm_probe(self, request: ProbeConfirmation) -> bool:
        """Return whether to probe; may block. Called only if `can_ask`."""
        del request
        return False

    def confirm_experiment(self, title: str, sends: str) -> bool:
        """Return whether to send what an experiment of a probe sends; may block.

        Args:
            title: what it tries.
            sends: what it sends, in a sentence.
        """
        del title, sends
        return False

    def confirm(self, request: ConfirmationRequest) -> bool:
        """Return whether to change an org that is not on this machine; may block."""
        del request
        return False


class ResultCounter:
    """Counts results on top of the ledger and rejects a second result for a row.

    Args:
        rows: all rows of the run.
        ledger_state: state of the ledger; updated with each result.

    Attributes:
        invocation_counts: results that were added, by status.
        failure_codes: rows that failed or are in doubt and are not sent again, by code.
    """

    def __init__(self, rows: int, ledger_state: LedgerState) -> None:
        self.ledger_state = ledger_state
        self.invocation_counts = dict.fromkeys(Status, 0)
        self.failure_codes: dict[str, int] = {}
        self._rows = rows

    @property
    def counts(self) -> dict[Status, int]:
        """Rows by status."""
        return self.ledger_state.counts

    @property
    def pending(self) -> int:
        """Rows without a result."""
        return self._rows - sum(self.counts.values())

    @property
    def to_send(self) -> int:
        """Rows to send or retry."""
        return self._rows - sum(self.counts.values()) + self.ledger_state.retry_count

    def add(self, result: Result) -> None:
        """Count a result.

        Raises:
            RuntimeError: if its row was settled already, which would be a bug in bulklink.
        """
        if not self.ledger_state.is_unfinished(result.row):
            raise RuntimeError(f"row {result.row} was settled twice")
        self.ledger_state.record_result(result.row, result.status)
        self._count(result)

    def add_done(self, rows: Sequence[int]) -> None:
        """Count rows that one answer settled as done, and that had no call before.

        Raises:
            RuntimeError: if one of them was settled already, which would be a bug in bulklink.
        """
        self.ledger_state.record_done(rows)
        self.invocation_counts[Status.DONE] += len(rows)

    def add_again(self, result: Result) -> None:
        """Count a result of a load test, whose rows get results again and again."""
        self.ledger_state.record_result(result.row, result.status)
        self._count(result)

    def add_done_again(self, rows: Sequence[int]) -> None:
        """Count rows of a load test that one answer settled as done."""
        self.ledger_state.record_done_again(rows)
        self.invocation_counts[Status.DONE] += len(rows)

    def correct(self, result: Result) -> None:
        """Replace the counted result of a row that a read disproved."""
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
        """Return the progress of the run with current metrics."""
        return RunProgress(
            self._rows, self.ledger_state.final_counts, self.failure_codes.copy(), metrics
        )
