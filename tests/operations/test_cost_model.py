"""Expected calls agree with the calls of random worlds."""

from __future__ import annotations

import math
import random
from statistics import fmean

import pytest

from bulklink.operations.cost_model import (
    MAX_RENEWED_WIDTH,
    expected_batches,
    expected_pages,
    merge_sizes,
    narrow,
    share_bounds,
)

WORLDS = 4000


@pytest.mark.parametrize("emails", [1, 7, 10, 25, 240])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 1.0])
def test_pages_are_read_up_to_the_last_wanted_email(emails: int, share: float) -> None:
    rng = random.Random(f"{emails} {share}")

    def pages() -> int:
        wanted = [place for place in range(emails) if rng.random() < share]
        return max(wanted) // 10 + 1 if wanted else 0

    mean = fmean(pages() for _ in range(WORLDS))
    assert expected_pages(emails, share) == pytest.approx(mean, rel=0.06, abs=0.06)


def test_no_more_pages_are_read_than_the_limit() -> None:
    assert expected_pages(1000, 1.0, 30) == 30
    assert expected_pages(1000, 0.5, 30) == pytest.approx(30, rel=0.01)


@pytest.mark.parametrize("emails", [1, 20, 45, 61, 400])
@pytest.mark.parametrize("unneeded", [0.0, 0.1, 0.5, 0.95, 1.0])
def test_batches_are_cut_from_the_emails_that_need_a_call(emails: int, unneeded: float) -> None:
    rng = random.Random(f"{emails} {unneeded}")

    def batches() -> int:
        return math.ceil(sum(rng.random() >= unneeded for _ in range(emails)) / 20)

    mean = fmean(batches() for _ in range(WORLDS))
    assert expected_batches(emails, 20, unneeded) == pytest.approx(mean, rel=0.05, abs=0.05)


def test_merging_sizes_keeps_the_number_of_emails() -> None:
    sizes = [(size, 3) for size in range(1, 5000)]
    merged = merge_sizes(sizes)
    assert len(merged) < 100
    assert sum(count for _, count in merged) == 3 * 4999
    assert sum(size * count for size, count in merged) == pytest.approx(3 * sum(range(5000)))


@pytest.mark.parametrize("counted", [0, 1, 10, 19, 20])
def test_the_bounds_of_a_share_contain_it(counted: int) -> None:
    lower, upper = share_bounds(counted, 20)
    assert 0 <= lower <= counted / 20 <= upper <= 1
    assert upper - lower > 0.05


def test_a_range_is_narrowed_to_a_quarter_of_the_likely_value_above_its_floor() -> None:
    least, likely, most = narrow(0, 100, 300)
    assert most - least == pytest.approx(MAX_RENEWED_WIDTH * likely)
    assert least <= likely <= most
    assert narrow(0, 100, 101, floor=98) == (98, 100, 101)
