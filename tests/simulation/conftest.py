"""What the simulated runs share: a ledger that is recovered by the door."""

from __future__ import annotations

import pytest

from bulklink.ledger.state import replay
from tests.guard import inline


@pytest.fixture(autouse=True)
def ledger_recovered_by_the_door(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replay the ledger between two simulated commands as a thread would."""
    monkeypatch.setattr("tests.simulation.simulator.replay", inline(replay))
