"""Cost of a plan: calls by kind, ranges of credits and seconds."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from enum import StrEnum

import msgspec

from bulklink.counts import count_of, inflect
from bulklink.engine.batching import min_unlink_calls, packed_unlink_calls, unlink_calls_for_length
from bulklink.engine.ratelimit.rate import burst_capacity
from bulklink.mapping.plan_stats import PlanStats
from bulklink.mapping.rejects import MAX_FOREIGN_DEALS
from bulklink.models import Op
from bulklink.operations.cost_model import CostModel, expected_pages, measure_sizes
from bulklink.operations.credit_limits import credit_limits, edition_credits
from bulklink.operations.job import Job
from bulklink.runs.forecast import CreditRange, SecondsRange
from bulklink.zoho.requests import MAX_DEAL_IDS_LENGTH, MAX_MESSAGES_PER_CALL

ASSUMED_LATENCY = 0.5
"""Seconds that a call is assumed to take."""
LONGEST_LATENCIES = 2
"""Assumed latencies that a call takes in the longest forecast."""
DEFAULT_CANARY_MESSAGES = 20
"""Messages of a canary by default."""
MAX_MESSAGES_WITHOUT_CANARY = 200
"""Messages that a run sends without a canary by default."""
_DEALS_PER_LOOKUP = (MAX_DEAL_IDS_LENGTH + 1) // (19 + 1)
"""Deals of one look-up, with Zoho's ids of 19 digits."""


class CallEstimate(msgspec.Struct, frozen=True):
    """Estimated calls by kind.

    Args:
        link: link calls.
        unlink: unlink calls.
        read_at_least: minimum snapshot reads.
        lookup_at_least: minimum look-ups.
        least: fewest link and unlink calls at 20 messages a call, regardless of the options.
        roles_at_most: maximum reads of contact roles, on deals that turn out to be of other
            contacts.
    """

    link: int
    unlink: int
    read_at_least: int
    lookup_at_least: int
    least: int
    roles_at_most: int = 0


