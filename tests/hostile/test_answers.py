"""Runs against a server with hostile answers never report a change that the CRM did not make."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import pytest

from bulklink.models import Op
from bulklink.zoho.http import Answer, NoResponse, Transport
from tests.hostile.answers import HOSTILE_ANSWERS
from tests.simulation.cases import make_case
from tests.simulation.simulator import OWNERS, Case, SimulatedRun, simulate
from tests.virtual import now, run_virtual

MAX_REQUESTS = 400
LONGEST_RUN = 3 * 86_400.0
ALL_REQUESTS = 10**9


@dataclass(slots=True)
class HostileTransport:
    """Transport to the CRM that answers some requests itself.

    Args:
        crm: transport for the other requests.
        answer: the answer to these requests.
        methods: methods of the requests that it answers.
        count: number of requests that it answers.
        passes_on: whether the CRM executes these requests anyway.
    """

    crm: Transport
    answer: Answer
    methods: tuple[str, ...]
    count: int
    passes_on: bool

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer | NoResponse:
        if "/Emails" not in url or method not in self.methods or not self.count:
            return await self.crm.send(method, url, headers, body)
        self.count -= 1
        if self.passes_on:
            await self.crm.send(method, url, headers, body)
        return self.answer


@dataclass(slots=True)
class LateAnswers:
    """Transport that at times returns the answer to the previous request of the same method.

    Args:
        crm: transport to the CRM.
        every: interval, in requests, at which an answer is repeated.
    """

    crm: Transport
    every: int
    _previous: dict[str, Answer | NoResponse] = field(default_factory=dict, init=False)
    _requests: int = field(default=0, init=False)

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer | NoResponse:
        answer = await self.crm.send(method, url, headers, body)
        if "/Emails" not in url:
            return answer
        self._requests += 1
        previous, self._previous[method] = self._previous.get(method), answer
        return answer if previous is None or self._requests % self.every else previous


def case_of(op: Op, in_each: int = 3, **options: object) -> Case:
    """Return a case of three contacts."""
    groups = [(number, OWNERS[0], op, in_each) for number in range(3)]
    present = None if op is Op.LINK else "other"
    return make_case(groups, present, settle_after=2.0, in_flight=2, **options)


def run_against(case: Case, wrap: Callable[[Transport], Transport]) -> None:
    """Check that a run has only true results and bounded time and calls with a hostile server."""

    async def run() -> tuple[SimulatedRun, float]:
        started_at = now()
        return await simulate(case, wrap_transport=wrap), now() - started_at

    outcome, seconds = run_virtual(run())
    untrue = {
        message.row: result
        for message in case.messages
        if (result := outcome.results.get(message.row))
        and result["status"] in ("done", "unchanged")
        and outcome.deal_at(message, math.inf) != message.deal_id
    }
    assert untrue == {}
    assert len(outcome.requests) < MAX_REQUESTS
    assert seconds < LONGEST_RUN


@pytest.mark.parametrize("answer", HOSTILE_ANSWERS.values(), ids=HOSTILE_ANSWERS)
@pytest.mark.parametrize("op", [Op.LINK, Op.RELINK])
def test_no_answer_to_a_write_leads_to_a_false_result(op: Op, answer: Answer) -> None:
    for count, passes_on in ((2, False), (2, True), (ALL_REQUESTS, False)):
        run_against(
            case_of(op),
            partial(
                HostileTransport,
                answer=answer,
                methods=("POST", "DELETE"),
                count=count,
                passes_on=passes_on,
            ),
        )


@pytest.mark.parametrize("answer", HOSTILE_ANSWERS.values(), ids=HOSTILE_ANSWERS)
def test_no_answer_to_a_read_leads_to_a_false_result(answer: Answer) -> None:
    for count in (2, ALL_REQUESTS):
        run_against(
            case_of(Op.RELINK),
            partial(
                HostileTransport, answer=answer, methods=("GET",), count=count, passes_on=False
            ),
        )


@pytest.mark.parametrize("every", [1, 2, 3, 5])
@pytest.mark.parametrize("in_each", [1, 3])
@pytest.mark.parametrize("op", Op)
def test_late_answers_lead_to_no_false_result(op: Op, in_each: int, every: int) -> None:
    run_against(case_of(op, in_each), partial(LateAnswers, every=every))
