"""What a checked sample proves about a tier, and when it demotes it."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from math import comb

import pytest

from bulklink.finding.demotion import PROMISES
from bulklink.finding.sample_check import DrawnEmail, SampleCheck, SampleVerdict, check_sample
from bulklink.finding.verdicts import ChangeKind, Tier

ATTACH, MOVE, DETACH = ChangeKind
SURE, LIKELY, LOOK = Tier
RIGHT, WRONG, UNSURE = SampleVerdict


def drawn(
    verdicts: Iterable[SampleVerdict | None], tier: Tier = SURE, kind: ChangeKind = MOVE
) -> list[DrawnEmail]:
    return [DrawnEmail(tier, kind, verdict) for verdict in verdicts]


def answers(right: int, wrong: int = 0, unsure: int = 0) -> list[SampleVerdict]:
    return [RIGHT] * right + [WRONG] * wrong + [UNSURE] * unsure


def check(
    proposed: int, right: int, wrong: int = 0, unsure: int = 0, tier: Tier = SURE
) -> SampleCheck:
    (result,) = check_sample({(tier, MOVE): proposed}, drawn(answers(right, wrong, unsure), tier))
    return result


def probability_of_at_least(population: int, size: int, all_wrong: int, wrong: int) -> Fraction:
    ways = sum(
        comb(all_wrong, number) * comb(population - all_wrong, size - number)
        for number in range(wrong, min(size, all_wrong) + 1)
    )
    return Fraction(ways, comb(population, size))


@pytest.mark.parametrize("population", [3, 20, 60])
def test_the_bound_covers_every_true_share_in_95_of_100_samples(population: int) -> None:
    for size in range(0, population + 1, 3):
        bounds = [check(population, size - wrong, wrong).at_least for wrong in range(size + 1)]
        for all_wrong in range(population + 1):
            share = Fraction(population - all_wrong, population)
            missed = max(
                (wrong for wrong, bound in enumerate(bounds) if Fraction(str(bound)) > share),
                default=-1,
            )
            assert missed < 0 or 1 - probability_of_at_least(
                population, size, all_wrong, missed + 1
            ) <= Fraction(1, 20)


@pytest.mark.parametrize("population", [1, 40, 200])
def test_a_tier_that_keeps_its_promise_is_demoted_in_at_most_5_of_100_samples(
    population: int,
) -> None:
    allowed = population * 5 // 1000
    for size in range(1, population + 1, 13):
        rejected = [
            wrong
            for wrong in range(size + 1)
            if check(population, size - wrong, wrong).becomes != SURE
        ]
        fewest = min(rejected, default=size + 1)
        assert probability_of_at_least(population, size, allowed, fewest) <= Fraction(1, 20)
        assert rejected == list(range(fewest, size + 1))


@pytest.mark.parametrize(
    ("population", "not_right", "needed"),
    [(10**6, 0, 598), (1000, 0, 393), (100, 0, 95), (10**6, 1, 947), (100, 1, None)],
)
def test_the_number_that_would_prove_the_promise(
    population: int, not_right: int, needed: int | None
) -> None:
    result = check(population, 20, not_right)
    assert result.needed == needed
    if needed is not None:
        assert check(population, needed - not_right, not_right).at_least >= 0.995
        assert check(population, needed - not_right - 1, not_right).at_least < 0.995


def test_what_is_unsure_proves_nothing_and_demotes_nothing() -> None:
    unsure, wrong = check(1000, 90, unsure=10), check(1000, 90, wrong=10)
    assert unsure.at_least == wrong.at_least
    assert (unsure.becomes, wrong.becomes) == (SURE, LOOK)


def test_emails_before_the_last_verdict_that_have_none_are_unsure() -> None:
    verdicts = [None, RIGHT, None, None, RIGHT, None]
    (result,) = check_sample({(SURE, MOVE): 100}, drawn(verdicts))
    assert (result.drawn, result.right, result.wrong, result.unsure) == (6, 2, 0, 3)
    assert result.checked == 5


def test_without_a_verdict_nothing_is_known() -> None:
    (result,) = check_sample({(SURE, MOVE): 1000}, drawn([None] * 30))
    assert (result.at_least, result.needed, result.becomes) == (0, 393, SURE)


def test_the_kinds_of_a_tier_are_checked_separately() -> None:
    proposed = {(SURE, ATTACH): 1000, (SURE, MOVE): 1000, (LOOK, MOVE): 10}
    sample = drawn(answers(50), SURE, ATTACH) + drawn(answers(40, 10), SURE, MOVE)
    results = {(one.tier, one.kind): one for one in check_sample(proposed, sample)}
    assert list(results) == list(proposed)
    assert results[SURE, ATTACH].becomes is SURE
    assert results[SURE, MOVE].becomes is LOOK


def test_a_tier_falls_only_as_far_as_promises_are_rejected() -> None:
    assert check(10_000, 96, 4).becomes is LIKELY
    assert check(10_000, 90, 10).becomes is LOOK


def test_likely_counts_the_sure_proposals_in() -> None:
    sample = drawn(answers(90, 10), LIKELY, MOVE)
    alone = check_sample({(LIKELY, MOVE): 1000}, sample)[0]
    with_sure = check_sample({(SURE, MOVE): 3000, (LIKELY, MOVE): 1000}, sample)[1]
    assert (alone.becomes, with_sure.becomes) == (LOOK, LIKELY)
    assert alone.at_least == with_sure.at_least


def test_likely_is_demoted_if_more_of_it_is_wrong_than_right_however_much_is_sure() -> None:
    proposed = {(SURE, MOVE): 10**6, (LIKELY, MOVE): 1000}
    keeps, breaks = (
        check_sample(proposed, drawn(answers(right, 60 - right), LIKELY, MOVE))[1]
        for right in (30, 15)
    )
    assert (keeps.becomes, breaks.becomes) == (LIKELY, LOOK)


def test_look_promises_nothing_and_falls_no_further() -> None:
    result = check(100, 0, 50, tier=LOOK)
    assert (result.promise, result.needed, result.becomes) == (None, None, LOOK)
    assert result.at_least == 0


def test_when_all_proposals_are_checked_the_share_is_known() -> None:
    result = check(400, 398, 2)
    assert (result.at_least, result.becomes) == (0.995, SURE)
    assert check(400, 397, 3).becomes is LIKELY


@pytest.mark.parametrize("kind", ChangeKind)
def test_every_kind_has_a_promise_in_the_tiers_that_are_sent(kind: ChangeKind) -> None:
    assert list(PROMISES[kind]) == [SURE, LIKELY]
