"""Run folder: files, locks, creation."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import filelock
import msgspec

from bulklink.advice import Advice, Keyword, NextCall
from bulklink.atomic_files import write_error
from bulklink.errors import LockedError, RefusedError, RunDirError
from bulklink.folder_files import check_folder_file, check_subfolder, create_file, make_scratch
from bulklink.private_files import make_folder_private
from bulklink.runs.record import RunRecord, read_record, write_record

_RUN_LOCK = "lock"
_VERIFY_LOCK = "verify.lock"
_LOOK_SECONDS = 0.2
"""A process that only looks whether a lock is held holds it for less."""
#: Errors that a file system without locks returns for a lock request.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)


class RunFolder(msgspec.Struct, frozen=True):
    """The folder of one run and its files; accepted wherever a path is.

    Properties are paths; methods read, write and lock.

    Args:
        path: the folder.
    """

    path: Path

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def record(self) -> Path:
        """`run.json`."""
        return self.path / "run.json"

    @property
    def plan(self) -> Path:
        """The sealed plan."""
        return self.path / "plan.parquet"

    @property
    def names(self) -> Path:
        """Looked-up names, in the same order as the rows of the plan."""
        return self.path / "names.parquet"

    @property
    def ledger(self) -> Path:
        """The ledger."""
        return self.path / "ledger.jsonl"

    @property
    def ledger_torn(self) -> Path:
        """Torn last lines of the ledger, after a kill."""
        return self.path / "ledger.torn"

    @property
    def answers(self) -> Path:
        """Answers other than a clean success."""
        return self.path / "answers.jsonl"

    @property
    def timeline(self) -> Path:
        """Metrics per time interval."""
        return self.path / "timeline.jsonl"

    @property
    def rejects(self) -> Path:
        """Refused rows."""
        return self.path / "rejects.csv"

    @property
    def verification(self) -> Path:
        """Findings of all verifications, in order."""
        return self.path / "verify.jsonl"

    @property
    def verification_torn(self) -> Path:
        """Torn last lines of the findings, after a kill."""
        return self.path / "verify.torn"

    @property
    def verification_answers(self) -> Path:
        """Answers to verifications other than a clean success."""
        return self.path / "verify-answers.jsonl"

    @property
    def html_report(self) -> Path:
        """The HTML report, if it was written."""
        return self.path / "report.html"

    @property
    def user_data_files(self) -> tuple[Path, ...]:
        """Files that hold only the user's columns, names and texts; some may be missing."""
        return (
            *(self.rejects, self.answers, self.names, self.ledger_torn, self.html_report),
            self.verification_answers,
        )

    def read(self) -> RunRecord:
        """Read `run.json` after checking all files of the folder; nothing is written.

        Raises:
            RunDirError: if this is not a run folder, or one of its files is a link or another
                non-regular file.
        """
        for path in (*self._written_files, self.record, self.plan, self.names, self.html_report):
            check_folder_file(path)
        check_subfolder(self.scratch)
        return read_record(self.record)

    @property
    def _written_files(self) -> tuple[Path, ...]:
        """Files that are changed in place."""
        return (
            *(self.ledger, self.ledger_torn, self.answers, self.timeline, self.rejects),
            *(self.verification, self.verification_torn, self.verification_answers),
            *(self.path / _RUN_LOCK, self.path / _VERIFY_LOCK),
        )

    def check_writable(self) -> None:
        """Refuse a folder with hard-linked files, before a file is changed in place.

        Raises:
            RunDirError: if a file has several names or is not a regular file.
        """
        for path in self._written_files:
            check_folder_file(path, one_name=True)

    def write(self, record: RunRecord) -> None:
        """Replace `run.json`.

        Raises:
            RunDirError: if it cannot be written.
        """
        write_record(self.record, record)

    @property
    def scratch(self) -> Path:
        """Temporary files of planning and look-ups, removed when these end."""
        return self.path / "scratch"

    def make_scratch(self) -> None:
        """Create the folder of temporary files, empty.

        Raises:
            RunDirError: if it cannot be created.
        """
        make_scratch(self.scratch)

    def clear_scratch(self) -> None:
        """Remove the temporary files."""
        shutil.rmtree(self.scratch, ignore_errors=True)

    def make_private(self) -> bool:
        """Make the folder inaccessible to other users, and return whether that worked."""
        return make_folder_private(self.path)

    def clear_spill(self) -> None:
        """Remove temporary query files left behind by a killed process."""
        for path in self.path.glob("*.spill"):
            shutil.rmtree(path, ignore_errors=True)

    def discard(self, *, keep: bool) -> None:
        """Remove the files of a run without a plan, and the folder too unless `keep`."""
        if not self.path.is_dir():
            return  # moved or deleted meanwhile
        for path in self.path.iterdir():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        if not keep:
            self.path.rmdir()

    @contextmanager
    def run_lock(self) -> Iterator[None]:
        """Hold the lock of the run.

        Raises:
            LockedError: if another process holds it.
            RunDirError: if the folder cannot be written.
        """
        with self._lock(_RUN_LOCK, "drives"):
            yield

    @contextmanager
    def verify_lock(self) -> Iterator[None]:
        """Hold the lock of verifications; the run may be sent at the same time.

        Raises:
            LockedError: if another process holds it.
            RunDirError: if the folder cannot be written.
        """
        with self._lock(_VERIFY_LOCK, "verifies"):
            yield

    def _lock(self, name: str, verb: str) -> AbstractContextManager[None]:
        self.check_writable()
        return exclusive_lock(
            self.path / name,
            f"Another process {verb} this run.",
            advice=Advice(
                "Wait until it ends. See where it stands: {}.", NextCall("status", self.path)
            ),
        )

    def is_running(self) -> bool:
        """Return whether a process is running this run."""
        return is_locked(self.path / _RUN_LOCK)


