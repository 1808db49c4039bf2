"""Time axis of the charts: long pauses collapsed, ticks at round times. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta, tzinfo
from itertools import pairwise

import msgspec

_MIN_PAUSE = 60.0
"""Seconds without activity before a pause may be collapsed."""
_MIN_PAUSE_SHARE = 0.05
"""Share of the active time; shorter pauses are drawn to scale."""
_PAUSE_WIDTH_SHARE = 0.045
_PAUSES_WIDTH_SHARE = 0.3
_TARGET_TICKS = 8
_MAX_TICKS = 40
"""Maximum ticks; a chart leaves out those that do not fit."""
_CHARACTER_WIDTH = 6
_LABEL_GAP = 14
"""Pixels per character of a label, and between two labels."""
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_STEPS = (
    *(1, 2, 5, 10, 15, 30),
    *(_MINUTE * n for n in (1, 2, 5, 10, 15, 30)),
    *(_HOUR * n for n in (1, 2, 3, 6, 12)),
    *(_DAY * n for n in (1, 2, 7, 14, 28)),
)


class AxisSegment(msgspec.Struct, frozen=True):
    """A part of the axis without a collapsed pause.

    Args:
        began: first moment, in seconds since 1970.
        ended: last moment, in seconds since 1970.
        start: position of the first moment on the axis, in seconds.
    """

    began: float
    ended: float
    start: float


class CollapsedPause(msgspec.Struct, frozen=True):
    """A pause that the axis collapses.

    Args:
        at: position of its beginning on the axis, in seconds.
        to: position of its end.
        began: beginning, in seconds since 1970.
        ended: end, in seconds since 1970.
    """

    at: float
    to: float
    began: float
    ended: float


class Tick(msgspec.Struct, frozen=True):
    """A position on the axis that may be labelled.

    Args:
        at: position on the axis, in seconds.
        time: local time; empty at midnight if ticks are days apart.
        day: day of the month; empty if the axis covers one day.
        opens: whether it is the first tick of a segment.
    """

    at: float
    time: str
    day: str
    opens: bool = False


class TickLabel(msgspec.Struct, frozen=True):
    """A label of the axis.

    Args:
        at: position on the axis, in seconds.
        lines: its lines, one or two.
    """

    at: float
    lines: tuple[str, ...]


class TimeAxis(msgspec.Struct, frozen=True):
    """Time axis with long pauses collapsed; positions are in seconds.

    Args:
        segments: parts between the pauses.
        pauses: collapsed pauses.
        end: position of the end.
    """

    segments: tuple[AxisSegment, ...]
    pauses: tuple[CollapsedPause, ...]
    end: float

    def position(self, moment: float) -> float:
        """Return the position of a moment, in seconds since 1970; in a pause, that of its end."""
        for segment in self.segments:
            if moment <= segment.ended:
                return round(segment.start + max(0.0, moment - segment.began), 3)
        return self.end


def build_axis(spans: Sequence[tuple[float, float]]) -> TimeAxis:
    """Build a time axis that collapses the pauses between spans.

    Args:
        spans: beginning and end of each active span, in order, in seconds since 1970; at least one.
    """
    active = sum(ended - began for began, ended in spans)
    min_pause = max(_MIN_PAUSE, _MIN_PAUSE_SHARE * active)
    joined = [spans[0]]
    for began, ended in spans[1:]:
        if began - joined[-1][1] > min_pause:
            joined.append((began, ended))
        else:
            joined[-1] = (joined[-1][0], max(ended, joined[-1][1]))
    drawn_seconds = max(1.0, sum(ended - began for began, ended in joined))
    pause_width = drawn_seconds * min(
        _PAUSE_WIDTH_SHARE, _PAUSES_WIDTH_SHARE / max(1, len(joined) - 1)
    )
    segments: list[AxisSegment] = []
    pauses: list[CollapsedPause] = []
    position = 0.0
    for began, ended in joined:
        if segments:
            start, position = position, position + pause_width
            pauses.append(
                CollapsedPause(round(start, 3), round(position, 3), segments[-1].ended, began)
            )
        segments.append(AxisSegment(began, ended, round(position, 3)))
        position += ended - began
    return TimeAxis(tuple(segments), tuple(pauses), round(position, 3) or 1.0)


def humanize_duration(seconds: float) -> str:
    """Format a duration in at most two units."""
    units = (("d", _DAY), ("h", _HOUR), ("min", _MINUTE), ("s", 1))
    steps = [step for (_, size), (_, step) in pairwise(units) if seconds >= size]
    step = steps[0] if steps else 1
    remaining = round(seconds / step) * step
    words: list[str] = []
    for name, size in units:
        count, remaining = divmod(remaining, size)
        if count:
            words.append(f"{count} {name}")
    return " ".join(words) or "0 s"


def axis_ticks(axis: TimeAxis, zone: tzinfo | None = None) -> list[Tick]:
    """Return ticks at round local times, and at the beginning of segments without one.

    Args:
        axis: axis of the charts.
        zone: time zone of the labels; None for this machine's.
    """
    active = sum(segment.ended - segment.began for segment in axis.segments)
    step = next((size for size in _STEPS if active / size <= _TARGET_TICKS), _STEPS[-1])
    min_gap = axis.end / _MAX_TICKS
    several_days = covers_several_days(axis, zone)
    placed: list[Tick] = []
    for segment in axis.segments:
        opens = True
        for moment in _round_moments(segment, step, zone):
            position = axis.position(moment)
            if placed and position - placed[-1].at < min_gap:
                continue
            when = local_time(moment, zone)
            day = format_day(when) if several_days else ""
            placed.append(Tick(position, _format_time(when, step, day), day, opens))
            opens = False
    return placed


def elapsed_ticks(axis: TimeAxis) -> list[Tick]:
    """Return ticks at round times after the beginning of an axis without pauses."""
    step = next((size for size in _STEPS if axis.end / size <= _TARGET_TICKS), _STEPS[-1])
    count = min(_MAX_TICKS, int(axis.end / step))
    return [Tick(n * step, humanize_duration(n * step), "") for n in range(count + 1)]


def covers_several_days(axis: TimeAxis, zone: tzinfo | None) -> bool:
    """Return whether an axis covers several days of local time."""
    moments = [moment for part in axis.segments for moment in (part.began, part.ended)]
    return len({local_time(moment, zone).date() for moment in moments}) > 1


def format_day(when: datetime) -> str:
    """Return a day of the month, such as `9 Nov`."""
    return f"{when.day} {when:%b}"


def _format_time(when: datetime, step: int, day: str) -> str:
    """Return the time of a tick; empty if its day suffices."""
    if day and step >= _DAY and not (when.hour or when.minute):
        return ""
    return f"{when:%H:%M:%S}" if step < _MINUTE else f"{when:%H:%M}"


def _round_moments(segment: AxisSegment, step: int, zone: tzinfo | None) -> Iterator[float]:
    """Yield the round local times of a segment, or its beginning if it has none.

    They follow the local clock across daylight-saving changes.
    """
    began = local_time(segment.began, zone).replace(tzinfo=None)
    midnight = began.replace(hour=0, minute=0, second=0, microsecond=0)
    clock = began + timedelta(seconds=-(began - midnight).total_seconds() % min(step, _DAY))
    moment = clock.replace(tzinfo=zone).timestamp()
    if moment > segment.ended:
        yield segment.began
    while moment <= segment.ended:
        if moment >= segment.began:
            yield moment
        clock += timedelta(seconds=step)
        moment = clock.replace(tzinfo=zone).timestamp()


def label_ticks(axis: TimeAxis, ticks: Sequence[Tick], room: float) -> list[TickLabel]:
    """Return the labels that fit an axis, with each day named once.

    If two ticks do not fit, the one that begins a segment wins, so that the end of a pause is
    labelled.

    Args:
        axis: axis of the charts.
        ticks: its ticks, in order.
        room: width of the axis, in pixels.
    """
    longest = max((len(text) for tick in ticks for text in (tick.time, tick.day)), default=0)
    apart = axis.end * (longest * _CHARACTER_WIDTH + _LABEL_GAP) / room
    chosen: list[Tick] = []
    for tick in ticks:
        if chosen and tick.at - chosen[-1].at < apart:
            if not tick.opens or chosen[-1].opens:
                continue
            chosen.pop()
        chosen.append(tick)
    days = ["", *(tick.day for tick in chosen)]
    return [
        TickLabel(tick.at, tuple(filter(None, (tick.time, tick.day if tick.day != day else ""))))
        for day, tick in zip(days, chosen, strict=False)
    ]


def local_time(moment: float, zone: tzinfo | None) -> datetime:
    """Return a moment, in seconds since 1970, as local time.

    Args:
        moment: seconds since 1970.
        zone: time zone; None for this machine's.
    """
    return datetime.fromtimestamp(moment, zone).astimezone(zone)


def utc_offset(moment: float, zone: tzinfo | None) -> str:
    """Return the offset of local time from UTC, such as `+01:00`.

    Args:
        moment: seconds since 1970.
        zone: time zone; None for this machine's.
    """
    delta = local_time(moment, zone).utcoffset() or timedelta()
    minutes = int(delta.total_seconds() // _MINUTE)
    sign = "-" if minutes < 0 else "+"
    return f"{sign}{abs(minutes) // 60:02}:{abs(minutes) % 60:02}"
