"""`timeline.jsonl`: metrics of a run per time interval.

It shows how a run went; the proof is the ledger. It holds neither ids nor names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec

from bulklink.folder_files import line_blocks, open_to_append, split_lines
from bulklink.ledger.records import Count, parse_time

Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
"""A duration as a file may hold it."""
Mean = Annotated[float, msgspec.Meta(ge=0, le=1e6)]
"""A mean number of calls as a file may hold it."""
SignedCount = Annotated[int, msgspec.Meta(ge=-(1 << 53), le=1 << 53)]
"""A number that corrections may make negative, as a file may hold it."""


class TimelineInterval(msgspec.Struct, frozen=True, kw_only=True):
    """Metrics of one time interval.

    Args:
        ts: end of the interval, RFC 3339 in UTC.
        seconds: length of the interval.
        settled: results by status, corrections of earlier results included.
        calls: finished calls by kind.
        answered_429: calls that were answered with HTTP 429.
        in_flight: mean number of calls in flight.
        most_in_flight: mean of the limit of calls in flight.
        latency: number of calls by duration in seconds, within 2 %.
        credits_left: API credits that the org had left, None where the CRM did not report them.
        waited: seconds of waiting for credits.
        limited_by: what limited the speed.
    """

    ts: str
    seconds: Seconds
    settled: dict[str, SignedCount]
    calls: dict[str, SignedCount]
    answered_429: Count
    in_flight: Mean
    most_in_flight: Mean
    latency: dict[Seconds, Count]
    credits_left: SignedCount | None
    waited: Seconds
    limited_by: str


def append_interval(path: Path, interval: TimelineInterval) -> None:
    """Append a line to a timeline; a torn last line, of a run that was killed, is ended first.

    Raises:
        RunDirError: if it is not a regular file, or cannot be opened.
        OSError: if it cannot be written.
    """
    line = msgspec.json.encode(interval) + b"\n"
    with os.fdopen(open_to_append(path), "r+b", buffering=0) as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            line = line if file.read(1) == b"\n" else b"\n" + line
        file.write(line)


def read_timeline(path: Path) -> Iterator[TimelineInterval]:
    """Yield the lines of a timeline, of all invocations of the run.

    Torn lines, as a kill or a full disk leaves them, are skipped, and so is what bulklink did not
    write.

    Args:
        path: the timeline; a missing one has no lines.

    Raises:
        RunDirError: if it cannot be read, is not a regular file, or has too long a line.
    """
    decode = msgspec.json.Decoder(TimelineInterval).decode
    for block in line_blocks(path):
        for line in split_lines(block):
            try:
                interval = decode(line)
                parse_time(interval.ts)
            except (ValueError, RecursionError):
                continue
            yield interval
