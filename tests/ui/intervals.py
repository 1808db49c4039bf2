"""Lines of a timeline."""

from __future__ import annotations

from typing import Any

import msgspec

from bulklink.runs.timeline import TimelineInterval

_INTERVAL = TimelineInterval(
    ts="2026-11-30T12:00:01Z",
    seconds=1.0,
    settled={},
    calls={},
    answered_429=0,
    in_flight=0.0,
    most_in_flight=0.0,
    latency={},
    credits_left=None,
    waited=0.0,
    limited_by="latency",
)


def interval(**changed: Any) -> TimelineInterval:
    """Return a line with some fields changed."""
    return msgspec.structs.replace(_INTERVAL, **changed)
