"""Wording shared by the terminal summary and the report."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from os import PathLike

from bulklink.advice import Keyword, NextCall
from bulklink.counts import count_of
from bulklink.engine.metrics import LimitedBy
from bulklink.html_pages.report.model import Accounting, AccountingLine
from bulklink.models import Op, Status
from bulklink.runs.record import RunRecord
from bulklink.runs.status import PENDING, RunResult
from bulklink.shell import path_word

_PLANNED_STATUSES = (Status.DONE, Status.UNCHANGED, Status.FAILED, Status.IN_DOUBT)
_NO_OP = "no op"
RELINK_OPS = ("relink", "mixed")
"""Operations of runs that may leave relinks half done."""
_MAX_ROWS_LISTED = 20
ACCEPT_CANARY = Keyword("accept_canary", value=True)
"""Setting of `resume` and `retry` that accepts a failed canary."""
_CountsByStatus = dict[str, dict[str, int]]


def build_accounting(
    rows: Mapping[tuple[Op | None, Status], int], run_rows: int, planned_by_op: Mapping[str, int]
) -> Accounting:
    """Count the rows of a run by status and op; lines and columns add up.

    Args:
        rows: number of last results, by op and status.
        run_rows: number of rows of the run.
        planned_by_op: number of planned messages, by op.
    """
    cells: _CountsByStatus = {str(status): {} for status in Status}
    for (op, status), count in rows.items():
        if count:
            cells[status][op or _NO_OP] = count
    totals = {status: sum(by_op.values()) for status, by_op in cells.items()}
    pending = run_rows - sum(totals.values())
    pending_known = True
    if pending:
        pending_by_op = _pending_by_op(cells, pending, planned_by_op)
        pending_known = pending_by_op is not None
        cells[PENDING], totals[PENDING] = pending_by_op or {}, pending
    present_ops = {op for by_op in cells.values() for op in by_op}
    ops = tuple(op for op in (*map(str, Op), _NO_OP) if op in present_ops)
    lines = tuple(
        AccountingLine(
            status,
            tuple(by_op.get(op, 0 if pending_known or status != PENDING else None) for op in ops),
            totals[status],
        )
        for status, by_op in cells.items()
        if totals[status]
    )
    sums = (
        sum(by_op.get(op, 0) for by_op in cells.values()) if pending_known else None for op in ops
    )
    return Accounting(ops, lines, tuple(sums), run_rows)


def _pending_by_op(
    cells: _CountsByStatus, pending: int, planned_by_op: Mapping[str, int]
) -> dict[str, int] | None:
    """Return the pending rows of each op; None if unknown.

    Rows refused after the look-ups were planned, other refused rows were not. If there are both,
    they cannot be distinguished.
    """
    for statuses in (_PLANNED_STATUSES, (*_PLANNED_STATUSES, Status.REJECTED)):
        remaining = {
            op: count - sum(cells[status].get(op, 0) for status in statuses)
            for op, count in planned_by_op.items()
        }
        if sum(remaining.values()) == pending:
            return {op: count for op, count in remaining.items() if count}
    return None


def describe_rate(result: RunResult) -> str:
    """Describe the rate and the latencies of a run in one line; empty if nothing was measured."""
    if result.messages_per_second is None:
        return ""
    latency, waited = result.latency, result.waited_seconds or 0.0
    return (
        f"Rate: {format_rate(result.messages_per_second, 'emails')}"
        + (f", without {waited:,.0f} s of waiting for credits" if waited >= 1 else "")
        + (
            f"; calls: p50 {format_latency(latency.p50)}, p95 {format_latency(latency.p95)},"
            f" p99 {format_latency(latency.p99)}"
            if latency
            else ""
        )
    )


def format_rate(rate: float, unit: str) -> str:
    """Return a rate with its unit: per second, or per minute if it is low."""
    if rate >= 10:
        return f"{rate:,.0f} {unit}/s"
    return f"{rate:.1f} {unit}/s" if rate >= 1 else f"{rate * 60:.1f} {unit}/min"


def format_latency(seconds: float) -> str:
    """Return a latency with three significant digits, in milliseconds below a second."""
    value, unit = (seconds, "s") if seconds >= 0.9995 else (seconds * 1000, "ms")
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"


def describe_limit(record: RunRecord) -> str:
    """Describe the bottleneck of a run's last command, with figures; empty if there was none."""
    if record.limited is None or record.limited.by == LimitedBy.NOTHING:
        return ""
    figures = {name: value or 0 for name, value in record.limited.figures.items()}
    waited, calls = figures["waited"], count_of(round(figures["most_in_flight"]), "call")
    return (
        f"Limited by {record.limited.by}:"
        f" {figures['in_flight']:.1f} of {calls} in flight,"
        f" {figures['calls_a_second']:,.1f} calls/s"
        + (f" of {figures['rate']:,.0f}" if figures["rate"] else "")
        + f", CPU {figures['cpu']:.0%}"
        + (f", {waited:,.0f} s waited for credits" if waited else "")
        + "."
    )


def beyond_max_credits(record: RunRecord) -> int:
    """Return the number of calls beyond `max_credits`."""
    beyond = record.limited.figures.get("beyond_max_credits") if record.limited else None
    return int(beyond or 0)


def describe_undone(record: RunRecord) -> str:
    """Describe the last undo of a run; empty if there was none."""
    undo = record.last_undo
    if undo is None:
        return ""
    if record.effective_undo is not None:
        return f"Undone by {undo.run_dir}, at {undo.at}."
    counts = ", ".join(f"{n:,} {status}" for status, n in undo.counts.items() if n)
    return f"Undone in part by {undo.run_dir}, at {undo.at} ({undo.state}; {counts})."


def continue_arguments(
    record: RunRecord, verb: str, run: str | PathLike[str], *options: str
) -> list[str]:
    """Return the words of a command that continues a run, including required options.

    Args:
        record: record of the run.
        verb: `resume` or `retry`.
        run: the run folder, as it is typed.
        options: further words.
    """
    accept = ("--accept-canary",) if record.needs_accept_canary else ()
    return [verb, path_word(run), *options, *accept]


def continue_call(record: RunRecord, verb: str, run: object) -> NextCall:
    """Return the call that continues a run, including required settings."""
    return NextCall(verb, run, settings=[ACCEPT_CANARY] if record.needs_accept_canary else ())


def can_be_undone(record: RunRecord) -> bool:
    """Return whether the run knows the previous deals of its emails; links need no snapshot."""
    return record.by_op.get(Op.LINK, 0) > 0 or record.asked.get("snapshot") is not False


def list_relinks(rows: Mapping[int, str | None]) -> str:
    """Return half-done relinks in words, the first of them by row.

    Args:
        rows: previous deal by row, None if unknown.
    """
    texts = [
        f"row {row} (was on deal {deal_id})" if deal_id else f"row {row}"
        for row, deal_id in islice(rows.items(), _MAX_ROWS_LISTED)
    ]
    omitted = len(rows) - len(texts)
    return ", ".join(texts) + (f" and {omitted:,} more" if omitted else "")
