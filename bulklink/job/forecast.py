"""What a plan will cost at least: calls by kind, credits, seconds."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bulklink.engine.batches import fewest_unlinks, unlinks_of_length, unlinks_packed
from bulklink.job.options import Job
from bulklink.mapping.shape import PlanShape
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

    Relinks are counted as if each message were on a deal: what the snapshot finds can only save.

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
        read_at_least=shape.read_pages_at_least,
        lookup_at_least=lookups,
        least=least_calls(shape, job),
    )


def least_calls(shape: PlanShape, job: Job) -> int:
    """Return the fewest link and unlink calls for a plan's messages and grouping, at 20 a call."""
    return shape.link_calls(MOST_ITEMS, by_contact=job.by_contact) + shape.unlink_calls(_fewest)


def seconds_for(calls: int, job: Job, latency: float) -> float:
    """Return the seconds that so many calls take at least.

    Args:
        calls: how many.
        job: gives calls in flight and calls a second.
        latency: seconds a call.
    """
    in_flight = calls * latency / job.in_flight()
    paced = calls / job.rate if job.rate else 0.0
    return round(max(in_flight, paced, latency if calls else 0.0), 1)


def _packed(lengths: Sequence[int], size: int) -> int:
    if min(lengths) == max(lengths):
        return unlinks_of_length(len(lengths), lengths[0], size)
    return unlinks_packed(lengths, size)


def _fewest(lengths: Sequence[int]) -> int:
    if min(lengths) == max(lengths):
        return unlinks_of_length(len(lengths), lengths[0])
    return fewest_unlinks(len(lengths), sum(lengths))
