"""Minimum cost of a plan: calls by kind, credits, seconds."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from bulklink.engine.batching import min_unlink_calls, packed_unlink_calls, unlink_calls_for_length
from bulklink.mapping.plan_stats import PlanStats
from bulklink.operations.credit_limits import credit_limits, edition_credits
from bulklink.operations.job import Job
from bulklink.zoho.requests import MAX_DEAL_IDS_LENGTH, MAX_MESSAGES_PER_CALL

ASSUMED_LATENCY = 0.5
"""Seconds that a call is assumed to take."""
_DEALS_PER_LOOKUP = (MAX_DEAL_IDS_LENGTH + 1) // (19 + 1)
"""Deals of one look-up, with Zoho's ids of 19 digits."""


class CallEstimate(msgspec.Struct, frozen=True):
    """Estimated calls by kind.

    Args:
        link: link calls.
        unlink: unlink calls.
        read_at_least: minimum snapshot reads.
        lookup_at_least: minimum look-ups.
        least: fewest link and unlink calls at 20 messages a call, whatever the options.
    """

    link: int
    unlink: int
    read_at_least: int
    lookup_at_least: int
    least: int

    @property
    def credits(self) -> int:
        """Minimum credits: one a call."""
        return self.link + self.unlink + self.read_at_least + self.lookup_at_least


def estimate_calls(shape: PlanStats, job: Job, *, module_known: bool) -> CallEstimate:
    """Return the calls that a plan needs if nothing has to be retried.

    Each message counts as if it were to be changed: the snapshot can only save calls.

    Args:
        shape: statistics of the plan.
        job: its batch size, and whether names are sent.
        module_known: whether the id of the Deals module need not be looked up.
    """
    links = shape.link_calls(job.batch_size, by_contact=job.by_contact)
    lookups = 1 + (links > 0 and not module_known)
    if job.names:
        lookups += -(-shape.deals_without_name // _DEALS_PER_LOOKUP)
        lookups += shape.owners_without_name > 0
    return CallEstimate(
        link=links,
        unlink=shape.unlink_calls(lambda lengths: _unlink_calls(lengths, job.batch_size)),
        read_at_least=_snapshot_pages(shape, job),
        lookup_at_least=lookups,
        least=_minimum_calls(shape, job),
    )


def _snapshot_pages(shape: PlanStats, job: Job) -> int:
    """Return the minimum pages that the snapshot reads."""
    if job.snapshot is None:
        return shape.pages_of_unlinks
    return shape.pages_of_all if job.snapshot else 0


def _minimum_calls(shape: PlanStats, job: Job) -> int:
    """Return the fewest link and unlink calls for a plan's messages and grouping, at 20 a call."""
    return shape.link_calls(MAX_MESSAGES_PER_CALL, by_contact=job.by_contact) + shape.unlink_calls(
        _unlink_calls
    )


class EstimatedBottleneck(StrEnum):
    """What limits the estimated duration of a run."""

    LATENCY = "the CRM's latency, call after call"
    IN_FLIGHT = "calls in flight"
    RATE = "calls a second (--rate)"
    CREDITS = "credits a day"


class RunEstimate(msgspec.Struct, frozen=True):
    """Estimated time, credits and bottleneck of a run.

    Args:
        seconds: minimum duration.
        bottleneck: what limits it.
        in_flight: most calls in flight.
        daily_credits: credits of the org in 24 hours; None if its edition is unknown.
        daily_allowance: credits that all runs may spend in 24 hours; None if unlimited.
        days: windows of 24 hours that the credits need.
        invocations: invocations that `--max-credits` makes necessary.
        saved_by_contact: link calls that `--group-by contact` would save.
    """

    seconds: float
    bottleneck: EstimatedBottleneck
    in_flight: int
    daily_credits: int | None
    daily_allowance: int | None
    days: int
    invocations: int
    saved_by_contact: int


def estimate_run(
    shape: PlanStats, calls: CallEstimate, job: Job, *, latency: float, users: int
) -> RunEstimate:
    """Estimate the time, credits and bottleneck of a run.

    Args:
        shape: statistics of its plan.
        calls: calls that it needs.
        job: its calls in flight and per second, batch size and edition.
        latency: seconds a call.
        users: licensed users of the org, who add to its credits.
    """
    daily_credits = edition_credits(job.edition, users)
    limits = credit_limits(job, daily_credits)
    daily_limits = [
        n for n in (limits.per_day, limits.per_day_if_unreported, daily_credits) if n is not None
    ]
    daily_allowance = min(daily_limits, default=None)
    days = (
        max(1, -(-calls.credits // max(1, daily_allowance))) if daily_allowance is not None else 1
    )
    invocations = max(1, -(-calls.credits // limits.per_invocation)) if limits.per_invocation else 1
    seconds, bottleneck = _estimate_duration(calls.credits, job, latency)
    calls_by_contact = shape.link_calls(job.batch_size, by_contact=True)
    return RunEstimate(
        seconds=seconds,
        bottleneck=EstimatedBottleneck.CREDITS if days > 1 else bottleneck,
        in_flight=job.max_in_flight(),
        daily_credits=daily_credits,
        daily_allowance=daily_allowance,
        days=days,
        invocations=invocations,
        saved_by_contact=calls.link - calls_by_contact,
    )


def _estimate_duration(calls: int, job: Job, latency: float) -> tuple[float, EstimatedBottleneck]:
    """Return the minimum seconds of some calls, and what limits them."""
    concurrency_seconds = calls * latency / job.max_in_flight()
    rate_seconds = calls / job.rate if job.rate else 0.0
    one_call_seconds = latency if calls else 0.0
    seconds = max(concurrency_seconds, rate_seconds, one_call_seconds)
    if seconds == one_call_seconds:
        return round(seconds, 1), EstimatedBottleneck.LATENCY
    return (
        round(seconds, 1),
        EstimatedBottleneck.IN_FLIGHT
        if concurrency_seconds >= rate_seconds
        else EstimatedBottleneck.RATE,
    )


def _unlink_calls(lengths: Sequence[int], batch_size: int | None = None) -> int:
    """Return the unlink calls of a group; without a batch size the fewest possible.

    Args:
        lengths: lengths of the message ids.
        batch_size: most messages a call; None for the fewest calls at Zoho's limit.
    """
    if min(lengths) == max(lengths):
        return unlink_calls_for_length(
            len(lengths), lengths[0], batch_size or MAX_MESSAGES_PER_CALL
        )
    if batch_size is None:
        return min_unlink_calls(len(lengths), sum(lengths))
    return packed_unlink_calls(lengths, batch_size)
