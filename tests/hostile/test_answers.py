"""Runs against a server with contradictory answers report no change that never happened."""

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
FOR_EVER = 10**9


@dataclass(slots=True)
class HostileTransport:
    """Carries requests to the CRM, but answers some itself.

    Args:
        crm: carries the others.
        answer: what it answers.
        methods: the methods of the requests that it answers.
        count: number of requests that it answers.
        passes_on: whether the CRM executes these requests too.
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
    """Answers some requests with the answer to the previous request on the connection.

    Args:
        crm: carries the requests.
        every: interval of repeated answers.
    """

    crm: Transport
    every: int
    _previous: dict[str, Answer | NoResponse] = field(default_factory=dict, init=False)
    _requests: int = field(default=0, init=False)

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer | NoResponse:
        own = await self.crm.send(method, url, headers, body)
        if "/Emails" not in url:
            return own
        self._requests += 1
        previous, self._previous[method] = self._previous.get(method), own
        return own if previous is None or self._requests % self.every else previous


def case_of(op: Op, in_each: int = 3, **options: object) -> Case:
    """Return a case of three contacts."""
    groups = [(number, OWNERS[0], op, in_each) for number in range(3)]
    present = None if op is Op.LINK else "other"
    return make_case(groups, present, settle_after=2.0, in_flight=2, **options)


def run_against(case: Case, wrap: Callable[[Transport], Transport]) -> None:
    """Run a case against a hostile server; check that each `done` is true, with bounded calls."""

    async def run() -> tuple[SimulatedRun, float]:
        began = now()
        return await simulate(case, wrap_transport=wrap), now() - began

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
def test_no_hostile_answer_reports_a_change_that_never_happened(op: Op, answer: Answer) -> None:
    for count, passes_on in ((2, False), (2, True), (FOR_EVER, False)):
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
def test_no_hostile_answer_to_a_read_reports_a_change_that_never_happened(answer: Answer) -> None:
    for count in (2, FOR_EVER):
        run_against(
            case_of(Op.RELINK),
            partial(
                HostileTransport, answer=answer, methods=("GET",), count=count, passes_on=False
            ),
        )


@pytest.mark.parametrize("every", [1, 2, 3, 5])
@pytest.mark.parametrize("in_each", [1, 3])
@pytest.mark.parametrize("op", Op)
def test_late_answers_report_no_change_that_never_happened(
    op: Op, in_each: int, every: int
) -> None:
    run_against(case_of(op, in_each), partial(LateAnswers, every=every))
