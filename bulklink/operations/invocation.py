"""Start and end of an invocation, as `run.json` records them."""

from __future__ import annotations

import math
from collections.abc import Mapping

import msgspec

from bulklink.counts import count_of
from bulklink.engine.clock import Clock
from bulklink.engine.metrics import CallFigures, find_bottleneck
from bulklink.engine.quota.gate import QuotaGate
from bulklink.errors import (
    LedgerError,
    LockedError,
    NotConfirmedError,
    RefusedError,
    RunStoppedError,
    StoppedBy,
    WrongOrgError,
)
from bulklink.ledger.records import parse_time, timestamp
from bulklink.ledger.state import LedgerState
from bulklink.models import Status
from bulklink.operations.callbacks import ResultCounter
from bulklink.operations.job import Job
from bulklink.operations.job_options import sending_settings
from bulklink.profiles.names import DEFAULT_PROFILE
from bulklink.runs.record import (
    CanaryRecord,
    CanaryState,
    Invocation,
    LimitingFactor,
    RunRecord,
    RunState,
    close_last_invocation,
)
from bulklink.runs.status import PENDING, RunResult
from bulklink.zoho.connection import Connection

_LEAVES_PLAN = (LockedError, NotConfirmedError, WrongOrgError)
_OUT_OF_CREDITS = (StoppedBy.CREDITS, StoppedBy.MAX_CREDITS)


def begin_invocation(
    record: RunRecord,
    ledger_state: LedgerState,
    job: Job,
    connection: Connection,
    clock: Clock,
    machine: str | None,
) -> RunRecord:
    """Return the record of a run with a new invocation.

    Args:
        record: the previous record.
        ledger_state: state of its ledger.
        job: options of sending.
        connection: endpoint of the CRM.
        clock: clock of the start time.
        machine: mark of this machine; None if it has none.
    """
    return record.replace(
        state=RunState.RUNNING,
        stopped_by=None,
        reason=None,
        resume_at=None,
        limited=None,
        settings=sending_settings(job),
        api_url=connection.api_url,
        data_centre=connection.data_centre,
        profile=None if connection.profile == DEFAULT_PROFILE else connection.profile,
        invocations=(
            *close_last_invocation(record.invocations, ledger_state.last_timestamp),
            Invocation(started=timestamp(clock.wall()), machine=machine),
        ),
    )


def last_call_at(record: RunRecord, ledger_state: LedgerState, clock: Clock) -> float:
    """Return the latest time at which a call of an earlier invocation ended, in monotonic seconds.

    A call without an answer leaves no line when it ends, but its invocation ends later. Times from
    the clock of another machine are meaningless here: the call counts as made now.

    Args:
        record: the record, whose last invocation is the current one.
        ledger_state: state of the ledger when the current invocation began.
        clock: clock of this machine.
    """
    *earlier, present = record.invocations
    if earlier and (present.machine is None or earlier[-1].machine != present.machine):
        return clock.monotonic()
    times = [ledger_state.last_timestamp, *(each.ended for each in earlier)]
    seconds = [parse_time(time).timestamp() for time in times if time]
    return clock.monotonic_at(max(seconds, default=-math.inf))


def accepted_canary(record: RunRecord) -> CanaryRecord | None:
    """Return the canary of a run as confirmed by the user."""
    canary = record.canary
    return canary and msgspec.structs.replace(canary, state=CanaryState.CONFIRMED)


def limiting_factor(
    figures: CallFigures | None, quota: QuotaGate, reason: RunStoppedError | None
) -> LimitingFactor | None:
    """Return what limited an invocation; None if it made no calls.

    Args:
        figures: figures of its calls; None if it made none.
        quota: its quota gate.
        reason: why it stopped; None if it did not.
    """
    if figures is None:
        return None
    out_of_credits = reason is not None and reason.stopped_by in _OUT_OF_CREDITS
    # The stop cut short a wait that has not ended.
    bottleneck = find_bottleneck(figures, out_of_credits=out_of_credits or quota.is_waiting)
    recorded_figures = msgspec.structs.asdict(figures) | {
        "answered_429": quota.refused_429,
        "beyond_max_credits": quota.budget.overrun,
    }
    return LimitingFactor(bottleneck, recorded_figures)


def with_end_state(
    record: RunRecord,
    previous_record: RunRecord,
    reason: RunStoppedError | None,
    refusal: RefusedError | None,
) -> RunRecord:
    """Return the record with the state in which an invocation ended."""
    if refusal and (previous_record.invocations or isinstance(refusal, _LEAVES_PLAN)):
        # The run was not resumed and still can be; an approved plan can still be sent.
        return record.replace(
            state=previous_record.state,
            stopped_by=previous_record.stopped_by,
            reason=previous_record.reason,
            resume_at=previous_record.resume_at,
            limited=previous_record.limited,
            settings=previous_record.settings,
            org=previous_record.org,
            canary=previous_record.canary,
        )
    resume_at = reason.resume_at if reason else None
    ended = record.replace(resume_at=None if resume_at is None else timestamp(resume_at))
    if refusal:
        return ended.replace(state=RunState.REFUSED, reason=refusal.code)
    if reason:
        return ended.replace(
            state=RunState.STOPPED, stopped_by=reason.stopped_by, reason=reason.message
        )
    return ended.replace(state=RunState.FINISHED)


def check_accounting(
    record: RunRecord, counter: ResultCounter, written: Mapping[Status, int], result: RunResult
) -> None:
    """Check that the ledger agrees with the results counted by this process.

    Args:
        record: the run.
        counter: the results counted.
        written: `result` lines that this process wrote to the ledger, by status.
        result: counts of the whole run.

    Raises:
        LedgerError: if a result was counted and not written or the reverse, or if the rows of the
            run do not add up.
    """
    counted = counter.invocation_counts
    pending = result.counts[PENDING]
    if (
        any(counted[status] != written[status] for status in Status)
        or pending < 0
        or (record.state is RunState.FINISHED and pending and not record.load_test)
    ):
        raise LedgerError(
            f"The ledger does not add up: it has the results {dict(written)}, {counted} were"
            f" counted, and the run has {result.counts} of {count_of(record.rows, 'row')}. This is"
            " a bug in bulklink.",
            where=result.run_dir,
            advice="Keep the run folder and report the bug. Do not trust the counts.",
        )
