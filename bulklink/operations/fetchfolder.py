"""The folder beside its file in which a fetch keeps what it has, until it comes to its end."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock
import msgspec

from bulklink.atomic_files import replacing, unwritable
from bulklink.errors import LockedError, RunDirError
from bulklink.runs.record import OrgRecord


class FetchRecord(msgspec.Struct, frozen=True):
    """What a fetch is of: the same contacts of the same org can be gone on with."""

    contacts: int
    contacts_sha256: str
    api_url: str | None = None
    data_centre: str | None = None
    org: OrgRecord | None = None


class FetchFolder(msgspec.Struct, frozen=True):
    """The folder of a fetch that has not come to its end."""

    path: Path

    @property
    def contacts(self) -> Path:
        """The contacts, one a line."""
        return self.path / "contacts.txt"

    @property
    def record(self) -> Path:
        """What the fetch is of."""
        return self.path / "fetch.json"

    @property
    def lines(self) -> Path:
        """The emails as they came, and the calls."""
        return self.path / "fetched.jsonl"

    @property
    def answers(self) -> Path:
        """The answers that were no clean success."""
        return self.path / "answers.jsonl"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder and work in it alone.

        Raises:
            LockedError: if another process does.
            RunDirError: if it cannot be made.
        """
        try:
            self.path.mkdir(mode=0o700, exist_ok=True)
            (self.path / ".gitignore").write_text("*\n")
            lock = filelock.FileLock(self.path / "lock", timeout=0, mode=0o600)
            lock.acquire()
        except filelock.Timeout:
            raise LockedError(
                "Another process fetches into this file.",
                where=str(self.path),
                advice="Wait until it ends, or name another file.",
            ) from None
        except OSError as error:
            raise unwritable(self.path, error) from None
        try:
            yield
        finally:
            lock.release()

    def read(self) -> FetchRecord | None:
        """Return what is being fetched here, None if nothing is."""
        try:
            return msgspec.json.decode(self.record.read_bytes(), type=FetchRecord)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            raise RunDirError(
                f"It cannot be read: {error}.",
                where=str(self.record),
                advice="Remove its folder; then the same command fetches anew.",
            ) from None

    def write(self, record: FetchRecord) -> None:
        """Replace the record."""
        with replacing(self.record) as temporary:
            temporary.write_bytes(msgspec.json.encode(record))

    def clear(self) -> None:
        """Forget what was fetched, but stay."""
        for path in (self.record, self.lines, self.answers):
            path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the folder and all in it."""
        shutil.rmtree(self.path, ignore_errors=True)

    def contact_ids(self) -> Iterator[tuple[int, str]]:
        """Yield the contacts, numbered from 0."""
        with self.contacts.open(encoding="ascii") as file:
            for number, line in enumerate(file):
                yield number, line.rstrip("\n")