def estimate_calls(shape: PlanStats, job: Job, *, module_known: bool) -> CallEstimate:
    """Return the calls that a plan needs if nothing has to be retried.

    Each message counts as one that changes: the snapshot can only save calls.

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
        roles_at_most=min(shape.deals_without_name, MAX_FOREIGN_DEALS) if job.names else 0,
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
    RATE = "the limit of calls a second"
    CREDITS = "credits a day"


class RunEstimate(msgspec.Struct, frozen=True):
    """Estimated time, credits and bottleneck of a run.

    Args:
        credits: credits that it may take.
        seconds: seconds that it may take.
        reason: why these ranges are so wide.
        may_read_first: reads that `--snapshot auto` may make before the links; 0 if it cannot.
        bottleneck: what limits it.
        in_flight: maximum calls in flight.
        daily_credits: credits of the org in 24 hours; None if its edition is unknown.
        daily_allowance: credits that all runs may spend in 24 hours; None if unlimited.
        days: windows of 24 hours that the credits need.
        invocations: invocations that `--max-credits` requires.
        saved_by_contact: link calls that `--group-by contact` would save.
    """

    credits: CreditRange
    seconds: SecondsRange
    reason: str
    may_read_first: int
    bottleneck: EstimatedBottleneck
    in_flight: int
    daily_credits: int | None
    daily_allowance: int | None
    days: int
    invocations: int
    saved_by_contact: int


def estimate_run(
    shape: PlanStats,
    calls: CallEstimate,
    job: Job,
    *,
    latency: float = ASSUMED_LATENCY,
    users: int = 1,
    module_known: bool = False,
    pages_ratio: float = 1.0,
) -> RunEstimate:
    """Estimate the time, credits and bottleneck of a run.

    Args:
        shape: statistics of its plan.
        calls: calls that it needs.
        job: its calls in flight and per second, batch size and edition.
        latency: seconds a call.
        users: licensed users of the org, who add to its credits.
        module_known: whether the id of the Deals module need not be looked up.
        pages_ratio: pages that an earlier run read, relative to those its emails alone would fill.
    """
    credit_costs = _estimate_credits(
        shape, calls, job, module_known=module_known, pages_ratio=pages_ratio
    )
    seconds = estimate_seconds(credit_costs, job, latency=latency)
    return _with_limits(
        RunEstimate(
            credits=credit_costs,
            seconds=seconds,
            reason=_width_reason(shape, calls, job, latency),
            may_read_first=_optional_reads(shape, job),
            bottleneck=_estimate_duration(credit_costs.likely, job, latency)[1],
            in_flight=job.max_in_flight(),
            daily_credits=None,
            daily_allowance=None,
            days=1,
            invocations=1,
            saved_by_contact=calls.link - shape.link_calls(job.batch_size, by_contact=True),
        ),
        job,
        users,
    )


def _with_limits(estimate: RunEstimate, job: Job, users: int) -> RunEstimate:
    """Return an estimate with what the limits on credits make of it."""
    likely, daily_credits = estimate.credits.likely, edition_credits(job.edition, users)
    limits = credit_limits(job, daily_credits)
    daily_limits = [
        n for n in (limits.per_day, limits.per_day_if_unreported, daily_credits) if n is not None
    ]
    daily_allowance = min(daily_limits, default=None)
    days = max(1, -(-likely // max(1, daily_allowance))) if daily_allowance is not None else 1
    invocations = max(1, -(-likely // limits.per_invocation)) if limits.per_invocation else 1
    return msgspec.structs.replace(
        estimate,
        bottleneck=EstimatedBottleneck.CREDITS if days > 1 else estimate.bottleneck,
        daily_credits=daily_credits,
        daily_allowance=daily_allowance,
        days=days,
        invocations=invocations,
    )


def sum_calls(estimates: Iterable[CallEstimate]) -> CallEstimate:
    """Return the calls of several plans."""
    sums = Counter(dict.fromkeys(CallEstimate.__struct_fields__, 0))
    for estimate in estimates:
        sums.update(msgspec.structs.asdict(estimate))
    return CallEstimate(**sums)


def sum_estimates(estimates: Sequence[RunEstimate], job: Job, *, users: int = 1) -> RunEstimate:
    """Return the estimate of runs that are sent one after another; there is at least one.

    Args:
        estimates: their estimates.
        job: their options.
        users: licensed users of the org, who add to its credits.
    """
    largest = max(estimates, key=lambda estimate: estimate.credits.likely)
    whole = msgspec.structs.replace(
        largest,
        credits=CreditRange.sum([estimate.credits for estimate in estimates]),
        seconds=SecondsRange.sum([estimate.seconds for estimate in estimates]),
        may_read_first=sum(estimate.may_read_first for estimate in estimates),
        saved_by_contact=sum(estimate.saved_by_contact for estimate in estimates),
    )
    return _with_limits(whole, job, users)


def estimate_seconds(
    credit_costs: CreditRange, job: Job, *, latency: float = ASSUMED_LATENCY
) -> SecondsRange:
    """Return the seconds that a range of credits may take.

    The lower end depends only on the limit of calls a second: calls may take no time.

    Args:
        credit_costs: the credits.
        job: calls in flight and per second.
        latency: likely seconds a call.
    """
    likely, _ = _estimate_duration(credit_costs.likely, job, latency)
    longest, _ = _estimate_duration(credit_costs.most, job, LONGEST_LATENCIES * latency)
    return SecondsRange(min(likely, _shortest_duration(credit_costs.least, job)), likely, longest)


def has_canary(requested: int | None, messages: int) -> bool:
    """Return whether a run begins with a canary.

    Args:
        requested: messages that the job requests; None chooses by the size of the run.
        messages: messages to send.
    """
    if requested is not None:
        return requested > 0 and messages > 0
    return messages > MAX_MESSAGES_WITHOUT_CANARY


def _optional_reads(shape: PlanStats, job: Job) -> int:
    """Return the pages that `--snapshot auto` may read first; 0 where it has no choice."""
    messages = sum(shape.messages.values())
    if job.snapshot is not None or not shape.links or not has_canary(job.canary, messages):
        return 0
    return shape.pages_of_links


def _estimate_credits(
    shape: PlanStats, calls: CallEstimate, job: Job, *, module_known: bool, pages_ratio: float
) -> CreditRange:
    """Return the credits that a plan may take if nothing has to be retried."""
    model = cost_model(shape, calls, job)
    lookups = calls.lookup_at_least
    least = _fewest_lookups(shape, job, module_known=module_known)
    least += calls.read_at_least + _fewest_links(shape, calls, job)
    first_pages, all_first_pages = _canary_pages(shape, job, model.max_pages)
    everything = lookups + calls.link + calls.unlink
    reads = model.snapshot_reads() + first_pages
    most_reads = model.snapshot_reads() + model.link_reads(1.0) + all_first_pages
    likely = round(everything + reads * pages_ratio)
    most = math.ceil(everything + most_reads * pages_ratio) + calls.roles_at_most
    return CreditRange(min(least, likely), likely, max(most, likely))


def cost_model(shape: PlanStats, calls: CallEstimate, job: Job) -> CostModel:
    """Return the model of a plan's calls.

    Args:
        shape: statistics of the plan.
        calls: calls that it needs.
        job: its batch size, and what it reads.
    """
    return CostModel(
        measure_sizes(shape, job), calls.link + calls.unlink, job.batch_size, job.read_pages
    )


def _fewest_lookups(shape: PlanStats, job: Job, *, module_known: bool) -> int:
    """Return the fewest look-ups; the module may be known, and short ids fit into one call."""
    lookups = 1 + (not module_known and bool(shape.links or shape.relinks))
    if job.names:
        lookups += (shape.deals_without_name > 0) + (shape.owners_without_name > 0)
    return lookups


def _fewest_links(shape: PlanStats, calls: CallEstimate, job: Job) -> int:
    """Return the fewest calls for links; a snapshot may make them unnecessary."""
    if job.needs_snapshot(Op.LINK) or not shape.links:
        return 0
    fewest = -(-shape.links // job.batch_size) if shape.relinks else calls.link
    return min(fewest, shape.pages_of_links) if _optional_reads(shape, job) else fewest


def _canary_pages(shape: PlanStats, job: Job, max_pages: int) -> tuple[float, float]:
    """Return the pages that the canary reads, on average and at most.

    The canary reads its contacts back, and another read settles refused links.
    """
    messages = sum(shape.messages.values())
    if not has_canary(job.canary, messages):
        return 0.0, 0.0
    missing = job.canary or DEFAULT_CANARY_MESSAGES
    settles = bool(shape.links) and not job.needs_snapshot(Op.LINK)
    average = most = 0.0
    for emails in shape.first_contacts(missing):
        share = min(1.0, max(missing, job.batch_size) / emails)
        average += expected_pages(emails, share, max_pages)
        most += (1 + settles) * expected_pages(emails, 1.0, max_pages)
        missing -= emails
        if missing <= 0:
            break
    return average, most


def _width_reason(shape: PlanStats, calls: CallEstimate, job: Job, latency: float) -> str:
    """Return why a forecast at planning time is so wide, in sentences."""
    reasons = []
    if shape.links and not job.needs_snapshot(Op.LINK):
        reasons.append("how many emails are linked already, so that their contacts have to be read")
    if any(job.needs_snapshot(op) for op in shape.ops):
        reasons.append("how many emails are linked as planned already and need no call")
        reasons.append("how many other emails their contacts have, each page of which takes a call")
    if calls.roles_at_most:
        reasons.append(
            "how many deals are of other contacts, so that their contact roles are read, up to"
            f" {count_of(calls.roles_at_most, 'call')}"
        )
    known = "Unknown before the first calls: " + "; ".join(reasons) + ". " if reasons else ""
    rate = (
        f"{job.rate:g} {inflect(job.rate, 'call', 'calls')} a second"
        if job.rate
        else "no limit of calls a second"
    )
    return (
        f"{known}The shortest time assumes {rate}, the likely one of calls that take"
        f" {latency:g} s, the longest of calls that take {LONGEST_LATENCIES * latency:g} s."
    )


def _shortest_duration(calls: int, job: Job) -> float:
    """Return the minimum seconds that the limit of calls a second allows."""
    if not job.rate:
        return 0.0
    waiting = max(0.0, calls - burst_capacity(job.rate)) / job.rate
    return math.floor(10 * waiting) / 10


def _estimate_duration(calls: int, job: Job, latency: float) -> tuple[float, EstimatedBottleneck]:
    """Return the seconds of some calls, and what limits them."""
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
        batch_size: maximum messages per call; None for Zoho's limit.
    """
    if min(lengths) == max(lengths):
        return unlink_calls_for_length(
            len(lengths), lengths[0], batch_size or MAX_MESSAGES_PER_CALL
        )
    if batch_size is None:
        return min_unlink_calls(len(lengths), sum(lengths))
    return packed_unlink_calls(lengths, batch_size)
