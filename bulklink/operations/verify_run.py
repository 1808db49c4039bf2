"""Reading emails back and comparing them with the ledger."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

import msgspec
import orjson

from bulklink.engine.dispatch import work_through
from bulklink.engine.pagination import Pages
from bulklink.engine.shutdown import HaltedError, Stopping
from bulklink.errors import BulklinkError, ExitCode, UsageError
from bulklink.operations.callbacks import Watch
from bulklink.operations.environment import Surroundings
from bulklink.operations.expected_links import Claim, Claims, ContactClaims
from bulklink.operations.job import Job
from bulklink.operations.preflight import check_org
from bulklink.operations.sampling import CONFIDENCE_PERCENT, drawn_from, most_wrong
from bulklink.operations.session import ReadingSession, ends_told, reading_session, told_of
from bulklink.runs.folder import RunFolder
from bulklink.runs.record import RunRecord, State
from bulklink.runs.status import exit_code_of
from bulklink.zoho.connection import Connection
from bulklink.zoho.email_pages import Deal, Page, read_page
from bulklink.zoho.requests import PAGE_OF_EMAILS


class Finding(StrEnum):
    """What a look at the CRM says of one email."""

    AS_RECORDED = "as-recorded"
    DIFFERENT = "different"
    AS_WANTED = "as-wanted"
    NOT_AS_WANTED = "not-as-wanted"
    NOT_LISTED = "not-listed"
    NOT_READ = "not-read"


CHECKED = frozenset(Finding) - {Finding.NOT_READ}
"""Findings about emails whose contact could be read."""


class Asked(msgspec.Struct, frozen=True):
    """What is to be verified, and how.

    `sample` is how many emails are drawn, None for all; `seed` decides which. `in_doubt` looks at
    the emails in doubt instead. `read_pages` of a contact are read at most, None for all.
    """

    in_doubt: bool = False
    sample: int | None = None
    seed: int = 1
    read_pages: int | None = None


def checked_asked(asked: Asked) -> Asked:
    """Return what is asked, where it can be.

    Raises:
        UsageError: if a sample is to be drawn of emails in doubt, or of less than one email.
    """
    if asked.in_doubt and asked.sample is not None:
        raise UsageError(
            "A sample is drawn from what the ledger claims, and it claims nothing of emails in"
            " doubt.",
            where="--in-doubt, --sample",
            advice="Leave one of them out.",
        )
    for name, number, least in (
        *(("sample", asked.sample, 1), ("seed", asked.seed, 0)),
        ("read_pages", asked.read_pages, 1),
    ):
        if number is not None and number < least:
            raise UsageError(
                f"{number} is no value of {name}.", where=name, advice=f"Give {least} or more."
            )
    return asked


class Price(msgspec.Struct, frozen=True):
    """What a verification takes at least: emails to look for, their contacts, calls by kind."""

    emails: int
    contacts: int
    reads: int
    lookups: int

    @property
    def credits(self) -> int:
        """Credits at least: one a call."""
        return self.reads + self.lookups


class Shown(msgspec.Struct, frozen=True):
    """A finding that a person has to see; `found` is the deal that the CRM shows."""

    claim: Claim
    finding: Finding
    found: Deal | None = None


class Bound(msgspec.Struct, frozen=True):
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


class Verification(msgspec.Struct, frozen=True):
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
    sample: Bound | None
    calls: dict[str, int]
    stopped_by: str | None
    exit_code: int
    shown: tuple[Shown, ...] = ()


def began_line(ts: str, asked: Asked, price: Price) -> bytes:
    """Return the line that begins a verification."""
    told = msgspec.to_builtins(asked) | msgspec.to_builtins(price)
    return _line({"event": "verify", "ts": ts, **told})


def finding_line(
    ts: str, claim: Claim, finding: Finding, found: Deal | None, call: int | None, code: str | None
) -> bytes:
    """Return the line about one email: what the ledger says of it and what the CRM shows.

    Args:
        ts: now.
        claim: what the ledger says.
        finding: what the look said.
        found: the deal that the CRM shows.
        call: the read that told it.
        code: why it could not be read.
    """
    told = {
        "event": "finding",
        "ts": ts,
        "finding": finding,
        "row": claim.row,
        "contact_id": claim.contact_id,
        "message_id": claim.message_id,
        "recorded_deal_id": claim.deal_id,
        "recorded_status": claim.status,
        "recorded_code": claim.code,
        "recorded_ts": claim.ts,
        "call": call,
    }
    if finding in (Finding.NOT_LISTED, Finding.NOT_READ):
        told["code"] = code
    else:
        told["found_deal_id"] = found.id if found else None
    return _line(told)


def ended_line(ts: str, counts: dict[str, int]) -> bytes:
    """Return the line that ends a verification, whatever ended it."""
    return _line({"event": "verified", "ts": ts, "counts": counts})


class _Call(msgspec.Struct):
    event: str
    op: str = ""
    attempt: int = 1


def calls_since(path: Path, start: int) -> dict[str, int]:
    """Count the requests whose lines stand behind a place of a file, by kind.

    Args:
        path: the file.
        start: bytes to pass over.
    """
    calls = {"read": 0, "lookup": 0, "retried": 0}
    decoder = msgspec.json.Decoder(_Call)
    with path.open("rb") as file:
        file.seek(start)
        for line in file:
            told = decoder.decode(line)
            sent = {"call": 1, "unsent": -1}.get(told.event, 0)
            if told.op in calls:
                calls[told.op] += sent
                calls["retried"] += sent * (told.attempt > 1)
    return calls


def _line(content: dict[str, object]) -> bytes:
    return orjson.dumps(content, option=orjson.OPT_APPEND_NEWLINE)


MOST_SHOWN = 20
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
        claims: Claims,
        asked: Asked,
        watch: Watch,
        stopping: Stopping,
    ) -> None:
        self._folder = folder
        self._record = record
        self._claims = claims
        self._asked = asked
        self._watch = watch
        self._stopping = stopping
        sample = asked.sample
        self._drawn = None if sample is None else drawn_from(claims.total, sample, asked.seed)
        self._counts: Counter[Finding] = Counter()
        self._others: Counter[Finding] = Counter()
        self._shown: dict[Finding, list[Shown]] = {}
        self._price = self._priced()

    def _contacts(self) -> Iterator[ContactClaims]:
        return self._claims.contacts(self._drawn)

    def _priced(self) -> Price:
        emails = contacts = reads = 0
        for contact in self._contacts():
            emails += len(contact.wanted)
            contacts += 1
            reads += -(-len(contact.wanted) // PAGE_OF_EMAILS)
        return Price(emails, contacts, reads, lookups=1 if reads else 0)

    async def run(self, limits: Job, connection: Connection, around: Surroundings) -> Verification:
        """Read what has to be read, and tell what came out.

        Args:
            limits: how many calls are made, and how fast.
            connection: where the CRM is and how to sign in.
            around: network, disk and clock.

        Raises:
            RefusedError: if it is refused before any email is read.
        """
        price, log = self._price, self._folder.verification
        what = f"{price.emails:,} emails of {price.contacts:,} contacts"
        self._watch.price(what, credits_at_least=price.credits)
        start = log.stat().st_size if log.exists() else 0
        answers, warn = self._folder.verification_answers, self._watch.warn
        with ends_told(self._stopping):
            async with reading_session(
                log, answers, limits, connection, self._stopping, around, warn
            ) as session:
                await self._steps(session)
        return self._ended(calls_since(log, start))

    async def _steps(self, session: ReadingSession) -> None:
        session.log.append(began_line(session.clock.timestamp(), self._asked, self._price))
        try:
            if self._price.emails:
                self._watch.phase("Looking up the org")
                check_org(self._record, await session.org())
                await self._let_it_settle(session)
                self._watch.phase("Reading")
                await self._read(session)
        finally:
            counts = {str(finding): count for finding, count in self._counts.items()}
            session.log.append(ended_line(session.clock.timestamp(), counts))

    async def _let_it_settle(self, session: ReadingSession) -> None:
        """Wait where the ledger is so young that a list may still show what was before."""
        age = session.clock.wall() - self._claims.newest
        settle = session.limits.settle_after
        if age < settle:
            self._watch.phase("Waiting for what was just sent to settle")
            await session.stopping.sleep(min(settle, settle - age))

    async def _read(self, session: ReadingSession) -> None:
        async def work(contact: ContactClaims) -> None:
            with suppress(HaltedError):
                try:
                    await self._look(contact, session)
                except BulklinkError as error:
                    session.stopping.stop(error)

        async with told_of(session, self._watch, "emails", self._counts.total, self._price.emails):
            await work_through(self._contacts(), work, session.stopping, workers=session.workers)

    async def _look(self, contact: ContactClaims, session: ReadingSession) -> None:
        """Read a contact's pages until all emails that are looked for are seen."""
        pages = Pages(
            contact.contact_id,
            read_page,
            session.caller,
            session.refusals,
            most=self._asked.read_pages,
        )
        left, seen = set(contact.wanted), set[str]()
        while left and (page := await pages.next()) is not None:
            ts = session.clock.timestamp()
            for message_id in page.links.keys() & contact.claims.keys() - seen:
                seen.add(message_id)
                claim, found = contact.claims[message_id], page.links[message_id]
                finding = self._judged(claim, found)
                self._note(claim, finding, found, drawn=message_id in left)
                left.discard(message_id)
                session.log.append(finding_line(ts, claim, finding, found, pages.last_call, None))
        finding = Finding.NOT_LISTED if pages.whole else Finding.NOT_READ
        for message_id in left:
            claim = contact.claims[message_id]
            self._note(claim, finding, None, drawn=True)
            ts, why = session.clock.timestamp(), _why_not(pages)
            session.log.append(finding_line(ts, claim, finding, None, pages.last_call, why))

    def _judged(self, claim: Claim, found: Deal | None) -> Finding:
        same = (found.id if found else None) == claim.deal_id
        if self._asked.in_doubt:
            return Finding.AS_WANTED if same else Finding.NOT_AS_WANTED
        return Finding.AS_RECORDED if same else Finding.DIFFERENT

    def _note(self, claim: Claim, finding: Finding, found: Deal | None, *, drawn: bool) -> None:
        (self._counts if drawn else self._others)[finding] += 1
        if finding is not Finding.AS_RECORDED:
            shown = self._shown.setdefault(finding, [])
            if len(shown) < MOST_SHOWN:
                shown.append(Shown(claim, finding, found))

    def _ended(self, calls: dict[str, int]) -> Verification:
        counts, reason = self._counts, self._stopping.reason
        return Verification(
            run_dir=str(self._folder.path),
            checked=sum(counts[finding] for finding in CHECKED),
            as_recorded=counts[Finding.AS_RECORDED],
            different=counts[Finding.DIFFERENT],
            not_listed=counts[Finding.NOT_LISTED],
            not_read=counts[Finding.NOT_READ],
            as_wanted=counts[Finding.AS_WANTED],
            not_as_wanted=counts[Finding.NOT_AS_WANTED],
            others={str(finding): count for finding, count in self._others.items()},
            sample=None if reason else self._bound(),
            calls=calls,
            stopped_by=reason.by if reason else None,
            exit_code=self._exit_code(),
            shown=tuple(one for finding in Finding for one in self._shown.get(finding, ())),
        )

    def _bound(self) -> Bound | None:
        """Bound how many are wrong; a sample that was not read to its end says nothing."""
        if self._drawn is None:
            return None
        population, drawn = self._claims.total, len(self._drawn)
        most = most_wrong(population, drawn, drawn - self._counts[Finding.AS_RECORDED])
        return Bound(
            population=population,
            drawn=drawn,
            seed=self._asked.seed,
            confidence=CONFIDENCE_PERCENT / 100,
            wrong_at_most=most,
            share_at_most=most / population if population else 0.0,
        )

    def _exit_code(self) -> int:
        if self._stopping.reason is not None:
            return int(exit_code_of(State.STOPPED, self._stopping.reason.by, {}) or 0)
        bad = (Finding.DIFFERENT, Finding.NOT_READ)
        wrong = any(self._counts[finding] or self._others[finding] for finding in bad)
        return ExitCode.ROWS_NOT_DONE if wrong else ExitCode.OK


def _why_not(pages: Pages[Page]) -> str | None:
    """Return why emails were not seen: a code where pages are left, None where none is."""
    if pages.whole:
        return None
    if not pages.failed:
        return "read-pages"
    return pages.verdict.code if pages.verdict else "no-answer"
