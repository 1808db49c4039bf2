"""Fetching the emails of contacts: the entry point and its result."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count
from os import PathLike
from pathlib import Path
from typing import Any, BinaryIO, Unpack

import anyio.from_thread
import anyio.to_thread
import msgspec

from bulklink.engine.shutdown import StopController
from bulklink.errors import ExitCode, InterruptedPlanningError, UsageError
from bulklink.mapping import contact_ids
from bulklink.mapping.contact_ids import write_unique_contacts
from bulklink.mapping.faults import BAD_OP, CONFLICT
from bulklink.mapping.input.files import find_sources, unreadable_file_error
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.plan_writer import PLAN_FILE
from bulklink.operations.callbacks import RunCallbacks
from bulklink.operations.cancellation import make_planning_stop, run_guarded
from bulklink.operations.environment import real_environment
from bulklink.operations.fetch_run import (
    FETCH_COLUMNS,
    Fetcher,
    FetchFolder,
    FetchProgress,
    FetchRecord,
    FetchTable,
    UnreadContact,
)
from bulklink.operations.job import PACE_OPTIONS, Job, PaceOptions, with_options
from bulklink.operations.preflight import check_same_host
from bulklink.operations.prepare import check_mapping
from bulklink.runs.hashes import sha256_of
from bulklink.runs.record import RunState
from bulklink.runs.status import run_exit_code
from bulklink.tables import FileType, TableOutput, resolve_output
from bulklink.zoho.connection import Connection

_READABLE_REASONS = (BAD_OP, CONFLICT)
"""What can be wrong with a row that names its contact well."""
_PLACEHOLDERS = (("op", "unlink"), ("owner_id", "1"), ("message_id", "x"), ("deal_id", "1"))
"""What a mapping may leave out where its contacts alone are of interest."""


class ContactSelection(msgspec.Struct, frozen=True):
    """The contacts that are asked for.

    Args:
        arguments: ids, `@FILE` for a list of ids, `-` for such a list from standard input.
        mapping_job: how mappings are read whose contacts are asked for; None for none.
        standard_input: what `-` reads; the process's own if None.
    """

    arguments: Sequence[str]
    mapping_job: Job | None
    standard_input: BinaryIO | None = None

    def ids(
        self, scratch: Path, stop: PlanningStop, warn: Callable[[str], None]
    ) -> Iterator[tuple[int, str]]:
        """Yield each with its place.

        Args:
            scratch: a folder for temporary files.
            stop: ends the reading.
            warn: told of rows that cannot be read.

        Raises:
            UsageError: if an argument is no id, or none is asked for.
            BadFileError: if a file cannot be read.
        """
        if not self.arguments and self.mapping_job is None:
            raise UsageError(
                "No contact is named.",
                where="CONTACTS",
                advice="Name ids, @FILE, or - for standard input; or give --from-mapping FILE.",
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
        self, job: Job, scratch: Path, stop: PlanningStop, warn: Callable[[str], None]
    ) -> Iterator[tuple[int, str]]:
        permissive_job = msgspec.structs.replace(job, defaults=_PLACEHOLDERS)
        with check_mapping(permissive_job, find_sources(job.mappings), scratch, stop) as checked:
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
    """What a fetch came to: what `--json` prints beside the file.

    `read` of `contacts` were read, `contacts_unread` could not be; `unread_contacts` names the
    first thousand. `emails` are in the file, `on_no_deal` and `not_told` (no deal is told) of them;
    `nameless` ones, without a message id, are not. Where the fetch was stopped, there is no file.
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
    delimiter: str | None = None,
    encoding: str | None = None,
    format_: str | None = None,
    spreadsheet: bool = False,
    force: bool = False,
    callbacks: RunCallbacks | None = None,
    stop: StopController | None = None,
    **pace: Unpack[PaceOptions],
) -> FetchResult:
    """Read all emails of some contacts and write them as one table, when all are read.

    What was read stays in a folder beside the file until then, called as it with `.fetching`: the
    same call goes on with it. Where a stream takes the table, nothing is kept.

    Args:
        contacts: ids; `@FILE` is a file with an id a line, `-` such a list from standard input.
        output: the file, whose name tells the format, or a stream of bytes.
        connection: where the CRM is and how to sign in.
        from_mapping: mappings, or other tables with a column `contact_id`: their contacts too.
        columns: (column, header) pairs that rename headers of these.
        delimiter: what parts the cells of these, where they are CSV; None finds it.
        encoding: the encoding of these, where they are CSV or JSONL; None is UTF-8.
        format_: csv, jsonl, parquet or xlsx, where no name tells; a stream takes csv by default.
        spreadsheet: write CSV that a spreadsheet neither rounds nor runs.
        force: replace a file that is there, and forget what was read of other contacts.
        callbacks: call-backs; None watches nothing.
        stop: by which it can be stopped from outside.
        **pace: options of `Job`: how many calls are made, and how fast.

    Returns:
        What was read; `stopped_by` tells if it was stopped: there is no file then.

    Raises:
        UsageError: if the file cannot be written so, or other contacts were being fetched into it.
        RefusedError: if the contacts cannot be told, or the folder not be made.
        WrongOrgError: if what was begun was begun elsewhere.
        InterruptedPlanningError: if it was stopped while it read no contact.
    """
    table_output = resolve_output(output, format_, spreadsheet=spreadsheet, force=force)
    mapping_options: dict[str, Any] = {
        "columns": columns,
        "delimiter": delimiter,
        "encoding": encoding,
    }
    mapping_job = Job(mappings=tuple(from_mapping), **mapping_options) if from_mapping else None
    selection = ContactSelection(tuple(contacts), mapping_job)
    job = with_options(None, pace, PACE_OPTIONS)
    work = partial(_fetch, selection, table_output, job, connection, force=force)
    return await run_guarded(work, callbacks, stop)


