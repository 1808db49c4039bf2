"""Working folder of an unfinished fetch."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from bulklink.atomic_files import atomic_replace, write_error
from bulklink.errors import RunDirError
from bulklink.folder_files import (
    check_folder_file,
    create_file,
    line_blocks,
    read_small_file,
    split_lines,
)
from bulklink.runs.folder import exclusive_lock
from bulklink.runs.forecast import CreditRange
from bulklink.runs.record import OrgRecord, Rows, check_address

_GITIGNORE = ".gitignore"
REMOVE = "Remove its folder and run the command again."


class FetchRecord(msgspec.Struct, frozen=True):
    """Identity of a fetch, which a resume must match: contacts, endpoint and org; and its options.

    Args:
        contacts: number of contacts.
        contacts_sha256: SHA-256 of their list, in hex.
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
    def contacts(self) -> Path:
        """File of the contact ids, one a line."""
        return self.path / "contacts.txt"

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

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Create the folder and hold its lock.

        Raises:
            LockedError: if another process holds it.
            RunDirError: if it cannot be created, or holds a link or another file that is not
                regular.
        """
        self._check_files()
        try:
            self.path.mkdir(mode=0o700, exist_ok=True)
            if not check_folder_file(self.path / _GITIGNORE):
                with create_file(self.path / _GITIGNORE) as file:
                    file.write(b"*\n")
        except OSError as error:
            raise write_error(self.path, error) from None
        with exclusive_lock(
            self.path / "lock",
            "Another process is fetching into this file.",
            advice="Wait until it ends, or use another file.",
        ):
            yield

    def _check_files(self) -> None:
        """Refuse links and files that are not regular, before any file is opened."""
        names = ("lock", _GITIGNORE)
        files = (self.contacts, self.record, self.log, self.log_torn, self.answers)
        for path in (*files, *(self.path / name for name in names)):
            check_folder_file(path, one_name=True)

    def read(self) -> FetchRecord | None:
        """Return the record; None if there is none.

        Raises:
            RunDirError: if it cannot be read.
        """
        try:
            record = msgspec.json.decode(read_small_file(self.record), type=FetchRecord)
            check_address(record.api_url)
        except FileNotFoundError:
            return None
        except (ValueError, RecursionError):
            raise RunDirError(
                "This is not the record of a fetch.", where=str(self.record), advice=REMOVE
            ) from None
        return record

    def write(self, record: FetchRecord) -> None:
        """Replace the record."""
        with atomic_replace(self.record) as temporary:
            temporary.write_bytes(msgspec.json.encode(record))

    def clear(self) -> None:
        """Remove the fetched emails, but keep the folder."""
        for path in (self.record, self.log, self.answers):
            path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the folder and everything in it."""
        shutil.rmtree(self.path, ignore_errors=True)

    def contact_ids(self) -> Iterator[tuple[int, str]]:
        """Yield the contact ids, numbered from 0."""
        number = 0
        for block in line_blocks(self.contacts):
            for line in split_lines(block):
                yield number, line.decode("ascii")
                number += 1
