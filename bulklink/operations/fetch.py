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

from bulklink.engine.shutdown import Stopping
from bulklink.errors import ExitCode, InterruptedPlanningError, UsageError
from bulklink.mapping import contact_ids
from bulklink.mapping.contact_ids import write_once_each
from bulklink.mapping.faults import BAD_OP, CONFLICT
from bulklink.mapping.input.files import sources, unreadable
from bulklink.mapping.interrupt import Stop
from bulklink.mapping.plan_writer import PLAN
from bulklink.operations.callbacks import Watch
from bulklink.operations.cancellation import guarded, planning_stop
from bulklink.operations.environment import real_surroundings
from bulklink.operations.fetch_run import (
    COLUMNS,
    FetchedTable,
    Fetcher,
    FetchFolder,
    FetchRecord,
    Progress,
    UnreadContact,
)
from bulklink.operations.job import PACE, Job, PaceOptions, with_options
from bulklink.operations.preflight import check_place
from bulklink.operations.prepare import check_mapping
from bulklink.runs.hashes import sha256_of
from bulklink.runs.record import State
from bulklink.runs.status import exit_code_of
from bulklink.tables import Kind, Output, output_to
from bulklink.zoho.connection import Connection

_READABLE = (BAD_OP, CONFLICT)
"""What can be wrong with a row that names its contact well."""
_FILLED = (("op", "unlink"), ("owner_id", "1"), ("message_id", "x"), ("deal_id", "1"))
"""What a mapping may leave out where its contacts alone are of interest."""


