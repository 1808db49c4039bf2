"""Data of the charts: time axis, bins and percentiles of a run's timeline."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta, tzinfo
from itertools import pairwise
from math import ceil
from typing import Any

import msgspec

_PAUSE = 60.0
"""Seconds without anything that may be folded."""
_PAUSE_SHARE = 0.05
"""Share of the time in which something happened; a shorter pause is drawn as long as it was."""
_FOLD_SHARE = 0.03
_FOLDS_SHARE = 0.3
_TICKS = 8
_MOST_TICKS = 40
"""Places that tell their time at most; a page leaves out those for which it has no room."""
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_STEPS = (
    *(1, 2, 5, 10, 15, 30),
    *(_MINUTE * n for n in (1, 2, 5, 10, 15, 30)),
    *(_HOUR * n for n in (1, 2, 3, 6, 12)),
    *(_DAY * n for n in (1, 2, 7, 14, 28)),
)


class Part(msgspec.Struct, frozen=True):
    """A part of the axis without a fold: moments in seconds since 1970, and where it begins."""

    began: float
    ended: float
    at: float


class Fold(msgspec.Struct, frozen=True):
    """Where a pause is folded, and how long it was."""

    at: float
    to: float
    label: str


class Tick(msgspec.Struct, frozen=True):
    """A place of the axis that tells its time; `day` is empty where all is of one day."""

    at: float
    time: str
    day: str


class Axis(msgspec.Struct, frozen=True):
    """Where moments are on an axis that counts seconds and leaves pauses out."""

    parts: tuple[Part, ...]
    folds: tuple[Fold, ...]
    end: float

    def place(self, moment: float) -> float:
        """Return where a moment is; one in a pause is at its end."""
        for part in self.parts:
            if moment <= part.ended:
                return round(part.at + max(0.0, moment - part.began), 3)
        return self.end


def axis_of(spans: Sequence[tuple[float, float]]) -> Axis:
    """Fold the pauses between spans of time.

    Args:
        spans: when something happened, in order, in seconds since 1970; at least one.
    """
    active = sum(ended - began for began, ended in spans)
    pause = max(_PAUSE, _PAUSE_SHARE * active)
    joined = [spans[0]]
    for began, ended in spans[1:]:
        if began - joined[-1][1] > pause:
            joined.append((began, ended))
        else:
            joined[-1] = (joined[-1][0], max(ended, joined[-1][1]))
    drawn = max(1.0, sum(ended - began for began, ended in joined))
    width = drawn * min(_FOLD_SHARE, _FOLDS_SHARE / max(1, len(joined) - 1))
    parts: list[Part] = []
    folds: list[Fold] = []
    at = 0.0
    for began, ended in joined:
        if parts:
            label = lasting(began - parts[-1].ended)
            folds.append(Fold(round(at, 3), round(at + width, 3), label))
            at += width
        parts.append(Part(began, ended, round(at, 3)))
        at += ended - began
    return Axis(tuple(parts), tuple(folds), round(at, 3) or 1.0)


def lasting(seconds: float) -> str:
    """Say how long something took, in two units at most."""
    units = (("d", _DAY), ("h", _HOUR), ("min", _MINUTE), ("s", 1))
    steps = [step for (_, size), (_, step) in pairwise(units) if seconds >= size]
    step = steps[0] if steps else 1
    rest = round(seconds / step) * step
    said: list[str] = []
    for name, size in units:
        count, rest = divmod(rest, size)
        if count:
            said.append(f"{count} {name}")
    return " ".join(said) or "0 s"


def ticks(axis: Axis, zone: tzinfo | None = None) -> list[Tick]:
    """Return places that tell the local time: round ones, and where something began again.

    Args:
        axis: of the charts.
        zone: local time; None is that of this machine.
    """
    active = sum(part.ended - part.began for part in axis.parts)
    step = next((size for size in _STEPS if active / size <= _TICKS), _STEPS[-1])
    apart = axis.end / _MOST_TICKS
    found: list[Tick] = []
    several = len({_local(m, zone).date() for p in axis.parts for m in (p.began, p.ended)}) > 1
    for part in axis.parts:
        for moment in _moments(part, step, zone):
            at = axis.place(moment)
            if found and at - found[-1].at < apart:
                continue
            when = _local(moment, zone)
            time = f"{when:%H:%M:%S}" if step < _MINUTE else f"{when:%H:%M}"
            found.append(Tick(at, time, f"{when.day} {when:%b}" if several else ""))
    return found


def _moments(part: Part, step: int, zone: tzinfo | None) -> Iterator[float]:
    """Yield the round moments of a part by local time, or where it begins if it has none."""
    began = _local(part.began, zone)
    midnight = began.replace(hour=0, minute=0, second=0, microsecond=0)
    since = (began - midnight).total_seconds()
    first = part.began + (-since) % min(step, _DAY)
    if first > part.ended:
        yield part.began
    moment = first
    while moment <= part.ended:
        yield moment
        moment += step


def _local(moment: float, zone: tzinfo | None) -> datetime:
    return datetime.fromtimestamp(moment, zone).astimezone(zone)


def offset(moment: float, zone: tzinfo | None) -> str:
    """Return how far local time is from UTC then, such as `+01:00`."""
    told = _local(moment, zone).utcoffset() or timedelta()
    minutes = int(told.total_seconds() // _MINUTE)
    sign = "-" if minutes < 0 else "+"
    return f"{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"


MOST = 240
"""Spans that a chart has at most where nothing was paused: one is some pixels wide."""
_APART = 30.0
"""Seconds without anything behind which a span ends."""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """What happened between two moments, in seconds since 1970.

    Args:
        began: when it began.
        ended: when it ended.
        settled: messages by status.
        answered_429: calls that were refused as too many.
        in_flight: the mean of calls in flight, None where that was not measured.
        allowed: the mean of how many might have been.
        latency: seconds that calls took, and how many took so long.
    """

    began: float
    ended: float
    settled: Mapping[str, int]
    answered_429: int = 0
    in_flight: float | None = None
    allowed: float | None = None
    latency: Mapping[float, int] = {}


class Span:
    """What was measured one after the other, taken together."""

    __slots__ = (
        "allowed",
        "answered_429",
        "began",
        "ended",
        "in_flight",
        "latency",
        "measured",
        "seconds",
        "settled",
    )

    def __init__(self, first: Measured) -> None:
        self.began = first.began
        self.ended = first.began
        self.seconds = self.measured = self.in_flight = self.allowed = 0.0
        self.answered_429 = 0
        self.settled: Counter[str] = Counter()
        self.latency: Counter[float] = Counter()
        self.add(first)

    def add(self, more: Measured) -> None:
        """Take what was measured next."""
        seconds = max(0.001, more.ended - more.began)
        self.ended = max(self.ended, more.ended)
        self.seconds += seconds
        self.answered_429 += more.answered_429
        self.settled.update(more.settled)
        self.latency.update(more.latency)
        if more.in_flight is not None:
            self.measured += seconds
            self.in_flight += more.in_flight * seconds
            self.allowed += (more.allowed or 0.0) * seconds

    def join(self, other: Span) -> None:
        """Take the span that follows."""
        self.ended = other.ended
        self.seconds += other.seconds
        self.measured += other.measured
        self.in_flight += other.in_flight
        self.allowed += other.allowed
        self.answered_429 += other.answered_429
        self.settled.update(other.settled)
        self.latency.update(other.latency)

    def percentile(self, share: float) -> float | None:
        """Return the seconds within which such a share of the calls was answered."""
        wanted = ceil(share * sum(self.latency.values()))
        so_far = 0
        for seconds in sorted(self.latency):
            so_far += self.latency[seconds]
            if so_far >= wanted:
                return seconds
        return None


def spans(measured: Iterable[Measured], most: int = MOST) -> list[Span]:
    """Take together what follows each other until there are few spans, over a pause never.

    Args:
        measured: in the order of time. Memory is the same for any number.
        most: spans there are about at most; each pause may add one.
    """
    found: list[Span] = []
    width, limit = 0.0, 2 * most
    for one in measured:
        if found and _together(found[-1], one.began, width):
            found[-1].add(one)
            continue
        found.append(Span(one))
        if len(found) > limit:
            width = max(2 * width, _active(found) / most)
            found = _fewer(found, width)
            limit = max(limit, 2 * len(found))
    return _fewer(found, _active(found) / most) if len(found) > most else found


def _active(found: list[Span]) -> float:
    return sum(one.seconds for one in found)


def _fewer(found: list[Span], width: float) -> list[Span]:
    fewer: list[Span] = []
    for one in found:
        if fewer and _together(fewer[-1], one.began, width):
            fewer[-1].join(one)
        else:
            fewer.append(one)
    return fewer


def _together(last: Span, began: float, width: float) -> bool:
    """Tell whether what begins then belongs to a span that is not yet so many seconds wide."""
    return began - last.ended <= _APART and last.ended - last.began < width


_STATUSES = ("done", "unchanged", "failed", "in_doubt")
_GAP = 2.0
"""Seconds without anything behind which a line begins anew."""
_PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


class Course(msgspec.Struct, frozen=True):
    """What the charts are drawn from, as JSON, and what stands beside them.

    Args:
        json: of the charts.
        statuses: of which messages were settled.
        offsets: of local time from UTC.
        answered_429: calls that were refused as too many; None where that was not measured.
    """

    json: bytes
    statuses: tuple[str, ...]
    offsets: tuple[str, ...]
    answered_429: int | None


def course(measured: Iterable[Measured], zone: tzinfo | None = None) -> Course | None:
    """Return what the charts are drawn from; None where nothing happened.

    Args:
        measured: what happened, in the order of time.
        zone: local time; None is that of this machine.
    """
    found = spans(measured)
    if not found:
        return None
    axis = axis_of([(one.began, one.ended) for one in found])
    happened = {status for one in found for status, count in one.settled.items() if count}
    statuses = tuple(status for status in _STATUSES if status in happened)
    offsets = sorted({offset(moment, zone) for moment in (found[0].began, found[-1].ended)})
    told = {
        "end": axis.end,
        "ticks": ticks(axis, zone),
        "folds": axis.folds,
        "statuses": statuses,
        "bins": [
            _bin(one, axis.place(one.began), part, zone)
            for one, part in zip(found, _parts(found), strict=True)
        ],
    }
    known = any(one.measured for one in found)
    refused = sum(one.answered_429 for one in found) if known else None
    return Course(msgspec.json.encode(told), statuses, tuple(offsets), refused)


def _parts(found: Sequence[Span]) -> Iterator[int]:
    """Number the parts of a line, which ends where nothing was measured for a while."""
    part = 0
    yield part
    for last, one in pairwise(found):
        part += one.began - last.ended > _GAP
        yield part


def _bin(one: Span, at: float, part: int, zone: tzinfo | None) -> dict[str, Any]:
    """Return a span: rates a second, means, percentiles in seconds."""
    when = datetime.fromtimestamp(one.began, zone).astimezone(zone)
    told: dict[str, Any] = {
        "x0": at,
        "x1": round(at + one.ended - one.began, 3),
        "part": part,
        "when": when.isoformat(" ", "seconds"),
        "rates": {
            status: round(count / one.seconds, 3) for status, count in one.settled.items() if count
        },
    }
    if one.measured:
        told |= {
            "in_flight": round(one.in_flight / one.measured, 2),
            "allowed": round(one.allowed / one.measured, 2),
            "answered_429": one.answered_429,
            **{name: one.percentile(share) for name, share in _PERCENTILES.items()},
        }
    return told
