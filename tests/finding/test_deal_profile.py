"""What tells that a conversation is about a deal, where names and lives are unusual."""

from __future__ import annotations

import pytest

from bulklink.finding.deal_profile import LifeStage, named_deals, profile_deals
from bulklink.finding.deal_state import trace_deal
from bulklink.finding.subjects import parse_subject
from bulklink.finding.values import DealFacts
from tests.finding.builders import DAY, STAGES
from tests.finding.judged import known_deal


def ids_named(subject: str, *deals: DealFacts) -> list[str]:
    states = {deal.id: trace_deal(deal, STAGES) for deal in deals}
    words = parse_subject(subject).words
    return [
        profile.deal.id for profile in named_deals(words, profile_deals(deals, states, frozenset()))
    ]


@pytest.mark.parametrize(
    ("subject", "ids"),
    [("关于续保合同的报价", ["d1"]), ("回复: 续保", []), ("更新のお知らせ", ["d2"])],
    ids=["within a sentence", "a part of the name", "Japanese"],
)
def test_names_are_found_where_words_have_no_spaces(subject: str, ids: list[str]) -> None:
    deals = known_deal("d1", "续保合同"), known_deal("d2", "更新")
    assert ids_named(subject, *deals) == ids


@pytest.mark.parametrize(
    ("day", "stage"), [(1001, LifeStage.JUST_WON), (1040, LifeStage.WON), (1200, LifeStage.OVER)]
)
def test_a_deal_that_was_created_won_closed_when_it_was_created(day: int, stage: LifeStage) -> None:
    deal = known_deal("d1", created=1000 * DAY, stage="Won")
    profiles = profile_deals([deal], {"d1": trace_deal(deal, STAGES)}, frozenset())
    assert profiles[0].life_stage(day * DAY) is stage
