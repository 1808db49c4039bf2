"""Results of a run that another process works on, from the lines that its timeline gains."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import datetime
from pathlib import Path

from bulklink.decoding import json_decoder
from bulklink.folder_files import open_to_read
from bulklink.ledger.records import parse_time
from bulklink.runs.timeline import TimelineInterval

_MAX_BYTES = 4 * 1024 * 1024
"""Maximum bytes read at a time; the rest follows with the next reading."""


class TimelineFollower:
    """Sums of a timeline, whose lines are read once however often and from however many threads.

    Args:
        since: time of the last line that does not count, RFC 3339; None counts all.

    Attributes:
        since: see above.
        limited_by: what limits the run at present; None if that is unknown.
    """

    def __init__(self, since: str | None = None) -> None:
        self.since = since
        self.limited_by: str | None = None
        self._since: datetime | None = None if since is None else parse_time(since)
        self._counts: Counter[str] = Counter()
        self._offset = 0
        self._decode = json_decoder(TimelineInterval).decode
        self._reading = threading.Lock()

    def read(self, timeline: Path) -> Counter[str]:
        """Return the results so far by status; a missing timeline has none.

        Raises:
            RunDirError: if it is not a regular file, or cannot be read.
        """
        with self._reading:
            try:
                with open_to_read(timeline) as file:
                    file.seek(self._offset)
                    block = file.read(_MAX_BYTES)
            except FileNotFoundError:
                return self._counts.copy()
            whole, newline, torn = block.rpartition(b"\n")
            is_no_line = len(torn) == _MAX_BYTES
            self._offset += len(torn) if is_no_line else len(whole) + len(newline)
            for line in whole.splitlines():
                self._add(line)
            return self._counts.copy()

    def _add(self, line: bytes) -> None:
        try:
            interval = self._decode(line)
            if self._since is not None and parse_time(interval.ts) <= self._since:
                return
        except (ValueError, RecursionError):
            return  # torn by a kill
        self._counts.update(interval.settled)
        self.limited_by = interval.limited_by


class TimelineFollowers:
    """Followers of all runs that other processes work on."""

    def __init__(self) -> None:
        self._followers: dict[str, TimelineFollower] = {}

    def of(self, name: str, since: str | None) -> TimelineFollower:
        """Return the follower of a run; a new one when another command works on it.

        Args:
            name: name of its folder.
            since: see `TimelineFollower`.
        """
        follower = self._followers.get(name)
        if follower is None or follower.since != since:
            follower = self._followers[name] = TimelineFollower(since)
        return follower

    def drop(self, name: str) -> None:
        """Forget a run."""
        self._followers.pop(name, None)
