"""Many orgs on machines that die: all runs finish, and no org's limits are exceeded."""

from __future__ import annotations

import pytest

from bulklink.cluster.timing import ClusterTiming
from tests.cluster.lease_rules import OrgRules
from tests.simulation.cluster_scale import ClusterSimulation, Scenario


@pytest.mark.parametrize("seed", range(3))
def test_all_runs_finish_while_machines_die(seed: int) -> None:
    scenario = Scenario(orgs=150, calls=9_000, machines=4, slots=5, death_hours=0.2, seed=seed)
    outcome = ClusterSimulation(scenario).run()
    assert outcome.finished == scenario.orgs
    assert outcome.machine_deaths > 20
    assert outcome.takeovers > 20
    assert outcome.most_at_once <= scenario.machines * scenario.slots
    assert outcome.limited_seconds > 86_400.0, "the credits of a day are not enough"


class NoWait(OrgRules):
    """A database that does not let a driver wait for the calls of the former one."""

    def _ready_at(self, now: float, is_same: bool) -> float:
        return now


def test_calls_beside_those_of_a_dead_driver_are_found() -> None:
    """Workers notice at once that a machine is dead, so that only the lease lets them wait."""
    scenario = Scenario(
        orgs=20,
        calls=9_000,
        machines=4,
        slots=10,
        death_hours=0.05,
        timing=ClusterTiming(stalled=1.0, watch=1.0),
    )
    assert ClusterSimulation(scenario).run().finished == scenario.orgs
    with pytest.raises(AssertionError, match="calls of a former driver"):
        ClusterSimulation(scenario, NoWait).run()
