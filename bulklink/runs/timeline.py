"""`timeline.jsonl`: metrics of a run per time interval.

It shows the course of a run, while the ledger is the proof. It contains neither ids nor names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec

from bulklink.decoding import json_decoder
from bulklink.folder_files import line_blocks, open_to_append, split_lines
from bulklink.ledger.records import Count, parse_time

Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
"""A duration that a file may contain."""
Mean = Annotated[float, msgspec.Meta(ge=0, le=1e6)]
"""A mean number of calls that a file may contain."""
SignedCount = Annotated[int, msgspec.Meta(ge=-(1 << 53), le=1 << 53)]
"""A number that a file may contain, and corrections may make negative."""


class TimelineInterval(msgspec.Struct, frozen=True, kw_only=True):
    """Metrics of one time interval.

    Args:
        ts: end of the interval, RFC 3339 in UTC.
        seconds: length of the interval.
        settled: results by status, including corrections of earlier results.
        calls: finished calls by kind.
        answered_429: calls that were answered with HTTP 429.
        in_flight: mean number of calls in flight.
        most_in_flight: mean of the limit of calls in flight.
        latency: number of calls by duration in seconds, within 0.5%; 2% in folders of earlier
            versions.
        credits_left: API credits that the org had left; None if the CRM did not report them.
        waited: seconds spent waiting for credits.
        limited_by: the bottleneck.
        sending: whether emails were sent; False before that, and while a question was asked.
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
    sending: bool = True


def append_interval(path: Path, interval: TimelineInterval) -> None:
    """Append a line to a timeline, after ending a torn last line of a killed run.

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
    """Yield the intervals of all invocations of a run.

    Torn lines, left by a kill or a full disk, and lines not written by bulklink are skipped.

    Args:
        path: the timeline; a missing one has no lines.

    Raises:
        RunDirError: if it cannot be read, is not a regular file, or has a line that is too long.
    """
    decode = json_decoder(TimelineInterval).decode
    for block in line_blocks(path):
        for line in split_lines(block):
            try:
                interval = decode(line)
                parse_time(interval.ts)
            except (ValueError, RecursionError):
                continue
            yield interval
