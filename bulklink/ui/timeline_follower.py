"""Results of a run that another process works on, from the lines that its timeline gains."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec

from bulklink.folder_files import open_to_read
from bulklink.runs.timeline import TimelineInterval

_MAX_BYTES = 4 * 1024 * 1024
"""Maximum bytes read at a time; the rest follows with the next reading."""


class TimelineFollower:
    """Sums of a timeline, which is read once however often it is asked.

    Attributes:
        limited_by: what limits the run at present; None if that is unknown.
    """

    def __init__(self) -> None:
        self.limited_by: str | None = None
        self._counts: Counter[str] = Counter()
        self._offset = 0
        self._decode = msgspec.json.Decoder(TimelineInterval).decode

    def read(self, timeline: Path) -> Counter[str]:
        """Return the results so far by status; a missing timeline has none.

        Raises:
            RunDirError: if it is not a regular file, or cannot be read.
        """
        try:
            with open_to_read(timeline) as file:
                file.seek(self._offset)
                whole, newline, _ = file.read(_MAX_BYTES).rpartition(b"\n")
        except FileNotFoundError:
            return self._counts
        self._offset += len(whole) + len(newline)
        for line in whole.splitlines():
            self._add(line)
        return self._counts

    def _add(self, line: bytes) -> None:
        try:
            interval = self._decode(line)
        except (ValueError, RecursionError):
            return  # torn by a kill
        self._counts.update(interval.settled)
        self.limited_by = interval.limited_by
