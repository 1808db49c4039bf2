"""Reading emails back and comparing them with the ledger."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import partial

import msgspec

from bulklink.engine.breaker import ReadBreaker
from bulklink.engine.pagination import PageReader
from bulklink.engine.shutdown import StopController
from bulklink.errors import ExitCode, RunStoppedError
from bulklink.hypergeometric import CONFIDENCE_PERCENT, max_wrong
from bulklink.latency_histogram import LatencyHistogram
from bulklink.load_results import LatencyFigures
from bulklink.operations.callbacks import RunCallbacks
from bulklink.operations.environment import Environment
from bulklink.operations.expected_links import ContactExpectations, ExpectedLink, ExpectedLinks
from bulklink.operations.forecast_renewal import ReadForecaster
from bulklink.operations.job import Job
from bulklink.operations.preflight import check_same_org
from bulklink.operations.session import NO_CALLS, CrmSession, read_contacts, run_read_session
from bulklink.operations.verify_log import (
    FindingDetail,
    VerifyFinding,
    VerifyOptions,
    finding_line,
    verify_end_line,
    verify_start_line,
)
from bulklink.operations.verify_share import VerifyShare, fewest_pages
from bulklink.runs.figures import summarize_latencies
from bulklink.runs.folder import RunFolder
from bulklink.runs.record import RunRecord, RunState
from bulklink.runs.status import run_exit_code
from bulklink.zoho.connection import Connection
from bulklink.zoho.email_pages import LinkedDeal, LinksPage, parse_links_page

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
class Findings:
    """What a verification found, in one run or in several.

    Attributes:
        counts: emails to look for, by finding.
        other_counts: findings about emails outside the sample.
        details: the first findings of each kind.
        calls: requests by kind.
        latencies: latencies of these requests.
    """

    counts: Counter[VerifyFinding] = field(default_factory=Counter)
    other_counts: Counter[VerifyFinding] = field(default_factory=Counter)
    details: dict[VerifyFinding, list[FindingDetail]] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=lambda: Counter(NO_CALLS))
    latencies: LatencyHistogram = field(default_factory=LatencyHistogram)

    def record(
        self,
        expected: ExpectedLink,
        finding: VerifyFinding,
        actual_deal: LinkedDeal | None,
        *,
        sampled: bool,
    ) -> None:
        """Count a finding about an email."""
        (self.counts if sampled else self.other_counts)[finding] += 1
        if finding is not VerifyFinding.AS_RECORDED:
            details = self.details.setdefault(finding, [])
            if len(details) < MAX_SHOWN:
                details.append(FindingDetail(expected, finding, actual_deal))

    def add(self, others: Findings) -> None:
        """Add the findings in another run."""
        self.counts.update(others.counts)
        self.other_counts.update(others.other_counts)
        self.calls.update(others.calls)
        self.latencies.add(others.latencies)
        for finding, details in others.details.items():
            mine = self.details.setdefault(finding, [])
            mine += details[: MAX_SHOWN - len(mine)]

    def result(
        self,
        run_dir: str,
        *,
        sample: SampleBound | None,
        reason: RunStoppedError | None,
        undone_by: str | None,
    ) -> VerifyResult:
        """Return the result of the verification.

        Args:
            run_dir: folder of the run or job.
            sample: bound derived from the sample; None without one.
            reason: why it stopped; None if it is complete.
            undone_by: run that wholly undid this run; None if none did.
        """
        counts = self.counts
        return VerifyResult(
            run_dir=run_dir,
            checked=sum(counts[finding] for finding in CHECKED_FINDINGS),
            as_recorded=counts[VerifyFinding.AS_RECORDED],
            different=counts[VerifyFinding.DIFFERENT],
            not_listed=counts[VerifyFinding.NOT_LISTED],
            not_read=counts[VerifyFinding.NOT_READ],
            as_wanted=counts[VerifyFinding.AS_WANTED],
            not_as_wanted=counts[VerifyFinding.NOT_AS_WANTED],
            others={str(finding): count for finding, count in self.other_counts.items()},
            sample=None if reason else sample,
            calls=dict(self.calls),
            latency=summarize_latencies(self.latencies),
            stopped_by=reason.stopped_by if reason else None,
            exit_code=self._exit_code(reason),
            shown=tuple(
                detail for finding in VerifyFinding for detail in self.details.get(finding, ())
            ),
            undone_by=undone_by,
        )

    def bound(self, population: int, drawn: int, seed: int) -> SampleBound:
        """Return the upper bound on wrong emails of a population that a sample was drawn from.

        Args:
            population: size of the population.
            drawn: size of the sample.
            seed: random seed of the sample.
        """
        wrong_at_most = max_wrong(population, drawn, drawn - self.counts[VerifyFinding.AS_RECORDED])
        return SampleBound(
            population=population,
            drawn=drawn,
            seed=seed,
            confidence=CONFIDENCE_PERCENT / 100,
            wrong_at_most=wrong_at_most,
            share_at_most=wrong_at_most / population if population else 0.0,
        )

    def _exit_code(self, reason: RunStoppedError | None) -> int:
        if reason is not None:
            return int(run_exit_code(RunState.STOPPED, reason.stopped_by, {}) or 0)
        bad = (VerifyFinding.DIFFERENT, VerifyFinding.NOT_READ)
        wrong = any(self.counts[finding] or self.other_counts[finding] for finding in bad)
        return ExitCode.ROWS_NOT_DONE if wrong else ExitCode.OK


@dataclass(slots=True)
class Verifier:
    """Verification of one run.

    Args:
        folder: the run folder.
        record: `run.json` of the run.
        expected_links: recorded deal of each email.
        share: which of them to look for.
        options: options of the verification.
        callbacks: called with phases and progress.
        stop: stops the verification.
    """

    folder: RunFolder
    record: RunRecord
    expected_links: ExpectedLinks
    share: VerifyShare
    options: VerifyOptions
    callbacks: RunCallbacks
    stop: StopController
    _forecaster: ReadForecaster = field(init=False)
    _findings: Findings = field(init=False, default_factory=Findings)
    _breaker: ReadBreaker = field(init=False, default_factory=ReadBreaker)

    async def run(self, job: Job, connection: Connection, environment: Environment) -> Findings:
        """Read the emails back and return what was found, also if it was stopped.

        Args:
            job: limits of calls and credits.
            connection: endpoint and credentials of the CRM.
            environment: network, disk and clock.

        Raises:
            RefusedError: if the verification is refused before any email is read.
        """
        self._forecaster = ReadForecaster(self.share.cost.reads)
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
        self._findings.calls.update(calls)
        return self._findings

    async def _verify_contacts(self, session: CrmSession) -> None:
        ledger, clock, cost = session.ledger, session.clock, self.share.cost
        counts = self._findings.counts
        ledger.append(verify_start_line(clock.timestamp(), self.options, cost))
        try:
            if cost.emails:
                self.callbacks.on_phase("Looking up the org")
                check_same_org(self.record, await session.look_up_org())
                await self._wait_for_consistency(session)
                self.callbacks.on_phase("Reading")
                await read_contacts(
                    session,
                    self.expected_links.contacts(self.share.sampled),
                    partial(self._check_contact, session),
                    callbacks=self.callbacks,
                    unit="emails",
                    total=cost.emails,
                    count_done=counts.total,
                    size_of=lambda contact: len(contact.links),
                    forecaster=self._forecaster,
                )
        finally:
            self._findings.latencies.add(session.caller.meter.latencies)
            counts_by_name = {str(finding): count for finding, count in counts.items()}
            forecast = self._forecaster.latest
            ledger.append(verify_end_line(clock.timestamp(), counts_by_name, forecast))

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
                self._findings.record(
                    expected, finding, actual_deal, sampled=message_id in missing_ids
                )
                missing_ids.discard(message_id)
                session.ledger.append(
                    finding_line(ts, expected, finding, actual_deal, pages.last_call, None)
                )
        fewest = fewest_pages(len(contact.to_check), self.options.read_pages)
        self._forecaster.add_contact(fewest, pages.pages_read)
        finding = VerifyFinding.NOT_LISTED if pages.complete else VerifyFinding.NOT_READ
        for message_id in missing_ids:
            expected = contact.links[message_id]
            self._findings.record(expected, finding, None, sampled=True)
            ts, code = session.clock.timestamp(), _not_seen_code(pages)
            session.ledger.append(finding_line(ts, expected, finding, None, pages.last_call, code))

    def _classify(self, expected: ExpectedLink, actual_deal: LinkedDeal | None) -> VerifyFinding:
        matches = (actual_deal.id if actual_deal else None) == expected.deal_id
        if self.options.in_doubt:
            return VerifyFinding.AS_WANTED if matches else VerifyFinding.NOT_AS_WANTED
        return VerifyFinding.AS_RECORDED if matches else VerifyFinding.DIFFERENT


def _not_seen_code(pages: PageReader[LinksPage]) -> str | None:
    """Return why emails were not found: a code if pages are left, None if all were read."""
    if pages.complete:
        return None
    if not pages.failed:
        return "read-pages"
    return pages.refusal.shown_code if pages.refusal else "no-answer"