async def _fetch(
    selection: ContactSelection,
    table_output: TableOutput,
    job: Job,
    connection: Connection,
    callbacks: RunCallbacks,
    stop: StopController,
    *,
    force: bool,
) -> FetchResult:
    plan_stop = make_planning_stop(stop)
    with _work_folder(
        None if table_output.path is None else Path(f"{table_output.path}.fetching")
    ) as folder:
        callbacks.on_phase("Reading which contacts")
        open_record = partial(
            _begin_or_resume, folder, selection, connection, callbacks, plan_stop, force=force
        )
        record = await anyio.to_thread.run_sync(open_record)
        fetcher = Fetcher(folder, record, callbacks, stop)
        calls = await fetcher.run(job, connection, real_environment())
        table = FetchTable(folder, plan_stop)
        if stop.reason is None:
            callbacks.on_phase("Writing")
            try:
                await anyio.to_thread.run_sync(_write, table, table_output)
            except InterruptedPlanningError as error:
                error.message = "Stopped while the file was written; the same command goes on."
                raise
            folder.remove()
        return _fetch_result(
            table_output.table_format.file_type, record, fetcher.progress, table, calls, stop
        )


@contextmanager
def _work_folder(path: Path | None) -> Iterator[FetchFolder]:
    """Give the folder to work in; one that holds nothing to go on with is removed again."""
    if path is None:
        with tempfile.TemporaryDirectory(prefix="bulklink-") as scratch:
            yield FetchFolder(Path(scratch))
        return
    folder = FetchFolder(path)
    with folder.locked():
        try:
            yield folder
        finally:
            if not folder.record.exists():
                folder.remove()


def _begin_or_resume(
    folder: FetchFolder,
    selection: ContactSelection,
    connection: Connection,
    callbacks: RunCallbacks,
    stop: PlanningStop,
    *,
    force: bool,
) -> FetchRecord:
    """Begin a fetch, or go on with the one that is there if it is the same."""

    def warn(text: str) -> None:
        anyio.from_thread.run_sync(callbacks.on_warning, text)

    count = write_unique_contacts(selection.ids(folder.path, stop, warn), folder.contacts)
    record = FetchRecord(
        count, sha256_of(folder.contacts), connection.api_url, connection.data_centre
    )
    existing = folder.read()
    if existing is not None and not FetchProgress(folder, existing.contacts).contacts_read:
        existing = None  # nothing is lost
    differs = existing is not None and existing.contacts_sha256 != record.contacts_sha256
    if existing is None or (differs and force):
        folder.clear()
        folder.write(record)
        return record
    if differs:
        raise UsageError(
            "Other contacts were being fetched into this file, and not to the end.",
            where=str(folder.path),
            advice="Finish that with the command it was begun with, start anew with --force, or"
            " name another file.",
        )
    check_same_host(existing, connection)
    return existing


def _write(table: FetchTable, table_output: TableOutput) -> None:
    with table_output.open(FETCH_COLUMNS) as table_writer:
        for rows in table.rows():
            table_writer.write(rows)


def _fetch_result(
    file_type: FileType,
    record: FetchRecord,
    progress: FetchProgress,
    table: FetchTable,
    calls: dict[str, int],
    stop: StopController,
) -> FetchResult:
    reason = stop.reason
    exit_code = ExitCode.ROWS_NOT_DONE if progress.contacts_unread else ExitCode.OK
    if reason is not None:
        exit_code = run_exit_code(RunState.STOPPED, reason.stopped_by, {}) or exit_code
    return FetchResult(
        format=file_type,
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
