"""Deal prediction: a case for each sentence of Zoho's rules, and received mail."""

from __future__ import annotations

from typing import Any

import pytest

from bulklink.emulator.prediction import DealCandidate, deal_candidates, predict_deal
from bulklink.emulator.settings import Settings
from bulklink.emulator.world import DEFAULT_STAGES, Deal
from tests.emulator.client import (
    ANA,
    FLEET,
    OTHERS,
    PAT,
    TOM,
    TRAVEL,
    EmulatorClient,
    email,
    item,
    message,
    small_world,
)


def open_deal(deal_id: str, modified: float = 0) -> DealCandidate:
    return DealCandidate(deal_id, "Open", modified)


def won(deal_id: str, modified: float = 0) -> DealCandidate:
    return DealCandidate(deal_id, "Closed Won", modified)


def lost(deal_id: str, modified: float = 0) -> DealCandidate:
    return DealCandidate(deal_id, "Closed Lost", modified)


@pytest.mark.parametrize(
    ("deals", "strict", "loose"),
    [
        pytest.param([], None, None, id="no deals: none"),
        pytest.param([open_deal("1")], "1", "1", id="exactly one open deal: that deal"),
        pytest.param([lost("1")], None, None, id="only a lost deal: none"),
        pytest.param([lost("1"), lost("2")], None, None, id="only lost deals: none"),
        pytest.param(
            [open_deal("1", 5), open_deal("2", 9), open_deal("3", 7)],
            "2",
            "2",
            id="several open deals: the one modified last",
        ),
        pytest.param(
            [open_deal("1", 5), lost("2", 9)],
            "1",
            "1",
            id="one open deal, another lost later: the open one",
        ),
        pytest.param(
            [open_deal("1", 5), open_deal("2", 6), lost("3", 9)],
            "2",
            "2",
            id="several open deals, one lost later: the open one modified last",
        ),
        pytest.param([won("1")], None, "1", id="only a won deal: that deal if loose"),
        pytest.param(
            [open_deal("1", 5), won("2", 9)],
            "1",
            "2",
            id="a won deal modified last: that deal if loose",
        ),
        pytest.param(
            [open_deal("8", 5), open_deal("11", 5)], "11", "11", id="a tie: the newer deal"
        ),
    ],
)
def test_the_rule_picks_the_deal(
    deals: list[DealCandidate], strict: str | None, loose: str | None
) -> None:
    assert predict_deal(deals, "strict") == strict
    assert predict_deal(deals, "loose") == loose
    assert predict_deal(reversed(deals), "strict") == strict


@pytest.mark.parametrize(
    ("stage", "forecast"),
    [
        ("Closed Lost", "Closed Lost"),
        ("Lost to Competition", "Closed Lost"),
        ("Closed-Lost to Competition", "Closed Lost"),
        ("Proposal", "Open"),
        ("Proposal/Price Quote", "Open"),
        ("Closed Won", "Closed Won"),
    ],
)
def test_a_stage_counts_by_its_forecast_type_under_either_name(stage: str, forecast: str) -> None:
    deal = Deal("1", "x", "2", stage=stage, modified_time="1970-01-01T01:00:00+01:00")
    assert deal_candidates([deal], DEFAULT_STAGES) == [DealCandidate("1", forecast, 0.0)]  # type: ignore[arg-type]


def two_deals(**second: object) -> dict[str, Any]:
    world = small_world()
    world["deals"][0]["modified_time"] = "2026-03-01T00:00:00+00:00"
    world["deals"][1] |= {"modified_time": "2026-04-01T00:00:00+00:00"} | second
    return world


async def receive(crm: EmulatorClient, **changed: object) -> Any:
    return (await crm.send("POST", "/_emulator/receive", body=email(500, **changed))).json


async def test_a_received_email_is_returned_with_its_deal() -> None:
    crm = EmulatorClient(world=two_deals())
    received_email = await receive(crm)
    assert received_email == email(500, deal_id=FLEET)
    assert await crm.deal_of(500) == FLEET


