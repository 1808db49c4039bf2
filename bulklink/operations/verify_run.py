"""Reading emails back and comparing them with the ledger."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import msgspec

from bulklink.counts import count_of
from bulklink.engine.breaker import ReadBreaker
from bulklink.engine.pagination import PageReader
from bulklink.engine.shutdown import StopController
from bulklink.errors import ExitCode
from bulklink.hypergeometric import CONFIDENCE_PERCENT, max_wrong
from bulklink.load_results import LatencyFigures
from bulklink.operations.callbacks import RunCallbacks
from bulklink.operations.cost_model import expected_pages
from bulklink.operations.environment import Environment
from bulklink.operations.expected_links import ContactExpectations, ExpectedLink, ExpectedLinks
from bulklink.operations.forecast_renewal import ReadForecaster
from bulklink.operations.job import Job
from bulklink.operations.preflight import check_same_org
from bulklink.operations.sampling import draw_sample
from bulklink.operations.session import CrmSession, read_contacts, run_read_session
from bulklink.operations.verify_log import (
    FindingDetail,
    VerifyCost,
    VerifyFinding,
    VerifyOptions,
    finding_line,
    verify_end_line,
    verify_start_line,
)
from bulklink.runs.folder import RunFolder
from bulklink.runs.forecast import CreditRange
from bulklink.runs.record import RunRecord, RunState, measured_pages_ratio
from bulklink.runs.status import run_exit_code
from bulklink.zoho.connection import Connection
from bulklink.zoho.email_pages import LinkedDeal, LinksPage, parse_links_page
from bulklink.zoho.requests import EMAILS_PER_PAGE

CHECKED_FINDINGS = frozenset(VerifyFinding) - {VerifyFinding.NOT_READ}
"""Findings about emails whose contact could be read."""


class SampleBound(msgspec.Struct, frozen=True):
    """Upper bound on wrong emails, derived from a sample.

    Drawn emails that no page listed, or that could not be read, count as wrong.

    Args:
        population: emails that the sample was drawn from.
        drawn: sample size.
        seed: random seed.
        confidence: confidence level, 0 to 1.
        wrong_at_most: upper bound on wrong emails of the population.
        share_at_most: the same as a share of the population.
    """

    population: int
    drawn: int
    seed: int
    confidence: float
    wrong_at_most: int
    share_at_most: float


class VerifyResult(msgspec.Struct, frozen=True):
    """Result of a verification; `--json` prints all but `shown`.

    Args:
        run_dir: the run folder.
        checked: emails whose contact was read: as recorded, different or not listed.
        as_recorded: emails on the recorded deal.
        different: emails on another deal.
        not_listed: emails on no page of their contact.
        not_read: emails whose contact could not be read.
        as_wanted: emails in doubt on the intended deal.
        not_as_wanted: emails in doubt on another deal.
        others: findings about emails outside the sample.
        sample: bound derived from the sample; None without one.
        calls: requests by kind.
        stopped_by: why it stopped; None if complete.
        exit_code: exit code of the command; 1 if anything differs.
        shown: the first findings of each kind.
        undone_by: run that wholly undid this run, so that it differs; None if none did.
        latency: mean, percentiles and maximum of the calls in seconds; None without a call.
    """

    run_dir: str
    checked: int
    as_recorded: int
    different: int
    not_listed: int
    not_read: int
    as_wanted: int
    not_as_wanted: int
    others: dict[str, int]
    sample: SampleBound | None
    calls: dict[str, int]
    stopped_by: str | None
    exit_code: int
    shown: tuple[FindingDetail, ...] = ()
    undone_by: str | None = None
    latency: LatencyFigures | None = None


MAX_SHOWN = 20
"""Findings of each kind to show; all are in `verify.jsonl`."""


@dataclass(slots=True)
class Verifier:
    """Verification of one run.

    Args:
        folder: the run folder.
        record: `run.json` of the run.
        expected_links: recorded deal of each email.
        options: options of the verification.
        callbacks: called with phases, cost and progress.
        stop: stops the verification.
    """

    folder: RunFolder
    record: RunRecord
    expected_links: ExpectedLinks
    options: VerifyOptions
    callbacks: RunCallbacks
    stop: StopController
    _sampled: frozenset[int] | None = field(init=False, default=None)
    _cost: VerifyCost = field(init=False)
    _forecaster: ReadForecaster = field(init=False)
    _counts: Counter[VerifyFinding] = field(init=False, default_factory=Counter)
    _other_counts: Counter[VerifyFinding] = field(init=False, default_factory=Counter)
    _details: dict[VerifyFinding, list[FindingDetail]] = field(init=False, default_factory=dict)
    _breaker: ReadBreaker = field(init=False, default_factory=ReadBreaker)
    _latency: LatencyFigures | None = field(init=False, default=None)

    def count_cost(self) -> VerifyCost:
        """Draw the sample and return the minimum cost; passes over all expected links."""
        options, total = self.options, self.expected_links.total
        if options.sample is not None:
            self._sampled = draw_sample(total, options.sample, options.seed)
        emails = contacts = reads = 0
        likely = most = 0.0
        ratio, max_pages = measured_pages_ratio(self.record), options.read_pages
        for listed, wanted in self.expected_links.contact_sizes(self._sampled):
            emails += wanted
            contacts += 1
            reads += _fewest_pages(wanted, max_pages)
            likely += ratio * expected_pages(listed, wanted / listed, max_pages)
            most += ratio * expected_pages(listed, 1.0, max_pages)
        lookups = 1 if reads else 0
        fewest = lookups + reads
        likely_credits = max(fewest, lookups + round(likely))
        most_credits = max(likely_credits, lookups + math.ceil(most))
        return VerifyCost(
            emails,
            contacts,
            reads,
            lookups,
            CreditRange(fewest, likely_credits, most_credits),
        )

    def _contacts(self) -> Iterator[ContactExpectations]:
        return self.expected_links.contacts(self._sampled)

    async def run(
        self, cost: VerifyCost, job: Job, connection: Connection, environment: Environment
    ) -> VerifyResult:
        """Read the emails back and return the result.

        Args:
            cost: result of `count_cost`.
            job: limits of calls and credits.
            connection: endpoint and credentials of the CRM.
            environment: network, disk and clock.

        Raises:
            RefusedError: if the verification is refused before any email is read.
        """
        self._cost = cost
        if cost.emails:
            emails, contacts = count_of(cost.emails, "email"), count_of(cost.contacts, "contact")
            description = f"{emails} of {contacts}"
            self.callbacks.on_cost(
                description, credits_at_least=cost.credits.least, credit_range=cost.credits
            )
        self._forecaster = ReadForecaster(cost.reads)
        calls = await run_read_session(
            self._verify_contacts,
            environment=environment,
            connection=connection,
            job=job,
            stop=self.stop,
            ledger_path=self.folder.verification,
            answers_path=self.folder.verification_answers,
            callbacks=self.callbacks,
        )
        return self._result(calls)

    async def _verify_contacts(self, session: CrmSession) -> None:
        ledger, clock = session.ledger, session.clock
        ledger.append(verify_start_line(clock.timestamp(), self.options, self._cost))
        try:
            if self._cost.emails:
                self.callbacks.on_phase("Looking up the org")
                check_same_org(self.record, await session.look_up_org())
                await self._wait_for_consistency(session)
                self.callbacks.on_phase("Reading")
                await read_contacts(
                    session,
                    self._contacts(),
                    partial(self._check_contact, session),
                    callbacks=self.callbacks,
                    unit="emails",
                    total=self._cost.emails,
                    count_done=self._counts.total,
                    size_of=lambda contact: len(contact.links),
                    forecaster=self._forecaster,
                )
        finally:
            counts = {str(finding): count for finding, count in self._counts.items()}
            forecast, self._latency = self._forecaster.latest, session.latency
            ledger.append(verify_end_line(clock.timestamp(), counts, forecast))

    async def _wait_for_consistency(self, session: CrmSession) -> None:
        """Wait if the ledger is so recent that a list may still show an earlier state."""
        clock = session.clock
        sent_at = clock.monotonic_at(self.expected_links.last_result_at)
        delay = sent_at + session.job.settle_after - clock.monotonic()
        if delay > 0:
            self.callbacks.on_phase("Waiting until recent changes are visible")
            await session.stop.sleep(delay)

    async def _check_contact(self, session: CrmSession, contact: ContactExpectations) -> None:
        """Read a contact's pages until all its emails to check are found."""
        pages = PageReader(
            contact.contact_id,
            parse_links_page,
            session.caller,
            self._breaker,
            max_pages=self.options.read_pages,
        )
        missing_ids, seen_ids = set(contact.to_check), set[str]()
        while missing_ids and (page := await pages.next_page()) is not None:
            ts = session.clock.timestamp()
            for message_id in page.links.keys() & contact.links.keys() - seen_ids:
                seen_ids.add(message_id)
                expected, actual_deal = contact.links[message_id], page.links[message_id]
                finding = self._classify(expected, actual_deal)
                self._record_finding(
                    expected, finding, actual_deal, sampled=message_id in missing_ids
                )
                missing_ids.discard(message_id)
                session.ledger.append(
                    finding_line(ts, expected, finding, actual_deal, pages.last_call, None)
                )
        fewest = _fewest_pages(len(contact.to_check), self.options.read_pages)
        self._forecaster.add_contact(fewest, pages.pages_read)
        finding = VerifyFinding.NOT_LISTED if pages.complete else VerifyFinding.NOT_READ
        for message_id in missing_ids:
            expected = contact.links[message_id]
            self._record_finding(expected, finding, None, sampled=True)
            ts, code = session.clock.timestamp(), _not_seen_code(pages)
            session.ledger.append(finding_line(ts, expected, finding, None, pages.last_call, code))

    def _classify(self, expected: ExpectedLink, actual_deal: LinkedDeal | None) -> VerifyFinding:
        matches = (actual_deal.id if actual_deal else None) == expected.deal_id
        if self.options.in_doubt:
            return VerifyFinding.AS_WANTED if matches else VerifyFinding.NOT_AS_WANTED
        return VerifyFinding.AS_RECORDED if matches else VerifyFinding.DIFFERENT

    def _record_finding(
        self,
        expected: ExpectedLink,
        finding: VerifyFinding,
        actual_deal: LinkedDeal | None,
        *,
        sampled: bool,
    ) -> None:
        (self._counts if sampled else self._other_counts)[finding] += 1
        if finding is not VerifyFinding.AS_RECORDED:
            details = self._details.setdefault(finding, [])
            if len(details) < MAX_SHOWN:
                details.append(FindingDetail(expected, finding, actual_deal))

    def _result(self, calls: dict[str, int]) -> VerifyResult:
        counts, reason = self._counts, self.stop.reason
        return VerifyResult(
            run_dir=str(self.folder.path),
            checked=sum(counts[finding] for finding in CHECKED_FINDINGS),
            as_recorded=counts[VerifyFinding.AS_RECORDED],
            different=counts[VerifyFinding.DIFFERENT],
            not_listed=counts[VerifyFinding.NOT_LISTED],
            not_read=counts[VerifyFinding.NOT_READ],
            as_wanted=counts[VerifyFinding.AS_WANTED],
            not_as_wanted=counts[VerifyFinding.NOT_AS_WANTED],
            others={str(finding): count for finding, count in self._other_counts.items()},
            sample=None if reason else self._sample_bound(),
            calls=calls,
            latency=self._latency,
            stopped_by=reason.stopped_by if reason else None,
            exit_code=self._exit_code(),
            shown=tuple(
                detail for finding in VerifyFinding for detail in self._details.get(finding, ())
            ),
            undone_by=self.record.effective_undo.run_dir if self.record.effective_undo else None,
        )

    def _sample_bound(self) -> SampleBound | None:
        """Return the upper bound on wrong emails; None without a complete sample."""
        if self._sampled is None:
            return None
        population, sample_size = self.expected_links.total, len(self._sampled)
        wrong_at_most = max_wrong(
            population, sample_size, sample_size - self._counts[VerifyFinding.AS_RECORDED]
        )
        return SampleBound(
            population=population,
            drawn=sample_size,
            seed=self.options.seed,
            confidence=CONFIDENCE_PERCENT / 100,
            wrong_at_most=wrong_at_most,
            share_at_most=wrong_at_most / population if population else 0.0,
        )

    def _exit_code(self) -> int:
        if self.stop.reason is not None:
            return int(run_exit_code(RunState.STOPPED, self.stop.reason.stopped_by, {}) or 0)
        bad = (VerifyFinding.DIFFERENT, VerifyFinding.NOT_READ)
        wrong = any(self._counts[finding] or self._other_counts[finding] for finding in bad)
        return ExitCode.ROWS_NOT_DONE if wrong else ExitCode.OK


def _fewest_pages(emails: int, max_pages: int | None) -> int:
    """Return the fewest pages that hold this many emails, up to the limit of pages."""
    pages = -(-emails // EMAILS_PER_PAGE)
    return pages if max_pages is None else min(pages, max_pages)


def _not_seen_code(pages: PageReader[LinksPage]) -> str | None:
    """Return why emails were not found: a code if pages are left, None if all were read."""
    if pages.complete:
        return None
    if not pages.failed:
        return "read-pages"
    return pages.refusal.code if pages.refusal else "no-answer"
