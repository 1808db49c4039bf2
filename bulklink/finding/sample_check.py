"""What a random sample that a person has checked says about the tiers of an audit.

The proposals of a tier are a finite population, and the sample is drawn from it without
replacement, so bound and test are those of the hypergeometric distribution. They are exact for each
kind of change by itself: given how many of a kind were drawn, these are a random sample of the
kind.

The promise of `sure` is about its own proposals. That of `likely` counts those of `sure` in: a tier
breaks it if more of its own proposals are wrong than `sure` and `likely` together may have, which
is the most that it can contribute to the promise. The test stays exact with that number. Where
there are many more sure proposals, all of `likely` could be wrong and the promise kept; so a tier
is also to be more often right than wrong.

What a person could not tell counts against a proof and not against a tier: as not right for the
bound, and as not wrong for the test.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum
from fractions import Fraction
from math import floor

import msgspec

from bulklink.finding.demotion import PROMISES, lower_tier
from bulklink.finding.verdicts import ChangeKind, Tier
from bulklink.hypergeometric import exceeds, least_sample, max_wrong

_DECIMALS = 10_000


class SampleVerdict(StrEnum):
    """What a person says about a proposal."""

    RIGHT = "right"
    WRONG = "wrong"
    UNSURE = "unsure"


class DrawnEmail(msgspec.Struct, frozen=True):
    """An email of a sample.

    Args:
        tier: tier of its proposal.
        kind: the proposed change.
        verdict: what a person says about it; None if nobody has looked at it.
    """

    tier: Tier
    kind: ChangeKind
    verdict: SampleVerdict | None = None


class SampleCheck(msgspec.Struct, frozen=True):
    """What a sample says about the proposals of one kind in a tier.

    Args:
        tier: the tier, as the audit gave it.
        kind: the kind of change.
        proposed: proposals of this kind in the tier.
        drawn: those of them in the sample.
        right: those of the sample that are right.
        wrong: those that are wrong.
        unsure: those of which nobody could tell, or that were skipped.
        promise: share of the proposals that the tier promises to be right; `likely` counts those
            of `sure` in. None for `look`, which promises nothing.
        at_least: lower bound of the share of its own proposals that is right, at 95 %.
        needed: emails of this kind and tier to check in all, to show that its own proposals keep
            the promise, if no more of them turn out wrong or unsure; None if no number does.
        becomes: tier that the proposals get: a lower one if the promise is rejected at 5 %.
        to_draw: emails of the tier, of all kinds, to draw to have the needed ones of this kind;
            None if that is not known.
    """

    tier: Tier
    kind: ChangeKind
    proposed: int
    drawn: int
    right: int
    wrong: int
    unsure: int
    promise: float | None
    at_least: float
    needed: int | None
    becomes: Tier
    to_draw: int | None = None

    @property
    def checked(self) -> int:
        """Emails up to the last one with a verdict."""
        return self.right + self.wrong + self.unsure


class WrongLimits(msgspec.Struct, frozen=True):
    """How many proposals of one kind in a tier may be wrong.

    Args:
        proposed: proposals of this kind in the tier.
        promise: share of the proposals that the tier promises to be right; None for `look`.
        proving: most wrong ones with which its own proposals keep the promise; None for `look`.
        rejecting: most wrong ones with which the promise of this tier, or of a lower one, is not
            broken, by tier.
    """

    proposed: int
    promise: float | None
    proving: int | None
    rejecting: dict[Tier, int]


def check_sample(
    proposed: Mapping[tuple[Tier, ChangeKind], int], sample: Iterable[DrawnEmail]
) -> tuple[SampleCheck, ...]:
    """Return what a sample says about each kind of proposal in each tier.

    The sample of a kind ends at the last email with a verdict. An email before it without one was
    skipped, perhaps for a reason, and counts as unsure.

    Args:
        proposed: number of proposals by tier and kind.
        sample: the drawn emails, in the order in which they were drawn.
    """
    drawn = Counter[tuple[Tier, ChangeKind]]()
    skipped = Counter[tuple[Tier, ChangeKind]]()
    verdicts = Counter[tuple[Tier, ChangeKind, SampleVerdict]]()
    for email in sample:
        group = email.tier, email.kind
        drawn[group] += 1
        if email.verdict is None:
            skipped[group] += 1
        else:
            verdicts[*group, email.verdict] += 1
            verdicts[*group, SampleVerdict.UNSURE] += skipped.pop(group, 0)
    return tuple(
        _check_group(proposed, tier, kind, drawn[tier, kind], verdicts)
        for tier in Tier
        for kind in ChangeKind
        if proposed.get((tier, kind))
    )


def _check_group(
    proposed: Mapping[tuple[Tier, ChangeKind], int],
    tier: Tier,
    kind: ChangeKind,
    drawn: int,
    verdicts: Mapping[tuple[Tier, ChangeKind, SampleVerdict], int],
) -> SampleCheck:
    limits = wrong_limits(proposed, tier, kind)
    population = limits.proposed
    right, wrong, unsure = (verdicts[tier, kind, verdict] for verdict in SampleVerdict)
    size, not_right = right + wrong + unsure, wrong + unsure
    most_wrong = max_wrong(population, size, not_right)
    becomes = tier
    while becomes in limits.rejecting and exceeds(
        population, size, wrong, limits.rejecting[becomes]
    ):
        becomes = lower_tier(becomes)
    return SampleCheck(
        tier=tier,
        kind=kind,
        proposed=population,
        drawn=drawn,
        right=right,
        wrong=wrong,
        unsure=unsure,
        promise=limits.promise,
        at_least=(population - most_wrong) * _DECIMALS // population / _DECIMALS,
        needed=None
        if limits.proving is None
        else least_sample(population, not_right, limits.proving),
        becomes=becomes,
    )


def wrong_limits(
    proposed: Mapping[tuple[Tier, ChangeKind], int], tier: Tier, kind: ChangeKind
) -> WrongLimits:
    """Return how many proposals of one kind in a tier may be wrong.

    Args:
        proposed: number of proposals by tier and kind.
        tier: the tier.
        kind: the kind of change.
    """
    population = proposed[tier, kind]
    promise = PROMISES[kind].get(tier)
    tiers = list(Tier)
    rejecting: dict[Tier, int] = {}
    for place, as_tier in enumerate(tiers):
        if as_tier in PROMISES[kind] and place >= tiers.index(tier):
            counted = sum(proposed.get((one, kind), 0) for one in tiers[: place + 1])
            most = _share_wrong(PROMISES[kind][as_tier], counted)
            rejecting[as_tier] = min(most, population // 2)
    return WrongLimits(
        proposed=population,
        promise=promise,
        proving=None if promise is None else _share_wrong(promise, population),
        rejecting=rejecting,
    )


def _share_wrong(promise: float, proposals: int) -> int:
    """Return how many proposals may be wrong; the decimals of the promise are taken exactly."""
    return floor(proposals * (1 - Fraction(str(promise))))
