"""Quality of proposals, compared with the truth of generated worlds.

Counts are kept by contact, as emails of one contact are not independent: bounds come from
resampling contacts.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

TIERS = ("sure", "likely")
"""`likely` includes `sure`."""
_RESAMPLES = 1_000
_TENTHS = 10


@dataclass(frozen=True, slots=True)
class Case:
    """An email with the truth about it and what is proposed.

    Args:
        right: the right deal; None for none.
        present: the deal that it is on; None for none.
        by_person: whether a person or program made the present link, as far as a judge can know:
            a received email against the rule, or a sent one.
        proposed: the proposed deal; None for none.
        tier: tier of the proposal: `sure`, `likely`, `look`, or an empty text for no proposal.
        confidence: probability of the best deal; 0 for a contact without deals.
        best: the best deal, whether proposed or not; None for none.
    """

    right: str | None
    present: str | None
    by_person: bool
    proposed: str | None
    tier: str
    confidence: float
    best: str | None

    @property
    def kind(self) -> str:
        """The kind of change that the email needs, or of the one that is proposed."""
        return "attach" if self.present is None else "move"


def count_case(counts: Counter[tuple[str, ...]], case: Case) -> None:
    """Add an email to the counts of its contact."""
    kind = case.kind
    if case.right is not None and case.right != case.present:
        counts[kind, "wanted"] += 1
    is_right_now = case.present is not None and case.present == case.right
    counts["links", "right"] += is_right_now
    counts["links", "by_person"] += case.by_person
    for tier in TIERS[TIERS.index(case.tier) :] if case.tier in TIERS else ():
        counts[kind, tier, "proposed"] += 1
        counts[kind, tier, "right"] += case.proposed == case.right
        counts["links", tier, "broken"] += is_right_now
        counts["links", tier, "by_person"] += case.by_person
    if not case.confidence:
        return
    tenth = _tenth(case.confidence)
    counts["calibration", tenth, "emails"] += 1
    counts["calibration", tenth, "right"] += case.best == case.right


def _tenth(confidence: float) -> str:
    return str(min(int(confidence * _TENTHS), _TENTHS - 1))


@dataclass(slots=True)
class Quality:
    """Counts of the contacts of several worlds.

    Args:
        contacts: counts of each contact.
        confidence: sum of the confidences by tenth.
    """

    contacts: list[Counter[tuple[str, ...]]] = field(default_factory=list)
    confidence: dict[str, float] = field(default_factory=dict)

    def add_contact(self, cases: Iterable[Case]) -> None:
        """Count the emails of a contact."""
        counts: Counter[tuple[str, ...]] = Counter()
        for case in cases:
            count_case(counts, case)
            tenth = _tenth(case.confidence)
            self.confidence[tenth] = self.confidence.get(tenth, 0.0) + case.confidence
        self.contacts.append(counts)

    def total(self) -> Counter[tuple[str, ...]]:
        """Return the counts of all contacts together."""
        total: Counter[tuple[str, ...]] = Counter()
        for counts in self.contacts:
            total.update(counts)
        return total

    def calibration(self) -> Iterator[tuple[int, int, float, float]]:
        """Yield tenth, emails, mean confidence and share that is right."""
        total = self.total()
        for tenth in range(_TENTHS):
            emails = total["calibration", str(tenth), "emails"]
            if emails:
                right = total["calibration", str(tenth), "right"]
                yield tenth, emails, self.confidence[str(tenth)] / emails, right / emails


def ratios() -> Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """Return the measures by name, each with the keys of its numerator and denominator."""
    measures: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {}
    for kind in ("attach", "move"):
        for tier in TIERS:
            proposed = (kind, tier, "proposed")
            measures[f"{kind} {tier} precision"] = (kind, tier, "right"), proposed
            measures[f"{kind} {tier} recall"] = (kind, tier, "right"), (kind, "wanted")
    for tier in TIERS:
        measures[f"{tier} broken"] = ("links", tier, "broken"), ("links", "right")
        measures[f"{tier} made by hand"] = ("links", tier, "by_person"), ("links", "by_person")
    return measures


def bounds(
    contacts: Sequence[Mapping[tuple[str, ...], int]],
    numerator: tuple[str, ...],
    denominator: tuple[str, ...],
) -> tuple[float, float]:
    """Return the 95 % interval of a ratio, by resampling contacts.

    Args:
        contacts: counts of each contact.
        numerator: key of the numerator.
        denominator: key of the denominator.
    """
    pairs = [
        (counts.get(numerator, 0), counts[denominator])
        for counts in contacts
        if counts.get(denominator)
    ]
    if not pairs:
        return float("nan"), float("nan")
    rng = random.Random(1)
    samples = sorted(_resampled(pairs, rng) for _ in range(_RESAMPLES))
    return samples[_RESAMPLES * 25 // 1000], samples[_RESAMPLES * 975 // 1000 - 1]


def _resampled(pairs: Sequence[tuple[int, int]], rng: random.Random) -> float:
    sample = rng.choices(pairs, k=len(pairs))
    return sum(pair[0] for pair in sample) / sum(pair[1] for pair in sample)
