"""What a plan will cost at least: calls by kind, credits, seconds."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

import msgspec

from bulklink.engine.batching import fewest_unlinks, unlinks_of_length, unlinks_packed
from bulklink.mapping.plan_stats import PlanShape
from bulklink.operations.credit_limits import credits_a_day, limits_of
from bulklink.operations.job import Job
from bulklink.zoho.requests import MOST_IDS_QUERY, MOST_ITEMS

ASSUMED_LATENCY = 0.5
"""Seconds that a call is assumed to take."""
_DEALS_A_LOOKUP = (MOST_IDS_QUERY + 1) // (19 + 1)
"""Deals in one look-up, at Zoho's ids of 19 digits."""


class ForecastCalls(msgspec.Struct, frozen=True):
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


def calls_of(shape: PlanShape, job: Job, *, module_known: bool) -> ForecastCalls:
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
        lookups += -(-shape.deals_without_name // _DEALS_A_LOOKUP)
        lookups += shape.owners_without_name > 0
    return ForecastCalls(
        link=links,
        unlink=shape.unlink_calls(lambda lengths: _packed(lengths, job.batch_size)),
        read_at_least=_pages(shape, job),
        lookup_at_least=lookups,
        least=least_calls(shape, job),
    )


def _pages(shape: PlanShape, job: Job) -> int:
    """Return the pages that the snapshot reads at least."""
    if job.snapshot is None:
        return shape.pages_of_unlinks
    return shape.pages_of_all if job.snapshot else 0


def least_calls(shape: PlanShape, job: Job) -> int:
    """Return the fewest link and unlink calls for a plan's messages and grouping, at 20 a call."""
    return shape.link_calls(MOST_ITEMS, by_contact=job.by_contact) + shape.unlink_calls(_fewest)


class Limit(StrEnum):
    """What decides how long a run takes."""

    LATENCY = "the CRM's latency, call after call"
    IN_FLIGHT = "calls in flight"
    RATE = "calls a second (--rate)"
    CREDITS = "credits a day"


class Outlook(msgspec.Struct, frozen=True):
    """What a run is up against, as far as it can be known beforehand.

    `day_credits` is what the org has in 24 hours, None where its edition is not known; `a_day` is
    what all runs may spend of it. `days` counts windows of 24 hours, `commands` those that
    `--max-credits` makes of it.
    `saved_by_contact` is the link calls that `--group-by contact` would save.
    """

    seconds: float
    limit: Limit
    in_flight: int
    day_credits: int | None
    a_day: int | None
    days: int
    commands: int
    saved_by_contact: int


def outlook(
    shape: PlanShape, calls: ForecastCalls, job: Job, *, latency: float, users: int
) -> Outlook:
    """Return what a run is up against.

    Args:
        shape: of its plan.
        calls: that it needs at least.
        job: gives calls in flight, calls a second, batch size and edition.
        latency: seconds a call.
        users: licensed users of the org, who add to its credits.
    """
    day_credits = credits_a_day(job.edition, users)
    limits = limits_of(job, day_credits)
    known = [n for n in (limits.a_day, limits.untold, day_credits) if n is not None]
    a_day = min(known, default=None)
    days = max(1, -(-calls.credits // max(1, a_day))) if a_day is not None else 1
    commands = max(1, -(-calls.credits // limits.most)) if limits.most else 1
    seconds, limit = _time(calls.credits, job, latency)
    shared = shape.link_calls(job.batch_size, by_contact=True)
    return Outlook(
        seconds=seconds,
        limit=Limit.CREDITS if days > 1 else limit,
        in_flight=job.in_flight(),
        day_credits=day_credits,
        a_day=a_day,
        days=days,
        commands=commands,
        saved_by_contact=calls.link - shared,
    )


def _time(calls: int, job: Job, latency: float) -> tuple[float, Limit]:
    """Return the seconds that so many calls take at least, and what they wait for."""
    in_flight = calls * latency / job.in_flight()
    paced = calls / job.rate if job.rate else 0.0
    alone = latency if calls else 0.0
    seconds = max(in_flight, paced, alone)
    if seconds == alone:
        return round(seconds, 1), Limit.LATENCY
    return round(seconds, 1), Limit.IN_FLIGHT if in_flight >= paced else Limit.RATE


def _packed(lengths: Sequence[int], size: int) -> int:
    if min(lengths) == max(lengths):
        return unlinks_of_length(len(lengths), lengths[0], size)
    return unlinks_packed(lengths, size)


def _fewest(lengths: Sequence[int]) -> int:
    if min(lengths) == max(lengths):
        return unlinks_of_length(len(lengths), lengths[0])
    return fewest_unlinks(len(lengths), sum(lengths))
