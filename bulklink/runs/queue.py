"""Queue of a runs folder: runs that a person approved, for a worker to send.

The approvals are beside the run folders and not in them, so that a folder from somebody else brings
none along; and each is signed with a key of this machine, so that a whole runs folder brings none.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import filelock
import msgspec

from bulklink.advice import Advice, NextCall
from bulklink.atomic_files import write_error, write_json
from bulklink.decoding import decode_json
from bulklink.errors import BulklinkError, LockedError, RunDirError
from bulklink.folder_files import check_folder_file, check_subfolder, create_file, read_small_file
from bulklink.runs.folder import RunFolder, exclusive_lock, file_lock, is_locked
from bulklink.runs.job_folder import find_job, list_folders
from bulklink.runs.record import OrgRecord

_FOLDER = ".queue"
_SUFFIX = ".approved"
_MAX_NAME_BYTES = 240
_LOCK_SECONDS = 30.0


class Approval(msgspec.Struct, frozen=True, kw_only=True):
    """A run or job that a worker may send without a question.

    Args:
        run: name of its folder.
        created: time of its creation, which identifies it; RFC 3339 in UTC.
        digest: digest of the plan that was approved.
        op: its operation.
        messages: messages that it sends.
        invocations: commands that had run it when it was approved.
        approved: time of the approval, RFC 3339 in UTC.
        position: position in the queue; lower ones of the same org are sent first.
        org_key: key of the org, or of the connection if the org is unknown.
        org: the org that was shown for approval; None if it was not looked up.
        profile: profile to connect with; None for that of the worker.
        options: words of the command line that set options of sending.
        canary: messages of the canary; None for that of the plan.
        accept_canary: whether to continue after a failed canary.
    """

    run: str
    created: str
    digest: str
    op: str
    messages: int
    invocations: int
    approved: str
    position: int = 0
    org_key: str
    org: OrgRecord | None = None
    profile: str | None = None
    options: tuple[str, ...] = ()
    canary: int | None = None
    accept_canary: bool = False


_Entry = tuple[tuple[int, int, int], Approval | RunDirError]
"""An approval, or what is wrong with it, after the mark of its file."""


class _SignedApproval(msgspec.Struct, frozen=True):
    approval: Approval
    signature: str


class LeftRun(msgspec.Struct, frozen=True):
    """Why a worker left a run to a person.

    Args:
        code: code of the error, or StoppedBy value.
        message: what is wrong, for the user.
        holds_org: whether later runs of the org wait until a person has acted.
        invocations: commands that had run it by then; None if its folder could not be read.
    """

    code: str
    message: str
    holds_org: bool = False
    invocations: int | None = None


class RunNotes(msgspec.Struct, frozen=True):
    """What workers noted about an approved run.

    Args:
        approved: time of the approval that the notes are about.
        started: whether a child process was started that has not ended as far as known.
        deaths: child processes that died since the last one that did not.
        left: why it was left to a person; None if it was not.
    """

    approved: str
    started: bool = False
    deaths: int = 0
    left: LeftRun | None = None


class QueuedRun(msgspec.Struct, frozen=True):
    """A run in the queue.

    Args:
        run_dir: its folder.
        op: its operation.
        messages: messages that it sends.
        org: name of its org, as far as known.
        profile: profile to connect with; None for that of the worker.
        approved: time of its approval, RFC 3339 in UTC.
        state: running; ready to be started; waiting for credits; behind another run of its org;
            left to a person; or finished, and removed by the next worker.
        until: when credits are expected, RFC 3339; None if it does not wait for them.
        behind: name of the run of its org that goes first; None without one.
        code: why it was left, an error code or a StoppedBy value; None if it was not.
        message: why it was left, in words; None if it was not.
    """

    run_dir: str
    op: str
    messages: int
    org: str | None
    profile: str | None
    approved: str
    state: str
    until: str | None = None
    behind: str | None = None
    code: str | None = None
    message: str | None = None


class QueueOverview(msgspec.Struct, frozen=True):
    """The queue of a runs folder.

    Args:
        worker: whether a worker drives its runs.
        runs: the runs, by position.
        problems: approvals that are not valid.
    """

    worker: bool
    runs: tuple[QueuedRun, ...]
    problems: tuple[str, ...] = ()


class RunQueue:
    """Queue of a runs folder.

    Args:
        runs_dir: parent of the run folders.
        key: key of this machine, with which approvals are signed.
    """

    def __init__(self, runs_dir: Path, key: str) -> None:
        self.runs_dir = runs_dir
        self._key = key.encode()
        self._folder = runs_dir / _FOLDER
        self._read: dict[str, _Entry] = {}

    @staticmethod
    def exists_in(runs_dir: Path) -> bool:
        """Return whether a run of a folder was ever approved, or a worker started in it."""
        return os.path.lexists(runs_dir / _FOLDER)

    def add(self, approval: Approval) -> Approval:
        """Add an approval behind all others; one of the same run is replaced in its place.

        Returns:
            The approval with its position.

        Raises:
            LockedError: if the queue stays locked.
            RunDirError: if the queue cannot be written.
        """
        with self._lock():
            positions = {found.run: found.position for found in self.approvals()}
            last = max(positions.values(), default=0)
            position = positions.get(approval.run, last + 1)
            approval = msgspec.structs.replace(approval, position=position)
            signed = _SignedApproval(approval, self._signature(approval))
            write_json(self._path(approval.run), signed)
        return approval

    def remove(self, run: str) -> bool:
        """Remove the approval of a run; return whether there was one.

        Raises:
            RunDirError: if the queue cannot be written.
        """
        try:
            self._path(run).unlink()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise write_error(self._folder, error) from None
        return True

    def approvals(self) -> list[Approval]:
        """Return the valid approvals by position."""
        found = [entry for entry in self.entries().values() if isinstance(entry, Approval)]
        return sorted(found, key=lambda approval: (approval.position, approval.run))

    def entries(self) -> Mapping[str, Approval | RunDirError]:
        """Return all approvals by name of their file; an error in place of one that is not valid.

        Raises:
            RunDirError: if the queue is a link, or cannot be read.
        """
        check_subfolder(self._folder)
        read: dict[str, _Entry] = {}
        try:
            with os.scandir(self._folder) as files:
                for file in files:
                    if file.name.endswith(_SUFFIX):
                        with suppress(FileNotFoundError):  # removed since the folder was listed
                            read[file.name] = self._entry(file)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise RunDirError(
                f"Cannot read the queue: {error.strerror or error}.",
                where=str(self._folder),
                advice="Check that the folder exists and that you may read it.",
            ) from None
        self._read = read
        return {name: entry for name, (_, entry) in read.items()}

    def notes(self) -> dict[str, RunNotes]:
        """Return what workers noted, by name of the run; empty if it cannot be read."""
        with suppress(BulklinkError, OSError, ValueError, RecursionError):
            return decode_json(read_small_file(self._notes), dict[str, RunNotes])
        return {}

    def write_notes(self, notes: Mapping[str, RunNotes]) -> None:
        """Replace what workers noted.

        Raises:
            RunDirError: if it cannot be written.
        """
        write_json(self._notes, dict(notes))

    def worker_lock(self) -> AbstractContextManager[None]:
        """Return a context that holds the lock of the worker.

        Raises:
            LockedError: if another worker drives these runs.
            RunDirError: if the folder cannot be written.
        """
        self._create()
        return exclusive_lock(
            self._worker_lock,
            "Another worker drives the runs of this folder.",
            advice=Advice(
                "One is enough: it can have more slots. See what it does: {}.",
                NextCall("status", self.runs_dir),
            ),
        )

    def has_worker(self) -> bool:
        """Return whether a worker drives these runs."""
        return self._folder.is_dir() and is_locked(self._worker_lock)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        self._create()
        path = self._folder / "queue.lock"
        check_folder_file(path, one_name=True)
        try:
            with file_lock(path, _LOCK_SECONDS):
                yield
        except filelock.Timeout:
            raise LockedError(
                "Another process changes the queue.",
                where=str(self._folder),
                advice="Try again.",
            ) from None

    def _create(self) -> None:
        if not self.runs_dir.is_dir():
            raise RunDirError(
                "There is no such folder.",
                where=str(self.runs_dir),
                advice="Name the folder that contains the run folders.",
            )
        check_subfolder(self._folder)
        try:
            self._folder.mkdir(mode=0o700, exist_ok=True)
            with suppress(FileExistsError), create_file(self._folder / ".gitignore") as file:
                file.write(b"*\n")
        except OSError as error:
            raise write_error(self._folder, error) from None

    @property
    def _notes(self) -> Path:
        return self._folder / "worker.json"

    @property
    def _worker_lock(self) -> Path:
        return self._folder / "worker.lock"

    def _path(self, run: str) -> Path:
        encoded = run.encode()
        is_long = len(encoded) > _MAX_NAME_BYTES
        name = hashlib.sha256(encoded).hexdigest() if is_long else run
        return self._folder / f"{name}{_SUFFIX}"

    def _signature(self, approval: Approval) -> str:
        return hmac.new(self._key, msgspec.json.encode(approval), hashlib.sha256).hexdigest()

    def _entry(self, file: os.DirEntry[str]) -> _Entry:
        """Return an approval, read only if its file is another one than at the last time."""
        status = file.stat(follow_symlinks=False)
        mark = (status.st_mtime_ns, status.st_ino, status.st_size)
        known = self._read.get(file.name)
        return known if known and known[0] == mark else (mark, self._load(file.name))

    def _load(self, name: str) -> Approval | RunDirError:
        path = self._folder / name
        try:
            signed = decode_json(read_small_file(path), _SignedApproval)
        except FileNotFoundError:
            raise
        except RunDirError as error:
            return error
        except (OSError, ValueError, RecursionError):
            return _bad_approval(path, "This approval cannot be read")
        approval = signed.approval
        is_ours = hmac.compare_digest(signed.signature.encode(), self._signature(approval).encode())
        if not is_ours or self._path(approval.run) != path:
            return _bad_approval(path, "This approval was not given on this machine")
        return approval


def is_runs_folder(path: Path) -> bool:
    """Return whether a folder contains runs, jobs or a queue, and is neither a run nor a job."""
    if RunFolder(path).record.exists() or find_job(path) is not None:
        return False
    return RunQueue.exists_in(path) or bool(list_folders(path))


def _bad_approval(path: Path, message: str) -> RunDirError:
    return RunDirError(
        f"{message}, so nothing is sent by it.",
        where=str(path),
        advice="Remove the file, and approve the run again.",
    )
