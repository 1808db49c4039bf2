"""What changes on the page while a command works on a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import msgspec

from bulklink.counts import count_of
from bulklink.engine.metrics import LimitedBy
from bulklink.html_pages.time_axis import humanize_duration
from bulklink.local_time import format_local_moment
from bulklink.models import Status
from bulklink.operations.callbacks import ReadProgress
from bulklink.runs.folder import RunFolder
from bulklink.runs.status import PENDING
from bulklink.ui.activity import Activity, Progress
from bulklink.ui.run_view import RunView, view_run
from bulklink.ui.timeline_follower import TimelineFollowers

_SHOWN_CODES = 5


class LiveValues(msgspec.Struct, frozen=True, kw_only=True):
    """What changes while a run goes on; empty where it is unknown.

    Args:
        state: where the run stands.
        active: whether a command works on it.
        phase: what that does now.
        note: what it waits for.
        share: settled share of its rows, from 0 to 1.
        progress: settled rows, in words.
        rate: emails a second, in words.
        left: time left, in words.
        limit: what limits the rate, in words.
        counts: rows by status, pending ones included.
        codes: most frequent codes of failures, in words.
        question: number of the question that it waits for; None without one.
        warnings: its last warnings.
    """

    state: str
    active: bool
    phase: str = ""
    note: str = ""
    share: float = 0.0
    progress: str = ""
    rate: str = ""
    left: str = ""
    limit: str = ""
    counts: dict[str, int] = {}
    codes: str = ""
    question: int | None = None
    warnings: tuple[str, ...] = ()


def live_values(
    folder: RunFolder, activity: Activity | None, followers: TimelineFollowers
) -> LiveValues:
    """Return the values that change while a run goes on; blocks.

    Args:
        folder: the run folder.
        activity: the command of this page that works on it; None if there is none.
        followers: read the timelines of runs that other processes work on.
    """
    if activity is not None and activity.is_active:
        values = _active_values(activity)
        return values if activity.changes_counts else _with_earlier_counts(values, folder)
    run = view_run(folder)
    if not run.is_elsewhere:
        followers.drop(run.name)
        values = LiveValues(state=run.state, active=False)
        return _with_counts(values, run.counts, run.rows)
    follower = followers.of(run.name, run.counted_at)
    counts = _counts_elsewhere(run, follower.read(folder.timeline))
    values = LiveValues(
        state=run.state,
        active=True,
        phase="Another window or terminal works on this run.",
        limit=_limit(follower.limited_by),
    )
    return _with_counts(values, counts, run.rows)


def _counts_elsewhere(run: RunView, results: Counter[str]) -> Counter[str]:
    """Return the rows by status of a run that another process works on.

    A row that is retried has a second result, so rows that failed before and are retried are those
    by which the results exceed the rows.
    """
    counts = results + Counter({status: run.counts[status] for status in map(str, Status)})
    for status in (Status.FAILED, Status.IN_DOUBT):
        excess = max(0, counts.total() - run.rows)
        counts[status] -= min(excess, counts[status])
    return counts


def _active_values(activity: Activity) -> LiveValues:
    progress, run = activity.progress, activity.progress.run
    phase = "Stopping: calls in flight are finished" if activity.is_stopping else progress.phase
    values = LiveValues(
        state=_active_state(activity),
        active=True,
        phase=f"{phase} …",
        note=_waiting(progress),
        question=progress.question.number if progress.question else None,
        warnings=progress.warnings,
    )
    if run is None:
        return _with_reading(values, progress.reading)
    metrics, left = run.metrics, run.metrics.seconds_left
    codes = sorted(run.failure_codes.items(), key=lambda item: -item[1])[:_SHOWN_CODES]
    values = msgspec.structs.replace(
        values,
        rate="" if metrics.rate is None else f"{metrics.rate:,.1f} a second",
        left="" if left is None else f"about {humanize_duration(left)} left",
        limit=_limit(metrics.limited_by),
        codes=", ".join(f"{count:,} {code}" for code, count in codes),
    )
    return _with_counts(values, run.counts, run.rows)


def _active_state(activity: Activity) -> str:
    if activity.is_stopping:
        return "stopping"
    if activity.progress.question is not None:
        return "waits for your answer"
    return "running" if activity.changes_counts else "being verified"


def _with_earlier_counts(values: LiveValues, folder: RunFolder) -> LiveValues:
    return msgspec.structs.replace(values, counts=view_run(folder).counts)


def _waiting(progress: Progress) -> str:
    """Return what a command waits for; empty if it does not wait."""
    if progress.waiting_until is not None:
        return f"Waiting for credits until {format_local_moment(progress.waiting_until)}."
    if progress.outage is not None:
        until = format_local_moment(progress.outage.until)
        return f"No answer ({progress.outage.reason}): waiting until {until}."
    return ""


def _with_counts(values: LiveValues, counts: Mapping[Any, int], rows: int) -> LiveValues:
    settled = sum(counts.get(status, 0) for status in Status)
    return msgspec.structs.replace(
        values,
        counts={**{str(s): counts.get(s, 0) for s in Status}, PENDING: rows - settled},
        share=settled / rows if rows else 0.0,
        progress=f"{settled:,} of {count_of(rows, 'row')}",
    )


def _with_reading(values: LiveValues, reading: ReadProgress | None) -> LiveValues:
    if reading is None:
        return values
    return msgspec.structs.replace(
        values,
        share=reading.done / reading.total if reading.total else 0.0,
        progress=f"{reading.done:,} of {reading.total:,} {reading.unit}",
    )


def _limit(limited_by: str | None) -> str:
    is_limited = limited_by and limited_by != LimitedBy.NOTHING
    return f"limited by {limited_by}" if is_limited else ""
