"""The time axis of a run: pauses between its commands are folded, so that what happened is seen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, tzinfo
from itertools import pairwise

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
