"""Working folder of an unfinished fetch."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from bulklink.decoding import decode_json, json_decoder
from bulklink.errors import RunDirError
from bulklink.folder_files import (
    advise_removal,
    check_folder_file,
    line_blocks,
    open_to_append,
    read_small_file,
    split_lines,
)
from bulklink.mapping.contact_selection import SelectionFiles, Unresolved
from bulklink.mapping.schema import id_pattern
from bulklink.models import ForecastType
from bulklink.operations.fetching.log import FetchLine
from bulklink.operations.fetching.selection import Conditions, EmailFilter
from bulklink.operations.work_folder import (
    REMOVE_WORK_FOLDER,
    damaged_error,
    locked_work_folder,
    write_work_record,
)
from bulklink.runs.forecast import CreditRange
from bulklink.runs.record import OrgRecord, Rows, check_address

_ID = re.compile(id_pattern("contact_id"))
_MAX_DIGITS = 18
MAX_UNRESOLVED_NAMED = 1000
"""Requests without a contact to name in the result."""


class FetchRecord(msgspec.Struct, frozen=True):
    """Identity of a fetch, which a resume must match: selection, endpoint and org; and its options.

    Args:
        contacts: number of selected contacts; 0 until they are selected.
        contacts_sha256: SHA-256 of the selection, in hex: of the list of contacts if it has
            nothing else.
        selected_sha256: SHA-256 of the list of the selected contacts, in hex; None until they are
            selected.
        needs_crm: whether the CRM has to be asked to select the contacts.
        conditions: conditions of the selection.
        candidates: whether the deals of the contacts are read.
        role_candidates: whether the table has the deals by contact role that the selection shows,
            even if no deals are read.
        stages: the type of each stage of deals; None until they are read.
        email_filter: emails to keep in the table.
        sampled: calls of the contacts that were left once a random sample was read; None before.
        confirmed: whether these calls may be made.
        api_url: address of the API.
        data_centre: the data centre; None if only the address was given.
        org: the org; None until it is looked up.
        pace: options of `Job` that it was started with.
        format: requested file type; None if the suffix determines it.
        spreadsheet: whether the file is for a spreadsheet.
        credits: forecast of the last command; None if it read too few contacts.
    """

    contacts: Rows
    contacts_sha256: str
    selected_sha256: str | None = None
    needs_crm: bool = False
    conditions: Conditions = Conditions()
    candidates: bool = False
    role_candidates: bool = False
    stages: dict[str, ForecastType] | None = None
    email_filter: EmailFilter = EmailFilter()
    sampled: CreditRange | None = None
    confirmed: bool = False
    api_url: str | None = None
    data_centre: str | None = None
    org: OrgRecord | None = None
    pace: dict[str, Any] = {}
    format: str | None = None
    spreadsheet: bool = False
    credits: CreditRange | None = None


class FetchFolder(msgspec.Struct, frozen=True):
    """Working folder of an unfinished fetch.

    Args:
        path: path of the folder.
    """

    path: Path

    @property
    def requests(self) -> Path:
        """File of the requests for contacts."""
        return self.path / "requests.parquet"

    @property
    def new_requests(self) -> Path:
        """File of the requests of this command, until they are compared with the earlier ones."""
        return self.path / "requests.new.parquet"

    @property
    def contacts(self) -> Path:
        """File of the selected contacts, one id a line."""
        return self.path / "contacts.txt"

    @property
    def reading_order(self) -> Path:
        """File of the contacts as they are read, a number and an id a line; may be missing."""
        return self.path / "reading_order.txt"

    @property
    def deals_to_read(self) -> Path:
        """File of the deals whose contact roles are read, one id a line."""
        return self.path / "deals.txt"

    @property
    def selection_files(self) -> SelectionFiles:
        """The files of the selection."""
        return SelectionFiles(
            self.requests,
            self.log,
            self.contacts,
            self.reading_order,
            self.role_deals,
            self.unresolved,
        )

    @property
    def role_deals(self) -> Path:
        """File of the deals on which selected contacts have a role; may be missing."""
        return self.path / "role_deals.jsonl"

    @property
    def unresolved(self) -> Path:
        """File of the requests that select no contact."""
        return self.path / "unresolved.jsonl"

    @property
    def record(self) -> Path:
        """File of the `FetchRecord`."""
        return self.path / "fetch.json"

    @property
    def log(self) -> Path:
        """File of the emails as they were read, and of the calls."""
        return self.path / "fetched.jsonl"

    @property
    def log_torn(self) -> Path:
        """File of the log's torn last lines, after a kill."""
        return self.path / "fetched.torn"

    @property
    def answers(self) -> Path:
        """File of the answers that are not a clean success."""
        return self.path / "answers.jsonl"

    @property
    def _files(self) -> tuple[Path, ...]:
        """All files of the fetch."""
        return (
            *(self.requests, self.contacts, self.reading_order, self.deals_to_read),
            *(self.role_deals, self.unresolved, self.record, self.log, self.log_torn, self.answers),
        )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Create the folder and hold its lock.

        Raises:
            LockedError: if another process holds it.
            RunDirError: if it cannot be created, or holds a link or another file that is not
                regular.
        """
        with locked_work_folder(
            self.path,
            (*self._files, self.new_requests),
            message="Another process is fetching into this file.",
            advice="Wait until it ends, or use another file.",
        ):
            yield

    @advise_removal()
    def read(self) -> FetchRecord | None:
        """Return the record; None if there is none.

        Raises:
            RunDirError: if it cannot be read.
        """
        try:
            record = decode_json(read_small_file(self.record), FetchRecord)
            check_address(record.api_url)
            record.email_filter.check()
            record.conditions.check_form()
        except FileNotFoundError:
            return None
        except (ValueError, RecursionError):
            raise RunDirError(
                "This is not the record of a fetch.",
                where=str(self.record),
                advice=REMOVE_WORK_FOLDER,
            ) from None
        return record

    def write(self, record: FetchRecord) -> None:
        """Replace the record."""
        write_work_record(self.record, record)

    def create_log(self) -> None:
        """Create the log if it is missing."""
        os.close(open_to_append(self.log))

    def clear(self) -> None:
        """Remove the fetched emails, but keep the folder."""
        for path in self._files:
            path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the folder and everything in it."""
        shutil.rmtree(self.path, ignore_errors=True)

    def read_unresolved(self) -> tuple[Unresolved, ...]:
        """Return the first requests that select no contact.

        Raises:
            RunDirError: if their file is damaged.
        """
        if not check_folder_file(self.unresolved):
            return ()
        decode = json_decoder(Unresolved).decode
        lines = islice(_read_lines(self.unresolved), MAX_UNRESOLVED_NAMED)
        try:
            return tuple(map(decode, lines))
        except (ValueError, RecursionError):
            raise damaged_error(self.unresolved) from None

    def read_role_deals(self) -> Iterator[FetchLine]:
        """Yield the deals on which selected contacts have a role, in the order of the contacts.

        Raises:
            RunDirError: if their file is damaged.
        """
        decode = json_decoder(FetchLine).decode
        try:
            yield from map(decode, _read_lines(self.role_deals))
        except (ValueError, RecursionError):
            raise damaged_error(self.role_deals) from None

    def contact_ids(self) -> Iterator[tuple[int, str]]:
        """Yield the selected contacts, numbered from 0."""
        yield from enumerate(read_ids(self.contacts))

    def contacts_in_reading_order(self, contacts: int) -> Iterator[tuple[int, str]]:
        """Yield the numbers and ids of the contacts, those with the most known deals first.

        Args:
            contacts: number of contacts.

        Raises:
            RunDirError: if the order is damaged.
        """
        if not check_folder_file(self.reading_order):
            yield from self.contact_ids()
            return
        for line in map(_as_ascii, _read_lines(self.reading_order)):
            number, _, contact_id = line.partition(" ")
            is_number = number.isascii() and number.isdigit() and len(number) < _MAX_DIGITS
            if not is_number or int(number) >= contacts or not is_id(contact_id):
                raise damaged_error(self.reading_order)
            yield int(number), contact_id


def read_ids(path: Path) -> Iterator[str]:
    """Yield the ids of a file with one id a line.

    Raises:
        RunDirError: if a line is not an id.
    """
    for line in map(_as_ascii, _read_lines(path)):
        if not is_id(line):
            raise damaged_error(path)
        yield line


def _read_lines(path: Path) -> Iterator[bytes]:
    for block in line_blocks(path):
        yield from split_lines(block)


def _as_ascii(line: bytes) -> str:
    return line.decode("ascii", "replace")


def is_id(text: str) -> bool:
    """Return whether a text is the id of a record."""
    return _ID.fullmatch(text) is not None
