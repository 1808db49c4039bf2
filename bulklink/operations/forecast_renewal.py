"""Renewal of forecasts from the first calls of a command."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field

from bulklink.counts import count_of
from bulklink.engine.metrics import MeterTotals
from bulklink.engine.pagination import ContactReading
from bulklink.engine.transitions import ALREADY_LINKED, CHANGED_SINCE
from bulklink.ledger.done_batch import DoneBatch
from bulklink.ledger.records import Result
from bulklink.models import Op, Status
from bulklink.operations.cost_model import (
    CostModel,
    credit_range,
    expected_pages,
    narrow,
    seconds_range,
    share_bounds,
)
from bulklink.operations.job import Job
from bulklink.runs.forecast import CallForecast, CreditRange, RenewedForecast, SnapshotChoice
from bulklink.zoho.error_codes import Code

_UNNEEDED_CODES = (ALREADY_LINKED, CHANGED_SINCE, Code.ALREADY_LINKED)
"""Codes of emails that a read shows to need no call."""
_MIN_CONTACTS_READ = 20
"""Minimum contacts to infer the pages of the others from."""
_SPREAD = 0.12
"""Margin of error of the calls not made yet, as a share of them."""
_RENEWAL_SHARE = 0.01
"""Share of the emails after which the forecast is recomputed."""


@dataclass(slots=True)
class RunForecaster:
    """Renews the forecast of a run, and makes the choice of `--snapshot auto`.

    Args:
        forecast: forecast at planning time; None if the run has none.
        job: options of the run.
        messages: messages of the run.
        earlier_calls: calls of earlier invocations.
    """

    forecast: CallForecast | None
    job: Job
    _: KW_ONLY
    messages: int
    earlier_calls: int
    _settled: int = field(default=0, init=False)
    _unneeded: int = field(default=0, init=False)
    _links: int = field(default=0, init=False)
    _unneeded_links: int = field(default=0, init=False)
    _sent_links: int = field(default=0, init=False)
    _resent_links: int = field(default=0, init=False)
    _listed_links: int = field(default=0, init=False)
    _linked_before: int = field(default=0, init=False)
    _pages: float = field(default=0.0, init=False)
    _expected_pages: float = field(default=0.0, init=False)
    _chosen_at: int = field(default=1, init=False)
    _latest: CreditRange | None = field(default=None, init=False)
    _latest_at: int = field(default=0, init=False)

    def add_result(self, result: Result) -> None:
        """Count a result, and whether its email needed no call."""
        unneeded = result.status is Status.UNCHANGED or result.code in _UNNEEDED_CODES
        self._settled += 1
        self._unneeded += unneeded
        if result.op is Op.LINK:
            self._links += 1
            self._unneeded_links += unneeded
            self._sent_links += result.status is Status.DONE
            self._resent_links += result.status is Status.DONE and result.attempts > 1

    def add_done_batch(self, batch: DoneBatch) -> None:
        """Count messages that one answer settled as done; like `add_result` for each of them."""
        count = len(batch.messages)
        self._settled += count
        if batch.op is Op.LINK:
            self._links += count
            self._sent_links += count
            self._resent_links += count if batch.attempts > 1 else 0

    def add_reading(self, reading: ContactReading) -> None:
        """Count the pages of a contact, weighted by the emails wanted from it."""
        share = min(1.0, reading.wanted / reading.emails)
        expected = expected_pages(reading.emails, share, self.job.read_pages)
        self._pages += reading.wanted * reading.pages
        self._expected_pages += reading.wanted * expected
        self._listed_links += reading.others
        self._linked_before += reading.others_linked

    @property
    def pages_ratio(self) -> float:
        """Pages read, relative to the pages that the plan's emails alone would fill."""
        return max(1.0, self._pages / self._expected_pages) if self._expected_pages else 1.0

    @property
    def _resends(self) -> bool:
        """Whether emails that shared a refused call were sent again; True until seen."""
        unseen = not self._unneeded_links or not self._sent_links
        return unseen or self._resent_links > 0

    @property
    def _shares(self) -> tuple[int, int]:
        """Emails that need no call, and all emails seen."""
        return self._unneeded + self._linked_before, self._settled + self._listed_links

    def is_choice_due(self, after: int = 0) -> bool:
        """Return whether the number of results has doubled since the choice was made.

        Args:
            after: further results to count as known.
        """
        return self._settled + after >= 2 * self._chosen_at

    def choose_snapshot(self) -> SnapshotChoice | None:
        """Choose whether links are read first; None without a choice or any data."""
        model = self._model()
        if model is None or not model.sizes.link_contacts or not self._links:
            return None
        if self.job.snapshot is not None:
            return None
        self._chosen_at = self._settled
        seen = self._links + self._listed_links
        linked = self._unneeded_links + self._linked_before
        unread, read = (
            round(
                model.total(
                    linked / seen,
                    self.pages_ratio,
                    reads_first=reads_first,
                    resends=self._resends,
                )
            )
            for reads_first in (False, True)
        )
        cheaper = "reads them first" if read < unread else "sends them unread"
        return SnapshotChoice(
            read < unread,
            f"{linked:,} of the first {count_of(seen, 'email')} were already linked. All emails"
            f" take about {count_of(read, 'credit')} if they are read first, {unread:,} if not. The"
            f" run {cheaper}.",
        )

    def renew(
        self,
        totals: MeterTotals,
        *,
        to_send: int,
        reads_first: bool,
        elapsed: float,
        in_flight: int,
    ) -> RenewedForecast | None:
        """Return the forecast of the whole run; None if there is no data to renew it from.

        Args:
            totals: measurements of this invocation's calls.
            to_send: messages that are left.
            reads_first: whether links are read before they are sent.
            elapsed: seconds that the run took so far.
            in_flight: maximum calls in flight.
        """
        credits_spent = self.earlier_calls + totals.started
        credit_costs = self._credits(credits_spent, to_send, reads_first=reads_first)
        if credit_costs is None:
            return None
        unneeded, seen = self._shares
        ended = sum(totals.ended.values())
        latency = totals.busy_seconds / ended if ended else 0.0
        pace = max(latency / in_flight, 1 / self.job.rate if self.job.rate else 0.0)

        def duration(calls: int) -> float:
            return elapsed + (calls - credits_spent) * pace

        return RenewedForecast(
            credit_costs,
            seconds_range(credit_costs, duration),
            f"of {count_of(seen, 'email')} {unneeded:,} needed no call; contacts took"
            f" {self.pages_ratio:.1f} times the pages that these emails alone would fill; a call"
            f" took {latency:.2f} s.",
            round(self.pages_ratio, 3),
        )

    def latest(self, credits_spent: int, to_send: int, *, reads_first: bool) -> CreditRange | None:
        """Return the credits of the whole run, recomputed once enough has been settled."""
        settled = self.messages - to_send
        if self._latest is None or settled - self._latest_at > _RENEWAL_SHARE * self.messages:
            spent = self.earlier_calls + credits_spent
            self._latest = self._credits(spent, to_send, reads_first=reads_first)
            self._latest_at = settled
        return self._latest

    def _credits(
        self, credits_spent: int, to_send: int, *, reads_first: bool
    ) -> CreditRange | None:
        model = self._model()
        if model is None or not self._settled or not self.messages:
            return None
        unneeded, seen = self._shares
        left, ratio, resends = min(1.0, to_send / self.messages), self.pages_ratio, self._resends
        lowest, highest, likely = (
            credits_spent
            + left * model.total(share, ratio, reads_first=reads_first, resends=resends)
            for share in (*share_bounds(unneeded, seen), unneeded / seen)
        )
        spread = _SPREAD * (likely - credits_spent)
        least, most = min(lowest, highest) - spread, max(lowest, highest) + spread
        return credit_range(*narrow(least, likely, most, floor=credits_spent))

    def _model(self) -> CostModel | None:
        forecast = self.forecast
        if forecast is None or forecast.sizes is None:
            return None
        return CostModel(
            forecast.sizes,
            forecast.link + forecast.unlink,
            self.job.batch_size,
            self.job.read_pages,
        )


