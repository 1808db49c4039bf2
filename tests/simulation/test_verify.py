"""`verify` finds every planted difference and no other, for random worlds, runs and faults."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import orjson
import pytest

from bulklink.emulator.faults import Fault, FaultKind, FaultRegistry, is_hidden
from bulklink.emulator.state import Change
from bulklink.engine.shutdown import StopController
from bulklink.ledger.checkpoint import NO_CHECKPOINT
from bulklink.mapping.interrupt import PlanningStop
from bulklink.operations.callbacks import RunCallbacks
from bulklink.operations.expected_links import ExpectedLinks
from bulklink.operations.job import Job
from bulklink.operations.verify_log import VerifyOptions
from bulklink.operations.verify_run import Verifier, VerifyResult
from bulklink.operations.verify_share import divide
from bulklink.runs.folder import RunFolder
from bulklink.runs.record import Invocation, RunRecord
from tests.guard import off_loop
from tests.simulation.environment import simulated_environment
from tests.simulation.scenarios import Scenario, draw_scenario
from tests.simulation.simulator import CONNECTION, SimulatedRun, simulate
from tests.virtual import now, run_virtual

SEEDS = 60
_SETTLE_SECONDS = 2000.0


@pytest.mark.parametrize("first", range(0, SEEDS, 20))
def test_verify_finds_every_planted_difference_and_no_other(first: int, tmp_path: Path) -> None:
    planted = 0
    for seed in range(first, first + 20):
        folder = tmp_path / str(seed)
        folder.mkdir()
        planted += run_virtual(_check_verify(draw_scenario(seed), folder))
    assert planted > 10


async def _check_verify(scenario: Scenario, folder: Path) -> int:
    """Run a scenario, plant differences and verify; return the number of differences."""
    rng = random.Random(scenario.seed)
    outcome = await simulate(scenario.case, random_seed=scenario.seed)
    await asyncio.sleep(_SETTLE_SECONDS)  # late calls are executed, and credits are available
    (folder / "ledger.jsonl").write_bytes(outcome.ledger)
    expected_links = await off_loop(
        ExpectedLinks,
        folder / "ledger.jsonl",
        NO_CHECKPOINT,
        in_doubt=False,
        folder=folder,
        stop=PlanningStop(),
    )
    try:
        contacts = await off_loop(lambda: list(expected_links.contacts()))
        expected_by_message = {item.message_id: item for c in contacts for item in c.links.values()}
        for item in expected_by_message.values():
            if rng.random() < 0.2:
                _plant_difference(outcome, item.contact_id, item.message_id, rng)
        await asyncio.sleep(100)
        faults = _draw_faults(rng)
        outcome.crm.state.faults = FaultRegistry(faults)
        options = VerifyOptions(sample=rng.choice((None, None, 1, 7)), seed=scenario.seed)
        result = await _verify(outcome, RunFolder(folder), expected_links, options)
    finally:
        expected_links.close()
    findings = _read_findings(folder)
    hidden = {
        m for m in expected_by_message for f in faults if f.kind == "hidden" and is_hidden(f, m)
    }
    changed = 0
    for message_id, finding in findings.items():
        expected_link = expected_by_message[message_id]
        view = outcome.crm.state.view(expected_link.contact_id)
        current_deal_id = view.deal_of(view.mailbox.by_id[message_id])
        changed += current_deal_id != expected_link.deal_id
        if message_id in hidden:
            assert finding in ("not-listed", "not-read"), scenario.seed
        elif finding != "not-read" or not faults:
            assert (finding == "different") == (current_deal_id != expected_link.deal_id), (
                scenario.seed,
                expected_link,
            )
            assert finding in ("different", "as-recorded"), scenario.seed
    if options.sample is None:
        assert set(findings) == set(expected_by_message), scenario.seed
        assert result.different == sum(item == "different" for item in findings.values())
    elif not result.stopped_by:
        assert result.checked + result.not_read == min(options.sample, len(expected_by_message))
        assert result.sample is not None
        assert result.sample.population == len(expected_by_message)
    return changed


def _plant_difference(
    outcome: SimulatedRun, contact_id: str, message_id: str, rng: random.Random
) -> None:
    deals = [None, *(d for d in outcome.crm.world.deals)]
    change = Change(message_id, rng.choice(deals))
    outcome.crm.state.apply(contact_id, [change], now(), author="user")


def _draw_faults(rng: random.Random) -> list[Fault]:
    kinds = rng.sample(("stale", "hidden", "lost-answer", "500", "html-200"), 2)
    return [
        Fault(FaultKind(kind), op="read", share=0.3, seed=rng.randrange(1000))
        for kind in kinds
        if rng.random() < 0.6
    ]


async def _verify(
    outcome: SimulatedRun, folder: RunFolder, expected_links: ExpectedLinks, options: VerifyOptions
) -> VerifyResult:
    record = RunRecord(
        version="", op="link", asked={}, inputs=(), created="", invocations=(Invocation(""),)
    )
    async with simulated_environment(outcome.crm) as environment:
        (share,) = await off_loop(divide, [(folder, record)], lambda _: expected_links, options)
        verifier = Verifier(
            folder, record, expected_links, share, options, RunCallbacks(), StopController()
        )
        job = Job(mappings=(), rate=None)
        findings = await verifier.run(job, CONNECTION, environment)
        sample = None
        if share.sampled is not None:
            sample = findings.bound(share.population, len(share.sampled), options.seed)
        return findings.result(str(folder.path), sample=sample, reason=None, undone_by=None)


def _read_findings(folder: Path) -> dict[str, str]:
    lines: list[dict[str, Any]] = [
        orjson.loads(line) for line in (folder / "verify.jsonl").read_bytes().splitlines()
    ]
    finding_lines = [line for line in lines if line["event"] == "finding"]
    assert len({line["message_id"] for line in finding_lines}) == len(finding_lines)
    return {line["message_id"]: line["finding"] for line in finding_lines}
