"""Reading emails back and comparing them with the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

import msgspec

from bulklink.engine.dispatch import process_all
from bulklink.engine.pagination import PageReader
from bulklink.engine.shutdown import StopController, StoppedError
from bulklink.errors import BulklinkError, ExitCode, UsageError
from bulklink.ledger.records import json_line
from bulklink.operations.callbacks import RunCallbacks
from bulklink.operations.environment import Environment
from bulklink.operations.expected_links import ContactExpectations, ExpectedLink, ExpectedLinks
from bulklink.operations.job import Job
from bulklink.operations.preflight import check_same_org
from bulklink.operations.sampling import CONFIDENCE_PERCENT, draw_sample, max_wrong
from bulklink.operations.session import (
    ReadSession,
    open_read_session,
    report_read_progress,
    stop_on_error,
)
from bulklink.runs.folder import RunFolder
from bulklink.runs.record import RunRecord, RunState
from bulklink.runs.status import run_exit_code
from bulklink.zoho.connection import Connection
from bulklink.zoho.email_pages import LinkedDeal, LinksPage, parse_links_page
from bulklink.zoho.requests import EMAILS_PER_PAGE


class VerifyFinding(StrEnum):
    """What a look at the CRM says of one email."""

    AS_RECORDED = "as-recorded"
    DIFFERENT = "different"
    AS_WANTED = "as-wanted"
    NOT_AS_WANTED = "not-as-wanted"
    NOT_LISTED = "not-listed"
    NOT_READ = "not-read"


CHECKED_FINDINGS = frozenset(VerifyFinding) - {VerifyFinding.NOT_READ}
"""Findings about emails whose contact could be read."""


class VerifyOptions(msgspec.Struct, frozen=True):
    """What is to be verified, and how.

    `sample` is how many emails are drawn, None for all; `seed` decides which. `in_doubt` looks at
    the emails in doubt instead. `read_pages` of a contact are read at most, None for all.
    """

    in_doubt: bool = False
    sample: int | None = None
    seed: int = 1
    read_pages: int | None = None


def validate_options(options: VerifyOptions) -> VerifyOptions:
    """Return what is asked, where it can be.

    Raises:
        UsageError: if a sample is to be drawn of emails in doubt, or of less than one email.
    """
    if options.in_doubt and options.sample is not None:
        raise UsageError(
            "A sample is drawn from what the ledger claims, and it claims nothing of emails in"
            " doubt.",
            where="--in-doubt, --sample",
            advice="Leave one of them out.",
        )
    for name, value, minimum in (
        *(("sample", options.sample, 1), ("seed", options.seed, 0)),
        ("read_pages", options.read_pages, 1),
    ):
        if value is not None and value < minimum:
            raise UsageError(
                f"{value} is no value of {name}.", where=name, advice=f"Give {minimum} or more."
            )
    return options


class VerifyCost(msgspec.Struct, frozen=True):
    """What a verification takes at least: emails to look for, their contacts, calls by kind."""

    emails: int
    contacts: int
    reads: int
    lookups: int

    @property
    def credits(self) -> int:
        """Credits at least: one a call."""
        return self.reads + self.lookups


class FindingDetail(msgspec.Struct, frozen=True):
    """A finding that a person has to see; `actual_deal` is the deal that the CRM shows."""

    expected: ExpectedLink
    finding: VerifyFinding
    actual_deal: LinkedDeal | None = None


class SampleBound(msgspec.Struct, frozen=True):
    """What a sample says of all emails that it was drawn from.

    At `confidence` no more than `wrong_at_most` of `population` are not as recorded. Drawn emails
    that no page listed, or that could not be read, are counted as if they were wrong.
    """

    population: int
    drawn: int
    seed: int
    confidence: float
    wrong_at_most: int
    share_at_most: float


class VerifyResult(msgspec.Struct, frozen=True):
    """What came out: what `--json` prints, but for `shown`.

    `checked` are the emails that were looked for and whose contact could be read: those as
    recorded, those different and those on no page. `not_read` are those of contacts that could not
    be read. Of emails in doubt nothing is recorded: they are as wanted or not. `others` counts
    emails that were seen beside a sample's.
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


def verify_start_line(ts: str, options: VerifyOptions, cost: VerifyCost) -> bytes:
    """Return the line that begins a verification."""
    fields = msgspec.to_builtins(options) | msgspec.to_builtins(cost)
    return json_line({"event": "verify", "ts": ts, **fields})


