"""Summary of a load test for the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bulklink.cli.console import Line, Styled, format_columns, print_line, wrap_text
from bulklink.cli.progress_view import format_duration
from bulklink.counts import count_of
from bulklink.engine.load.client_monitor import MAX_CPU_SHARE
from bulklink.load_analysis.figures import LATENCY_FIGURES
from bulklink.load_analysis.merging import CLIENTS
from bulklink.load_analysis.texts import latency_text, threshold_text
from bulklink.load_results import LatencyFigures, LoadPhase, LoadResult

_HEADERS = {"mean": "mean", "p999": "p99.9", "max": "max"}
_MAX_CODES = 5
_WORD = {True: ("✓", "green"), False: ("✗", "red")}


def show_load_result(result: LoadResult) -> None:
    """Print the figures of a load test, wrapped to the terminal's width."""
    for line in _lines(result):
        print_line(line)


def _lines(result: LoadResult) -> Iterator[Line]:
    colour = "red" if result.exit_code else "green"
    ended = f"cut short ({result.stopped_by})" if result.cut_short else "finished"
    yield Styled(f"load test: {ended}", colour)
    yield from wrap_text(_description(result))
    yield from _latency_lines(result)
    for text in (_rate_text(result), _call_text(result), *_error_texts(result)):
        yield from wrap_text(text)
    yield from _phase_lines(result)
    for threshold in result.thresholds:
        mark, mark_colour = _WORD[threshold.met]
        yield (
            Styled(f"{mark} {threshold.expression}", mark_colour),
            f"  {threshold_text(threshold)}",
        )
    yield from wrap_text(f"Limited by {result.limited_by}.")
    yield from wrap_text(_client_text(result))
    if result.client.bottleneck:
        for line in wrap_text(_bottleneck_text(result)):
            yield Styled(line, "yellow")
    if result.run_dir:  # a merged result has none
        yield f"Page: {Path(result.run_dir, 'report.html')}"
        yield f"Figures: {Path(result.run_dir, 'loadtest.json')}"


def _description(result: LoadResult) -> str:
    settings, is_open = result.settings, result.asked_calls_per_second is not None
    model = "open model" if is_open else "closed model"
    measured = f"measured for {result.seconds:,.1f} s: {result.target.url}"
    if CLIENTS in settings:
        return f"{count_of(len(settings[CLIENTS]), 'client')}, {model}, {measured}"
    in_flight = f"{count_of(settings['concurrency'], 'call')} in flight"
    return (
        f"{settings['op']}, {model}, {'at most ' if is_open else ''}{in_flight},"
        f" {count_of(settings['batch_size'], 'email')} a call, {measured}"
    )


def _latency_lines(result: LoadResult) -> Iterator[str]:
    """Yield the table of both latencies; they are equal in the closed model."""
    latency = result.latency
    if latency.service is None:
        yield "No call was answered."
        return
    rows = [["latency", *(_HEADERS.get(name, name) for name in LATENCY_FIGURES)]]
    if result.asked_calls_per_second is not None and latency.intended is not None:
        rows.append(["from intended start", *_cells(latency.intended)])
    rows.append(["service time", *_cells(latency.service)])
    yield from format_columns(rows, right_aligned=range(1, len(rows[0])))


def _cells(figures: LatencyFigures) -> Iterator[str]:
    return (latency_text(getattr(figures, name)) for name in LATENCY_FIGURES)


def _rate_text(result: LoadResult) -> str:
    text = f"Rate: {result.calls_per_second:,.1f} calls/s"
    asked = result.asked_calls_per_second
    if asked:
        text += f" of {asked:,.1f} asked ({result.calls_per_second / asked:.1%})"
    return f"{text}, {result.messages_per_second:,.0f} emails/s"


def _call_text(result: LoadResult) -> str:
    pieces = [count_of(result.calls, "call"), count_of(result.messages, "email")]
    if result.asked_calls_per_second is not None:
        pieces += [f"{result.late:,} late", f"{result.dropped:,} never started"]
    if result.answered_429:
        pieces.append(f"{result.answered_429:,} answered 429")
    return f"Calls: {', '.join(pieces)}"


def _error_texts(result: LoadResult) -> Iterator[str]:
    errors = sum(result.errors.values())
    if not errors:
        yield "Errors: none"
        return
    codes = list(result.errors.items())
    texts = [f"{count:,} {code}" for code, count in codes[:_MAX_CODES]]
    if len(codes) > _MAX_CODES:
        texts.append(f"{sum(count for _, count in codes[_MAX_CODES:]):,} of other codes")
    yield f"Errors: {count_of(errors, 'call')} ({errors / result.calls:.2%}): {', '.join(texts)}"


def _phase_lines(result: LoadResult) -> Iterator[str]:
    """Yield a line for each step of the schedule, if there are several."""
    phases = [phase for phase in result.phases if phase.name != "warm-up"]
    if len(phases) < 2:
        return
    rows = [["phase", "asked/s", "calls/s", "p50", "p99", "errors", "late"]]
    rows += [_phase_cells(phase) for phase in phases]
    yield from format_columns(rows, right_aligned=range(1, len(rows[0])))


def _phase_cells(phase: LoadPhase) -> list[str]:
    figures = phase.latency.intended
    first, last = phase.asked_first or 0.0, phase.asked_last or 0.0
    asked = f"{first:g}" if first == last else f"{first:g} to {last:g}"
    latencies = ["", ""] if figures is None else map(latency_text, (figures.p50, figures.p99))
    return [
        *(phase.name, asked, f"{phase.calls_per_second:,.1f}", *latencies),
        *(f"{phase.errors:,}", f"{phase.late:,}"),
    ]


def _bottleneck_text(result: LoadResult) -> str:
    """Return why this machine may have limited the figures, and what to do."""
    if result.client.cpu > MAX_CPU_SHARE:
        reason, cure = (
            "it had no processor time left",
            "Use several clients, and merge their results.",
        )
    else:
        reason = "its event loop was late by more than a tenth of the median latency"
        cure = "Use a quieter machine, or --sync off if the disk is slow."
    return f"This machine may have limited the figures: {reason}. {cure}"


def _client_text(result: LoadResult) -> str:
    client = result.client
    return (
        f"This machine: CPU {client.cpu:.0%} of a core, event loop late by"
        f" {latency_text(client.loop_lag_p99)} (p99), ledger"
        f" {format_duration(client.flush_seconds)}, garbage collection"
        f" {latency_text(client.gc_seconds)}"
    )
