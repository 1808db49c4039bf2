"""`audit`: find emails on the wrong deal or on none, and propose a mapping."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Unpack

import msgspec

from bulklink.advice import Advice, Keyword
from bulklink.engine.shutdown import StopController
from bulklink.errors import InterruptedPlanningError, RunStoppedError, StoppedBy, UsageError
from bulklink.mapping.schema import HiddenRows
from bulklink.operations.auditing.files import (
    AuditFetch,
    AuditFiles,
    AuditSelection,
    plan_audit_files,
)
from bulklink.operations.auditing.histories import plan_histories
from bulklink.operations.auditing.judging import EmailJudging
from bulklink.operations.auditing.options import AuditOptions, parse_max_age, parse_reading
from bulklink.operations.auditing.parts import PartProcesses
from bulklink.operations.auditing.proposal_filter import make_proposal_filter
from bulklink.operations.auditing.reading import (
    MAX_AGE_SECONDS,
    AuditReading,
    check_number_field,
)
from bulklink.operations.auditing.result import (
    AuditResult,
    FetchedPart,
    complete,
    stopped_in_fetch,
    stopped_in_reading,
)
from bulklink.operations.auditing.review import write_review
from bulklink.operations.callbacks import ReadProgress, RunCallbacks
from bulklink.operations.cancellation import run_guarded
from bulklink.operations.environment import Environment, real_environment
from bulklink.operations.fetching.emails import EmailFetch, prepare_fetch
from bulklink.operations.fetching.selection import Roles, parse_roles
from bulklink.operations.job import Job
from bulklink.operations.job_options import PACE_OPTIONS, PaceOptions, with_options
from bulklink.operations.weights import read_weights
from bulklink.zoho.connection import Connection


async def audit(
    contacts: Collection[str],
    mapping: str | PathLike[str],
    connection: Connection | None,
    *,
    fetched: str | PathLike[str] | None = None,
    from_mapping: Collection[str] = (),
    contacts_of_deals: Collection[str] = (),
    deals_where: Collection[str] = (),
    contacts_where: Collection[str] = (),
    emails_on: Collection[str] = (),
    on_no_deal: bool = False,
    since: str | None = None,
    until: str | None = None,
    roles: str | None = None,
    reading: str | None = None,
    weights: str | PathLike[str] | None = None,
    propose_detach: bool = False,
    number_field: str | None = None,
    max_age: float | str = MAX_AGE_SECONDS,
    read_again: bool = False,
    yes: bool = False,
    columns: tuple[tuple[str, str], ...] = (),
    preset: str | None = None,
    allow_round_ids: bool = False,
    delimiter: str | None = None,
    quote: str | None = None,
    escape: str | None = None,
    skip_lines: int = 0,
    encoding: str | None = None,
    sheet: str | None = None,
    hidden_rows: HiddenRows | None = None,
    format_: str | None = None,
    spreadsheet: bool = False,
    force: bool = False,
    workers: int = 1,
    callbacks: RunCallbacks | None = None,
    stop: StopController | None = None,
    environment: Environment | None = None,
    **pace: Unpack[PaceOptions],
) -> AuditResult:
    """Find emails that are on the wrong deal or on none, and propose a mapping that corrects them.

    Reads the emails of contacts, their deals, and where it matters the histories of these. Nothing
    in the CRM is changed. Beside the mapping, with its stem, are `.review.html` with the page to
    review it, `.audit.parquet` with the verdict on every email, `.emails.parquet` with the emails
    and `.emails.deals.jsonl` with the deals. If it was stopped, the same call continues.

    Args:
        contacts: ids, addresses, and names of at least two words; `@FILE` is a file with one a
            line, `-` such a list from standard input.
        mapping: file of the mapping, whose suffix determines the format.
        connection: endpoint and credentials of the CRM; None to use only what was read before.
        fetched: file of emails that a fetch or an audit wrote, in place of contacts; its deals are
            kept beside it.
        from_mapping: mappings, or other tables with a column `contact_id`, whose contacts to add.
        contacts_of_deals: ids of deals, or `@FILE`, whose contacts to add.
        deals_where: conditions in COQL on deals, whose contacts to add.
        contacts_where: conditions in COQL on contacts to add.
        emails_on: ids of deals, or `@FILE`: add their contacts, and propose changes only for emails
            on these deals. Other emails are evidence still, as with all filters.
        on_no_deal: propose changes only for emails on no deal; with `emails_on`, for these as well.
        since: propose changes only for emails from this time on, ISO 8601; without an offset, local
            time.
        until: propose changes only for emails before this time; a date alone includes its day.
        roles: whether contact roles count, for the contacts of deals and for the prediction rule:
            `named` (the default) or `yes` as for a fetch. By `named`, the links of the org decide
            about the rule; with `no`, roles count nowhere.
        reading: how the prediction rule is read: `strict`, `loose` or `last-modified-first`; None
            for the one that explains the org's links best.
        weights: TOML file with weights of the evidence; None for bulklink's own.
        propose_detach: whether to propose to unlink emails that belong to no deal.
        number_field: API name of the field with the deals' own numbers, such as `Deal_Number`.
        max_age: seconds after which deals that were read are not used, or a text such as `7d`.
        read_again: whether deals that were read before are read again.
        yes: whether to spend more than 1,000 credits without asking.
        columns: (column, header) pairs that rename headers of the mappings.
        preset: `zoho` also accepts the headers of Zoho's own exports.
        allow_round_ids: accept ids that look rounded.
        delimiter: CSV delimiter; None detects it.
        quote: CSV quote character; None is `"`, or detects it.
        escape: CSV escape character before quotes in a cell; None means that quotes are doubled.
        skip_lines: lines, or rows of a sheet, to skip above the headers.
        encoding: encoding of text files; None is UTF-8.
        sheet: name or number of a workbook's sheet; None is the first visible one.
        hidden_rows: include or skip hidden rows of a sheet; None refuses such a sheet.
        format_: csv, jsonl, parquet or xlsx, if there is no suffix.
        spreadsheet: whether to write CSV whose ids and formulas a spreadsheet keeps as text.
        force: whether to replace existing files, and to drop an unfinished audit of other contacts.
        workers: most processes that judge the emails at once. More than 1 start only for tens of
            thousands of emails, and need a program whose main module can be imported, as
            `multiprocessing` does: its work is below `if __name__ == "__main__":`.
        callbacks: receives progress and events; None for none.
        stop: stops the audit from outside.
        environment: network, disk and clock; None for this machine's, others for tests.
        **pace: options of `Job`: limits on calls and their rate.

    Returns:
        The result; if `stopped_by` is set, no mapping was written.

    Raises:
        UsageError: if the files cannot be written, options do not fit together, or the CRM refuses
            a condition.
        ConfigError: if the weights cannot be read, or something has to be read of the CRM and there
            is no connection.
        BadFileError: if the file of emails or of deals cannot be read, or the deals are too old.
        RefusedError: if the contacts cannot be read, or the user refuses the cost.
        WrongOrgError: if what was read is of another org.
        InterruptedPlanningError: if it was stopped while it read or wrote files.
    """
    files = plan_audit_files(mapping, format_, spreadsheet=spreadsheet, force=force)
    counted_roles = parse_roles(roles) or Roles.NAMED
    selection = AuditSelection(
        {
            "contacts": tuple(contacts),
            "from_mapping": tuple(map(fspath, from_mapping)),
            "contacts_of_deals": tuple(contacts_of_deals),
            "deals_where": tuple(deals_where),
            "contacts_where": tuple(contacts_where),
            "emails_on": tuple(emails_on),
        }
    )
    mapping_job = Job(
        mappings=tuple(from_mapping),
        columns=columns,
        preset=preset,
        allow_round_ids=allow_round_ids,
        delimiter=delimiter,
        quote=quote,
        escape=escape,
        skip_lines=skip_lines,
        encoding=encoding,
        sheet=sheet,
        hidden_rows=hidden_rows,
    )
    verb = _Audit(
        files=files,
        selection=selection,
        fetched=None if fetched is None else Path(fetched),
        mapping_job=mapping_job,
        connection=connection,
        options=AuditOptions(
            roles=counted_roles,
            reading=parse_reading(reading),
            weights=None if weights is None else fspath(weights),
            propose_detach=propose_detach,
            proposal_filter=make_proposal_filter(emails_on, since, until, on_no_deal=on_no_deal),
            number_field=number_field,
            max_age=parse_max_age(max_age),
            read_again=read_again,
            yes=yes,
            force=force,
        ),
        pace=pace,
        workers=workers,
        environment=environment or real_environment(),
    )
    verb.check()
    return await run_guarded(verb.run, callbacks, stop)


@dataclass(slots=True, frozen=True, kw_only=True)
class _Audit:
    """One invocation of an audit.

    Args:
        files: the files that it writes.
        selection: what selects contacts; with a fetched file, only deals that filter its emails.
        fetched: file of emails that were fetched before; None to fetch them.
        mapping_job: mappings whose contacts are selected, with their options.
        connection: endpoint and credentials of the CRM.
        options: the other options.
        pace: limits on calls and their rate.
        workers: most processes that judge the emails at once.
        environment: network, disk and clock.
    """

    files: AuditFiles
    selection: AuditSelection
    fetched: Path | None
    mapping_job: Job
    connection: Connection | None
    options: AuditOptions
    pace: PaceOptions
    workers: int
    environment: Environment

    def check(self) -> None:
        """Check that the options fit together.

        Raises:
            UsageError: if they do not.
        """
        check_number_field(self.options.number_field)
        if self.fetched is not None:
            self._check_fetched(self.fetched)
        elif not self.selection and not self.files.is_begun():
            raise UsageError(
                "No contact is named.",
                where="CONTACTS",
                advice=Advice(
                    "Name ids, addresses, @FILE, or - for standard input; deals with {}, a"
                    " condition with {} or {}; or a file of emails with {}.",
                    Keyword("contacts_of_deals"),
                    Keyword("deals_where"),
                    Keyword("contacts_where"),
                    Keyword("fetched"),
                ),
            )

    def _check_fetched(self, fetched: Path) -> None:
        self.files.check_fetched(fetched)
        given = [
            name for name, value in self.selection.values.items() if value and name != "emails_on"
        ]
        if given:
            raise UsageError(
                "A file of fetched emails names its contacts itself.",
                where=Advice("{}", Keyword("fetched")),
                advice=Advice(
                    "Omit {}, or the file.",
                    Advice.join(", ", [_setting(name) for name in given]),
                ),
            )

    async def run(self, callbacks: RunCallbacks, stop: StopController) -> AuditResult:
        """Fetch what is missing, read the deals, judge the emails, and write the files."""
        try:
            return await self._run(callbacks, stop)
        except InterruptedPlanningError as error:
            raise InterruptedPlanningError(
                "Stopped before the mapping was written.",
                where=str(self.files.mapping),
                advice="Run the same command again to continue.",
            ) from error

    async def _run(self, callbacks: RunCallbacks, stop: StopController) -> AuditResult:
        weights = await self._blocking(partial(read_weights, self.options.weights))
        part, emails = FetchedPart(), self.fetched
        if emails is None:
            emails = self.files.emails
            outcome = await self._fetch(callbacks, stop)
            if isinstance(outcome, AuditResult):
                return outcome
            part = outcome
        async with self._reading(emails, part).open(callbacks, stop) as inputs:
            if not inputs.complete:
                self._restate_credits(stop)
                return stopped_in_reading(inputs, part, self._names(emails, None), stop)
            with PartProcesses(self.workers, inputs.planning_stop) as processes:
                judging = EmailJudging(
                    inputs=inputs,
                    weights=weights,
                    roles=self.options.counted_roles,
                    reading=self.options.reading,
                    propose_detach=self.options.propose_detach,
                    proposal_filter=self.options.proposal_filter,
                    processes=processes,
                )
                await self._judge(judging, callbacks)
            callbacks.on_phase("Writing the review page")
            await self._blocking(
                partial(write_review, self.files.mapping, stop=inputs.planning_stop)
            )
            await self._blocking(self.files.forget_fetched)
            names = self._names(emails, inputs.deals_path, complete=True)
            return complete(inputs, part, judging, names, stop)

    async def _fetch(
        self, callbacks: RunCallbacks, stop: StopController
    ) -> FetchedPart | AuditResult:
        """Fetch the emails, unless an unfinished audit has; return the result if it is stopped."""
        before = await self._blocking(
            partial(self.files.read_fetched, self.selection, force=self.options.force)
        )
        if before is not None:
            return FetchedPart(
                nameless=before.nameless,
                unread=before.unread,
                unread_contacts=before.unread_contacts,
                unresolved=before.unresolved,
            )
        email_fetch = self._prepare_fetch()
        await self._blocking(self.files.forget_fetched)
        result = await email_fetch.run(callbacks, stop)
        if result.stopped_by is not None:
            return stopped_in_fetch(result, stop)
        record = AuditFetch(
            self.selection.digest,
            result.nameless,
            result.unread,
            result.unread_contacts,
            result.unresolved,
        )
        await self._blocking(partial(self.files.record_fetched, record))
        limit = self.pace.get("max_credits")
        if limit is not None and result.credits >= limit:
            stop.request(_max_credits_error(limit))
            return stopped_in_fetch(result, stop)
        return FetchedPart(
            result.calls,
            result.credits,
            result.nameless,
            result.unread,
            result.unread_contacts,
            result.unresolved,
        )

    def _prepare_fetch(self) -> EmailFetch:
        if self.connection is None:
            raise UsageError(
                "No connection is set, and emails have to be fetched.",
                where="connection",
                advice=Advice("Set a connection, or name a file with {}.", Keyword("fetched")),
            )
        options, selected = self.options, self.selection.values
        return prepare_fetch(
            selected["contacts"],
            self.files.emails,
            self.connection,
            mapping_job=self.mapping_job if self.mapping_job.mappings else None,
            contacts_of_deals=(*selected["contacts_of_deals"], *selected["emails_on"]),
            deals_where=selected["deals_where"],
            contacts_where=selected["contacts_where"],
            roles=options.roles,
            role_candidates=True,
            yes=options.yes,
            force=options.force,
            environment=self.environment,
            **self.pace,
        )

    def _reading(self, emails: Path, part: FetchedPart) -> AuditReading:
        options = self.options
        job = with_options(None, self.pace, PACE_OPTIONS)
        if job.max_credits is not None:
            job = msgspec.structs.replace(job, max_credits=job.max_credits - part.credits)
        return AuditReading(
            file=emails,
            connection=self.connection,
            job=job,
            environment=self.environment,
            plan_histories=partial(
                plan_histories, roles=options.counted_roles, reading=options.reading
            ),
            number_field=options.number_field,
            max_age=options.max_age,
            yes=options.yes,
            force=options.read_again,
        )

    def _restate_credits(self, stop: StopController) -> None:
        """Name the limit of the command where the reading had only what was left of it."""
        limit = self.pace.get("max_credits")
        if (
            stop.reason is not None
            and stop.reason.stopped_by is StoppedBy.MAX_CREDITS
            and limit is not None
        ):
            stop.reason.message = _credits_spent(limit)

    async def _judge(self, judging: EmailJudging, callbacks: RunCallbacks) -> None:
        """Judge the emails in passes over them, and write the files."""
        total = judging.inputs.emails.emails
        passes: tuple[tuple[str, Callable[[], None]], ...] = (
            ("Learning how the org links emails", judging.learn),
            ("Judging emails", partial(judging.write, self.files)),
        )

        async def sample() -> None:
            callbacks.on_read(ReadProgress("emails", judging.done, total))

        for phase, work in passes:
            callbacks.on_phase(phase)
            async with self.environment.sample_periodically(sample):
                await self._blocking(work)

    def _names(self, emails: Path, deals: Path | None, *, complete: bool = False) -> dict[str, str]:
        """Return the files that there are, by what they hold."""
        files: dict[str, Path | None] = {}
        if complete:
            files |= {
                "mapping": self.files.mapping,
                "review": self.files.review,
                "audit": self.files.verdicts,
            }
        files |= {"emails": emails, "deals": deals}
        return {name: str(path) for name, path in files.items() if path is not None}

    async def _blocking(self, function: Callable[[], Any]) -> Any:
        return await self.environment.run_blocking(function)


def _setting(name: str) -> Advice:
    return Advice.of("CONTACTS") if name == "contacts" else Advice("{}", Keyword(name))


def _max_credits_error(limit: int) -> RunStoppedError:
    return RunStoppedError(
        StoppedBy.MAX_CREDITS,
        _credits_spent(limit),
        advice=Advice("Continue with another {}.", Keyword("max_credits")),
    )


def _credits_spent(limit: int) -> str:
    return f"This command has spent all of its credits ({limit:,})."
