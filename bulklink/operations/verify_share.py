"""What is verified of each run: the emails that a sample drew, and their cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate

import msgspec

from bulklink.operations.cost_model import expected_pages
from bulklink.operations.expected_links import ExpectedLinks
from bulklink.operations.sampling import draw_sample
from bulklink.operations.verify_log import VerifyCost, VerifyOptions
from bulklink.runs.folder import RunFolder
from bulklink.runs.forecast import CreditRange
from bulklink.runs.record import RunRecord, measured_pages_ratio
from bulklink.zoho.page_info import EMAILS_PER_PAGE

Part = tuple[RunFolder, RunRecord]
"""A run that is verified, alone or as a shard of a job."""


class VerifyShare(msgspec.Struct, frozen=True):
    """What is verified of one run.

    Args:
        population: its expected links.
        sampled: positions of those to look for, from 0; None for all.
        cost: cost of looking for them.
    """

    population: int
    sampled: frozenset[int] | None
    cost: VerifyCost


def divide(
    parts: Sequence[Part], load: Callable[[Part], ExpectedLinks], options: VerifyOptions
) -> list[VerifyShare]:
    """Draw one sample over all runs, and return the share of each; blocks.

    Args:
        parts: the runs.
        load: returns the expected links of a run; called once for each, or twice with a sample.
        options: options of the verification.
    """
    samples: Sequence[frozenset[int] | None] = [None] * len(parts)
    if options.sample is not None:
        totals = [load(part).total for part in parts]
        drawn = draw_sample(sum(totals), options.sample, options.seed)
        samples = split_positions(drawn, totals)
    shares = []
    for part, sampled in zip(parts, samples, strict=True):
        links = load(part)
        cost = _count_cost(links, sampled, measured_pages_ratio(part[1]), options.read_pages)
        shares.append(VerifyShare(links.total, sampled, cost))
    return shares


def split_positions(positions: Iterable[int], sizes: Sequence[int]) -> list[frozenset[int]]:
    """Split positions in a sequence of parts by part, and number them within it, from 0.

    Args:
        positions: positions in the whole, from 0.
        sizes: sizes of the parts.
    """
    ordered, start, parts = sorted(positions), 0, []
    for begin, end in zip(accumulate([0, *sizes]), accumulate(sizes), strict=False):
        stop = start
        while stop < len(ordered) and ordered[stop] < end:
            stop += 1
        parts.append(frozenset(position - begin for position in ordered[start:stop]))
        start = stop
    return parts


def sum_costs(shares: Sequence[VerifyShare]) -> VerifyCost:
    """Return the cost of several runs, whose contacts are different ones."""
    costs = [share.cost for share in shares]
    return VerifyCost(
        emails=sum(cost.emails for cost in costs),
        contacts=sum(cost.contacts for cost in costs),
        reads=sum(cost.reads for cost in costs),
        lookups=sum(cost.lookups for cost in costs),
        credits=CreditRange.sum([cost.credits for cost in costs]),
    )


def _count_cost(
    links: ExpectedLinks, sampled: frozenset[int] | None, pages_ratio: float, max_pages: int | None
) -> VerifyCost:
    """Return the minimum cost of looking for some expected links; passes over all of them."""
    emails = contacts = reads = 0
    likely = most = 0.0
    for listed, wanted in links.contact_sizes(sampled):
        emails += wanted
        contacts += 1
        reads += fewest_pages(wanted, max_pages)
        likely += pages_ratio * expected_pages(listed, wanted / listed, max_pages)
        most += pages_ratio * expected_pages(listed, 1.0, max_pages)
    lookups = 1 if reads else 0
    fewest = lookups + reads
    likely_credits = max(fewest, lookups + round(likely))
    most_credits = max(likely_credits, lookups + math.ceil(most))
    credit_range = CreditRange(fewest, likely_credits, most_credits)
    return VerifyCost(emails, contacts, reads, lookups, credit_range)


def fewest_pages(emails: int, max_pages: int | None) -> int:
    """Return the fewest pages that hold this many emails, up to the limit of pages."""
    pages = -(-emails // EMAILS_PER_PAGE)
    return pages if max_pages is None else min(pages, max_pages)
