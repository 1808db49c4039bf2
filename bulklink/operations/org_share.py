"""Division of an org's calls in flight among the commands of this machine.

An org limits the calls in flight of all commands together. Each session is a participant: it keeps
a file locked, which the system releases when the process ends, and states in another how many
places it takes. These files change only under a lock of their folder. A participant gives up a
place only once no call of its own needs it, and takes only what no other has, so all of them
together never exceed the limit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from secrets import token_hex
from typing import Annotated

import msgspec

from bulklink.atomic_files import atomic_replace
from bulklink.blocking import blocks
from bulklink.decoding import decode_json
from bulklink.errors import BulklinkError, RunDirError
from bulklink.folder_files import check_folder_file, check_subfolder, read_small_file
from bulklink.operations.org_lock import org_file_name
from bulklink.runs.folder import file_lock

_FOLDER_LOCK = "lock"
_FOLDER_LOCK_SECONDS = 5.0
_POLL_SECONDS = 0.01
_NAME = re.compile(r"[0-9a-f]{16}(?=\.)")
"""Names of participants, before the suffixes of their files."""


class SharingCommand(msgspec.Struct, frozen=True):
    """A command that contacts an org, as it states itself.

    Args:
        limit: calls in flight that it would have if it were alone.
        places: calls in flight that it may have, or still has.
    """

    limit: Annotated[int, msgspec.Meta(ge=1, le=1000)]
    places: Annotated[int, msgspec.Meta(ge=0, le=1000)]


_UNREADABLE = SharingCommand(1, 1)


class Share(msgspec.Struct, frozen=True):
    """Share of one participant.

    Args:
        places: calls in flight that it may have now; 0 while others have not made room.
        fair: calls in flight that it may have once they have.
        others: number of other participants.
        is_settled: whether it states its fair share.
    """

    places: int
    fair: int
    others: int
    is_settled: bool


def fair_shares(limits: Mapping[str, int]) -> dict[str, int]:
    """Return the fair share of each participant.

    The largest limit is taken as the org's, since a smaller one is the user's choice for one
    command. It is divided evenly; what a participant with a smaller limit leaves goes to the
    others. Each has at least one place, even if there are more participants than places.

    Args:
        limits: limit of each participant by its name.
    """
    left, shares = max(limits.values()), dict[str, int]()
    for name in sorted(limits, key=lambda name: (limits[name], name)):
        shares[name] = max(1, min(limits[name], left // (len(limits) - len(shares))))
        left -= shares[name]
    return shares


def next_share(
    name: str, limit: int, others: Mapping[str, SharingCommand], *, held: int, insists: bool
) -> Share:
    """Return the share of a participant after a recount.

    Args:
        name: its name.
        limit: calls in flight that it would have if it were alone.
        others: the other participants by name.
        held: calls in flight that it may have, or still has.
        insists: whether it takes its fair share even if the others have not made room.
    """
    limits = {name: limit} | {other: one.limit for other, one in others.items()}
    fair, total = fair_shares(limits)[name], max(limits.values())
    free = total - sum(one.places for one in others.values())
    places = fair
    if fair > held and not insists and len(limits) <= total:
        places = max(held, min(fair, free))
    return Share(places, fair, len(others), max(places, held) == fair)


class OrgShares:
    """Shares of orgs, as folders in the state folder of this machine.

    Args:
        folder: parent of these folders; created when the first share is taken.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def share_of(self, key: str) -> OrgShare:
        """Return a new share of an org; it counts from its first `recount` on.

        Args:
            key: key of the org.
        """
        return OrgShare(self._folder / f"{org_file_name(key)}.calls", token_hex(8))


class OrgShare:
    """Share of one participant in the calls in flight of an org.

    Args:
        folder: folder of the participants.
        name: name of this one, of 16 hexadecimal digits.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._name = name
        self._stated: SharingCommand | None = None
        self._lock = file_lock(folder / f"{name}.lock")

    def recount(self, limit: int, *, held: int, insists: bool = False) -> Share:
        """Count the participants, state the places and return the share; blocks.

        Args:
            limit: calls in flight that this one would have if it were alone.
            held: calls in flight that it may have, or still has.
            insists: whether it takes its fair share even if the others have not made room.

        Raises:
            OSError: if the folder cannot be used.
            RunDirError: if the folder or its lock is a link, or cannot be written.
        """
        blocks("a recount of the commands that contact an org")
        check_subfolder(self._folder)
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder_lock = self._folder / _FOLDER_LOCK
        check_folder_file(folder_lock, one_name=True)
        with file_lock(folder_lock).acquire(_FOLDER_LOCK_SECONDS, _POLL_SECONDS):
            if not self._lock.is_locked:
                self._lock.acquire()
            share = next_share(self._name, limit, self._others(), held=held, insists=insists)
            self._state(SharingCommand(limit, max(share.places, held)))
        return share

    def leave(self) -> None:
        """Stop being a participant; does not block."""
        if not self._lock.is_locked:
            return
        _remove([self._places_path(self._name)])
        self._lock.release()
        _remove([self._lock_path(self._name)])

    def _others(self) -> dict[str, SharingCommand]:
        """Return the other participants by name, and remove what ended processes left behind."""
        paths = sorted(path for path in self._folder.iterdir() if _NAME.match(path.name))
        others = dict[str, SharingCommand]()
        for name, files in groupby(paths, key=lambda path: path.name[:16]):
            if name == self._name:
                continue
            with suppress(RunDirError):  # a link is not from a participant
                if _is_held(self._lock_path(name)):
                    others[name] = _read_participant(self._places_path(name))
                else:
                    _remove([*files, self._lock_path(name)])
        return others

    def _state(self, own: SharingCommand) -> None:
        if own != self._stated:
            with atomic_replace(self._places_path(self._name)) as temporary:
                temporary.write_bytes(msgspec.json.encode(own))
            self._stated = own

    def _lock_path(self, name: str) -> Path:
        return self._folder / f"{name}.lock"

    def _places_path(self, name: str) -> Path:
        return self._folder / f"{name}.json"


def _is_held(path: Path) -> bool:
    """Return whether a process holds the lock of a participant; True if that cannot be found out.

    Raises:
        RunDirError: if it is not a regular file with one name.
    """
    check_folder_file(path, one_name=True)
    lock = file_lock(path)
    try:
        lock.acquire()
    except OSError:  # among them the time-out
        return True
    lock.release()
    return False


def _read_participant(path: Path) -> SharingCommand:
    with suppress(BulklinkError, OSError, ValueError, RecursionError):
        return decode_json(read_small_file(path), SharingCommand)
    return _UNREADABLE


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        with suppress(OSError):
            path.unlink(missing_ok=True)
