"""Audits whose review pages the page shows."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from bulklink.folder_files import open_to_read
from bulklink.html_pages.review.render import HEAD_BYTES, is_of_this_version
from bulklink.ledger.records import timestamp
from bulklink.operations.auditing.files import REVIEW_SUFFIX

MAX_AUDITS = 100
"""Maximum audits that are listed: the newest."""
_MAX_PAGE_BYTES = 256 << 20


class Audit(msgspec.Struct, frozen=True):
    """An audit, known by its review page.

    Args:
        path: the review page.
        made_at: when it was made, RFC 3339.
    """

    path: Path
    made_at: str

    @property
    def id(self) -> str:
        """What names it in an address."""
        return hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]

    @property
    def name(self) -> str:
        """Name of its mapping, without a suffix."""
        return self.path.name.removesuffix(REVIEW_SUFFIX)

    def is_readable(self) -> bool:
        """Return whether the page can be shown: this version made it, and it is not too large.

        Raises:
            FileNotFoundError: if it is gone.
            RunDirError: if it cannot be read.
        """
        with open_to_read(self.path) as file:
            size = os.fstat(file.fileno()).st_size
            return size <= _MAX_PAGE_BYTES and is_of_this_version(file.read(HEAD_BYTES))


class Audits:
    """Audits in some folders. All methods block.

    Args:
        folders: the folders; any may be missing.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = dict.fromkeys(folder.resolve() for folder in folders)

    @classmethod
    def near(cls, runs_dir: Path, folder: Path | None = None) -> Audits:
        """Return the audits in the folder of runs, and in another.

        Args:
            runs_dir: the folder of runs.
            folder: the other folder; None for that which contains the folder of runs.
        """
        runs_dir = runs_dir if runs_dir.name not in ("", "..") else runs_dir.resolve()
        return cls((runs_dir, folder or runs_dir.parent))

    def all(self) -> list[Audit]:
        """Return the audits, the newest first."""
        audits = sorted(self._found(), key=lambda audit: audit.made_at, reverse=True)
        return audits[:MAX_AUDITS]

    def find(self, audit_id: str) -> Audit | None:
        """Return the audit of this id; None if none is listed."""
        return next((audit for audit in self.all() if audit.id == audit_id), None)

    def _found(self) -> Iterator[Audit]:
        for folder in self._folders:
            for path in folder.glob(f"*{REVIEW_SUFFIX}"):
                try:
                    status = os.lstat(path)
                except OSError:
                    continue
                if stat.S_ISREG(status.st_mode):
                    yield Audit(path, timestamp(status.st_mtime))
