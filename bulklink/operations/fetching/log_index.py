"""Index of a fetch's log: where the lines of each contact are.

Contacts are read several at a time, so their lines are mixed, but those of one page stand together.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from io import BufferedReader
from pathlib import Path

import msgspec

from bulklink.decoding import json_decoder
from bulklink.folder_files import line_blocks, open_to_read, split_lines
from bulklink.ledger.records import Count
from bulklink.mapping.interrupt import PlanningStop
from bulklink.operations.fetching.log import FetchLine
from bulklink.operations.work_folder import damaged_error

_MAX_SEGMENT_BYTES = 256 << 10


class _Place(msgspec.Struct):
    """What a line belongs to."""

    event: str
    n: Count = 0
    life: Count = 0


class LogIndex:
    """Segments of the log, each with consecutive lines of one contact.

    Memory: 24 bytes for about each page of emails, and 12 for each contact.

    Args:
        log: the log.
        contacts: number of contacts.
        stop: interrupts the reading.

    Raises:
        RunDirError: if a line is damaged, or names a contact beyond the last.
    """

    def __init__(self, log: Path, contacts: int, stop: PlanningStop) -> None:
        self._log = log
        self._stop = stop
        self._finished = array("Q", bytes(8 * contacts))
        """The command that read each contact to the end; 0 for none."""
        self._lasts = array("I", bytes(4 * contacts))
        """The last segment of each contact, from 1; 0 for none."""
        self._previous = array("I", [0])
        """The segment before each one that belongs to the same contact; 0 for none."""
        self._lives = array("Q", [0])
        self._offsets = array("Q", [0])
        self._lengths = array("I", [0])
        self._last_number = -1
        decode = json_decoder(_Place).decode
        offset = 0
        try:
            for block in line_blocks(log):
                stop.check()
                for line in split_lines(block):
                    length = len(line) + 1
                    self._add(decode(line), offset, length)
                    offset += length
        except (ValueError, IndexError, OverflowError, RecursionError):
            raise damaged_error(log) from None

    def _add(self, place: _Place, offset: int, length: int) -> None:
        """Add a line; raise IndexError if its contact is beyond the last."""
        if place.event == "contact":
            self._finished[place.n] = self._finished[place.n] or place.life
        elif place.event in ("email", "candidate"):
            if self._continues(place, offset, length):
                self._lengths[-1] += length
                return
            self._previous.append(self._lasts[place.n])
            self._lasts[place.n] = len(self._lives)
            self._lives.append(place.life)
            self._offsets.append(offset)
            self._lengths.append(length)
            self._last_number = place.n

    def _continues(self, place: _Place, offset: int, length: int) -> bool:
        """Return whether a line belongs to the last segment."""
        return (
            self._last_number == place.n
            and self._lives[-1] == place.life
            and self._offsets[-1] + self._lengths[-1] == offset
            and self._lengths[-1] + length <= _MAX_SEGMENT_BYTES
        )

    def contacts(self) -> Iterator[tuple[int, Iterator[FetchLine]]]:
        """Yield the number of each contact that was read, and its lines in the order of the log.

        Raises:
            RunDirError: if a line is damaged.
        """
        decode = json_decoder(FetchLine).decode
        with BufferedReader(open_to_read(self._log)) as file:

            def lines(segments: Iterable[int]) -> Iterator[FetchLine]:
                for segment in segments:
                    self._stop.check()
                    file.seek(self._offsets[segment])
                    try:
                        yield from map(decode, split_lines(file.read(self._lengths[segment])))
                    except (ValueError, RecursionError):
                        raise damaged_error(self._log) from None

            for number in range(len(self._finished)):
                if segments := self._finished_segments(number):
                    yield number, lines(segments)

    def _finished_segments(self, number: int) -> list[int]:
        """Return the segments of a contact by the command that read it to the end, in order."""
        segments, segment = [], self._lasts[number]
        while segment:
            if self._lives[segment] == self._finished[number]:
                segments.append(segment)
            segment = self._previous[segment]
        return segments[::-1] if self._finished[number] else []
