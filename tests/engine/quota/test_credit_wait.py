"""A wait of hours, by two clocks of which either can be wrong."""

from __future__ import annotations

from bulklink.engine.quota.gate import CLOCK_CHECK_SECONDS, WallClockTimer

HOUR = 3_600.0


def remaining_seconds(seconds: float, steps: list[tuple[float, float]]) -> list[float]:
    """What is left after each look; each step moves the wall clock and the other one."""
    wall, monotonic = 1_800_000_000.0, 50.0
    wait, remaining = WallClockTimer(seconds, wall, monotonic), []
    for by_wall, by_monotonic in steps:
        wall, monotonic = wall + by_wall, monotonic + by_monotonic
        remaining.append(wait.update(wall, monotonic))
    return remaining


def test_it_ends_when_its_time_has_passed() -> None:
    assert remaining_seconds(40, [(15, 15), (15, 15), (15, 15)]) == [25, 10, 0]


def test_a_machine_that_slept_has_waited_meanwhile() -> None:
    assert (
        remaining_seconds(
            9 * HOUR, [(CLOCK_CHECK_SECONDS, CLOCK_CHECK_SECONDS), (10 * HOUR, CLOCK_CHECK_SECONDS)]
        )[-1]
        == 0
    )


def test_a_clock_that_is_set_back_makes_it_no_longer() -> None:
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


def test_a_clock_that_is_set_back_again_and_again_does_not_make_it_wait_for_ever() -> None:
    assert remaining_seconds(10 * CLOCK_CHECK_SECONDS, [(-HOUR, CLOCK_CHECK_SECONDS)] * 10)[-1] == 0


def test_a_monotonic_clock_that_jumps_does_not_make_it_start_early() -> None:
    assert (
        remaining_seconds(9 * HOUR, [(CLOCK_CHECK_SECONDS, 10 * HOUR)])[-1]
        == 9 * HOUR - CLOCK_CHECK_SECONDS
    )


def test_both_clocks_wrong_at_once_pass_two_steps_at_most() -> None:
    assert (
        remaining_seconds(9 * HOUR, [(-HOUR, 10 * HOUR)])[-1] >= 9 * HOUR - 2 * CLOCK_CHECK_SECONDS
    )
