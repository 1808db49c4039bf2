"""If the CRM stops answering, the run waits, then stops with pending rows and can be resumed."""

from __future__ import annotations

import json

from tests.e2e.audit import audit_run
from tests.e2e.command import Command, free_rows, write_mapping
from tests.e2e.servers import ReceivedRequest, Reply, StandIn
from tests.e2e.world import World


def test_a_run_waits_as_long_as_its_option_and_a_resume_keeps_it(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    ends: list[bool] = []

    async def fail(seen: ReceivedRequest) -> Reply | None:
        return Reply(503, {}) if standin.requests_of("link") and not ends else None

    write_mapping(bulklink.folder / "m.csv", free_rows([world.add(free=20) for _ in range(6)]))
    standin.script = fail
    command = bulklink.with_env(**standin.env())
    result = command("link", "m.csv", "--json", "--run-dir", "here", "--outage", "2s")
    assert result.code == 3, result
    run = audit_run(result, bulklink.folder, 120)
    assert run.summary["stopped_by"] == "no-answer"
    assert run.counts == {"pending": 120}
    assert "No answer (the server fails with HTTP 503)" in result.err
    ends.append(True)
    resumed = command("resume", "here", "--json")
    assert resumed.code == 0, resumed
    assert resumed.object["counts"]["done"] == 120
    asked = json.loads((bulklink.folder / "here" / "run.json").read_text("utf-8"))["asked"]
    assert asked["outage"] == 2.0
