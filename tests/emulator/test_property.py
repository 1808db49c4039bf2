"""After any calls and faults, the state follows from the executed calls alone."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from bulklink.emulator.http import DeliveryMode
from bulklink.emulator.settings import MixedAnswer, Settings
from tests.emulator.client import (
    ANA,
    FLEET,
    OTHERS,
    TRAVEL,
    EmulatorClient,
    JsonResponse,
    item,
    message,
    small_world,
)

EMAILS = 6
EXECUTED = ("lost-answer", "500-applied", "empty", "truncated", "cut", "slow", "stalled")
NOT_EXECUTED = ("lost-request", "500", "502", "503", "html", "html-200", "INTERNAL_ERROR")
LATE = "late"


@dataclass(frozen=True)
class Step:
    """A call, the fault that hits it, and a pause in seconds after it."""

    op: str
    numbers: tuple[int, ...]
    deal: str
    fault: str | None
    pause: float


@dataclass
class Model:
    """Minimal model of the rules: an unlinked email may be linked, any email unlinked."""

    deals: dict[int, str | None]
    applied_when_mixed: bool
    late: list[tuple[float, Step]]
    last_was_valid: bool = True

    def apply_late_steps(self, now: float) -> None:
        for due, step in [entry for entry in self.late if entry[0] <= now]:
            self.late.remove((due, step))
            self.apply_step(step)

    def apply_step(self, step: Step) -> None:
        after = dict(self.deals)
        is_invalid = False
        for number in step.numbers:
            if number not in after:
                is_invalid = True
            elif step.op == "unlink":
                after[number] = None
            elif step.deal == OTHERS or after[number] is not None:
                is_invalid = True
            else:
                after[number] = step.deal
        self.last_was_valid = not is_invalid
        if self.applied_when_mixed or not is_invalid:
            self.deals = after


steps = st.builds(
    Step,
    op=st.sampled_from(["link", "unlink"]),
    numbers=st.lists(st.integers(0, EMAILS), min_size=1, max_size=4).map(tuple),
    deal=st.sampled_from([TRAVEL, FLEET, OTHERS]),
    fault=st.none() | st.sampled_from([*EXECUTED, *NOT_EXECUTED, LATE]),
    pause=st.sampled_from([0.0, 3.0, 8.0]),
)


async def make_call(crm: EmulatorClient, step: Step) -> JsonResponse:
    if step.fault:
        waits = {"seconds": 10} if step.fault == LATE else {}
        fault = {"kind": step.fault, "op": step.op, "count": 1} | waits
        await crm.send("DELETE", "/_emulator/faults")
        await crm.send("POST", "/_emulator/faults", body=fault)
    if step.op == "unlink":
        return await crm.unlink(*step.numbers)
    return await crm.link(*(item(number, step.deal) for number in step.numbers))


async def run_steps(drawn_steps: list[Step], mixed: MixedAnswer) -> tuple[EmulatorClient, Model]:
    crm = EmulatorClient(Settings(mixed_answer=mixed, expires_in=10**6), small_world(EMAILS))
    model = Model(dict.fromkeys(range(EMAILS)), mixed.applied == "yes", [])
    for step in drawn_steps:
        model.apply_late_steps(crm.time.now)
        response = await make_call(crm, step)
        # A slow call is executed after its delay, so what fell due meanwhile comes first.
        model.apply_late_steps(crm.time.now)
        if step.fault == LATE:
            assert response.answer.delivery is DeliveryMode.DROPPED
            model.late.append((crm.time.now + 10, step))
        elif step.fault not in NOT_EXECUTED:
            model.apply_step(step)
        if step.fault is None:
            assert (response.status == 200) == model.last_was_valid
        crm.time.now += step.pause
        model.apply_late_steps(crm.time.now)
        assert await crm.deals() == {message(n): deal for n, deal in model.deals.items()}
    return crm, model


LATE_CALL_DURING_A_SLOW_ONE = [
    Step("link", (0,), TRAVEL, LATE, 9.0),
    Step("unlink", (0,), TRAVEL, "slow", 0.0),
]


@given(drawn_steps=st.lists(steps, max_size=12), applied=st.booleans())
@example(drawn_steps=LATE_CALL_DURING_A_SLOW_ONE, applied=False)
@settings(max_examples=60, deadline=None)
def test_the_state_follows_from_the_executed_calls(drawn_steps: list[Step], applied: bool) -> None:
    mixed = MixedAnswer(applied="yes", good="success", status=207) if applied else MixedAnswer()
    asyncio.run(run_steps(drawn_steps, mixed))


@given(drawn_steps=st.lists(steps, max_size=12))
@settings(max_examples=40, deadline=None)
def test_the_change_log_leads_from_the_world_to_the_state(
    drawn_steps: list[Step],
) -> None:
    crm, _ = asyncio.run(run_steps(drawn_steps, MixedAnswer()))
    deals: dict[str, str | None] = {message(number): None for number in range(EMAILS)}
    for change in crm.crm.state.change_log:
        assert deals[change.message_id] == change.previous_deal_id
        deals[change.message_id] = change.deal_id
    assert deals == asyncio.run(crm.deals())


async def read_links(crm: EmulatorClient) -> dict[str, Any]:
    response = await crm.get(f"Contacts/{ANA}/Emails")
    return {
        listed_email["message_id"]: listed_email["linked_record"]
        and listed_email["linked_record"]["id"]
        for listed_email in response.json["Emails"]
    }


@given(drawn_steps=st.lists(steps, max_size=8))
@settings(max_examples=30, deadline=None)
def test_reading_shows_the_state_and_changes_nothing(drawn_steps: list[Step]) -> None:
    crm, model = asyncio.run(run_steps(drawn_steps, MixedAnswer()))
    expected = {message(number): deal for number, deal in model.deals.items()}
    assert asyncio.run(read_links(crm)) == asyncio.run(read_links(crm)) == expected
