"""Lock of an org on this machine: one run at a time is sent to it.

Two runs of one org would take calls in flight from each other, and both would be slower than one
after the other.
"""

from __future__ import annotations

import hashlib
from contextlib import suppress
from pathlib import Path

import filelock
import msgspec

from bulklink.advice import Advice, Keyword
from bulklink.atomic_files import atomic_replace
from bulklink.decoding import decode_json
from bulklink.errors import BulklinkError, LockedError
from bulklink.file_names import file_name_text
from bulklink.folder_files import check_folder_file, read_small_file
from bulklink.runs.folder import file_lock
from bulklink.zoho.lookup_responses import Org


class _Holder(msgspec.Struct):
    run_dir: str


def org_file_name(key: str) -> str:
    """Return the name of an org's files in the state folder, without their suffixes.

    Args:
        key: key of the org.
    """
    return hashlib.sha256(key.encode()).hexdigest()[:32]


class OrgLocks:
    """Locks of orgs, as files in the state folder of this machine.

    Args:
        folder: folder of the locks; created when the first lock is taken.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def take(self, key: str, run_dir: Path) -> OrgLock:
        """Take the lock of an org, unless another run has it; blocks.

        Args:
            key: key of the org.
            run_dir: folder of the run, for others that find it locked.

        Returns:
            The lock; its `holder` is the run that has it, if that is another one.

        Raises:
            OSError: if the lock cannot be used.
            RunDirError: if a file of the lock is a link.
        """
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = org_file_name(key)
        path, holder = self._folder / f"{name}.lock", self._folder / f"{name}.json"
        check_folder_file(path, one_name=True)
        lock = file_lock(path)
        try:
            lock.acquire()
        except filelock.Timeout:
            return OrgLock(None, _read_holder(holder))
        # A full disk does not lose the lock: others then find an earlier name, or none.
        with suppress(BulklinkError), atomic_replace(holder) as temporary:
            temporary.write_bytes(msgspec.json.encode(_Holder(file_name_text(run_dir.absolute()))))
        return OrgLock(lock, None)


class OrgLock:
    """Lock of one org; the system releases it when this process ends.

    Args:
        lock: the locked file; None if another run has it.

    Attributes:
        holder: folder of the run that has it, empty if unknown; None if this run has it.
    """

    def __init__(self, lock: filelock.BaseFileLock | None, holder: str | None) -> None:
        self._lock = lock
        self.holder = holder

    def release(self) -> None:
        """Give the lock back."""
        if self._lock is not None:
            self._lock.release()


def _read_holder(path: Path) -> str:
    """Return the folder of the run that has a lock; empty if it cannot be read."""
    with suppress(BulklinkError, OSError, ValueError, RecursionError):
        return decode_json(read_small_file(path), _Holder).run_dir
    return ""


def org_locked_error(org: Org, holder: str, run_dir: Path) -> LockedError:
    """Return the error of a run whose org another run is being sent to.

    Args:
        org: the org.
        holder: folder of the other run; empty if unknown.
        run_dir: folder of this run.
    """
    other = f"The run {holder}" if holder else "Another run"
    return LockedError(
        f"{other} is being sent to {org.name or 'this org'} from this machine: together, both would"
        " be slower than one after the other.",
        where=str(run_dir),
        advice=Advice(
            "Wait until it ends, or let this run wait for it: {}.",
            Keyword("wait_for_org", value=True),
        ),
    )
