"""Checkpoint of a ledger, recorded in `run.json` when the run last stopped."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from bulklink.blocking import blocks
from bulklink.errors import LedgerError
from bulklink.folder_files import check_folder_file, open_to_read
from bulklink.models import MAX_ROWS


class LedgerCheckpoint(msgspec.Struct, frozen=True):
    """The recorded start of a ledger, and the rows that it may contain.

    Args:
        rows: the highest row number of the run.
        length: length of the recorded lines in bytes; None to skip the comparison.
        sha256: SHA-256 of these lines in hex; None to skip the comparison.
    """

    rows: int = MAX_ROWS
    length: int | None = None
    sha256: str | None = None


NO_CHECKPOINT = LedgerCheckpoint()
"""Empty checkpoint, which matches any ledger."""


@dataclass(slots=True)
class LedgerDigest:
    """SHA-256 of a ledger's lines, computed as they are read and compared with a checkpoint.

    Args:
        path: the ledger.
        checkpoint: checkpoint that the ledger must start with.

    Attributes:
        length: bytes read so far.
    """

    path: Path = Path()
    checkpoint: LedgerCheckpoint = NO_CHECKPOINT
    length: int = 0
    _digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    @property
    def sha256(self) -> str:
        """SHA-256 so far, in hex."""
        return self._digest.hexdigest()

    def copy(self) -> LedgerDigest:
        """Return a digest that continues from here, without a checkpoint."""
        return LedgerDigest(self.path, length=self.length, _digest=self._digest.copy())

    def add(self, block: bytes) -> None:
        """Add the next whole lines.

        Raises:
            LedgerError: if they differ from the checkpoint.
        """
        recorded = self.checkpoint.length
        before, self.length = self.length, self.length + len(block)
        if recorded is not None and before < recorded <= self.length:
            self._digest.update(block[: recorded - before])
            self._compare()
            block = block[recorded - before :]
        self._digest.update(block)

    def end(self) -> None:
        """Check that no recorded line is missing.

        Raises:
            LedgerError: if lines or the file are missing.
        """
        recorded = self.checkpoint.length
        if recorded is not None and not check_folder_file(self.path):
            raise _changed_error(self.path, "There is no ledger.")
        if recorded is not None and self.length < recorded:
            raise _changed_error(
                self.path,
                f"The ledger is shorter than when the run last stopped: {self.length:,} bytes,"
                f" {recorded:,} recorded in run.json.",
            )
        if recorded == 0 and self.checkpoint.sha256 != hashlib.sha256().hexdigest():
            raise _changed_error(self.path, "run.json has a wrong SHA-256 for an empty ledger.")

    def _compare(self) -> None:
        if self.checkpoint.sha256 is not None and self.sha256 != self.checkpoint.sha256:
            raise _changed_error(
                self.path,
                f"The first {self.checkpoint.length:,} bytes of the ledger have changed since the"
                " run last stopped: their SHA-256 differs from the one in run.json.",
            )


def check_written(path: Path, written: LedgerDigest) -> None:
    """Check that a ledger consists of the lines that were read and written, and nothing else.

    Args:
        path: the ledger.
        written: digest of these lines.

    Raises:
        LedgerError: if it does not, or cannot be read.
        RunDirError: if it is not a regular file.
    """
    blocks("a pass over the ledger")
    try:
        with open_to_read(path) as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            length = file.tell()
    except FileNotFoundError:
        raise _changed_error(path, "There is no ledger.") from None
    except OSError as error:
        raise _changed_error(path, f"Cannot read the ledger: {error.strerror}.") from None
    if (length, sha256) != (written.length, written.sha256):
        raise _changed_error(
            path,
            f"The ledger has changed while the run was sent: it has {length:,} bytes,"
            f" {written.length:,} were written, and their SHA-256 differs.",
        )


def _changed_error(path: Path, message: str) -> LedgerError:
    return LedgerError(
        message,
        where=str(path),
        advice="Restore ledger.jsonl and run.json from the same backup: these files do not"
        " show what was done.",
    )
