"""Division of an org's calls in flight among the commands of this machine that contact it.

A run locks its org against other runs. Commands that read take no lock, because a verification
accompanies its run, and a fetch of hours must not keep a correction waiting. Instead, each takes
part in the org with a locked file, and each allows itself its limit divided by the number of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from secrets import token_hex

import filelock

from bulklink.blocking import ThreadRunner
from bulklink.engine.ratelimit.limiter import ConcurrencyLimiter
from bulklink.errors import RunDirError
from bulklink.folder_files import check_folder_file, check_subfolder
from bulklink.runs.folder import file_lock

SETTLE_SECONDS = 1.5
"""Time in which all participants have counted a new one, which waits for it."""
_SUFFIX = ".part"


class OrgShares:
    """Participants of orgs, as files in the state folder of this machine.

    Args:
        folder: folder of the files; created when the first participant joins.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def join(self, key: str) -> OrgShare:
        """Take part in an org, until the end of this process at the latest; blocks.

        Args:
            key: key of the org.

        Raises:
            OSError: if the files cannot be used.
            RunDirError: if the folder of the org is a link.
        """
        folder = self._folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.parts"
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        check_subfolder(folder)
        while True:
            path = folder / f"{token_hex(8)}{_SUFFIX}"
            lock = file_lock(path)
            with suppress(filelock.Timeout):
                lock.acquire()
                if path.exists():
                    return OrgShare(path, lock)
                lock.release()  # another participant took it for one that had died


class OrgShare:
    """Participation in an org; the system ends it with this process.

    Args:
        path: its file.
        lock: the locked file.
    """

    def __init__(self, path: Path, lock: filelock.BaseFileLock) -> None:
        self._path = path
        self._lock = lock

    def count(self) -> int:
        """Return the number of participants, this one included; blocks.

        Files of those that have died are removed.
        """
        others = (path for path in self._path.parent.glob(f"*{_SUFFIX}") if path != self._path)
        return 1 + sum(map(_is_held, others))

    def leave(self) -> None:
        """Take part no longer."""
        with suppress(OSError):
            self._path.unlink()
        self._lock.release()


def _is_held(path: Path) -> bool:
    """Return whether a participant holds its file."""
    try:
        check_folder_file(path, one_name=True)
        lock = file_lock(path)
        lock.acquire()
    except filelock.Timeout:
        return True
    except (OSError, RunDirError):
        return False
    with suppress(OSError):
        path.unlink()
    lock.release()
    return False


def calls_share(limit: int, participants: int) -> int:
    """Return the calls in flight that one participant allows itself.

    With limits that differ, their sum is at most the highest, unless there are more participants
    than places: each needs one.

    Args:
        limit: its own limit.
        participants: number of participants.
    """
    return max(1, limit // participants)


class SharedLimit:
    """Limit of calls in flight of a session, shared with the other participants of its org.

    Args:
        shares: participants of orgs; None if nothing is shared.
        limiter: limits the calls of the session.
        run_blocking: runs blocking functions in threads.
        sleep: sleeps for some seconds, unless the session is stopped.
        warn: called when the limit is shared for the first time, or cannot be.
    """

    def __init__(
        self,
        shares: OrgShares | None,
        limiter: ConcurrencyLimiter,
        *,
        run_blocking: ThreadRunner,
        sleep: Callable[[float], Awaitable[None]],
        warn: Callable[[str], None],
    ) -> None:
        self._shares = shares
        self._limiter = limiter
        self._run_blocking = run_blocking
        self._sleep = sleep
        self._warn = warn
        self._whole = limiter.max_in_flight
        self._share: OrgShare | None = None
        self._participants = 1
        self._was_shared = False

    @property
    def may_be_shared(self) -> bool:
        """Whether other commands are looked for."""
        return self._shares is not None

    @property
    def whole(self) -> int:
        """Calls in flight of a session that is alone."""
        return self._whole

    async def join(self, key: str, limit: int) -> None:
        """Take part in an org; if others do, wait until they have counted this session.

        Args:
            key: key of the org.
            limit: calls in flight that it allows.

        Raises:
            StoppedError: if the session was stopped meanwhile.
        """
        self._whole = limit
        if self._shares is not None and self._share is None:
            try:
                self._share = await self._run_blocking(partial(self._shares.join, key))
            except (OSError, RunDirError) as error:
                self._shares = None
                self._warn(
                    "The calls in flight cannot be shared with other commands of this machine:"
                    f" {error}"
                )
        await self.update()
        self._resize()
        if self._participants > 1:
            await self._sleep(SETTLE_SECONDS)

    async def update(self) -> None:
        """Count the participants, and allow the session its share of the calls."""
        if self._share is None:
            return
        participants = await self._run_blocking(self._share.count)
        if participants != self._participants:
            self._participants = participants
            self._resize()
            self._warn_once()

    async def leave(self) -> None:
        """Take part no longer."""
        if self._share is not None:
            await self._run_blocking(self._share.leave)

    def _resize(self) -> None:
        self._limiter.resize(calls_share(self._whole, self._participants))

    def _warn_once(self) -> None:
        if not self._was_shared:
            self._was_shared = True
            self._warn(
                "Another command contacts this org from this machine: they share the calls in"
                f" flight, {calls_share(self._whole, self._participants)} for this one."
            )
