"""What happened over time, from the timeline of a run or, without one, from its ledger."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, tzinfo
from itertools import groupby
from typing import Any

from bulklink.errors import RunDirError
from bulklink.html_report.timeline import Course, Measured, course
from bulklink.operations.report.results import Results
from bulklink.runs.folder import RunFolder
from bulklink.runs.timeline import Stretch, timeline


def over_time(folder: RunFolder, results: Results, zone: tzinfo | None) -> Course | None:
    """Return what happened over time; None where nothing did.

    Args:
        folder: of the run.
        results: of its ledger.
        zone: local time; None is that of this machine.

    Raises:
        RunDirError: if there is a timeline that cannot be read.
    """
    try:
        measured = course(map(_measured, timeline(folder.timeline)), zone)
    except OSError as error:
        raise RunDirError(
            f"The timeline cannot be read: {error.strerror or error}.",
            where=str(folder.timeline),
            advice="See that you may read it, or move it away: the page does without.",
        ) from None
    return measured or course(_by_ledger(results), zone)


def _measured(stretch: Stretch) -> Measured:
    ended = datetime.fromisoformat(stretch.ts).timestamp()
    return Measured(
        began=ended - stretch.seconds,
        ended=ended,
        settled=stretch.settled,
        answered_429=stretch.answered_429,
        in_flight=stretch.in_flight,
        allowed=stretch.most_in_flight,
        latency=stretch.latency,
    )


def _by_ledger(results: Results) -> Iterator[Measured]:
    """Tell second by second what was settled: the ledger knows no more."""
    for second, found in groupby(results.settled(), key=_second):
        settled = {status: count for _, status, count in found}
        yield Measured(began=second, ended=second + 1, settled=settled)


def _second(found: tuple[Any, ...]) -> int:
    return int(found[0])