@dataclass(slots=True)
class ReadForecaster:
    """Renews the forecast of a command that reads contacts, once it has read some of them.

    Args:
        pages: minimum pages of all contacts.

    Attributes:
        latest: the latest forecast; None until enough contacts were read.
    """

    pages: int
    latest: CreditRange | None = field(default=None, init=False)
    _contacts: int = field(default=0, init=False)
    _fewest_pages: int = field(default=0, init=False)
    _pages_read: int = field(default=0, init=False)
    _sampled: CreditRange | None = field(default=None, init=False)

    def add_contact(self, fewest_pages: int, pages_read: int) -> None:
        """Count a contact that was read.

        Args:
            fewest_pages: minimum pages of the contact.
            pages_read: pages read.
        """
        self._contacts += 1
        self._fewest_pages += fewest_pages
        self._pages_read += pages_read

    def fix(self, credits_spent: int, left: CreditRange) -> None:
        """Set the forecast to that of a random sample; contacts that follow are no such sample.

        Args:
            credits_spent: credits spent so far.
            left: credits of the contacts that are left.
        """
        self._sampled = CreditRange(
            credits_spent + left.least, credits_spent + left.likely, credits_spent + left.most
        )

    def renew(self, credits_spent: int) -> CreditRange | None:
        """Return the credits of the whole command, including those spent; see `latest`."""
        if self._sampled is not None:
            floor = credits_spent + max(0, self.pages - self._fewest_pages)
            sampled = self._sampled
            self.latest = CreditRange(
                max(floor, sampled.least), max(floor, sampled.likely), max(floor, sampled.most)
            )
            return self.latest
        if self._contacts < _MIN_CONTACTS_READ or not self._fewest_pages:
            return None
        left = max(0, self.pages - self._fewest_pages)
        rest = left * self._pages_read / self._fewest_pages
        likely = credits_spent + rest
        bounds = narrow(
            likely - _SPREAD * rest,
            likely,
            likely + _SPREAD * rest,
            floor=min(likely, credits_spent + left),
        )
        self.latest = credit_range(*bounds)
        return self.latest
