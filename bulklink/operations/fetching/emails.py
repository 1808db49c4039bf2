"""One invocation of a fetch, for the verbs that read the emails of contacts."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, Unpack

import msgspec

from bulklink.decoding import convert
from bulklink.engine.shutdown import StopController
from bulklink.errors import ExitCode, InterruptedPlanningError
from bulklink.folder_files import check_folder_file
from bulklink.load_results import LatencyFigures
from bulklink.mapping.contact_selection import Unresolved
from bulklink.mapping.database import PLANNING_MEMORY
from bulklink.mapping.input.files import find_sources
from bulklink.operations.callbacks import RunCallbacks
from bulklink.operations.cancellation import make_planning_stop, run_planning
from bulklink.operations.environment import Environment
from bulklink.operations.fetching.fetcher import Fetcher
from bulklink.operations.fetching.folder import FetchFolder, FetchRecord
from bulklink.operations.fetching.opening import FetchOpening
from bulklink.operations.fetching.progress import UnreadContact
from bulklink.operations.fetching.selection import (
    Conditions,
    EmailFilter,
    Selection,
    check_filter_times,
    check_lists,
    parse_filter_time,
    parse_roles,
)
from bulklink.operations.fetching.table import FetchTable
from bulklink.operations.job import Job, parse_memory
from bulklink.operations.job_options import (
    PACE_OPTIONS,
    PaceOptions,
    serialize_job,
    with_options,
)
from bulklink.runs.record import RunState
from bulklink.runs.status import run_exit_code
from bulklink.tables import FileType, TableOutput, resolve_output
from bulklink.zoho.connection import Connection

_PER_CALL_DEFAULTS = PaceOptions(max_credits=None)


class FetchResult(msgspec.Struct, frozen=True):
    """Result of a fetch, as `--json` prints it; a stopped fetch has written no table.

    Args:
        format: file type of the table.
        contacts: contacts selected.
        read: contacts read to the end.
        unread: contacts that could not be read.
        emails: emails in the table.
        on_no_deal: emails linked to no deal.
        not_told: emails for which the CRM gave no deal.
        nameless: emails left out for lack of a message id.
        filtered_out: emails that the filters leave out.
        undated: those of them whose time is unknown.
        unread_contacts: the first 1,000 unread contacts.
        unresolved: the first 1,000 addresses, names and deals that select no contact.
        calls: requests by kind: read, lookup, retried.
        credits: credits that they cost: a query of 2,000 records takes three.
        stopped_by: why it stopped; None if complete.
        exit_code: exit code of the command.
        latency: mean, percentiles and maximum of the calls in seconds; None without a call.
    """

    format: FileType
    contacts: int
    read: int
    unread: int
    emails: int
    on_no_deal: int
    not_told: int
    nameless: int
    filtered_out: int
    undated: int
    unread_contacts: tuple[UnreadContact, ...]
    unresolved: tuple[Unresolved, ...]
    calls: dict[str, int]
    credits: int
    stopped_by: str | None
    exit_code: int
    latency: LatencyFigures | None = None


def prepare_fetch(
    contacts: Collection[str],
    output: str | PathLike[str] | BinaryIO,
    connection: Connection,
    *,
    mapping_job: Job | None = None,
    contacts_of_deals: Collection[str] = (),
    deals_where: Collection[str] = (),
    contacts_where: Collection[str] = (),
    roles: str | None = None,
    emails_on: Collection[str] = (),
    on_no_deal: bool = False,
    since: str | None = None,
    until: str | None = None,
    candidates: bool = False,
    role_candidates: bool = False,
    yes: bool = False,
    memory: str = PLANNING_MEMORY,
    format_: str | None = None,
    spreadsheet: bool = False,
    force: bool = False,
    environment: Environment,
    **pace: Unpack[PaceOptions],
) -> EmailFetch:
    """Check the options of a fetch, and complete them by those of the unfinished one.

    Args:
        contacts: see `fetch`, like the other arguments.
        output: file or stream of the table.
        connection: endpoint and credentials of the CRM.
        mapping_job: mappings whose contacts to add, with their options; None for none.
        contacts_of_deals: deals whose contacts to add.
        deals_where: conditions on deals, whose contacts to add.
        contacts_where: conditions on contacts to add.
        roles: deals whose contact roles count.
        emails_on: deals whose contacts to add, and on which emails are kept.
        on_no_deal: keep only emails on no deal.
        since: keep only emails from this time on.
        until: keep only emails before this time.
        candidates: read the deals of each contact, and add a column `candidates`.
        role_candidates: add the column for the deals by contact role that the selection shows,
            which takes no further call.
        yes: whether to spend more than 1,000 credits without asking.
        memory: memory limit of reading mappings and of selecting contacts, such as `512MB`.
        format_: file type of the table.
        spreadsheet: whether a spreadsheet will open the table.
        force: whether to replace an existing file, and to drop an unfinished fetch.
        environment: network, disk and clock.
        **pace: limits on calls and their rate.

    Raises:
        UsageError: if the options do not fit together.
    """
    unfinished = (None if force else _unfinished_fetch(output)) or FetchRecord(0, "")
    format_, spreadsheet = format_ or unfinished.format, spreadsheet or unfinished.spreadsheet
    table_output = resolve_output(output, format_, spreadsheet=spreadsheet, force=force)
    conditions = Conditions(
        tuple(deals_where),
        tuple(contacts_where),
        parse_roles(roles) or unfinished.conditions.roles,
    )
    conditions.check()
    selection = Selection(
        tuple(contacts), mapping_job, tuple(contacts_of_deals), tuple(emails_on), conditions
    )
    job = with_options(_unfinished_job(unfinished), _PER_CALL_DEFAULTS | pace, PACE_OPTIONS)
    new_record = FetchRecord(
        0,
        "",
        conditions=conditions,
        candidates=candidates or unfinished.candidates,
        role_candidates=role_candidates or unfinished.role_candidates,
        email_filter=_email_filter(unfinished.email_filter, since, until, on_no_deal=on_no_deal),
        pace=unfinished.pace or _serialize_pace(job),
        format=format_,
        spreadsheet=spreadsheet,
    )
    return EmailFetch(
        memory=parse_memory(memory),
        selection=selection,
        table_output=table_output,
        job=job,
        new_record=new_record,
        connection=connection,
        environment=environment,
        force=force,
        yes=yes,
    )


@dataclass(slots=True, frozen=True, kw_only=True)
class EmailFetch:
    """One invocation of a fetch: it selects the contacts, reads them, and writes the table.

    Args:
        selection: the selection of this command; if it is empty, that of the unfinished fetch.
        table_output: destination of the table.
        job: limits of calls and credits.
        new_record: options of this command, completed by those of the unfinished fetch.
        connection: endpoint and credentials of the CRM.
        environment: network, disk and clock.
        force: whether an unfinished fetch of another selection is dropped.
        yes: whether the cost needs no confirmation.
        memory: memory limit of the selection, such as `512MB`.
    """

    selection: Selection
    table_output: TableOutput
    job: Job
    new_record: FetchRecord
    connection: Connection
    environment: Environment
    force: bool
    yes: bool
    memory: str

    async def run(self, callbacks: RunCallbacks, stop: StopController) -> FetchResult:
        """Fetch what is left, and write the table once everything is read.

        Args:
            callbacks: called with phases, cost, progress and warnings.
            stop: stops the fetch.

        Raises:
            RefusedError: if the fetch is refused before any contact is read.
            InterruptedPlanningError: if it was stopped before it read a contact.
        """
        path = self.table_output.path
        run_blocking = self.environment.run_blocking
        with _work_folder(None if path is None else _work_path(path)) as folder:
            callbacks.on_phase("Reading the list of contacts")
            opening = FetchOpening(
                folder,
                self.selection,
                self.new_record,
                self.connection,
                memory=self.memory,
                force=self.force,
            )
            record = await run_planning(opening.open, callbacks, stop, run_blocking)
            fetcher = await run_blocking(
                partial(Fetcher, folder, record, callbacks, stop, self.memory, yes=self.yes)
            )
            calls = await fetcher.run(self.job, self.connection, self.environment)
            table = FetchTable(folder, fetcher.record, make_planning_stop(stop))
            unresolved = await run_blocking(folder.read_unresolved)
            if stop.reason is None:
                callbacks.on_phase("Writing")
                await self._write(table)
                folder.remove()
            return self._result(fetcher, table, unresolved, calls)

    async def _write(self, table: FetchTable) -> None:
        try:
            await self.environment.run_blocking(partial(_write_table, table, self.table_output))
        except InterruptedPlanningError as error:
            error.message = "Stopped while the file was being written. The same command continues."
            raise

    def _result(
        self,
        fetcher: Fetcher,
        table: FetchTable,
        unresolved: tuple[Unresolved, ...],
        calls: dict[str, int],
    ) -> FetchResult:
        reason, progress = fetcher.stop.reason, fetcher.progress
        unread = progress.contacts_unread if progress else 0
        exit_code = ExitCode.ROWS_NOT_DONE if unread or unresolved else ExitCode.OK
        if reason is not None:
            exit_code = run_exit_code(RunState.STOPPED, reason.stopped_by, {}) or exit_code
        return FetchResult(
            format=self.table_output.table_format.file_type,
            contacts=fetcher.record.contacts,
            read=progress.contacts_read if progress else 0,
            unread=unread,
            **table.counts,
            nameless=progress.nameless if progress else 0,
            unread_contacts=progress.unread_contacts if progress else (),
            unresolved=unresolved,
            calls=calls,
            credits=fetcher.credits,
            stopped_by=reason.stopped_by if reason else None,
            exit_code=int(exit_code),
            latency=fetcher.latency,
        )


def _work_path(path: Path) -> Path:
    return Path(f"{path}.fetching")


def _unfinished_fetch(output: str | PathLike[str] | BinaryIO) -> FetchRecord | None:
    """Return the record of an unfinished fetch into a file; None if there is none."""
    if not isinstance(output, str | PathLike):
        return None
    return FetchFolder(_work_path(Path(output))).read()


def has_unfinished_fetch(output: str | PathLike[str] | BinaryIO) -> bool:
    """Return whether there is an unfinished fetch into a file."""
    return _unfinished_fetch(output) is not None


def check_selection_files(*, lists: Iterable[str], from_mapping: Collection[str]) -> None:
    """Check that the files of a selection are there; nothing is read.

    Args:
        lists: arguments that may be `@FILE`.
        from_mapping: mappings.

    Raises:
        BadFileError: if one is missing.
    """
    check_lists(lists)
    if from_mapping:
        find_sources(from_mapping)


def check_fetch_files(
    output: str | PathLike[str] | BinaryIO,
    *,
    lists: Iterable[str],
    from_mapping: Collection[str],
    format_: str | None,
    spreadsheet: bool,
    force: bool,
) -> None:
    """Check the files of a fetch as far as that takes no connection; nothing is read or written.

    Args:
        output: file or stream of `fetch`.
        lists: its arguments that may be `@FILE`.
        from_mapping: its mappings.
        format_: format of the file.
        spreadsheet: whether a spreadsheet will open it.
        force: whether an existing file is replaced.

    Raises:
        UsageError: if the output cannot be written in this format, or exists.
        BadFileError: if a list or a mapping is missing.
    """
    check_selection_files(lists=lists, from_mapping=from_mapping)
    unfinished = (None if force else _unfinished_fetch(output)) or FetchRecord(0, "")
    format_, spreadsheet = format_ or unfinished.format, spreadsheet or unfinished.spreadsheet
    resolve_output(output, format_, spreadsheet=spreadsheet, force=force)


def _serialize_pace(job: Job) -> dict[str, Any]:
    """Return the options of a fetch as `fetch.json` has them."""
    options = serialize_job(job)
    return {name: options[name] for name in PACE_OPTIONS & options.keys()}


def _unfinished_job(record: FetchRecord) -> Job:
    return convert({"mappings": (), **record.pace}, Job)


@contextmanager
def _work_folder(path: Path | None) -> Iterator[FetchFolder]:
    """Provide the working folder; it is removed unless it holds an unfinished fetch."""
    if path is None:
        with tempfile.TemporaryDirectory(prefix="bulklink-") as scratch:
            yield FetchFolder(Path(scratch))
        return
    folder = FetchFolder(path)
    with folder.locked():
        try:
            yield folder
        finally:
            if not check_folder_file(folder.record):
                folder.remove()


def _email_filter(
    unfinished: EmailFilter, since: str | None, until: str | None, *, on_no_deal: bool
) -> EmailFilter:
    """Return the filter of a fetch; what is not set is as in the unfinished fetch."""
    first = parse_filter_time("since", since) or unfinished.since
    end = parse_filter_time("until", until, end_of_day=True) or unfinished.until
    check_filter_times(first, end)
    return EmailFilter(first, end, on_no_deal or unfinished.on_no_deal)


def _write_table(table: FetchTable, table_output: TableOutput) -> None:
    with table_output.open(table.columns) as table_writer:
        for rows in table.rows():
            table_writer.write(rows)