def finding_line(
    ts: str,
    expected: ExpectedLink,
    finding: VerifyFinding,
    actual_deal: LinkedDeal | None,
    call: int | None,
    code: str | None,
) -> bytes:
    """Return the line about one email: what the ledger says of it and what the CRM shows.

    Args:
        ts: now.
        expected: what the ledger says.
        finding: what the look said.
        actual_deal: the deal that the CRM shows.
        call: the read that told it.
        code: why it could not be read.
    """
    fields = {
        "event": "finding",
        "ts": ts,
        "finding": finding,
        "row": expected.row,
        "contact_id": expected.contact_id,
        "message_id": expected.message_id,
        "recorded_deal_id": expected.deal_id,
        "recorded_status": expected.status,
        "recorded_code": expected.code,
        "recorded_ts": expected.ts,
        "call": call,
    }
    if finding in (VerifyFinding.NOT_LISTED, VerifyFinding.NOT_READ):
        fields["code"] = code
    else:
        fields["found_deal_id"] = actual_deal.id if actual_deal else None
    return json_line(fields)


def verify_end_line(ts: str, counts: dict[str, int]) -> bytes:
    """Return the line that ends a verification, whatever ended it."""
    return json_line({"event": "verified", "ts": ts, "counts": counts})


class _CallLine(msgspec.Struct):
    event: str
    op: str = ""
    attempt: int = 1


def count_calls(path: Path, offset: int) -> dict[str, int]:
    """Count the requests whose lines stand behind a place of a file, by kind.

    Args:
        path: the file.
        offset: bytes to pass over.
    """
    calls = {"read": 0, "lookup": 0, "retried": 0}
    decoder = msgspec.json.Decoder(_CallLine)
    with path.open("rb") as file:
        file.seek(offset)
        for line in file:
            call_line = decoder.decode(line)
            change = {"call": 1, "unsent": -1}.get(call_line.event, 0)
            if call_line.op in calls:
                calls[call_line.op] += change
                calls["retried"] += change * (call_line.attempt > 1)
    return calls


MAX_SHOWN = 20
"""Findings of a kind that are kept to be shown; all are in `verify.jsonl`."""


