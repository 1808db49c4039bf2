"""Waits of hours, measured by two clocks, either of which can be wrong."""

from __future__ import annotations

from bulklink.engine.quota.credit_wait import CLOCK_CHECK_SECONDS, WallClockTimer

HOUR = 3_600.0


def remaining_seconds(seconds: float, steps: list[tuple[float, float]]) -> list[float]:
    """Return the seconds left after each step of (wall clock, monotonic clock)."""
    wall, monotonic = 1_800_000_000.0, 50.0
    timer, remaining = WallClockTimer(seconds, wall, monotonic), []
    for by_wall, by_monotonic in steps:
        wall, monotonic = wall + by_wall, monotonic + by_monotonic
        remaining.append(timer.update(wall, monotonic))
    return remaining


def test_a_wait_ends_after_its_time() -> None:
    assert remaining_seconds(40, [(15, 15), (15, 15), (15, 15)]) == [25, 10, 0]


def test_time_asleep_counts_as_waited() -> None:
    assert (
        remaining_seconds(
            9 * HOUR, [(CLOCK_CHECK_SECONDS, CLOCK_CHECK_SECONDS), (10 * HOUR, CLOCK_CHECK_SECONDS)]
        )[-1]
        == 0
    )


def test_a_clock_set_back_does_not_extend_the_wait() -> None:
    assert (
        remaining_seconds(
            60,
            [
                (CLOCK_CHECK_SECONDS - 5 * HOUR, CLOCK_CHECK_SECONDS),
                *[(CLOCK_CHECK_SECONDS, CLOCK_CHECK_SECONDS)] * 3,
            ],
        )[-1]
        == 0
    )


def test_a_clock_set_back_repeatedly_does_not_extend_the_wait_forever() -> None:
    assert remaining_seconds(10 * CLOCK_CHECK_SECONDS, [(-HOUR, CLOCK_CHECK_SECONDS)] * 10)[-1] == 0


def test_a_jump_of_the_monotonic_clock_does_not_shorten_the_wait() -> None:
    assert (
        remaining_seconds(9 * HOUR, [(CLOCK_CHECK_SECONDS, 10 * HOUR)])[-1]
        == 9 * HOUR - CLOCK_CHECK_SECONDS
    )


def test_two_wrong_clocks_shorten_the_wait_by_at_most_two_steps() -> None:
    assert (
        remaining_seconds(9 * HOUR, [(-HOUR, 10 * HOUR)])[-1] >= 9 * HOUR - 2 * CLOCK_CHECK_SECONDS
    )
