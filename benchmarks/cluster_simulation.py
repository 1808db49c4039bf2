"""10,000 orgs of 100,000 emails in a cluster whose machines die, on a virtual clock.

Calls are not made one by one: `tests/simulation/cluster_scale.py` says what is real. A run fails if
an org ever had two drivers, more calls in flight than its places, or more credits in 24 hours than
its limit, or if an email was left. Cores, memory and ledger follow from what a driver takes:
`benchmarks/cluster.py` and `sending.py` measure it.

    python benchmarks/cluster_simulation.py [--orgs 10000] [--write]
"""

from __future__ import annotations

import argparse
import time

import msgspec
from tables import put_table, table

from tests.simulation.cluster_scale import ClusterSimulation, Outcome, Scenario

PER_CALL = 10
CPU_SECONDS = 314e-6
"""CPU seconds an email, on a loaded machine."""
CORE_USE = 0.7
"""Share of its cores that a machine should use at most."""
MEMORY = 131e6
"""Resident memory of a driver in bytes."""
LEDGER_BYTES = 410
"""Bytes of ledger an email."""
SCENARIOS = {
    "a day": Scenario(orgs=10_000, calls=10_000, machines=3, slots=24),
    "four hours": Scenario(orgs=10_000, calls=10_000, machines=8, slots=50),
}


def row(name: str, scenario: Scenario, outcome: Outcome) -> list[str]:
    """Return the line of a scenario in the table."""
    rate = outcome.mean_calls * PER_CALL
    return [
        name,
        f"{scenario.machines} with {scenario.slots} slots",
        f"{outcome.mean_at_once:.0f}, most {outcome.most_at_once}",
        f"{outcome.seconds / 3600.0:.1f} h",
        f"{outcome.limited_seconds / 3600.0:.1f} h",
        f"{outcome.machine_deaths:,}",
        f"{outcome.takeovers:,}",
        f"{rate * CPU_SECONDS / CORE_USE:.1f}",
        f"{outcome.most_at_once * MEMORY / 1e9:.1f} GB",
        f"{outcome.mean_calls:,.0f}, most {outcome.most_calls:,.0f}",
        f"{rate * LEDGER_BYTES / 1e6:.1f} MB/s",
        f"{outcome.calls * PER_CALL * LEDGER_BYTES / 1e9:,.0f} GB",
    ]


def main() -> None:
    """Simulate and print the table, and write it to the README on request."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orgs", type=int, default=10_000)
    parser.add_argument("--write", action="store_true", help="write the table to README.md")
    options = parser.parse_args()
    rows = []
    for name, planned in SCENARIOS.items():
        started = time.perf_counter()
        scenario = msgspec.structs.replace(planned, orgs=options.orgs)
        outcome = ClusterSimulation(scenario).run()
        print(name, outcome, f"{time.perf_counter() - started:.0f} s", flush=True)
        assert outcome.finished == scenario.orgs
        rows.append(row(name, scenario, outcome))
    header = ["in", "machines", "runs at once", "done, where credits suffice", "done, all"]
    header += ["machines that died or stood still", "takeovers", "cores", "memory"]
    header += ["calls, and commits, a second", "ledger a second", "ledger"]
    text = table(header, rows)
    print(text)
    if options.write:
        put_table("cluster-simulation", text)


if __name__ == "__main__":
    main()
