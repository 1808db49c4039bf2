"""No two drivers of an org send at the same time, whatever clocks, networks and machines do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from bulklink.cluster.lease import Lease, Moment
from tests.cluster.lease_machine import TIMING, LeaseMachine
from tests.cluster.lease_rules import OrgRules, Taken

_SETTINGS = settings(
    max_examples=400,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


class CommitWithoutEpoch(OrgRules):
    """A database that accepts segments while anybody has the lease."""

    def may_commit(self, now: float, epoch: int) -> bool:
        return self.is_held(now)


class NoWait(OrgRules):
    """A database that does not let a driver wait for the requests of the former one."""

    def _ready_at(self, now: float, is_same: bool) -> float:
        return max(now, self.ready_at or now)


class ReadyAtForgotten(OrgRules):
    """A database that forgets for which driver but the last one a driver waits."""

    def _ready_at(self, now: float, is_same: bool) -> float:
        self.ready_at = None
        return super()._ready_at(now, is_same)


class EndsAnyLease(OrgRules):
    """A database in which the worker of a former driver ends the lease of the next one."""

    def end(self, now: float, driver: str) -> None:
        if self.driver is not None:
            super().end(now, self.driver)


class TakenWhileHeld(OrgRules):
    """A database that gives the lease away while a driver has it."""

    def take(self, now: float, driver: str) -> Taken | None:
        self.assigned = driver
        self.until = None
        return super().take(now, driver)


class CountingFromAnswer(LeaseMachine):
    """Drivers that compute their deadline after the renewal."""

    counts_from_answer = True


class BootClockAlone(Lease, frozen=True):
    """A lease that trusts the clock that may stand still while the machine is suspended."""

    def seconds_left(self, now: Moment) -> float:
        return self.ttl - self.margin - (now.boot - self.asked_at.boot)


class WallClockAlone(Lease, frozen=True):
    """A lease that trusts the clock that may be set back."""

    def seconds_left(self, now: Moment) -> float:
        return self.ttl - self.margin - (now.wall - self.asked_at.wall)


def test_at_most_one_driver_sends() -> None:
    run_state_machine_as_test(LeaseMachine, settings=_SETTINGS)


def take_over(machine: LeaseMachine) -> None:
    """Let a second driver have the org after the first one, which has sent and was not seen."""
    machine.driver_works(0)
    machine.wait(30.5)
    machine.worker_starts_driver(1, takes_at_once=True)


def answer_renewal_late(machine: LeaseMachine) -> None:
    machine.driver_asks(0, "renew")
    machine.statement_arrives(0, "renew")
    machine.wait(TIMING.renew)
    machine.answer_arrives(0, "renew")


def commit_late(machine: LeaseMachine) -> None:
    machine.driver_asks(0, "commit")
    machine.connection_breaks(0, "commit")
    take_over(machine)
    machine.late_statement_arrives(0)


def send_after_takeover(machine: LeaseMachine) -> None:
    take_over(machine)
    machine.driver_works(0)


def send_after_two_takeovers(machine: LeaseMachine) -> None:
    take_over(machine)
    machine.driver_dies(0, is_seen=True)
    machine.late_statement_arrives(0)
    machine.worker_starts_driver(2, takes_at_once=True)
    machine.driver_works(0)


def end_late(machine: LeaseMachine) -> None:
    machine.driver_dies(0, is_seen=True)
    take_over(machine)
    machine.late_statement_arrives(0)


def start_another(machine: LeaseMachine) -> None:
    machine.worker_starts_driver(1, takes_at_once=True)


def sleep(machine: LeaseMachine) -> None:
    machine.sleeps_or_wakes(0)
    machine.wait(TIMING.ttl)
    machine.sleeps_or_wakes(0)


def set_clock_back(machine: LeaseMachine) -> None:
    machine.clock_jumps(0, -30.0)


FAULTS: list[tuple[Callable[[LeaseMachine], None], dict[str, object], str]] = [
    (answer_renewal_late, {"counts_from_answer": True}, "the deadline is later"),
    (commit_late, {"database": CommitWithoutEpoch}, "a former driver has committed"),
    (send_after_takeover, {"database": NoWait}, "may still be worked on"),
    (send_after_two_takeovers, {"database": ReadyAtForgotten}, "may still be worked on"),
    (end_late, {"database": EndsAnyLease}, "without the lease"),
    (start_another, {"database": TakenWhileHeld}, "two drivers may send"),
    (sleep, {"lease": BootClockAlone}, "the deadline is later"),
    (set_clock_back, {"lease": WallClockAlone}, "the deadline is later"),
]


def play(machine: LeaseMachine, scenario: Callable[[LeaseMachine], None], clock: bool) -> None:
    """Play a scenario with a driver that has the lease of the org."""
    machine.boot([0.0] * 3, [clock] * 3)
    machine.worker_starts_driver(0, takes_at_once=True)
    scenario(machine)
    machine.at_most_one_driver_may_send()


@pytest.mark.parametrize(
    ("scenario", "fault", "message"), FAULTS, ids=[scenario.__name__ for scenario, *_ in FAULTS]
)
def test_a_planted_fault_is_found(
    scenario: Callable[[LeaseMachine], None], fault: dict[str, object], message: str
) -> None:
    clock = scenario is not set_clock_back
    play(LeaseMachine(), scenario, clock)
    faulty: type[LeaseMachine] = type("Faulty", (LeaseMachine,), fault)
    with pytest.raises(AssertionError, match=message):
        play(faulty(), scenario, clock)
