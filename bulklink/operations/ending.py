"""Ending an invocation: what `run.json` says, and whether the ledger says the same."""

from __future__ import annotations

from bulklink.engine.shutdown import Stopping
from bulklink.errors import LedgerError, RefusedError, RunDirError, RunStoppedError, StoppedBy
from bulklink.ledger.records import timestamp
from bulklink.ledger.state import replay
from bulklink.models import Status
from bulklink.operations.callbacks import Counter
from bulklink.runs.folder import RunFolder
from bulklink.runs.hashes import ledger_hash
from bulklink.runs.record import Invocation, RunRecord, State
from bulklink.runs.status import PENDING, RunSummary, counts_of, exit_code_of, summary_of


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
            state=before.state,
            stopped_by=before.stopped_by,
            reason=before.reason,
            resume_at=before.resume_at,
            org=before.org,
        )
    else:
        record = record.but(
            state=State.REFUSED if refused else State.STOPPED if reason else State.FINISHED,
            stopped_by=reason.by if reason and not refused else None,
            reason=refused.code if refused else reason.message if reason else None,
            resume_at=_resume_at(reason),
        )
    told = replay(folder.ledger)
    counts = counts_of(record, told)
    code = exit_code_of(record.state, record.stopped_by, counts)
    *earlier, last = record.invocations
    ended = Invocation(last.started, timestamp(now), round(seconds, 3), record.stopped_by, code)
    proof = ledger_hash(folder.ledger)
    record = record.but(counts=counts, invocations=(*earlier, ended), **proof)
    broken = reason is not None and reason.by is StoppedBy.LEDGER
    try:
        folder.write(record)
    except RunDirError as error:
        if not broken:
            raise LedgerError(error.message, where=error.where, advice=error.advice) from None
    summary = summary_of(folder, record, told)
    if not broken:
        _check(record, counter, summary)
    return summary


def _resume_at(reason: RunStoppedError | None) -> str | None:
    return timestamp(reason.resume_at) if reason and reason.resume_at is not None else None


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
