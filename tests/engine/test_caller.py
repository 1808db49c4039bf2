"""A call and its ledger lines when the run stops."""

from __future__ import annotations

import anyio

from bulklink.engine.contact import ContactSender
from tests.engine.fakes import ScriptedCrm, email, engine_run


async def test_a_call_whose_line_goes_to_disk_as_the_run_stops_is_recorded_as_unsent() -> None:
    crm = ScriptedCrm()
    async with engine_run(crm, snapshot=False) as run:
        run.files.write_seconds = 1.0
        async with anyio.create_task_group() as group:
            group.start_soon(ContactSender([email(1)], run.context).run)
            await anyio.sleep(0.5)
            run.context.stop.interrupt()
    assert run.files.events == ["link", "unsent"]
    assert crm.sent == []