async def test_a_received_email_is_listed_and_can_be_unlinked() -> None:
    crm = EmulatorClient()
    await receive(crm, time="2026-09-01T10:00:00+00:00")
    listed = (await crm.get(f"Contacts/{ANA}/Emails")).json["Emails"]
    assert listed[0]["message_id"] == message(500)
    assert (await crm.unlink(500)).status == 200
    assert await crm.deal_of(500) is None


async def test_new_mail_does_not_shift_the_pages_of_a_list_in_progress() -> None:
    crm = EmulatorClient()
    first = (await crm.get(f"Contacts/{ANA}/Emails")).json
    await receive(crm, time="2026-09-01T10:00:00+00:00")
    second = await crm.get(f"Contacts/{ANA}/Emails", index=first["info"]["next_index"])
    assert second.json["Emails"][0]["message_id"] == message(14)


async def test_received_mail_is_linked_to_a_won_deal_only_in_loose_mode() -> None:
    for mode, expected in (("strict", TRAVEL), ("loose", FLEET)):
        crm = EmulatorClient(Settings(prediction=mode), two_deals(stage="Closed Won"))  # type: ignore[arg-type]
        assert (await receive(crm))["deal_id"] == expected


@pytest.mark.parametrize(
    ("deals", "expected"),
    [
        pytest.param([], None, id="no deals: none"),
        pytest.param([open_deal("1", 5), open_deal("2", 9)], "2", id="the one modified last"),
        pytest.param([open_deal("1", 5), won("2", 9)], "2", id="won and modified last: that deal"),
        pytest.param([open_deal("1", 5), lost("2", 9)], None, id="lost and modified last: none"),
        pytest.param([open_deal("1", 9), lost("2", 5)], "1", id="lost, but not modified last"),
    ],
)
def test_by_last_modified_first_a_lost_deal_hides_the_others(
    deals: list[DealCandidate], expected: str | None
) -> None:
    assert predict_deal(deals, "last-modified-first") == expected


async def test_received_mail_is_not_linked_by_last_modified_first_if_that_deal_is_lost() -> None:
    settings = Settings(prediction="last-modified-first")
    crm = EmulatorClient(settings, two_deals(stage="Closed Lost"))
    assert (await receive(crm))["deal_id"] is None
    assert (await receive(EmulatorClient(settings, two_deals())))["deal_id"] == FLEET


async def test_deals_by_role_take_no_part_in_prediction() -> None:
    world = two_deals(contact_roles=[TOM])
    assert (await receive(EmulatorClient(world=world), contact_id=TOM))["deal_id"] == OTHERS


async def test_a_sent_email_is_not_linked() -> None:
    assert (await receive(EmulatorClient(), received=False))["deal_id"] is None


async def test_mail_of_a_contact_without_open_deals_is_not_linked() -> None:
    world = small_world()
    world["deals"][2]["stage"] = "Lost to Competition"
    assert (await receive(EmulatorClient(world=world), contact_id=TOM))["deal_id"] is None


@pytest.mark.parametrize(
    ("changed", "expected_text"),
    [
        ({"contact_id": "9"}, "no contact 9"),
        ({"owner_id": "9"}, "no user 9"),
        ({"message_id": message(1)}, "already"),
        ({"message_id": "-"}, "message_id"),
        ({"time": "now"}, "now"),
        ({"owner_id": int(PAT)}, "owner_id"),
    ],
)
async def test_an_invalid_received_email_is_refused(
    changed: dict[str, object], expected_text: str
) -> None:
    answer = await EmulatorClient().send("POST", "/_emulator/receive", body=email(500, **changed))
    assert answer.status == 400
    assert expected_text in answer.json["error"]


async def test_an_unknown_control_call_is_404() -> None:
    assert (await EmulatorClient().send("POST", "/_emulator/state")).status == 404


async def test_the_state_can_omit_the_world() -> None:
    crm = EmulatorClient()
    await crm.link(item(1))
    state = (await crm.send("GET", "/_emulator/state", {"world": "no"})).json
    assert "world" not in state
    assert (state["calls"], state["changes"]) == ({"token": 1, "link": 1}, 1)
