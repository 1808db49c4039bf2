"""Progress of a command as lines of text. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from textwrap import wrap
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.filesize import decimal

from bulklink.counts import count_of
from bulklink.file_names import file_name_text
from bulklink.operations.callbacks import LoadProgress, Metrics
from bulklink.operations.wording import format_rate
from bulklink.visible_text import escape_controls

if TYPE_CHECKING:
    from rich.text import Text

_NARROW_WIDTH = 80
"""Width in columns below which shorter words are used."""
_MIN_BAR_WIDTH, _MAX_BAR_WIDTH = 8, 100
_MAX_CODES = 5
_MAX_CODE_LENGTH = 32
_MAX_ORG_WIDTH = 40
_SEPARATOR = " · "
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


@dataclass(frozen=True, slots=True)
class ProgressView:
    """Everything the progress display shows.

    Of `done` and `fraction` at most one is set.

    Args:
        phase: current phase of the command.
        unit: what is counted.
        done: how many are done; None if nothing is counted.
        total: how many there are.
        fraction: fraction done, if nothing is counted; None if it is unknown.
        total_bytes: size of the file being read; None if there is none.
        metrics: current metrics; None if there are none.
        failed: emails that failed.
        in_doubt: emails in doubt.
        codes: counts of both, by code.
        waiting_until: when credits are expected, as text; None if there is no wait for credits.
        outage: text about an outage and the end of the wait; None if there is no outage.
        figures: further figures, as texts.
        run_dir: the run folder; None without one.
        org: name and type of the org; None if unknown.
        elapsed: seconds since the command began; None if unknown.
        is_stopping: whether the command is about to stop.
    """

    phase: str
    unit: str = "emails"
    done: int | None = None
    total: int = 0
    fraction: float | None = None
    total_bytes: int | None = None
    metrics: Metrics | None = None
    failed: int = 0
    in_doubt: int = 0
    codes: Mapping[str, int] = field(default_factory=dict)
    waiting_until: str | None = None
    outage: str | None = None
    figures: Sequence[str] = ()
    run_dir: str | None = None
    org: str | None = None
    elapsed: float | None = None
    is_stopping: bool = False


def render_lines(view: ProgressView, width: int) -> Iterator[Text]:
    """Yield the lines of a view, no wider than `width` unless a word is; no number is cut.

    Args:
        view: what to show.
        width: columns of the terminal.
    """
    narrow = width < _NARROW_WIDTH
    view = replace(view, phase=escape_controls(view.phase))
    yield from _head_lines(view, width)
    if view.metrics is not None:
        figures = [*view.figures, *_metric_figures(view.metrics, view.unit, narrow=narrow)]
        yield from _flow(figures, width)
    yield from _flow(list(_failure_pieces(view)), width, "red", separator=", ")
    yield from _flow(list(_credits_last_lines(view)), width, "yellow")
    yield from _flow(list(_limit_lines(view)), width, "dim")
    yield from _flow(list(_context_pieces(view, width)), width, "dim")


def render_one_line(view: ProgressView) -> str:
    """Return the same figures in one line of any length, for output without a terminal."""
    pieces = [] if view.outage is None else [view.outage]
    pieces += [*_count_figures(view), *_time_left_figures(view)]
    if view.metrics is not None:
        pieces += [*view.figures, *_metric_figures(view.metrics, view.unit, narrow=False)]
    pieces += [
        *_failure_pieces(view),
        *map(_lower_first, (*_credits_last_lines(view), *_limit_lines(view))),
    ]
    return f"{view.phase}: {', '.join(pieces)}" if pieces else view.phase


def _head_lines(view: ProgressView, width: int) -> Iterator[Text]:
    """Yield the line with the bar, which fills the remaining width."""
    if view.waiting_until is not None:
        yield from _flow([f"Waiting for credits until {view.waiting_until}"], width, "yellow")
    if view.outage is not None:
        yield from _flow([escape_controls(view.outage)], width, "yellow")
    figures = [*_count_figures(view), *_time_left_figures(view)]
    fraction = _fraction_done(view)
    used_width = len(view.phase) + sum(2 + len(figure) for figure in figures)
    bar_width = min(width - used_width - 2, _MAX_BAR_WIDTH)
    if fraction is None or bar_width < _MIN_BAR_WIDTH:
        yield from _flow([view.phase, *figures], width, separator="  ")
        return
    line = _text(view.phase, style="bold").append("  ")
    line.append_text(_bar(fraction, bar_width))
    for figure in figures:
        line.append(f"  {figure}", style="not bold")
    yield line


def _bar(fraction: float, width: int) -> Text:
    # The remaining part has a different character, not only a colour, for plain terminals.
    halves = int(fraction * 2 * width)
    whole, half = divmod(halves, 2)
    done = "━" * whole + "╸" * half
    return _text(done, style="green").append("─" * (width - len(done)), style="bright_black")


def _fraction_done(view: ProgressView) -> float | None:
    if view.done is None or not view.total:
        return view.fraction
    return min(1.0, view.done / view.total)


def _count_figures(view: ProgressView) -> Iterator[str]:
    if view.done is not None:
        yield f"{view.done:,} of {view.total:,}"
    fraction = _fraction_done(view)
    if fraction is not None:
        # Rounded down, so that 100 % means done.
        percent = f"{int(fraction * 100)} %"
        yield percent if view.total_bytes is None else f"{percent} of {decimal(view.total_bytes)}"


def _time_left_figures(view: ProgressView) -> Iterator[str]:
    seconds_left = view.metrics.seconds_left if view.metrics else None
    waits = view.waiting_until is not None or view.outage is not None
    if seconds_left is not None and not waits and seconds_left > 0:
        yield f"{format_duration(seconds_left)} left"


def format_duration(seconds: float) -> str:
    """Return an approximate duration, in steps coarse enough not to flicker."""
    if seconds < 9.5:
        return f"{max(1, round(seconds))}s"
    if seconds < _MINUTE - 2.5:
        return f"{5 * round(seconds / 5)}s"
    if seconds < 10 * _MINUTE - 5:
        minutes, remainder = divmod(10 * round(seconds / 10), _MINUTE)
        return f"{minutes}m {remainder:02}s"
    if seconds < _HOUR - _MINUTE / 2:
        return f"{round(seconds / _MINUTE)}m"
    if seconds < _DAY - _HOUR / 2:
        hours, remainder = divmod(5 * round(seconds / (5 * _MINUTE)), 60)
        return f"{hours}h {remainder:02}m"
    days, remainder = divmod(round(seconds / _HOUR), 24)
    return f"{days}d {remainder}h"


def _metric_figures(metrics: Metrics, unit: str, *, narrow: bool) -> Iterator[str]:
    if metrics.rate is not None:
        yield format_rate(metrics.rate, unit)
    if metrics.max_in_flight:
        allowed = min(metrics.allowed_in_flight, metrics.max_in_flight)
        limit_text = (
            f" (at most {metrics.max_in_flight})" if allowed < metrics.max_in_flight else ""
        )
        calls = "" if narrow else "calls "
        yield f"{round(metrics.in_flight)} of {allowed}{limit_text} {calls}in flight"
    if metrics.credits_spent:
        yield from _credit_figures(metrics)


def _credit_figures(metrics: Metrics) -> Iterator[str]:
    """Yield credits spent and left to spend, and the org's credits if they differ."""
    org_credits, spendable = metrics.credits_left, metrics.credits_spendable
    spent_text = f"{count_of(metrics.credits_spent, 'credit')} spent"
    yield spent_text if spendable is None else f"{spent_text}, {spendable:,} left"
    forecast = metrics.credits_forecast
    if forecast is not None and forecast.most > metrics.credits_spent:
        yield f"{forecast.least:,} to {forecast.most:,} in all"
    if org_credits is not None and org_credits != spendable:
        yield f"the org has {org_credits:,}"


