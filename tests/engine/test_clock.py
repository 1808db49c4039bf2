"""Moments of the past on a clock that never jumps."""

from __future__ import annotations

import math

import pytest

from bulklink.engine.clock import Clock

CLOCK = Clock(wall=lambda: 1_800_000_000.0, monotonic=lambda: 50.0, random=lambda: 0.5)


@pytest.mark.parametrize(
    ("wall", "monotonic"),
    [
        (1_800_000_000.0, 50.0),
        (1_799_999_993.0, 43.0),
        (1_799_000_000.0, -999_950.0),
        (-math.inf, -math.inf),
    ],
)
def test_a_past_time_is_converted_to_the_monotonic_clock(wall: float, monotonic: float) -> None:
    assert CLOCK.monotonic_at(wall) == monotonic


def test_a_future_time_counts_as_now() -> None:
    assert CLOCK.monotonic_at(1_800_000_060.0) == 50.0
