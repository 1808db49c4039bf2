"""Expected calls of a plan, by the share of its emails that need no call. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

import msgspec

from bulklink.engine.batching import MAX_WINDOW_MESSAGES
from bulklink.mapping.plan_stats import PlanStats
from bulklink.models import Op
from bulklink.operations.job import Job
from bulklink.runs.forecast import CreditRange, PlanSizes, SecondsRange
from bulklink.zoho.page_info import EMAILS_PER_PAGE
from bulklink.zoho.requests import MAX_MESSAGE_IDS_LENGTH

MAX_RENEWED_WIDTH = 0.25
"""Maximum width of a renewed range, as a share of the likely value."""
_EXACT_SIZES = 20
_SIZE_STEP = 1.1
"""Sizes above `_EXACT_SIZES` are merged with those up to a tenth larger."""
_MAX_EXACT_BINOMIAL = 60
_NEGLIGIBLE_SHARE = 1e-9
_CONFIDENCE = 1.96
"""Standard errors to either side of a measured share."""


def merge_sizes(sizes: Iterable[tuple[float, int]]) -> tuple[tuple[float, int], ...]:
    """Merge similar sizes into their mean; the total stays as it is.

    Args:
        sizes: pairs of a size and its count.
    """
    totals: dict[int, tuple[float, int]] = {}
    for size, count in sizes:
        if not size or not count:
            continue
        total, number = totals.get(_size_class(size), (0.0, 0))
        totals[_size_class(size)] = total + size * count, number + count
    return tuple((total / number, number) for _, (total, number) in sorted(totals.items()))


def _size_class(size: float) -> int:
    if size <= _EXACT_SIZES:
        return round(size)
    return _EXACT_SIZES + 1 + int(math.log(size / _EXACT_SIZES, _SIZE_STEP))


def measure_sizes(shape: PlanStats, job: Job) -> PlanSizes:
    """Return the sizes of a plan's groups.

    Args:
        shape: statistics of the plan.
        job: its snapshot option and batch size.
    """
    reads_links, reads_others = job.needs_snapshot(Op.LINK), job.needs_snapshot(Op.UNLINK)
    link_sizes = shape.contact_link_sizes if job.by_contact else shape.link_sizes
    capacities = _unlink_capacities(shape, job.batch_size)
    return PlanSizes(
        read_contacts=merge_sizes(
            (changed * reads_others + links * reads_links, contacts)
            for changed, links, contacts in shape.contact_sizes
        ),
        link_contacts=()
        if reads_links
        else merge_sizes((links, contacts) for _, links, contacts in shape.contact_sizes),
        link_groups=merge_sizes(link_sizes),
        unlink_groups=tuple(
            (size, capacity, groups)
            for capacity, sizes in capacities.items()
            for size, groups in merge_sizes(sizes)
        ),
    )


def _unlink_capacities(shape: PlanStats, batch_size: int) -> dict[int, list[tuple[float, int]]]:
    """Return sizes of unlink groups and their number, by the ids that fit into one call."""
    capacities: dict[int, list[tuple[float, int]]] = {}
    for size, length, groups in shape.unlink_sizes:
        capacity = min(batch_size, (MAX_MESSAGE_IDS_LENGTH + 1) // (length + 1))
        capacities.setdefault(capacity, []).append((size, groups))
    for lengths in shape.mixed_unlinks():
        mean_length = sum(lengths) / len(lengths)
        capacity = max(1, min(batch_size, int((MAX_MESSAGE_IDS_LENGTH + 1) / (mean_length + 1))))
        capacities.setdefault(capacity, []).append((len(lengths), 1))
    return capacities


def expected_pages(emails: float, share: float, max_pages: int | None = None) -> float:
    """Return the mean pages read until all wanted emails of a contact are seen.

    Args:
        emails: emails of the contact.
        share: share of them that is wanted, drawn at random.
        max_pages: maximum pages read; None for no limit.
    """
    pages = math.ceil(emails / EMAILS_PER_PAGE)
    if share <= _NEGLIGIBLE_SHARE or not pages:
        return 0.0
    limit = pages if max_pages is None else min(pages, max_pages)
    if share >= 1:
        return float(limit)
    # A page is read if any wanted email is on it or after it.
    none_on_last = (1 - share) ** (emails - EMAILS_PER_PAGE * (pages - 1))
    ratio: float = (1 - share) ** EMAILS_PER_PAGE
    none_after_limit: float = none_on_last * ratio ** (pages - limit)
    return limit - none_after_limit * (1 - ratio**limit) / (1 - ratio)


def _window_pages(emails: float, share: float, max_pages: int | None) -> float:
    """Return the mean pages of a contact, which is read again for each of its windows."""
    windows = math.ceil(emails / MAX_WINDOW_MESSAGES)
    return windows * expected_pages(emails, min(1.0, share / windows), max_pages) if windows else 0


@lru_cache(maxsize=4096)
def expected_batches(emails: float, capacity: float, unneeded: float) -> float:
    """Return the mean calls of a group whose emails may need no call.

    Args:
        emails: emails of the group.
        capacity: maximum emails per call.
        unneeded: probability that an email needs no call.
    """
    needed = emails * (1 - unneeded)
    if not _NEGLIGIBLE_SHARE < unneeded < 1:
        return float(math.ceil(needed / capacity - 1e-9))
    deviation = math.sqrt(needed * unneeded)
    if emails > _MAX_EXACT_BINOMIAL:
        bounds = (capacity * call + 0.5 for call in range(math.ceil(emails / capacity)))
        return sum(_normal_tail((bound - needed) / deviation) for bound in bounds)
    number = max(1, round(emails))
    return sum(
        math.comb(number, count)
        * (1 - unneeded) ** count
        * unneeded ** (number - count)
        * math.ceil(count / capacity - 1e-9)
        for count in range(1, number + 1)
    )


def _normal_tail(deviations: float) -> float:
    return math.erfc(deviations / math.sqrt(2)) / 2


class CostModel(msgspec.Struct, frozen=True):
    """Expected calls of a plan.

    Args:
        sizes: sizes of its groups.
        writes: link and unlink calls if every email needs them.
        batch_size: maximum emails per link call.
        max_pages: maximum pages read of a contact.
    """

    sizes: PlanSizes
    writes: int
    batch_size: int
    max_pages: int

    def snapshot_reads(self) -> float:
        """Return the pages that are read before anything is sent."""
        return self._pages(self.sizes.read_contacts, 1.0)

    def link_reads(self, share: float) -> float:
        """Return the pages read for links, a share of which is read back."""
        return self._pages(self.sizes.link_contacts, share)

    def _pages(self, contacts: Sequence[tuple[float, int]], share: float) -> float:
        return sum(
            count * _window_pages(emails, share, self.max_pages) for emails, count in contacts
        )

    def writes_needed(self, unneeded: float) -> float:
        """Return the link and unlink calls if a share of the emails needs none."""
        all_writes = self._grouped_writes(0.0)
        return self.writes * self._grouped_writes(unneeded) / all_writes if all_writes else 0.0

    def _grouped_writes(self, unneeded: float) -> float:
        links = sum(
            groups * expected_batches(emails, self.batch_size, unneeded)
            for emails, groups in self.sizes.link_groups
        )
        return links + sum(
            groups * expected_batches(emails, capacity, unneeded)
            for emails, capacity, groups in self.sizes.unlink_groups
        )

    def _resends(self, unneeded: float) -> float:
        """Return the calls for emails that shared a refused call with an email already linked.

        Zoho documents that such a call changes none of its emails.
        """
        return sum(
            groups
            * expected_batches(
                emails,
                self.batch_size,
                1 - (1 - unneeded) * (1 - (1 - unneeded) ** (min(self.batch_size, emails) - 1)),
            )
            for emails, groups in self.sizes.link_groups
        )

    def total(
        self, unneeded: float, pages_ratio: float, *, reads_first: bool, resends: bool = True
    ) -> float:
        """Return reads and writes of the whole plan.

        Args:
            unneeded: share of the emails that need no call: already as wanted, or certain to fail.
            pages_ratio: pages read, relative to the pages that the plan's emails alone would fill.
            reads_first: whether links are read before they are sent.
            resends: whether a refused call changes none of its emails.
        """
        reads = self.snapshot_reads()
        if reads_first or not self.sizes.link_contacts:
            reads += self.link_reads(1.0)
            return reads * pages_ratio + self.writes_needed(unneeded)
        reads += self.link_reads(unneeded)
        writes = self.writes_needed(unneeded * self._read_share)
        return reads * pages_ratio + writes + self._resends(unneeded) * resends

    @property
    def _read_share(self) -> float:
        """Share of the emails that the snapshot reads."""
        read, linked = (
            sum(emails * contacts for emails, contacts in sizes)
            for sizes in (self.sizes.read_contacts, self.sizes.link_contacts)
        )
        return read / (read + linked) if read + linked else 0.0


def share_bounds(counted: int, total: int) -> tuple[float, float]:
    """Return bounds of a share estimated from a sample (Wilson's interval).

    Args:
        counted: items counted in the sample.
        total: size of the sample.
    """
    if not total:
        return 0.0, 1.0
    share, z = counted / total, _CONFIDENCE
    centre = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    scale = 1 + z * z / total
    lower, upper = (centre - spread) / scale, (centre + spread) / scale
    return (lower if counted else 0.0), (upper if counted < total else 1.0)


def sampled_calls(sample: Sequence[int], left: int, fewest: int) -> CreditRange:
    """Return the calls that contacts take by those of a random sample, with a 95 % interval.

    Args:
        sample: calls of each contact of the sample.
        left: contacts that are left.
        fewest: minimum calls of a contact.
    """
    mean = statistics.fmean(sample) if sample else fewest
    variance = statistics.variance(sample) if len(sample) > 1 else 0.0
    unsampled = left / (left + len(sample)) if left else 0.0
    margin = _CONFIDENCE * math.sqrt(variance / max(1, len(sample)) * unsampled)
    return credit_range(left * max(fewest, mean - margin), left * mean, left * (mean + margin))


def narrow(
    least: float, likely: float, most: float, *, floor: float = 0.0
) -> tuple[float, float, float]:
    """Narrow a range to the maximum width of a renewed forecast.

    Args:
        least: lower end.
        likely: value inside the range.
        most: upper end.
        floor: minimum of the lower end.
    """
    least, most = max(min(least, likely), floor), max(most, likely)
    allowed = MAX_RENEWED_WIDTH * likely
    if most - least > allowed:
        scale = allowed / (most - least)
        least, most = likely - (likely - least) * scale, likely + (most - likely) * scale
    return least, likely, most


def credit_range(least: float, likely: float, most: float) -> CreditRange:
    """Return a range in whole credits, no wider than the given one."""
    return CreditRange(
        min(math.ceil(least - 1e-9), round(likely)),
        round(likely),
        max(math.floor(most + 1e-9), round(likely)),
    )


def seconds_range(credit_costs: CreditRange, duration: Callable[[int], float]) -> SecondsRange:
    """Return the seconds that a range of credits takes.

    Args:
        credit_costs: the credits.
        duration: returns the seconds that a number of credits takes.
    """
    return SecondsRange(
        round(duration(credit_costs.least), 1),
        round(duration(credit_costs.likely), 1),
        round(duration(credit_costs.most), 1),
    )