def load_figures(progress: LoadProgress) -> list[str]:
    """Return the time, the calls and the late calls of a load test as texts."""
    total = "" if progress.total is None else f" of {format_duration(progress.total)}"
    asked = "" if progress.asked is None else f" ({progress.asked:,.0f}/s asked)"
    figures = [
        f"{format_duration(progress.seconds)}{total}",
        f"{count_of(progress.calls, 'call')}{asked}",
    ]
    return [*figures, f"{progress.late:,} late"] if progress.late else figures


def _failure_pieces(view: ProgressView) -> Iterator[str]:
    if not view.failed and not view.in_doubt:
        return
    totals = [f"{view.failed:,} failed"] if view.failed else []
    totals += [f"{view.in_doubt:,} in doubt"] if view.in_doubt else []
    commonest = sorted(view.codes.items(), key=lambda item: (-item[1], item[0]))
    codes = [f"{count:,} {_truncate_code(code)}" for code, count in commonest[:_MAX_CODES]]
    if len(commonest) > _MAX_CODES:
        codes.append(f"{sum(n for _, n in commonest[_MAX_CODES:]):,} of other codes")
    yield ", ".join(totals) + (f": {codes[0]}" if codes else "")
    yield from codes[1:]


def _truncate_code(code: str) -> str:
    code = escape_controls(code)
    return code if len(code) <= _MAX_CODE_LENGTH else f"{code[: _MAX_CODE_LENGTH - 1]}…"


