"""An audit has the same contacts, deals and histories after any faults and stops."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress
from pathlib import Path

import anyio
import pytest

from bulklink.emulator.crm import Crm
from bulklink.emulator.faults import Fault, FaultKind, FaultRegistry
from bulklink.emulator.settings import Settings
from bulklink.engine.shutdown import StopController
from bulklink.errors import RunStoppedError, StoppedBy
from bulklink.finding.values import ContactFacts
from bulklink.operations.auditing.reading import AuditReading
from bulklink.operations.callbacks import RunCallbacks
from bulklink.operations.job import Job
from tests.guard import off_loop
from tests.operations.auditing.audit_world import AuditWorld, plan_changed_deals
from tests.simulation.environment import simulated_environment
from tests.simulation.simulator import CONNECTION
from tests.virtual import now, run_virtual

SEEDS = 12
FAULTS = ("lost-answer", "lost-request", "500", "502", "html-200", "truncated", "empty")


@pytest.mark.timeout(240)
@pytest.mark.parametrize("first", range(0, SEEDS, 3))
def test_an_audit_reads_the_same_after_any_faults_and_stops(first: int, tmp_path: Path) -> None:
    stops = 0
    for seed in range(first, first + 3):
        folder = tmp_path / str(seed)
        folder.mkdir()
        stops += run_virtual(_check_reading(seed, folder))
    assert stops >= 3


async def _check_reading(seed: int, folder: Path) -> int:
    """Read with random faults and stops; return the number of stops."""
    rng = random.Random(seed)
    world = _draw_world(rng)
    file = world.write(folder / "emails.csv")
    expected = await _read(_make_crm(world), file, 0)
    assert expected is not None
    (folder / "emails.deals.jsonl").unlink()
    crm = _make_crm(world)
    kinds = rng.sample(FAULTS, 2)
    crm.state.faults = FaultRegistry(
        [Fault(FaultKind(kind), op="lookup", share=0.2, seed=seed, count=5) for kind in kinds]
    )
    stops = 0
    for attempt in range(18):  # an answer that is not from the CRM ends a command, too
        contacts = await _read(crm, file, rng.randint(2, 12) if attempt < 6 else 0)
        if contacts is not None:
            break
        stops += 1
        _truncate_lines(folder / "emails.csv.auditing" / "read.jsonl", rng)
        await asyncio.sleep(1000)
    assert contacts is not None
    known = {facts.id: facts for facts in contacts}
    for facts in expected:
        got = known[facts.id]
        assert got.emails == facts.emails, seed
        for deal, wanted in zip(got.deals, facts.deals, strict=True):
            # A timeline whose answers were all lost leaves its deal without a history.
            assert deal.history in (wanted.history, None), seed
    assert known.keys() == {facts.id for facts in expected}
    return stops


async def _read(crm: Crm, file: Path, stop_at: int) -> list[ContactFacts] | None:
    """Run the command once, stopped at request `stop_at`, or never if 0; None if it stopped."""
    requests, stop = 0, StopController()

    def count_request() -> None:
        nonlocal requests
        requests += 1
        if requests == stop_at:
            stop.request(RunStoppedError(StoppedBy.INTERRUPTED, "Ctrl-C"))

    async with simulated_environment(crm, count_request) as environment:
        reading = AuditReading(
            file=file,
            connection=CONNECTION,
            job=Job(mappings=(), rate=None),
            environment=environment,
            plan_histories=plan_changed_deals,
            max_age=float("inf"),
        )
        async with reading.open(RunCallbacks(), stop) as inputs:
            contacts = await off_loop(lambda: list(inputs.contacts()))
            return contacts if inputs.complete else None


def _make_crm(world: AuditWorld) -> Crm:
    return Crm(world.crm().world, Settings(credits=0), clock=now, sleep=anyio.sleep)


def _draw_world(rng: random.Random) -> AuditWorld:
    world = AuditWorld()
    for _ in range(60):
        world.add_contact(deals=rng.choice((0, 1, 1, 1, 2, 3)), emails=rng.randint(0, 3))
    return world


def _truncate_lines(log: Path, rng: random.Random) -> None:
    """Cut off the end of the log at times, as a kill or a power loss does."""
    with suppress(FileNotFoundError):
        content = log.read_bytes()
        if content and rng.random() < 0.5:
            log.write_bytes(content[: rng.randint(0, len(content))])
