"""Ledger lines of a call when the run stops, and during an outage."""

from __future__ import annotations

import random
from collections.abc import Mapping

import anyio
import pytest

from bulklink.engine.contact import ContactSender
from bulklink.engine.dispatch import worker_count
from bulklink.errors import RunStoppedError, StoppedBy, StoppedError
from bulklink.models import Op
from bulklink.zoho.coql import coql_request, select_deals
from bulklink.zoho.coql_condition import Condition
from bulklink.zoho.http import Answer, NoResponse
from bulklink.zoho.requests import org_request
from tests.engine.fakes import DEAL, LOST, PLACES, ScriptedCrm, email, engine_run, page
from tests.virtual import now
from tests.zoho.fakes import answer


async def test_a_call_stopped_while_its_line_is_written_is_recorded_as_unsent() -> None:
    crm = ScriptedCrm()
    async with engine_run(crm, snapshot=False) as run:
        run.files.write_seconds = 1.0
        async with anyio.create_task_group() as group:
            group.start_soon(ContactSender([email(1)], run.context).run)
            await anyio.sleep(0.5)
            run.context.stop.interrupt()
    assert run.files.events == ["link", "unsent"]
    assert crm.sent == []


async def test_a_call_cancelled_while_its_line_is_written_is_recorded_as_unsent() -> None:
    crm = ScriptedCrm()
    async with engine_run(crm, snapshot=False) as run:
        run.files.write_seconds = 1.0
        with anyio.move_on_after(0.5):
            await ContactSender([email(1)], run.context).run()
    assert run.files.events == ["link", "unsent"]
    assert crm.sent == []


async def test_an_untrusted_certificate_stops_the_run_immediately() -> None:
    cure = "Set SSL_CERT_FILE."
    crm = ScriptedCrm(NoResponse("its issuer is unknown", sent=False, cure=cure))
    async with engine_run(crm, snapshot=False, max_outage=300.0) as run:
        await ContactSender([email(1)], run.context).run()
        reason = run.context.stop.reason
    assert len(crm.sent) == 1
    assert run.results == {}
    assert reason is not None
    assert (reason.stopped_by, reason.advice) == (StoppedBy.NO_ANSWER, cure)
    assert "its issuer is unknown" in reason.message


async def test_an_unlink_sent_into_an_outage_is_read_back_afterwards() -> None:
    crm = ScriptedCrm(page({1: DEAL}), *[LOST] * 6, answer({"org": [{}]}), page({1: None}))
    async with engine_run(crm, max_outage=300.0) as run:
        await ContactSender([email(1, Op.UNLINK)], run.context).run()
    assert run.statuses == {1: "done settled-by-read"}
    assert crm.methods.count("DELETE") == 1
    paths = [request.url.rpartition("/")[2] for request in crm.sent]
    assert paths[4:8] == ["org"] * 4


async def test_a_call_that_costs_more_than_what_is_left_is_not_sent() -> None:
    crm = ScriptedCrm(answer({"data": []}))
    query = coql_request(select_deals(Condition("id is not null"), "0"))
    async with engine_run(crm, max_credits=8) as run:
        for _ in range(2):
            await run.context.caller.make(query)
        with pytest.raises(StoppedError):
            await run.context.caller.make(query)
        reason = run.context.stop.reason
    assert reason is not None
    assert isinstance(reason, RunStoppedError)
    assert reason.stopped_by is StoppedBy.MAX_CREDITS
    assert run.context.quota.budget.sent == 6
    assert len(crm.sent) == 2


class SlowCrm(ScriptedCrm):
    """A CRM that takes its time.

    Args:
        slowest: seconds of the slowest answers, besides 0.1 s.

    Attributes:
        seconds: seconds that all calls took together.
    """

    def __init__(self, slowest: float) -> None:
        super().__init__(answer({"org": [{}]}))
        self._slowest = slowest
        self.seconds = 0.0
        self._random = random.Random(1)

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer | NoResponse:
        began = now()
        await anyio.sleep(self._random.uniform(0.0, self._slowest))
        received = await super().send(method, url, headers, body)
        self.seconds += now() - began
        return received


@pytest.mark.parametrize(("slowest", "writes_a_second"), [(0.8, 14), (0.1, 40)])
async def test_lines_of_calls_are_written_together_while_all_slots_are_used(
    slowest: float, writes_a_second: float
) -> None:
    contacts = iter(map(str, range(400)))
    crm = SlowCrm(slowest)
    async with engine_run(crm) as run:
        run.files.write_seconds = 0.003
        began = now()

        async def work() -> None:
            for contact in contacts:
                await run.context.caller.make(org_request(), contact_id=contact)

        async with anyio.create_task_group() as group:
            for _ in range(worker_count(PLACES)):
                group.start_soon(work)
        seconds = now() - began
    assert seconds <= 1.03 * crm.seconds / PLACES
    assert run.files.writes <= writes_a_second * seconds
