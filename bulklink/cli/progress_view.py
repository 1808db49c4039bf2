"""What a person sees of a command while it goes on: lines of text, by a value and a width."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from textwrap import wrap

from rich.filesize import decimal
from rich.text import Text

from bulklink.operations.callbacks import Gauge

_NARROW = 80
"""Below this width shorter words are taken."""
_SHORTEST_BAR, _LONGEST_BAR = 8, 100
_MOST_CODES = 5
_LONGEST_CODE = 32
_BETWEEN = " · "
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


@dataclass(frozen=True, slots=True)
class View:
    """All that is shown.

    Args:
        phase: what the command does now.
        unit: what is counted.
        done: how many are done; None where that is not counted.
        of: how many there are.
        share: the part that is done, where nothing is counted.
        size: bytes that are read from end to end, where that is what it does.
        gauge: what is measured; None where nothing is.
        failed: emails that failed.
        in_doubt: emails that are in doubt.
        codes: of both, by code.
        waits_until: when there may be credits again, where they are waited for.
    """

    phase: str
    unit: str = "emails"
    done: int | None = None
    of: int = 0
    share: float | None = None
    size: int | None = None
    gauge: Gauge | None = None
    failed: int = 0
    in_doubt: int = 0
    codes: Mapping[str, int] = field(default_factory=dict)
    waits_until: str | None = None


def lines(view: View, width: int) -> Iterator[Text]:
    """Yield the lines of a view; none is wider than `width` if a word is not, and no number is cut.

    Args:
        view: what is shown.
        width: columns of the terminal.
    """
    narrow = width < _NARROW
    yield from _head(view, width)
    if view.gauge is not None:
        yield from _flow(list(_measured(view.gauge, view.unit, narrow=narrow)), width)
    yield from _flow(list(_failures(view)), width, "red", between=", ")
    yield from _flow(list(_lasts(view)), width, "yellow")
    yield from _flow(list(_limit(view)), width, "dim")


def one_line(view: View) -> str:
    """Return the same figures in one line of any length, for where there is no terminal."""
    pieces = [*_counted(view), *_time_left(view)]
    if view.gauge is not None:
        pieces += _measured(view.gauge, view.unit, narrow=False)
    pieces += [*_failures(view), *map(_lowered, (*_lasts(view), *_limit(view)))]
    return f"{view.phase}: {', '.join(pieces)}" if pieces else view.phase


def _head(view: View, width: int) -> Iterator[Text]:
    """Yield the line with the bar, which takes what room there is."""
    if view.waits_until is not None:
        yield from _flow([f"Waiting for credits until {view.waits_until}"], width, "yellow")
    figures = [*_counted(view), *_time_left(view)]
    share = _share(view)
    taken = len(view.phase) + sum(2 + len(figure) for figure in figures)
    room = min(width - taken - 2, _LONGEST_BAR)
    if share is None or room < _SHORTEST_BAR:
        yield from _flow([view.phase, *figures], width, between="  ")
        return
    line = Text(view.phase, style="bold").append("  ")
    line.append_text(_bar(share, room))
    for figure in figures:
        line.append(f"  {figure}", style="not bold")
    yield line


def _bar(share: float, width: int) -> Text:
    # The rest is another sign, not only another colour, for where there is none.
    halves = int(share * 2 * width)
    whole, half = divmod(halves, 2)
    done = "━" * whole + "╸" * half
    return Text(done, style="green").append("─" * (width - len(done)), style="bright_black")


def _share(view: View) -> float | None:
    if view.done is None or not view.of:
        return view.share
    return min(1.0, view.done / view.of)


def _counted(view: View) -> Iterator[str]:
    if view.done is not None:
        yield f"{view.done:,} of {view.of:,}"
    share = _share(view)
    if share is not None:
        # Rounded down: it is 100 % when all is done.
        percent = f"{int(share * 100)} %"
        yield percent if view.size is None else f"{percent} of {decimal(view.size)}"


def _time_left(view: View) -> Iterator[str]:
    left = view.gauge.seconds_left if view.gauge else None
    if left is not None and view.waits_until is None and left > 0:
        yield f"{duration(left)} left"


def duration(seconds: float) -> str:
    """Return a time that is only about right, in so coarse steps that it does not flicker."""
    if seconds < 9.5:
        return f"{max(1, round(seconds))}s"
    if seconds < _MINUTE - 2.5:
        return f"{5 * round(seconds / 5)}s"
    if seconds < 10 * _MINUTE - 5:
        minutes, rest = divmod(10 * round(seconds / 10), _MINUTE)
        return f"{minutes}m {rest:02}s"
    if seconds < _HOUR - _MINUTE / 2:
        return f"{round(seconds / _MINUTE)}m"
    if seconds < _DAY - _HOUR / 2:
        hours, rest = divmod(5 * round(seconds / (5 * _MINUTE)), 60)
        return f"{hours}h {rest:02}m"
    days, rest = divmod(round(seconds / _HOUR), 24)
    return f"{days}d {rest}h"


def _measured(gauge: Gauge, unit: str, *, narrow: bool) -> Iterator[str]:
    if gauge.rate is not None:
        yield _rate(gauge.rate, unit)
    if gauge.cap:
        allowed = min(gauge.allowed, gauge.cap)
        lowered = f" (at most {gauge.cap})" if allowed < gauge.cap else ""
        calls = "" if narrow else "calls "
        yield f"{round(gauge.in_flight)} of {allowed}{lowered} {calls}in flight"
    if gauge.spent:
        yield from _credits(gauge)


def _credits(gauge: Gauge) -> Iterator[str]:
    """Yield what is spent and left to spend, and what the org has left where that is more."""
    org, left = gauge.credits_left, gauge.spendable
    spent = f"{gauge.spent:,} {'credit' if gauge.spent == 1 else 'credits'} spent"
    yield spent if left is None else f"{spent}, {left:,} left"
    if org is not None and org != left:
        yield f"the org has {org:,}"


def _rate(rate: float, unit: str) -> str:
    if rate >= 10:
        return f"{rate:,.0f} {unit}/s"
    return f"{rate:.1f} {unit}/s" if rate >= 1 else f"{rate * _MINUTE:.1f} {unit}/min"


def _failures(view: View) -> Iterator[str]:
    if not view.failed and not view.in_doubt:
        return
    told = [f"{view.failed:,} failed"] if view.failed else []
    told += [f"{view.in_doubt:,} in doubt"] if view.in_doubt else []
    commonest = sorted(view.codes.items(), key=lambda found: (-found[1], found[0]))
    codes = [f"{count:,} {_short(code)}" for code, count in commonest[:_MOST_CODES]]
    if len(commonest) > _MOST_CODES:
        codes.append(f"{sum(n for _, n in commonest[_MOST_CODES:]):,} of other codes")
    yield ", ".join(told) + (f": {codes[0]}" if codes else "")
    yield from codes[1:]


def _short(code: str) -> str:
    return code if len(code) <= _LONGEST_CODE else f"{code[: _LONGEST_CODE - 1]}…"


def _lasts(view: View) -> Iterator[str]:
    lasts_for = view.gauge.lasts_for if view.gauge else None
    if lasts_for is not None:
        yield f"Credits last for about {_about(lasts_for):,} more {view.unit}"


def _about(number: int) -> int:
    """Return a number with two digits that count."""
    scale: int = 10 ** max(0, len(str(number)) - 2)
    return number // scale * scale


def _limit(view: View) -> Iterator[str]:
    if view.waits_until is None and view.gauge is not None and view.gauge.limited_by is not None:
        yield f"Limited by {view.gauge.limited_by}"


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]


def _flow(
    pieces: Sequence[str], width: int, style: str = "", between: str = _BETWEEN
) -> Iterator[Text]:
    """Yield pieces in as few lines as they need; only one that is too wide by itself is broken."""
    line = ""
    for piece in pieces:
        if line and len(line) + len(between) + len(piece) <= width:
            line += between + piece
            continue
        if line:
            yield Text(line, style=style, no_wrap=True)
        *broken, line = wrap(piece, width, break_long_words=False)
        yield from (Text(part, style=style, no_wrap=True) for part in broken)
    if line:
        yield Text(line, style=style, no_wrap=True)
