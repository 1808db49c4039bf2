"""What happened over time, as the charts of the page take it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, tzinfo
from itertools import pairwise
from typing import Any

import msgspec

from bulklink.html_report.spans import Measured, Span, spans
from bulklink.html_report.timeline import axis_of, offset, ticks

_STATUSES = ("done", "unchanged", "failed", "in_doubt")
_GAP = 2.0
"""Seconds without anything behind which a line begins anew."""
_PERCENTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


class Course(msgspec.Struct, frozen=True):
    """What the charts are drawn from, as JSON, and what stands beside them.

    Args:
        json: of the charts.
        statuses: of which messages were settled.
        offsets: of local time from UTC.
        answered_429: calls that were refused as too many; None where that was not measured.
    """

    json: bytes
    statuses: tuple[str, ...]
    offsets: tuple[str, ...]
    answered_429: int | None


def course(measured: Iterable[Measured], zone: tzinfo | None = None) -> Course | None:
    """Return what the charts are drawn from; None where nothing happened.

    Args:
        measured: what happened, in the order of time.
        zone: local time; None is that of this machine.
    """
    found = spans(measured)
    if not found:
        return None
    axis = axis_of([(one.began, one.ended) for one in found])
    happened = {status for one in found for status, count in one.settled.items() if count}
    statuses = tuple(status for status in _STATUSES if status in happened)
    offsets = sorted({offset(moment, zone) for moment in (found[0].began, found[-1].ended)})
    told = {
        "end": axis.end,
        "ticks": ticks(axis, zone),
        "folds": axis.folds,
        "statuses": statuses,
        "bins": [
            _bin(one, axis.place(one.began), part, zone)
            for one, part in zip(found, _parts(found), strict=True)
        ],
    }
    known = any(one.measured for one in found)
    refused = sum(one.answered_429 for one in found) if known else None
    return Course(msgspec.json.encode(told), statuses, tuple(offsets), refused)


def _parts(found: Sequence[Span]) -> Iterator[int]:
    """Number the parts of a line, which ends where nothing was measured for a while."""
    part = 0
    yield part
    for last, one in pairwise(found):
        part += one.began - last.ended > _GAP
        yield part


def _bin(one: Span, at: float, part: int, zone: tzinfo | None) -> dict[str, Any]:
    """Return a span: rates a second, means, percentiles in seconds."""
    when = datetime.fromtimestamp(one.began, zone).astimezone(zone)
    told: dict[str, Any] = {
        "x0": at,
        "x1": round(at + one.ended - one.began, 3),
        "part": part,
        "when": when.isoformat(" ", "seconds"),
        "rates": {
            status: round(count / one.seconds, 3) for status, count in one.settled.items() if count
        },
    }
    if one.measured:
        told |= {
            "in_flight": round(one.in_flight / one.measured, 2),
            "allowed": round(one.allowed / one.measured, 2),
            "answered_429": one.answered_429,
            **{name: one.percentile(share) for name, share in _PERCENTILES.items()},
        }
    return told
