"""Calls and their attempts, as the limiter sees them."""

from __future__ import annotations

import msgspec


class CallTiming(msgspec.Struct, frozen=True):
    """When a call starts, in monotonic seconds.

    Args:
        due: when it starts; None for as soon as it can.
        start_by: from when on it may no longer start; None for no limit.
    """

    due: float | None = None
    start_by: float | None = None


AT_ONCE = CallTiming()


class QueuedCall(msgspec.Struct):
    """A call in the limiter's queues; all its attempts share it.

    Args:
        sequence: a unique number; older calls have lower ones.
        contact_id: the contact it concerns; empty for none.
        completes_relink: whether it completes a relink, which a graceful stop allows.
        timing: when it starts.
    """

    sequence: int
    contact_id: str
    completes_relink: bool
    timing: CallTiming = AT_ONCE


class Slot(msgspec.Struct, frozen=True):
    """A place among the calls in flight.

    Args:
        refusals: refusals before it was granted; another one makes it void for a call that has not
            started.
        is_probe: whether its call probes the server alone.
    """

    refusals: int
    is_probe: bool


class Attempt(msgspec.Struct):
    """One attempt of a call, from its preparation to its answer.

    Args:
        queued_call: the call it belongs to.
        slot: its place among the calls in flight, if it has one.
        started_at: when it started; None before.
        peak_in_flight: maximum calls in flight since then, including itself.
        outcome_reported: whether the limiter knows its outcome.
        hold_after: seconds that it keeps its slot after its end, as the server may still be working
            on it.
    """

    queued_call: QueuedCall
    slot: Slot | None = None
    started_at: float | None = None
    peak_in_flight: int = 0
    outcome_reported: bool = False
    hold_after: float = 0.0
