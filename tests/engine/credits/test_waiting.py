"""A wait of hours, by two clocks of which either can be wrong."""

from __future__ import annotations

from bulklink.engine.quota.gate import STEP, Wait

HOUR = 3_600.0


def waited(seconds: float, steps: list[tuple[float, float]]) -> list[float]:
    """What is left after each look; each step moves the wall clock and the other one."""
    wall, monotonic = 1_800_000_000.0, 50.0
    wait, left = Wait(seconds, wall, monotonic), []
    for by_wall, by_monotonic in steps:
        wall, monotonic = wall + by_wall, monotonic + by_monotonic
        left.append(wait.look(wall, monotonic))
    return left


def test_it_ends_when_its_time_has_passed() -> None:
    assert waited(40, [(15, 15), (15, 15), (15, 15)]) == [25, 10, 0]


def test_a_machine_that_slept_has_waited_meanwhile() -> None:
    assert waited(9 * HOUR, [(STEP, STEP), (10 * HOUR, STEP)])[-1] == 0


def test_a_clock_that_is_set_back_makes_it_no_longer() -> None:
    assert waited(60, [(STEP - 5 * HOUR, STEP), *[(STEP, STEP)] * 3])[-1] == 0


def test_a_clock_that_is_set_back_again_and_again_does_not_make_it_wait_for_ever() -> None:
    assert waited(10 * STEP, [(-HOUR, STEP)] * 10)[-1] == 0


def test_a_monotonic_clock_that_jumps_does_not_make_it_start_early() -> None:
    assert waited(9 * HOUR, [(STEP, 10 * HOUR)])[-1] == 9 * HOUR - STEP


def test_both_clocks_wrong_at_once_pass_two_steps_at_most() -> None:
    assert waited(9 * HOUR, [(-HOUR, 10 * HOUR)])[-1] >= 9 * HOUR - 2 * STEP