def _credits_last_lines(view: ProgressView) -> Iterator[str]:
    lasts_for = view.metrics.credits_last_for if view.metrics else None
    if lasts_for is not None:
        yield f"Credits last for about {_round_to_two_digits(lasts_for):,} more {view.unit}"


def _round_to_two_digits(number: int) -> int:
    """Return a number rounded down to two significant digits."""
    scale: int = 10 ** max(0, len(str(number)) - 2)
    return number // scale * scale


def _limit_lines(view: ProgressView) -> Iterator[str]:
    if (
        view.waiting_until is None
        and view.metrics is not None
        and view.metrics.limited_by is not None
    ):
        yield f"Limited by {view.metrics.limited_by}"


def _context_pieces(view: ProgressView, width: int) -> Iterator[str]:
    """Yield where the command works, for how long, and how it is stopped."""
    if view.run_dir is not None:
        yield _crop(escape_controls(file_name_text(view.run_dir)), width, keep_end=True)
    if view.org is not None:
        yield _crop(escape_controls(view.org), min(width, _MAX_ORG_WIDTH))
    if view.elapsed is not None:
        yield f"{format_duration(view.elapsed)} elapsed"
    yield "finishing the calls in flight" if view.is_stopping else "Ctrl-C stops safely"


def _crop(text: str, width: int, *, keep_end: bool = False) -> str:
    """Return a text of at most `width` columns, with a mark where something was left out."""
    if cell_len(text) <= width:
        return text
    text = text[-width:] if keep_end else text[:width]
    while cell_len(text) >= width:
        text = text[1:] if keep_end else text[:-1]
    return f"…{text}" if keep_end else f"{text}…"


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def _flow(
    pieces: Sequence[str], width: int, style: str = "", separator: str = _SEPARATOR
) -> Iterator[Text]:
    """Yield pieces in as few lines as possible; only a piece wider than a line is broken."""
    line = ""
    for piece in pieces:
        if line and cell_len(line) + len(separator) + cell_len(piece) <= width:
            line += separator + piece
            continue
        if line:
            yield _text(line, style)
        *full_lines, line = wrap(piece, width, break_long_words=False)
        yield from (_text(text, style) for text in full_lines)
    if line:
        yield _text(line, style)


def _text(text: str, style: str) -> Text:
    """Return a styled text of one line."""
    from rich.text import Text  # noqa: PLC0415 - only a terminal needs it

    return Text(text, style=style, no_wrap=True)
