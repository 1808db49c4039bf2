"""For random worlds, runs and faults: `verify` finds every planted difference and invents none."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import orjson
import pytest

from bulklink.emulator.faults import Fault, FaultBook, FaultKind, is_hidden
from bulklink.emulator.state import Change
from bulklink.engine.shutdown import Stopping
from bulklink.ledger.state import replay
from bulklink.mapping.interrupt import Stop
from bulklink.operations.callbacks import Watch
from bulklink.operations.expected_links import Claims
from bulklink.operations.job import Job
from bulklink.operations.verify_run import Asked, Verification, Verifier
from bulklink.runs.folder import RunFolder
from bulklink.runs.record import Invocation, RunRecord
from tests.simulation.around import surroundings
from tests.simulation.drawn import Scenario, draw
from tests.simulation.simulated import CONNECTION, Outcome, run
from tests.virtual import VirtualLoop, now

SEEDS = 60
_LONG = 2000.0


@pytest.mark.parametrize("first", range(0, SEEDS, 20))
def test_verify_finds_every_planted_difference_and_invents_none(first: int, tmp_path: Path) -> None:
    planted = 0
    for seed in range(first, first + 20):
        folder = tmp_path / str(seed)
        folder.mkdir()
        loop = VirtualLoop()
        try:
            planted += loop.run_until_complete(_holds(draw(seed), folder))
        finally:
            loop.close()
    assert planted > 10


async def _holds(scenario: Scenario, folder: Path) -> int:
    """Run a scenario, plant differences, verify; return how many were planted."""
    chance = random.Random(scenario.seed)
    outcome = await run(scenario.case, chance_seed=scenario.seed)
    await asyncio.sleep(_LONG)  # what was late has landed, credits are back
    (folder / "ledger.jsonl").write_bytes(outcome.ledger)
    told = replay(folder / "ledger.jsonl")
    claims = Claims(
        folder / "ledger.jsonl", frozenset(told.open), in_doubt=False, folder=folder, stop=Stop()
    )
    try:
        contacts = list(claims.contacts())
        claimed = {one.message_id: one for c in contacts for one in c.claims.values()}
        for one in claimed.values():
            if chance.random() < 0.2:
                _plant(outcome, one.contact_id, one.message_id, chance)
        await asyncio.sleep(100)
        faults = _faults(chance)
        outcome.crm.state.faults = FaultBook(faults)
        asked = Asked(sample=chance.choice((None, None, 1, 7)), seed=scenario.seed)
        verified = await _verify(outcome, RunFolder(folder), claims, asked)
    finally:
        claims.close()
    found = _findings(folder)
    hidden = {m for m in claimed for f in faults if f.kind == "hidden" and is_hidden(f, m)}
    changed = 0
    for message_id, finding in found.items():
        claim = claimed[message_id]
        view = outcome.crm.state.view(claim.contact_id)
        is_on = view.deal_of(view.mailbox.by_id[message_id])
        changed += is_on != claim.deal_id
        if message_id in hidden:
            assert finding in ("not-listed", "not-read"), scenario.seed
        elif finding != "not-read" or not faults:
            assert (finding == "different") == (is_on != claim.deal_id), (scenario.seed, claim)
            assert finding in ("different", "as-recorded"), scenario.seed
    if asked.sample is None:
        assert set(found) == set(claimed), scenario.seed
        assert verified.different == sum(one == "different" for one in found.values())
    elif not verified.stopped_by:
        assert verified.checked + verified.not_read == min(asked.sample, len(claimed))
        assert verified.sample is not None
        assert verified.sample.population == len(claimed)
    return changed


def _plant(outcome: Outcome, contact_id: str, message_id: str, chance: random.Random) -> None:
    deals = [None, *(d for d in outcome.crm.world.deals)]
    change = Change(message_id, chance.choice(deals))
    outcome.crm.state.apply(contact_id, [change], now(), by="somebody")


def _faults(chance: random.Random) -> list[Fault]:
    kinds = chance.sample(("stale", "hidden", "lost-answer", "500", "html-200"), 2)
    return [
        Fault(FaultKind(kind), op="read", share=0.3, seed=chance.randrange(1000))
        for kind in kinds
        if chance.random() < 0.6
    ]


async def _verify(
    outcome: Outcome, folder: RunFolder, claims: Claims, asked: Asked
) -> Verification:
    record = RunRecord(
        version="", op="link", asked={}, inputs=(), created="", invocations=(Invocation(""),)
    )
    async with surroundings(outcome.crm) as around:
        verifier = Verifier(folder, record, claims, asked, Watch(), Stopping())
        return await verifier.run(Job(mappings=(), rate=None), CONNECTION, around)


def _findings(folder: Path) -> dict[str, str]:
    lines: list[dict[str, Any]] = [
        orjson.loads(line) for line in (folder / "verify.jsonl").read_bytes().splitlines()
    ]
    found = [line for line in lines if line["event"] == "finding"]
    assert len({line["message_id"] for line in found}) == len(found)
    return {line["message_id"]: line["finding"] for line in found}