def is_locked(path: Path) -> bool:
    """Return whether another process holds a lock file."""
    lock = file_lock(path)
    check_folder_file(path, one_name=True)
    try:
        lock.acquire()
    except filelock.Timeout:
        return True
    except OSError:
        return False  # a copy that cannot be written is not running
    lock.release()
    return False


@contextmanager
def exclusive_lock(path: Path, message: str, *, advice: str | Advice) -> Iterator[None]:
    """Hold a lock file; the system releases it when this process ends.

    Args:
        path: the lock file, in the folder that it protects.
        message: message of the error if another process holds it.
        advice: advice of that error.

    Raises:
        LockedError: if another process holds it.
        RunDirError: if the folder cannot be written, or the lock file is not a regular file with
            one name.
    """
    check_folder_file(path, one_name=True)
    lock = file_lock(path, _LOOK_SECONDS)
    try:
        lock.acquire(poll_interval=_LOOK_SECONDS / 4)
    except filelock.Timeout:
        raise LockedError(message, where=str(path.parent), advice=advice) from None
    except OSError as error:
        raise _lock_error(path.parent, error) from None
    try:
        yield
    finally:
        lock.release()


def _lock_error(folder: Path, error: OSError) -> RefusedError:
    """Return the error for a folder whose lock cannot be taken."""
    if error.errno not in _NO_LOCKS:
        return write_error(folder, error)
    return RunDirError(
        "The folder is on a file system without locks, so two processes could send the same"
        " emails.",
        where=str(folder),
        advice=Advice(
            "Use a folder on a disk of this machine ({}, {}, or another output file of fetch). What"
            " was started here can be copied there and continued. A network share (NFS) has locks"
            " if its lock service runs.",
            Keyword("run_dir"),
            Keyword("runs_dir"),
        ),
    )


def file_lock(path: Path, seconds: float = 0.0) -> filelock.BaseFileLock:
    """Return the lock of a file.

    Args:
        path: the file.
        seconds: how long taking it waits for another process that has it.
    """
    return filelock.FileLock(path, timeout=seconds, mode=0o600, thread_local=False)


def create_run_folder(
    run_dir: Path | None, runs_dir: Path, op: str, now: float, tag: str
) -> RunFolder:
    """Create the folder of a new run.

    Args:
        run_dir: the folder, missing or empty; None creates one in `runs_dir` with a name of time,
            op and tag.
        runs_dir: parent folder if `run_dir` is None.
        op: operation of the job.
        now: seconds since 1970.
        tag: a few random characters.

    Raises:
        RunDirError: if the folder is in use or cannot be created.
    """
    path = run_dir if run_dir is not None else runs_dir / new_run_name(op, now, tag)
    try:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise RunDirError(
                "The run folder is in use." if path.is_dir() else "The path is a file.",
                where=str(path),
                advice="Use a folder that is missing or empty.",
            )
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with create_file(path / ".gitignore") as file:
            file.write(b"*\n")
    except OSError as error:
        raise RunDirError(
            f"Cannot create the run folder: {error.strerror or error}.",
            where=str(path),
            advice=Advice(
                "Set a writable folder with {} or {}.",
                Keyword("run_dir"),
                Keyword("runs_dir"),
            ),
        ) from None
    return RunFolder(path)


def new_run_name(op: str, now: float, tag: str) -> str:
    """Return the name of a new run's folder: time, op and tag.

    Args:
        op: operation of the job.
        now: seconds since 1970.
        tag: a few random characters.
    """
    moment = datetime.fromtimestamp(now, UTC).strftime("%Y%m%dT%H%M%SZ")
    return f"{moment}-{op}-{tag}"


def folder_of(run: str | os.PathLike[str]) -> RunFolder:
    """Return the run folder at a path."""
    return RunFolder(Path(run))


def list_run_folders(runs_dir: Path) -> list[RunFolder]:
    """Return the subfolders with a `run.json`, sorted by name."""
    return [RunFolder(path.parent) for path in sorted(runs_dir.glob("*/run.json"))]
