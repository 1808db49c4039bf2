"""`fetch`: read the emails of contacts and write them as one table."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, Unpack

import msgspec

from bulklink.advice import Advice, Keyword
from bulklink.blocking import ThreadRunner
from bulklink.engine.shutdown import StopController
from bulklink.errors import ExitCode, InterruptedPlanningError, UsageError
from bulklink.folder_files import check_folder_file
from bulklink.mapping import contact_ids
from bulklink.mapping.contact_ids import write_unique_contacts
from bulklink.mapping.faults import BAD_OP, CONFLICT
from bulklink.mapping.input.files import find_sources, unreadable_file_error
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.plan_writer import PLAN_FILE
from bulklink.mapping.schema import HiddenRows
from bulklink.operations.callbacks import RunCallbacks
from bulklink.operations.cancellation import make_planning_stop, run_guarded, run_planning
from bulklink.operations.environment import Environment, real_environment
from bulklink.operations.fetching.fetcher import Fetcher
from bulklink.operations.fetching.folder import FetchFolder, FetchRecord
from bulklink.operations.fetching.progress import FetchProgress, UnreadContact
from bulklink.operations.fetching.table import FETCH_COLUMNS, FetchTable
from bulklink.operations.job import Job
from bulklink.operations.job_options import PACE_OPTIONS, PaceOptions, with_options
from bulklink.operations.preflight import check_same_host
from bulklink.operations.prepare import check_mapping, serialize_job
from bulklink.runs.hashes import sha256_of
from bulklink.runs.record import RunState
from bulklink.runs.status import run_exit_code
from bulklink.tables import FileType, TableOutput, resolve_output
from bulklink.zoho.connection import Connection

_PER_CALL_DEFAULTS = PaceOptions(max_credits=None)
_READABLE_REASONS = (BAD_OP, CONFLICT)
"""Faults of a row that still names its contact."""
_PLACEHOLDERS = (("op", "unlink"), ("owner_id", "1"), ("message_id", "x"), ("deal_id", "1"))
"""Values for columns that a mapping may lack if only its contacts are read."""


class ContactSelection(msgspec.Struct, frozen=True):
    """Contacts to fetch: ids, `@FILE` lists and mappings.

    Args:
        arguments: ids, `@FILE` for a list of ids, `-` for such a list from standard input.
        mapping_job: mappings whose contacts are fetched, with their options; None for none.
        standard_input: stream that `-` reads; None for the process's own.
    """

    arguments: Sequence[str]
    mapping_job: Job | None
    standard_input: BinaryIO | None = None

    def ids(
        self, scratch: Path, stop: PlanningStop, warn: Callable[[str | Advice], None]
    ) -> Iterator[tuple[int, str]]:
        """Yield each contact id with its position.

        Args:
            scratch: folder for temporary files.
            stop: interrupts the work.
            warn: called with the rows that cannot be read.

        Raises:
            UsageError: if an argument is not an id, or no contact is given.
            BadFileError: if a file cannot be read.
        """
        if not self.arguments and self.mapping_job is None:
            raise UsageError(
                "No contact is named.",
                where="CONTACTS",
                advice=Advice(
                    "Name ids, @FILE, or - for standard input; or a mapping with {}.",
                    Keyword("from_mapping"),
                ),
            )
        positions = count()
        for argument in self.arguments:
            for contact_id in self._argument_ids(argument):
                stop.check()
                yield next(positions), contact_id
        if self.mapping_job is not None:
            offset = next(positions)
            for row, contact_id in self._mapping_ids(self.mapping_job, scratch, stop, warn):
                yield offset + row, contact_id

    def _argument_ids(self, argument: str) -> Iterator[str]:
        if argument == "-":
            yield from contact_ids.read_contact_list(
                self.standard_input or sys.stdin.buffer, argument
            )
        elif argument.startswith("@"):
            try:
                with Path(argument[1:]).open("rb") as file:
                    yield from contact_ids.read_contact_list(file, argument[1:])
            except OSError as error:
                raise unreadable_file_error(argument[1:], error) from None
        else:
            yield contact_ids.parse_contact_argument(argument)

    def _mapping_ids(
        self, job: Job, scratch: Path, stop: PlanningStop, warn: Callable[[str | Advice], None]
    ) -> Iterator[tuple[int, str]]:
        permissive_job = msgspec.structs.replace(job, defaults=_PLACEHOLDERS)
        with check_mapping(permissive_job, find_sources(job.mappings), scratch, stop) as checked:
            for text in checked.warnings:
                warn(text)
            unreadable_rows = 0
            for refused_row in checked.refused_rows():
                if refused_row.reason in _READABLE_REASONS and refused_row.contact_id:
                    yield refused_row.row, refused_row.contact_id
                else:
                    unreadable_rows += 1
            if unreadable_rows:
                warn(
                    f"{unreadable_rows:,} rows of the mapping cannot be read: contacts that no"
                    " other row names are left out."
                )
            if checked.messages:
                checked.seal(scratch)
                yield from contact_ids.load_plan_contacts(scratch / PLAN_FILE)
                (scratch / PLAN_FILE).unlink()


class FetchResult(msgspec.Struct, frozen=True):
    """Result of a fetch, as `--json` prints it; a stopped fetch has written no table.

    Args:
        format: file type of the table.
        contacts: contacts requested.
        read: contacts read to the end.
        unread: contacts that could not be read.
        emails: emails in the table.
        on_no_deal: emails linked to no deal.
        not_told: emails for which the CRM gave no deal.
        nameless: emails left out for lack of a message id.
        unread_contacts: the first 1,000 unread contacts.
        calls: requests by kind: read, lookup, retried.
        stopped_by: why it stopped; None if complete.
        exit_code: exit code of the command.
    """

    format: FileType
    contacts: int
    read: int
    unread: int
    emails: int
    on_no_deal: int
    not_told: int
    nameless: int
    unread_contacts: tuple[UnreadContact, ...]
    calls: dict[str, int]
    stopped_by: str | None
    exit_code: int


async def fetch(
    contacts: Collection[str],
    output: str | PathLike[str] | BinaryIO,
    connection: Connection,
    *,
    from_mapping: Collection[str] = (),
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
    callbacks: RunCallbacks | None = None,
    stop: StopController | None = None,
    environment: Environment | None = None,
    **pace: Unpack[PaceOptions],
) -> FetchResult:
    """Read all emails of contacts and write them as one table once all are read.

    Until then the emails are in a folder next to the file, with the suffix `.fetching`; the same
    call continues from there. For a stream nothing is stored.

    Args:
        contacts: ids; `@FILE` is a file with an id a line, `-` such a list from standard input.
        output: file, whose suffix determines the format, or stream of bytes.
        connection: endpoint and credentials of the CRM.
        from_mapping: mappings, or other tables with a column `contact_id`, whose contacts to add.
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
        format_: csv, jsonl, parquet or xlsx, if there is no suffix; csv by default for a stream.
        spreadsheet: whether to write CSV whose ids and formulas a spreadsheet keeps as text.
        force: whether to replace an existing file, and to drop an unfinished fetch of other
            contacts.
        callbacks: receives progress and events; None for none.
        stop: stops the fetch from outside.
        environment: network, disk and clock; None for this machine's, others for tests.
        **pace: options of `Job`: limits on calls and their rate. By default these options,
            `format_` and `spreadsheet` are those of the unfinished fetch, except `max_credits`.

    Returns:
        The result; if `stopped_by` is set, no file was written.

    Raises:
        UsageError: if the file cannot be written in this format, or an unfinished fetch has
            other contacts.
        RefusedError: if the contacts cannot be read, or the folder cannot be created.
        WrongOrgError: if an unfinished fetch used another org.
        InterruptedPlanningError: if it was stopped before it read a contact.
    """
    unfinished = (None if force else _unfinished_fetch(output)) or FetchRecord(0, "")
    format_, spreadsheet = format_ or unfinished.format, spreadsheet or unfinished.spreadsheet
    table_output = resolve_output(output, format_, spreadsheet=spreadsheet, force=force)
    mapping_options: dict[str, Any] = {
        "columns": columns,
        "preset": preset,
        "allow_round_ids": allow_round_ids,
        "delimiter": delimiter,
        "quote": quote,
        "escape": escape,
        "skip_lines": skip_lines,
        "encoding": encoding,
        "sheet": sheet,
        "hidden_rows": hidden_rows,
    }
    mapping_job = Job(mappings=tuple(from_mapping), **mapping_options) if from_mapping else None
    selection = ContactSelection(tuple(contacts), mapping_job)
    job = with_options(_unfinished_job(unfinished), _PER_CALL_DEFAULTS | pace, PACE_OPTIONS)
    new_record = FetchRecord(
        0, "", pace=unfinished.pace or _serialize_pace(job), format=format_, spreadsheet=spreadsheet
    )
    environment = environment or real_environment()

    async def work(callbacks: RunCallbacks, stop: StopController) -> FetchResult:
        plan_stop = make_planning_stop(stop)
        return await _Fetch(
            selection=selection,
            table_output=table_output,
            job=job,
            new_record=new_record,
            connection=connection,
            environment=environment,
            force=force,
            callbacks=callbacks,
            stop=stop,
            plan_stop=plan_stop,
        ).run()

    return await run_guarded(work, callbacks, stop)


@dataclass(slots=True, frozen=True, kw_only=True)
class _Fetch:
    """One invocation of a fetch: it records the contacts, reads them, and writes the table."""

    selection: ContactSelection
    table_output: TableOutput
    job: Job
    new_record: FetchRecord
    connection: Connection
    environment: Environment
    force: bool
    callbacks: RunCallbacks
    stop: StopController
    plan_stop: PlanningStop

    async def run(self) -> FetchResult:
        path = self.table_output.path
        with _work_folder(None if path is None else _work_path(path)) as folder:
            self.callbacks.on_phase("Reading the list of contacts")
            record = await run_planning(
                partial(self._begin_or_resume, folder),
                self.callbacks,
                self.stop,
                self.environment.run_blocking,
            )
            fetcher = await self.environment.run_blocking(
                partial(Fetcher, folder, record, self.callbacks, self.stop)
            )
            calls = await fetcher.run(self.job, self.connection, self.environment)
            table = FetchTable(folder, self.plan_stop)
            if self.stop.reason is None:
                await self._write(table, self.environment.run_blocking)
                folder.remove()
            return self._result(record, fetcher.progress, table, calls)

    def _begin_or_resume(
        self, folder: FetchFolder, stop: PlanningStop, warn: Callable[[str | Advice], None]
    ) -> FetchRecord:
        """Begin a fetch, or continue an unfinished one of the same contacts."""
        record = self._record_contacts(folder, stop, warn)
        existing = folder.read()
        if existing is not None and not FetchProgress(folder, existing.contacts).contacts_read:
            existing = None  # nothing is lost
        differs = existing is not None and existing.contacts_sha256 != record.contacts_sha256
        if existing is None or (differs and self.force):
            folder.clear()
            folder.write(record)
            return record
        if differs:
            raise UsageError(
                "An unfinished fetch into this file has other contacts.",
                where=str(folder.path),
                advice=Advice(
                    "Finish it with the command that it was started with, start over with {}, or"
                    " name another file.",
                    Keyword("force", value=True),
                ),
            )
        check_same_host(existing, self.connection)
        return existing

    def _record_contacts(
        self, folder: FetchFolder, stop: PlanningStop, warn: Callable[[str | Advice], None]
    ) -> FetchRecord:
        ids = self.selection.ids(folder.path, stop, warn)
        contacts = write_unique_contacts(ids, folder.contacts)
        return msgspec.structs.replace(
            self.new_record,
            contacts=contacts,
            contacts_sha256=sha256_of(folder.contacts),
            api_url=self.connection.api_url,
            data_centre=self.connection.data_centre,
        )

    async def _write(self, table: FetchTable, run_blocking: ThreadRunner) -> None:
        self.callbacks.on_phase("Writing")
        try:
            await run_blocking(partial(_write_table, table, self.table_output))
        except InterruptedPlanningError as error:
            error.message = "Stopped while the file was being written. The same command continues."
            raise

    def _result(
        self,
        record: FetchRecord,
        progress: FetchProgress,
        table: FetchTable,
        calls: dict[str, int],
    ) -> FetchResult:
        reason = self.stop.reason
        exit_code = ExitCode.ROWS_NOT_DONE if progress.contacts_unread else ExitCode.OK
        if reason is not None:
            exit_code = run_exit_code(RunState.STOPPED, reason.stopped_by, {}) or exit_code
        return FetchResult(
            format=self.table_output.table_format.file_type,
            contacts=record.contacts,
            read=progress.contacts_read,
            unread=progress.contacts_unread,
            **table.counts,
            nameless=progress.nameless,
            unread_contacts=progress.unread_contacts,
            calls=calls,
            stopped_by=reason.stopped_by if reason else None,
            exit_code=int(exit_code),
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


def _serialize_pace(job: Job) -> dict[str, Any]:
    """Return the options of a fetch as `fetch.json` has them."""
    options = serialize_job(job)
    return {name: options[name] for name in PACE_OPTIONS & options.keys()}


def _unfinished_job(record: FetchRecord) -> Job:
    return msgspec.convert({"mappings": (), **record.pace}, Job)


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


def _write_table(table: FetchTable, table_output: TableOutput) -> None:
    with table_output.open(FETCH_COLUMNS) as table_writer:
        for rows in table.rows():
            table_writer.write(rows)
