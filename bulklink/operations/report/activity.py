"""Activity of a run over time, for the charts of its report."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, tzinfo
from itertools import groupby
from operator import attrgetter

import msgspec

from bulklink.html_pages.report.charts import ChartData, CommandEnd, build_chart_data
from bulklink.html_pages.report.timeline import Measurement
from bulklink.operations.report.result_tables import ResultTables
from bulklink.runs.folder import RunFolder
from bulklink.runs.record import Invocation
from bulklink.runs.timeline import TimelineInterval, read_timeline

_WAIT_SHARE = 0.5
"""Share of an interval spent waiting for credits above which it is drawn as a pause."""
_MIN_ACTIVE_SECONDS = 1.0
_MAX_IDLE_SECONDS = 60.0
"""A longer time without any call, as in an outage, is drawn as a pause."""


def collect_chart_data(
    folder: RunFolder,
    results: ResultTables,
    zone: tzinfo | None,
    invocations: Iterable[Invocation],
) -> ChartData | None:
    """Return chart data from the timeline, or the ledger if there is none; None if empty.

    Args:
        folder: run folder.
        results: tables of its ledger.
        zone: time zone of the charts; None for this machine's.
        invocations: commands on the run, in order.

    Raises:
        RunDirError: if the timeline cannot be read.
    """
    ends = [
        CommandEnd(datetime.fromisoformat(each.ended).timestamp(), each.stopped_by or "finished")
        for each in invocations
        if each.ended is not None
    ]
    chart_data = build_chart_data(measurements_of(read_timeline(folder.timeline)), zone, ends)
    return chart_data or build_chart_data(_measurements_from_ledger(results), zone, ends)


def measurements_of(intervals: Iterable[TimelineInterval]) -> Iterator[Measurement]:
    """Yield the activity of a timeline, without long waits for credits and long idle times."""
    idle: Measurement | None = None
    for interval in intervals:
        measurement = _measurement(interval)
        if _is_active(interval):
            if idle is not None and idle.ended - idle.began <= _MAX_IDLE_SECONDS:
                yield idle
            idle = None
            yield measurement
        elif idle is None:
            idle = measurement
        else:
            idle = msgspec.structs.replace(idle, ended=measurement.ended)


def _is_active(interval: TimelineInterval) -> bool:
    return bool(
        any(interval.settled.values())
        or any(interval.calls.values())
        or interval.answered_429
        or interval.in_flight
        or interval.waited
    )


def _measurement(interval: TimelineInterval) -> Measurement:
    """Return an interval as a measurement; one of waiting for credits ends when the wait began.

    Calls in flight at that moment were answered in it.
    """
    ended = datetime.fromisoformat(interval.ts).timestamp()
    seconds, in_flight = interval.seconds, interval.in_flight
    began = ended - seconds
    waits = interval.waited > _WAIT_SHARE * seconds
    if waits:
        active = min(seconds, max(seconds - interval.waited, _MIN_ACTIVE_SECONDS))
        in_flight = min(in_flight * seconds / active, interval.most_in_flight)
        ended = began + active
    return Measurement(
        began=began,
        ended=ended,
        settled=interval.settled,
        answered_429=interval.answered_429,
        in_flight=in_flight,
        allowed=interval.most_in_flight,
        latency=interval.latency,
        before_wait=waits,
    )


def _measurements_from_ledger(results: ResultTables) -> Iterator[Measurement]:
    """Yield the settled rows per second, the resolution of the ledger."""
    for second, counts in groupby(results.settled_per_second(), key=attrgetter("second")):
        settled = {settled_count.status: settled_count.rows for settled_count in counts}
        yield Measurement(began=second, ended=second + 1, settled=settled)