class Verifier:
    """One verification.

    Args:
        folder: of the run.
        record: of the run.
        claims: what its ledger says.
        asked: what is to be verified.
        watch: call-backs.
        stopping: by which it can be stopped.
    """

    def __init__(
        self,
        folder: RunFolder,
        record: RunRecord,
        expected_links: ExpectedLinks,
        options: VerifyOptions,
        callbacks: RunCallbacks,
        stop: StopController,
    ) -> None:
        self._folder = folder
        self._record = record
        self._expected_links = expected_links
        self._options = options
        self._callbacks = callbacks
        self._stop = stop
        sample = options.sample
        self._sampled = (
            None if sample is None else draw_sample(expected_links.total, sample, options.seed)
        )
        self._counts: Counter[VerifyFinding] = Counter()
        self._other_counts: Counter[VerifyFinding] = Counter()
        self._details: dict[VerifyFinding, list[FindingDetail]] = {}
        self._cost = self._count_cost()

    def _contacts(self) -> Iterator[ContactExpectations]:
        return self._expected_links.contacts(self._sampled)

    def _count_cost(self) -> VerifyCost:
        emails = contacts = reads = 0
        for contact in self._contacts():
            emails += len(contact.to_check)
            contacts += 1
            reads += -(-len(contact.to_check) // EMAILS_PER_PAGE)
        return VerifyCost(emails, contacts, reads, lookups=1 if reads else 0)

    async def run(self, job: Job, connection: Connection, environment: Environment) -> VerifyResult:
        """Read what has to be read, and tell what came out.

        Args:
            job: how many calls are made, and how fast.
            connection: where the CRM is and how to sign in.
            environment: network, disk and clock.

        Raises:
            RefusedError: if it is refused before any email is read.
        """
        cost, log = self._cost, self._folder.verification
        description = f"{cost.emails:,} emails of {cost.contacts:,} contacts"
        self._callbacks.on_cost(description, credits_at_least=cost.credits)
        log_size = log.stat().st_size if log.exists() else 0
        answers, warn = self._folder.verification_answers, self._callbacks.on_warning
        with stop_on_error(self._stop):
            async with open_read_session(
                log, answers, job, connection, self._stop, environment, warn
            ) as session:
                await self._verify_contacts(session)
        return self._result(count_calls(log, log_size))

    async def _verify_contacts(self, session: ReadSession) -> None:
        session.log.append(verify_start_line(session.clock.timestamp(), self._options, self._cost))
        try:
            if self._cost.emails:
                self._callbacks.on_phase("Looking up the org")
                check_same_org(self._record, await session.look_up_org())
                await self._wait_for_consistency(session)
                self._callbacks.on_phase("Reading")
                await self._read_contacts(session)
        finally:
            counts = {str(finding): count for finding, count in self._counts.items()}
            session.log.append(verify_end_line(session.clock.timestamp(), counts))

    async def _wait_for_consistency(self, session: ReadSession) -> None:
        """Wait where the ledger is so young that a list may still show what was before."""
        age = session.clock.wall() - self._expected_links.last_result_at
        settle_after = session.job.settle_after
        if age < settle_after:
            self._callbacks.on_phase("Waiting for what was just sent to settle")
            await session.stop.sleep(min(settle_after, settle_after - age))

    async def _read_contacts(self, session: ReadSession) -> None:
        async def check_contact(contact: ContactExpectations) -> None:
            with suppress(StoppedError):
                try:
                    await self._check_contact(contact, session)
                except BulklinkError as error:
                    session.stop.request(error)

        async with report_read_progress(
            session, self._callbacks, "emails", self._counts.total, self._cost.emails
        ):
            await process_all(
                self._contacts(), check_contact, session.stop, workers=session.workers
            )

    async def _check_contact(self, contact: ContactExpectations, session: ReadSession) -> None:
        """Read a contact's pages until all emails that are looked for are seen."""
        pages = PageReader(
            contact.contact_id,
            parse_links_page,
            session.caller,
            session.breaker,
            max_pages=self._options.read_pages,
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
                session.log.append(
                    finding_line(ts, expected, finding, actual_deal, pages.last_call, None)
                )
        finding = VerifyFinding.NOT_LISTED if pages.complete else VerifyFinding.NOT_READ
        for message_id in missing_ids:
            expected = contact.links[message_id]
            self._record_finding(expected, finding, None, sampled=True)
            ts, code = session.clock.timestamp(), _not_seen_code(pages)
            session.log.append(finding_line(ts, expected, finding, None, pages.last_call, code))

    def _classify(self, expected: ExpectedLink, actual_deal: LinkedDeal | None) -> VerifyFinding:
        matches = (actual_deal.id if actual_deal else None) == expected.deal_id
        if self._options.in_doubt:
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
        counts, reason = self._counts, self._stop.reason
        return VerifyResult(
            run_dir=str(self._folder.path),
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
            stopped_by=reason.stopped_by if reason else None,
            exit_code=self._exit_code(),
            shown=tuple(
                detail for finding in VerifyFinding for detail in self._details.get(finding, ())
            ),
        )

    def _sample_bound(self) -> SampleBound | None:
        """Bound how many are wrong; a sample that was not read to its end says nothing."""
        if self._sampled is None:
            return None
        population, sample_size = self._expected_links.total, len(self._sampled)
        wrong_at_most = max_wrong(
            population, sample_size, sample_size - self._counts[VerifyFinding.AS_RECORDED]
        )
        return SampleBound(
            population=population,
            drawn=sample_size,
            seed=self._options.seed,
            confidence=CONFIDENCE_PERCENT / 100,
            wrong_at_most=wrong_at_most,
            share_at_most=wrong_at_most / population if population else 0.0,
        )

    def _exit_code(self) -> int:
        if self._stop.reason is not None:
            return int(run_exit_code(RunState.STOPPED, self._stop.reason.stopped_by, {}) or 0)
        bad = (VerifyFinding.DIFFERENT, VerifyFinding.NOT_READ)
        wrong = any(self._counts[finding] or self._other_counts[finding] for finding in bad)
        return ExitCode.ROWS_NOT_DONE if wrong else ExitCode.OK


def _not_seen_code(pages: PageReader[LinksPage]) -> str | None:
    """Return why emails were not seen: a code where pages are left, None where none is."""
    if pages.complete:
        return None
    if not pages.failed:
        return "read-pages"
    return pages.refusal.code if pages.refusal else "no-answer"
