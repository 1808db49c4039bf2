"""Ending an invocation: what `run.json` says, and whether the ledger says the same."""

from __future__ import annotations

from bulklink.engine.stopping import Stopping
from bulklink.errors import LedgerError, RefusedError, RunDirError, StoppedBy
from bulklink.job.progress import Counter
from bulklink.ledger.lines import timestamp
from bulklink.models import Status
from bulklink.runs.folder import RunFolder
from bulklink.runs.record import Invocation, RunRecord, State
from bulklink.runs.status import PENDING, RunSummary, exit_code_of, status_of


def end(
    folder: RunFolder,
    record: RunRecord,
    counter: Counter,
    stopping: Stopping,
    refused: RefusedError | None,
    before: RunRecord,
    now: float,
    seconds: float,
) -> RunSummary:
    """Write how an invocation ended and return where the run stands.

    Args:
        folder: of the run.
        record: as it stands.
        counter: the results of this invocation.
        stopping: why it stopped, if it did.
        refused: why it was refused, if it was.
        before: the record as the invocation found it.
        now: seconds since 1970.
        seconds: how long the invocation lasted.

    Raises:
        LedgerError: if the ledger does not hold what was done.
    """
    reason = stopping.reason
    if refused and before.invocations:
        # It was not taken up again, and can be as before.
        record = record.but(
            state=before.state, stopped_by=before.stopped_by, reason=before.reason, org=before.org
        )
    else:
        record = record.but(
            state=State.REFUSED if refused else State.STOPPED if reason else State.FINISHED,
            stopped_by=reason.by if reason and not refused else None,
            reason=refused.code if refused else reason.message if reason else None,
        )
    try:
        # First with what the ledger says of the run so far, then with what follows from it.
        folder.write(record)
        summary = status_of(folder)
        code = exit_code_of(record.state, record.stopped_by, summary.counts)
        done = _ended(record.invocations[-1], record, timestamp(now), seconds, code)
        folder.write(
            record.but(counts=summary.counts, invocations=(*record.invocations[:-1], done))
        )
    except RunDirError as error:
        if reason is None or reason.by is not StoppedBy.LEDGER:
            raise LedgerError(error.message, where=error.where, advice=error.advice) from None
    summary = status_of(folder)
    if reason is None or reason.by is not StoppedBy.LEDGER:
        _check(record, counter, summary)
    return summary


def _ended(
    invocation: Invocation, record: RunRecord, ts: str, seconds: float, code: int | None
) -> Invocation:
    return Invocation(invocation.started, ts, round(seconds, 3), record.stopped_by, code)


def _check(record: RunRecord, counter: Counter, summary: RunSummary) -> None:
    """Hold what this process did against what the ledger holds: promise 1, checked at each end."""
    known = counter.counts
    told = {s: summary.counts[s] for s in Status}
    pending = summary.counts[PENDING]
    if known != told or pending < 0 or (record.state is State.FINISHED and pending):
        raise LedgerError(
            f"The ledger does not add up: it tells {told} of {record.rows} rows, but {known} were"
            " recorded. This is a mistake in bulklink.",
            where=summary.run_dir,
            advice="Keep the run folder and report it; do not trust the counts.",
        )
