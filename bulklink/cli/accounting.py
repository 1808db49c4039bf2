"""The accounting of a run on the screen: its rows by status and op, and its commonest failures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bulklink.cli.console import table, wrapped
from bulklink.engine.failure_limit import explained, shown
from bulklink.html_report.model import Accounting
from bulklink.ledger.statistics import Counted, Tally, tally
from bulklink.models import Status
from bulklink.operations import wording
from bulklink.runs.folder import RunFolder
from bulklink.runs.record import RunRecord, State
from bulklink.runs.status import RunSummary

_MIXED = "mixed"
_FAILURES_SHOWN = 5
_ROWS = "rows"


def accounting(summary: RunSummary, record: RunRecord, *, explain: bool) -> Iterator[str]:
    """Yield the rows of each status, which add up to those of the run, and what failed most.

    The ledger is looked through only where that is needed: of a run of one op in which nothing
    failed, the counts say all.

    Args:
        summary: where the run stands.
        record: of the run.
        explain: name the commonest failures with what to do about each, and a row to look at.
    """
    mixed = summary.op == _MIXED
    failed = summary.counts[Status.FAILED] or summary.counts[Status.IN_DOUBT]
    told = Tally({}, [])
    if mixed or (failed and explain):
        told = tally(RunFolder(Path(summary.run_dir)).ledger)
    ops = {op for op, _ in told.rows} | {op for op, many in record.by_op.items() if many}
    if mixed and len(ops) > 1 and summary.state is not State.REFUSED:
        yield from _by_op(wording.accounting(told.rows, summary.rows, record.by_op))
    else:
        counts = {name: n for name, n in summary.counts.items() if n}
        yield table(counts | {_ROWS: summary.rows})
    if explain:
        yield from _failures(told.failures)


def _by_op(told: Accounting) -> Iterator[str]:
    """Yield a table of status and op, whose lines and columns add up."""
    lines = [["", *told.ops, "all"]]
    named = [(line.status, line.by_op, line.rows) for line in told.lines]
    for name, by_op, rows in (*named, (_ROWS, told.sums, told.rows)):
        lines.append([name, *("?" if n is None else f"{n:,}" for n in by_op), f"{rows:,}"])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for name, *numbers in lines:
        aligned = (f"{n:>{width}}" for n, width in zip(numbers, widths[1:], strict=True))
        yield "  ".join(["", f"{name:<{widths[0]}}", *aligned]).rstrip()


def _failures(failures: list[Counted]) -> Iterator[str]:
    """Yield the commonest codes: how many, what to do, and a row to look at."""
    if not failures:
        return
    yield "Failed or in doubt:"
    for one in failures[:_FAILURES_SHOWN]:
        yield from wrapped(explained(one.code, one.count, one.example), "  ")
        yield from wrapped(shown(one.example), "    ")
    others = failures[_FAILURES_SHOWN:]
    if others:
        rows = sum(one.count for one in others)
        yield from wrapped(f"{rows:,} of {len(others):,} other codes.", "  ")
