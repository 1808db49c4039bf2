"""Working folder of an audit: its sorted emails, and what it has read of the CRM so far."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from bulklink.decoding import decode_json
from bulklink.errors import RunDirError
from bulklink.folder_files import (
    advise_removal,
    check_folder_file,
    line_blocks,
    open_to_append,
    read_small_file,
    split_lines,
)
from bulklink.models import ForecastType
from bulklink.operations.work_folder import (
    REMOVE_WORK_FOLDER,
    damaged_error,
    locked_work_folder,
    write_work_record,
)
from bulklink.runs.record import OrgRecord, check_address
from bulklink.zoho.coql import is_field_name


class AuditRecord(msgspec.Struct, frozen=True):
    """Identity of a reading, which a later command must match, and what it knows of the org.

    Args:
        started: when it was started, in seconds since 1970.
        number_field: API name of the field with the deal's own number; None for none.
        api_url: address of the API.
        data_centre: the data centre; None if only the address was given.
        org: the org; None until it is looked up.
        stages: the type of each stage of deals; None until they are read.
        queries: whether deals are read by queries; None until the first one was tried.
        left_out: fields that the org lacks.
        confirmed: the steps whose cost was confirmed.
    """

    started: float
    number_field: str | None = None
    api_url: str | None = None
    data_centre: str | None = None
    org: OrgRecord | None = None
    stages: dict[str, ForecastType] | None = None
    queries: bool | None = None
    left_out: frozenset[str] = frozenset()
    confirmed: frozenset[str] = frozenset()

    def check(self) -> None:
        """Check what was stored.

        Raises:
            ValueError: if the address cannot be parsed, or a field has a name that is none.
        """
        check_address(self.api_url)
        names = (*self.left_out, *(() if self.number_field is None else (self.number_field,)))
        if not all(map(is_field_name, names)):
            raise ValueError("not the name of a field")


class AuditFolder(msgspec.Struct, frozen=True):
    """Working folder of an audit.

    Args:
        path: path of the folder.
    """

    path: Path

    @property
    def record(self) -> Path:
        """File of the `AuditRecord`."""
        return self.path / "audit.json"

    @property
    def log(self) -> Path:
        """File of the deals and timelines as they were read, and of the calls."""
        return self.path / "read.jsonl"

    @property
    def log_torn(self) -> Path:
        """File of the log's torn last lines, after a kill."""
        return self.path / "read.torn"

    @property
    def answers(self) -> Path:
        """File of the answers that are not a clean success."""
        return self.path / "answers.jsonl"

    @property
    def emails(self) -> Path:
        """File of the emails, sorted by contact; each command writes it again."""
        return self.path / "emails.parquet"

    @property
    def to_read(self) -> Path:
        """File of what is still to be read; each step writes it again."""
        return self.path / "to_read.txt"

    @property
    def deals(self) -> Path:
        """File of the deals read so far, for a reading that was stopped."""
        return self.path / "deals.jsonl"

    @property
    def _passing_files(self) -> tuple[Path, ...]:
        return self.emails, self.to_read, self.deals

    @property
    def _files(self) -> tuple[Path, ...]:
        return self.record, self.log, self.log_torn, self.answers, *self._passing_files

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Create the folder and hold its lock; at the end, what nothing was read for is removed.

        Raises:
            LockedError: if another process holds it.
            RunDirError: if it cannot be created, or holds a link or another file that is not
                regular.
        """
        with locked_work_folder(
            self.path,
            self._files,
            message="Another process is auditing this file.",
            advice="Wait until it ends, or audit another file.",
        ):
            try:
                yield
            finally:
                for path in self._passing_files:
                    path.unlink(missing_ok=True)
                if not check_folder_file(self.record):
                    self.remove()

    @advise_removal()
    def read(self) -> AuditRecord | None:
        """Return the record; None if there is none.

        Raises:
            RunDirError: if it cannot be read.
        """
        try:
            record = decode_json(read_small_file(self.record), AuditRecord)
            record.check()
        except FileNotFoundError:
            return None
        except (ValueError, RecursionError):
            raise RunDirError(
                "This is not the record of an audit.",
                where=str(self.record),
                advice=REMOVE_WORK_FOLDER,
            ) from None
        return record

    def write(self, record: AuditRecord) -> None:
        """Replace the record."""
        write_work_record(self.record, record)

    def lines_to_read(self, *kinds: Callable[[str], bool]) -> Iterator[list[str]]:
        """Yield the words of each line of what is still to be read.

        Args:
            *kinds: for each word of a line, a function that returns whether it is valid.

        Raises:
            RunDirError: if a line has other words.
        """
        for block in line_blocks(self.to_read):
            for line in split_lines(block):
                words = line.decode("ascii", "replace").split(" ")
                if len(words) != len(kinds) or not all(
                    is_valid(word) for is_valid, word in zip(kinds, words, strict=True)
                ):
                    raise damaged_error(self.to_read)
                yield words

    def create_log(self) -> None:
        """Create the log if it is missing."""
        os.close(open_to_append(self.log))

    def clear(self) -> None:
        """Remove what was read, but keep the folder and the sorted emails."""
        for path in (self.record, self.log, self.log_torn, self.answers):
            path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the folder and everything in it."""
        shutil.rmtree(self.path, ignore_errors=True)
