"""`timeline.jsonl`: what was measured of a run while it was sent, a line for each stretch of time.

It helps to see how a run went, and proves nothing: the ledger does. It holds no id and no name.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

_BINARY = getattr(os, "O_BINARY", 0)


class TimelineInterval(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the timeline: what was measured in so many seconds that ended at `ts`.

    `settled` counts the results by status, those that an earlier result was corrected by too.
    `calls` counts the calls that were over by kind, `answered_429` those that were refused so.
    `in_flight` and `most_in_flight` are means, the second of what was allowed. `latency` has how
    many calls took about so many seconds, within 2 %. `credits_left` is what the org had left as
    the CRM told, None where it told nothing. `waited` is how many of the seconds went by in waiting
    for credits.
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
    """Add a line to a timeline; a torn one before it, of a run that was killed, stays apart.

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
    """Yield the lines of a timeline, of all invocations of the run; a missing one has none.

    Lines that are torn, as a kill or a full disk leaves them, are passed over.

    Raises:
        OSError: if it is there and cannot be read.
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
