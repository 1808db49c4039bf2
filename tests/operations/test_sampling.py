"""A sample is drawn uniformly, and the same seed draws it again."""

from __future__ import annotations

from collections import Counter

from bulklink.operations.sampling import draw_sample


def test_all_positions_are_drawn_equally_often() -> None:
    seen = Counter(place for seed in range(4000) for place in draw_sample(20, 5, seed))
    assert set(seen) == set(range(20))
    assert all(900 < times < 1100 for times in seen.values()), seen


def test_the_same_seed_draws_the_same_sample_of_at_most_the_population() -> None:
    assert draw_sample(1000, 10, 3) == draw_sample(1000, 10, 3) != draw_sample(1000, 10, 4)
    assert draw_sample(4, 10, 1) == frozenset(range(4))
