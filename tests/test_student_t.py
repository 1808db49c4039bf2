"""Quantiles of Student's t distribution."""

from __future__ import annotations

from statistics import NormalDist

import pytest

from bulklink.student_t import t_quantile


@pytest.mark.parametrize(
    ("freedom", "expected"),
    [(1, 12.7062), (2, 4.3027), (3, 3.1824), (5, 2.5706), (6, 2.4469), (9, 2.2622), (30, 2.0423)],
)
def test_quantiles_are_those_of_the_tables(freedom: int, expected: float) -> None:
    assert t_quantile(0.975, freedom) == pytest.approx(expected, abs=5e-5)


def test_a_large_sample_is_normal_and_half_is_below_zero() -> None:
    assert t_quantile(0.975, 5000) == pytest.approx(NormalDist().inv_cdf(0.975), abs=1e-3)
    assert t_quantile(0.5, 4) == pytest.approx(0, abs=1e-12)
    assert t_quantile(0.8, 6) == pytest.approx(0.9057, abs=5e-5)
