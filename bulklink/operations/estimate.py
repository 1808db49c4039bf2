"""What a plan will cost at least: calls by kind, credits, seconds."""

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
"""Deals in one look-up, at Zoho's ids of 19 digits."""


class CallEstimate(msgspec.Struct, frozen=True):
    """Calls by kind; `least` is what the messages need at 20 a call, whatever the options."""

    link: int
    unlink: int
    read_at_least: int
    lookup_at_least: int
    least: int

    @property
    def credits(self) -> int:
        """Credits that they cost at least: one a call."""
        return self.link + self.unlink + self.read_at_least + self.lookup_at_least


def estimate_calls(shape: PlanStats, job: Job, *, module_known: bool) -> CallEstimate:
    """Return the calls that a plan needs, if nothing has to be sent twice.

    Each message is counted as if it were to be changed: what the snapshot finds can only save.

    Args:
        shape: of the plan.
        job: gives the batch size and whether names are sent.
        module_known: whether the id of the module Deals need not be looked up.
    """
    links = shape.link_calls(job.batch_size, by_contact=job.by_contact)
    lookups = 1 + (links > 0 and not module_known)
    if job.names:
        lookups += -(-shape.deals_without_name // _DEALS_PER_LOOKUP)
        lookups += shape.owners_without_name > 0
    return CallEstimate(
        link=links,
        unlink=shape.unlink_calls(lambda lengths: _count_unlink_calls(lengths, job.batch_size)),
        read_at_least=_snapshot_pages(shape, job),
        lookup_at_least=lookups,
        least=minimum_calls(shape, job),
    )


def _snapshot_pages(shape: PlanStats, job: Job) -> int:
    """Return the pages that the snapshot reads at least."""
    if job.snapshot is None:
        return shape.pages_of_unlinks
    return shape.pages_of_all if job.snapshot else 0


def minimum_calls(shape: PlanStats, job: Job) -> int:
    """Return the fewest link and unlink calls for a plan's messages and grouping, at 20 a call."""
    return shape.link_calls(MAX_MESSAGES_PER_CALL, by_contact=job.by_contact) + shape.unlink_calls(
        _minimum_unlink_calls
    )


class EstimatedBottleneck(StrEnum):
    """What decides how long a run takes."""

    LATENCY = "the CRM's latency, call after call"
    IN_FLIGHT = "calls in flight"
    RATE = "calls a second (--rate)"
    CREDITS = "credits a day"


class RunEstimate(msgspec.Struct, frozen=True):
    """What a run is up against, as far as it can be known beforehand.

    `daily_credits` is what the org has in 24 hours, None where its edition is not known;
    `daily_allowance` is what all runs may spend of it. `days` counts windows of 24 hours,
    `invocations` those that `--max-credits` makes of it. `saved_by_contact` is the link calls that
    `--group-by contact` would save.
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
    """Return what a run is up against.

    Args:
        shape: of its plan.
        calls: that it needs at least.
        job: gives calls in flight, calls a second, batch size and edition.
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
    """Return the seconds that so many calls take at least, and what they wait for."""
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


def _count_unlink_calls(lengths: Sequence[int], size: int) -> int:
    if min(lengths) == max(lengths):
        return unlink_calls_for_length(len(lengths), lengths[0], size)
    return packed_unlink_calls(lengths, size)


def _minimum_unlink_calls(lengths: Sequence[int]) -> int:
    if min(lengths) == max(lengths):
        return unlink_calls_for_length(len(lengths), lengths[0])
    return min_unlink_calls(len(lengths), sum(lengths))
