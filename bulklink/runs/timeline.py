"""`timeline.jsonl`: metrics of a run per time interval.

It shows how a run went; the proof is the ledger. It holds neither ids nor names.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

_BINARY = getattr(os, "O_BINARY", 0)


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
    seconds: float
    settled: dict[str, int]
    calls: dict[str, int]
    answered_429: int
    in_flight: float
    most_in_flight: float
    latency: dict[float, int]
    credits_left: int | None
    waited: float
    limited_by: str


def append_interval(path: Path, interval: TimelineInterval) -> None:
    """Append a line to a timeline; a torn last line, of a run that was killed, is ended first.

    Raises:
        OSError: if it cannot be written.
    """
    line = msgspec.json.encode(interval) + b"\n"
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | _BINARY, 0o600)
    with os.fdopen(descriptor, "r+b", buffering=0) as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            line = line if file.read(1) == b"\n" else b"\n" + line
        file.write(line)


def read_timeline(path: Path) -> Iterator[TimelineInterval]:
    """Yield the lines of a timeline, of all invocations of the run.

    Torn lines, as a kill or a full disk leaves them, are skipped.

    Args:
        path: the timeline; a missing one has no lines.

    Raises:
        OSError: if it exists and cannot be read.
    """
    decode = msgspec.json.Decoder(TimelineInterval).decode
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        for line in file:
            try:
                interval = decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError):
                continue
            yield interval
