"""A selection has every contact once and in order, for random worlds, faults and stops."""

from __future__ import annotations

import asyncio
import csv
import random
from pathlib import Path

import anyio
import pytest

from bulklink import fetch
from bulklink.emulator.crm import Crm
from bulklink.emulator.faults import Fault, FaultKind, FaultRegistry
from bulklink.emulator.settings import Settings
from bulklink.emulator.worldfile import parse_world
from bulklink.engine.shutdown import StopController
from bulklink.errors import RunStoppedError, StoppedBy
from bulklink.operations.fetching.emails import FetchResult
from tests.simulation.environment import simulated_environment
from tests.simulation.simulator import CONNECTION, OWNERS, contact, deal, email
from tests.virtual import now, run_virtual

SEEDS = 30
CONTACTS = 12
FAULTS = ("lost-answer", "lost-request", "500", "502", "html-200", "truncated", "empty")


@pytest.mark.parametrize("first", range(0, SEEDS, 10))
def test_a_selection_has_every_contact_once_and_in_order(first: int, tmp_path: Path) -> None:
    stops = 0
    for seed in range(first, first + 10):
        folder = tmp_path / str(seed)
        folder.mkdir()
        stops += run_virtual(_check_selection(seed, folder))
    assert stops >= 5


async def _check_selection(seed: int, folder: Path) -> int:
    """Fetch by selection with random faults and stops; return the number of stops."""
    rng = random.Random(seed)
    roles = {n: rng.sample(range(CONTACTS), rng.randint(0, 3)) for n in range(CONTACTS)}
    named = rng.sample(range(CONTACTS), 3)
    crm = _make_crm(roles)
    kinds = rng.sample(FAULTS, 2)
    crm.state.faults = FaultRegistry(
        [Fault(FaultKind(kind), op="lookup", share=0.2, seed=seed, count=6) for kind in kinds]
    )
    stops = 0
    for stops_left in range(6, -1, -1):
        stop_at = rng.randint(2, 25) if stops_left else 0
        result = await _run_command(crm, folder, named, stop_at)
        if result is not None and result.stopped_by is None:
            break
        stops += 1
        await asyncio.sleep(1000)
    assert result is not None
    unread = {item.value for item in result.unresolved}
    assert unread <= {deal(n) for n in named}, seed
    assert all("no-answer" in item.message for item in result.unresolved), seed
    with (folder / "f.csv").open(newline="") as rows:
        selected = list(dict.fromkeys(row["contact_id"] for row in csv.DictReader(rows)))
    of_deals = [{n} if deal(n) in unread else {n, *roles[n]} for n in named]
    expected = [one for group in of_deals for one in sorted(group)] + list(range(CONTACTS))
    assert selected == [contact(n) for n in dict.fromkeys(expected)], seed
    return stops


async def test_no_more_queries_are_in_flight_than_zoho_accepts(tmp_path: Path) -> None:
    crm = _make_crm({n: [] for n in range(CONTACTS)}, Settings(latency=0.5, coql_concurrency=10))
    addresses = [f"{number}@customer.example" for number in range(1000)]
    async with simulated_environment(crm) as environment:
        result = await fetch(
            addresses, tmp_path / "f.csv", CONNECTION, environment=environment, rate=None
        )
    assert len(result.unresolved) == len(addresses)
    assert result.calls["lookup"] == 1 + len(addresses) // 50
    assert crm.state.answered_429 == 0


async def _run_command(
    crm: Crm, folder: Path, named: list[int], stop_at: int
) -> FetchResult | None:
    """Run the command once, stopped at request number `stop_at`, or never if 0."""
    requests, stop = 0, StopController()

    def count_request() -> None:
        nonlocal requests
        requests += 1
        if requests == stop_at:
            stop.request(RunStoppedError(StoppedBy.INTERRUPTED, "Ctrl-C"))

    async with simulated_environment(crm, count_request) as environment:
        return await fetch(
            (),
            folder / "f.csv",
            CONNECTION,
            contacts_of_deals=[deal(n) for n in named],
            contacts_where=["Full_Name is not null"],
            stop=stop,
            environment=environment,
            rate=None,
        )


def _make_crm(roles: dict[int, list[int]], settings: Settings | None = None) -> Crm:
    """Return a CRM of contacts with a deal and an email each, and with roles on deals."""
    world = parse_world(
        {
            "module_id": "5843104000000003735",
            "users": [{"id": OWNERS[0], "full_name": "Patricia Boyle", "email": ""}],
            "contacts": [{"id": contact(n), "name": f"Contact {n}"} for n in range(CONTACTS)],
            "deals": [
                {
                    "id": deal(n),
                    "name": f"Deal {n}",
                    "contact_id": contact(n),
                    "contact_roles": [contact(one) for one in roles[n]],
                }
                for n in range(CONTACTS)
            ],
            "emails": [email(n, contact(n), OWNERS[0]) for n in range(CONTACTS)],
        }
    )
    return Crm(world, settings, clock=now, sleep=anyio.sleep)