class AskedContacts(msgspec.Struct, frozen=True):
    """The contacts that are asked for.

    Args:
        given: ids, `@FILE` for a list of ids, `-` for such a list from standard input.
        mappings: how mappings are read whose contacts are asked for; None for none.
        standard_input: what `-` reads; the process's own if None.
    """

    given: Sequence[str]
    mappings: Job | None
    standard_input: BinaryIO | None = None

    def ids(
        self, scratch: Path, stop: Stop, warn: Callable[[str], None]
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
        if not self.given and self.mappings is None:
            raise UsageError(
                "No contact is named.",
                where="CONTACTS",
                advice="Name ids, @FILE, or - for standard input; or give --from-mapping FILE.",
            )
        places = count()
        for one in self.given:
            for contact_id in self._ids(one):
                stop.check()
                yield next(places), contact_id
        if self.mappings is not None:
            first = next(places)
            for row, contact_id in self._of_mappings(self.mappings, scratch, stop, warn):
                yield first + row, contact_id

    def _ids(self, one: str) -> Iterator[str]:
        if one == "-":
            yield from contact_ids.listed(self.standard_input or sys.stdin.buffer, one)
        elif one.startswith("@"):
            try:
                with Path(one[1:]).open("rb") as file:
                    yield from contact_ids.listed(file, one[1:])
            except OSError as error:
                raise unreadable(one[1:], error) from None
        else:
            yield contact_ids.given(one)

    def _of_mappings(
        self, job: Job, scratch: Path, stop: Stop, warn: Callable[[str], None]
    ) -> Iterator[tuple[int, str]]:
        filled = msgspec.structs.replace(job, defaults=_FILLED)
        with check_mapping(filled, sources(job.mappings), scratch, stop) as checked:
            unreadable_rows = 0
            for refused in checked.refused_rows():
                if refused.reason in _READABLE and refused.contact_id:
                    yield refused.row, refused.contact_id
                else:
                    unreadable_rows += 1
            if unreadable_rows:
                warn(
                    f"{unreadable_rows:,} rows of the mapping cannot be read: contacts that no"
                    " other row names are left out."
                )
            if checked.messages:
                checked.seal(scratch)
                yield from contact_ids.planned(scratch / PLAN)
                (scratch / PLAN).unlink()


class Fetched(msgspec.Struct, frozen=True):
    """What a fetch came to: what `--json` prints beside the file.

    `read` of `contacts` were read, `unread` could not be; `unread_contacts` names the first
    thousand. `emails` are in the file, `on_no_deal` and `not_told` (no deal is told) of them;
    `nameless` ones, without a message id, are not. Where the fetch was stopped, there is no file.
    """

    format: Kind
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
    watch: Watch | None = None,
    stopping: Stopping | None = None,
    **pace: Unpack[PaceOptions],
) -> Fetched:
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
        watch: call-backs; None watches nothing.
        stopping: by which it can be stopped from outside.
        **pace: options of `Job`: how many calls are made, and how fast.

    Returns:
        What was read; `stopped_by` tells if it was stopped: there is no file then.

    Raises:
        UsageError: if the file cannot be written so, or other contacts were being fetched into it.
        RefusedError: if the contacts cannot be told, or the folder not be made.
        WrongOrgError: if what was begun was begun elsewhere.
        InterruptedPlanningError: if it was stopped while it read no contact.
    """
    to = output_to(output, format_, spreadsheet=spreadsheet, force=force)
    names: dict[str, Any] = {"columns": columns, "delimiter": delimiter, "encoding": encoding}
    mappings = Job(mappings=tuple(from_mapping), **names) if from_mapping else None
    asked = AskedContacts(tuple(contacts), mappings)
    limits = with_options(None, pace, PACE)
    work = partial(_fetch, asked, to, limits, connection, afresh=force)
    return await guarded(work, watch, stopping)


async def _fetch(
    asked: AskedContacts,
    to: Output,
    limits: Job,
    connection: Connection,
    watch: Watch,
    stopping: Stopping,
    *,
    afresh: bool,
) -> Fetched:
    stop = planning_stop(stopping)
    with _folder(None if to.path is None else Path(f"{to.path}.fetching")) as folder:
        watch.phase("Reading which contacts")
        begin = partial(_begun, folder, asked, connection, watch, stop, afresh=afresh)
        record = await anyio.to_thread.run_sync(begin)
        fetcher = Fetcher(folder, record, watch, stopping)
        calls = await fetcher.run(limits, connection, real_surroundings())
        table = FetchedTable(folder, stop)
        if stopping.reason is None:
            watch.phase("Writing")
            try:
                await anyio.to_thread.run_sync(_write, table, to)
            except InterruptedPlanningError as error:
                error.message = "Stopped while the file was written; the same command goes on."
                raise
            folder.remove()
        return _told(to.form.kind, record, fetcher.progress, table, calls, stopping)


@contextmanager
def _folder(beside: Path | None) -> Iterator[FetchFolder]:
    """Give the folder to work in; one that holds nothing to go on with is removed again."""
    if beside is None:
        with tempfile.TemporaryDirectory(prefix="bulklink-") as scratch:
            yield FetchFolder(Path(scratch))
        return
    folder = FetchFolder(beside)
    with folder.held():
        try:
            yield folder
        finally:
            if not folder.record.exists():
                folder.remove()


def _begun(
    folder: FetchFolder,
    asked: AskedContacts,
    connection: Connection,
    watch: Watch,
    stop: Stop,
    *,
    afresh: bool,
) -> FetchRecord:
    """Begin a fetch, or go on with the one that is there if it is the same."""

    def warn(text: str) -> None:
        anyio.from_thread.run_sync(watch.warn, text)

    count = write_once_each(asked.ids(folder.path, stop, warn), folder.contacts)
    record = FetchRecord(
        count, sha256_of(folder.contacts), connection.api_url, connection.data_centre
    )
    before = folder.read()
    if before is not None and not Progress(folder, before.contacts).finished:
        before = None  # nothing is lost
    other = before is not None and before.contacts_sha256 != record.contacts_sha256
    if before is None or (other and afresh):
        folder.clear()
        folder.write(record)
        return record
    if other:
        raise UsageError(
            "Other contacts were being fetched into this file, and not to the end.",
            where=str(folder.path),
            advice="Finish that with the command it was begun with, start anew with --force, or"
            " name another file.",
        )
    check_place(before, connection)
    return before


def _write(table: FetchedTable, to: Output) -> None:
    with to.open(COLUMNS) as written:
        for rows in table.rows():
            written.write(rows)


def _told(
    kind: Kind,
    record: FetchRecord,
    progress: Progress,
    table: FetchedTable,
    calls: dict[str, int],
    stopping: Stopping,
) -> Fetched:
    reason = stopping.reason
    code = ExitCode.ROWS_NOT_DONE if progress.unread else ExitCode.OK
    if reason is not None:
        code = exit_code_of(State.STOPPED, reason.by, {}) or code
    return Fetched(
        format=kind,
        contacts=record.contacts,
        read=progress.finished,
        unread=progress.unread,
        **table.counts,
        nameless=progress.nameless,
        unread_contacts=progress.named,
        calls=calls,
        stopped_by=reason.by if reason else None,
        exit_code=int(code),
    )
