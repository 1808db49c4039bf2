"""The accounting of a run on the screen: its rows by status and op, and its commonest failures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from bulklink.cli.screen import table, wrapped
from bulklink.engine.failures import explained, shown
from bulklink.ledger.tally import Counted, Tally, tally
from bulklink.models import Op, Status
from bulklink.runs.folder import RunFolder
from bulklink.runs.record import RunRecord, State
from bulklink.runs.status import PENDING, RunSummary

_MIXED = "mixed"
_FAILURES_SHOWN = 5
_NO_OP = "no op"
_ALL = "all"
_ROWS = "rows"
_BY_PLAN = (Status.DONE, Status.UNCHANGED, Status.FAILED, Status.IN_DOUBT)
_Cells = dict[str, dict[str, int]]


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
        yield from _by_op(told.rows, summary.rows, record.by_op)
    else:
        counts = {name: n for name, n in summary.counts.items() if n}
        yield table(counts | {_ROWS: summary.rows})
    if explain:
        yield from _failures(told.failures)


def _by_op(
    rows: Mapping[tuple[Op | None, Status], int], of_run: int, planned: Mapping[str, int]
) -> Iterator[str]:
    """Yield a table of status and op, whose lines and columns add up."""
    cells: _Cells = {str(status): {} for status in Status}
    for (op, status), count in rows.items():
        cells[status][op or _NO_OP] = count
    pending = of_run - sum(rows.values())
    if pending:
        cells[PENDING] = _pending(cells, pending, planned)
    cells = {name: by_op for name, by_op in cells.items() if by_op}
    named = {op for by_op in cells.values() for op in by_op}
    ops = [op for op in (*map(str, Op), _NO_OP) if op in named]
    for by_op in cells.values():
        by_op.setdefault(_ALL, sum(by_op.values()))
    apart = pending == sum(cells.get(PENDING, {}).get(op, 0) for op in ops)
    sums = {op: sum(by_op.get(op, 0) for by_op in cells.values()) for op in ops} if apart else {}
    columns = [*ops, _ALL]
    lines = [["", *columns]]
    for name, by_op in (*cells.items(), (_ROWS, sums | {_ALL: of_run})):
        none = "0" if apart or name not in (PENDING, _ROWS) else "?"
        lines.append([name, *(f"{by_op[op]:,}" if op in by_op else none for op in columns)])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for name, *numbers in lines:
        aligned = (f"{n:>{width}}" for n, width in zip(numbers, widths[1:], strict=True))
        yield "  ".join(["", f"{name:<{widths[0]}}", *aligned]).rstrip()


def _pending(cells: _Cells, pending: int, planned: Mapping[str, int]) -> dict[str, int]:
    """Return the rows of each op that are still to be settled, or only the sum of all.

    Of the refused rows, those refused after the look-ups were planned and the others were not:
    where there are both, they cannot be told apart, and stand as "?" in the table.
    """
    for settled in (_BY_PLAN, (*_BY_PLAN, Status.REJECTED)):
        left = {
            op: many - sum(cells[status].get(op, 0) for status in settled)
            for op, many in planned.items()
        }
        if sum(left.values()) == pending:
            return {op: many for op, many in left.items() if many}
    return {_ALL: pending}


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
