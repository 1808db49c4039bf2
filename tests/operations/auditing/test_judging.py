"""Tiers that the hold-out demotes, and rows that say only what is known."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest

from bulklink.finding.link_origin import LinkFacts, LinkOrigin
from bulklink.finding.rule_replay import RuleVerdict
from bulklink.finding.uncertainty import Uncertainty
from bulklink.finding.values import ContactFacts, DealFacts, EmailFacts
from bulklink.finding.verdicts import CandidateScore, ChangeKind, EmailVerdict, Evidence, Tier
from bulklink.operations.auditing.judging import check_tiers
from bulklink.operations.auditing.proposal_filter import make_proposal_filter
from bulklink.operations.auditing.rows import (
    MAPPING_COLUMNS,
    VERDICT_COLUMNS,
    ContactRows,
    confidence_text,
)


@pytest.mark.parametrize(
    ("conversations", "sure", "likely", "becomes"),
    [
        pytest.param(99, (200, 100), (200, 100), {}, id="too few conversations"),
        pytest.param(100, (200, 200), (200, 199), {}, id="both promises are kept"),
        pytest.param(100, (0, 0), (0, 0), {}, id="nothing would be proposed"),
        pytest.param(
            100, (200, 195), (200, 200), {Tier.SURE: Tier.LIKELY}, id="sure is only likely"
        ),
        pytest.param(
            100, (200, 200), (200, 180), {Tier.LIKELY: Tier.LOOK}, id="likely needs a look"
        ),
        pytest.param(
            100,
            (200, 150),
            (0, 0),
            {Tier.SURE: Tier.LOOK, Tier.LIKELY: Tier.LOOK},
            id="sure is not even likely",
        ),
        pytest.param(
            100,
            (200, 195),
            (200, 150),
            {Tier.SURE: Tier.LIKELY, Tier.LIKELY: Tier.LOOK},
            id="each falls by one",
        ),
    ],
)
def test_a_tier_falls_as_far_as_its_promises_are_rejected(
    conversations: int,
    sure: tuple[int, int],
    likely: tuple[int, int],
    becomes: dict[Tier, Tier],
) -> None:
    proposed = Counter({Tier.SURE: sure[0], Tier.LIKELY: likely[0]})
    right = Counter({Tier.SURE: sure[1], Tier.LIKELY: likely[1]})
    result = check_tiers(conversations, proposed, right)
    assert result.demotions == becomes
    assert [check.proposed for check in result.tiers] == [sure[0], sure[0] + likely[0]]


CRANES = DealFacts("1", name="Cranes")
PUMPS = DealFacts("2", name="Pumps")
FOR_CRANES = CandidateScore(
    "1",
    0.99996,
    (
        Evidence("alive", 0.5, "open"),
        Evidence("named", 4.2, "its name is in the subject"),
        Evidence("over", -1.0, "closed long before"),
    ),
)
FOR_NONE = CandidateScore(None, 0.00004, (Evidence("none", 0.4, "no deal of the contact"),))


def email(message: str = "a", **fields: Any) -> EmailFacts:
    return EmailFacts(message, "9", subject="Cranes", time=0.0, owner_name="Pat", **fields)


def verdict(judged: EmailFacts, conversation: int = 0, **fields: Any) -> EmailVerdict:
    fields = {
        "link": LinkFacts(LinkOrigin.NONE),
        "rule": None,
        "scores": (FOR_CRANES, FOR_NONE),
        "confidence": 0.99996,
        **fields,
    }
    return EmailVerdict(judged, conversation, **fields)


def rows(*verdicts: EmailVerdict) -> list[dict[str, Any]]:
    contact = ContactFacts("7", tuple(one.email for one in verdicts), (CRANES, PUMPS))
    names = [column.name for column in MAPPING_COLUMNS]
    return [
        dict(zip(names, row, strict=True)) for row in ContactRows(contact, verdicts).mapping_rows()
    ]


@pytest.mark.parametrize(
    ("kind", "present", "deal_id", "op"),
    [
        (ChangeKind.ATTACH, None, "1", "link"),
        (ChangeKind.MOVE, "2", "1", "relink"),
        (ChangeKind.DETACH, "2", None, "unlink"),
    ],
)
@pytest.mark.parametrize("tier", Tier)
def test_a_row_is_guarded_by_the_present_deal_and_has_an_op_unless_it_needs_a_look(
    kind: ChangeKind, present: str | None, deal_id: str | None, op: str, tier: Tier
) -> None:
    (row,) = rows(verdict(email(deal_id=present), kind=kind, deal_id=deal_id, tier=tier))
    assert row["from_deal_id"] == present
    assert row["op"] == (None if tier is Tier.LOOK else op)
    assert (row["kind"], row["tier"], row["deal_id"]) == (kind.value, tier.value, deal_id)


def test_reasons_are_what_speaks_for_the_deal_and_the_runner_up_may_be_none() -> None:
    (row,) = rows(verdict(email(), kind=ChangeKind.ATTACH, deal_id="1", tier=Tier.SURE))
    assert row["reasons"] == "its name is in the subject; open"
    assert (row["runner_up_deal_id"], row["runner_up_deal_name"]) == ("none", None)
    assert (row["confidence"], row["time"]) == ("0.9999", "1970-01-01T00:00:00+00:00")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, None),
        (0.0, "1970-01-01T00:00:00+00:00"),
        (86_399.999999, "1970-01-01T23:59:59+00:00"),
        (951_868_799.5, "2000-02-29T23:59:59+00:00"),
        (1_767_319_445.0, "2026-01-02T02:04:05+00:00"),
        (32_503_679_999.0, "2999-12-31T23:59:59+00:00"),
    ],
)
def test_a_row_has_the_time_in_utc_to_the_second(seconds: float | None, text: str | None) -> None:
    judged = msgspec.structs.replace(email(), time=seconds)
    (row,) = rows(verdict(judged, kind=ChangeKind.ATTACH, deal_id="1", tier=Tier.SURE))
    assert row["time"] == text


@pytest.mark.parametrize(
    ("rule", "cell"),
    [
        (None, None),
        (RuleVerdict(("2",)), "2"),
        (RuleVerdict((None,)), "none"),
        (RuleVerdict((None, "2"), Uncertainty.MAILBOX), "uncertain"),
    ],
)
def test_a_row_says_what_the_rule_chose(rule: RuleVerdict | None, cell: str | None) -> None:
    judged = verdict(email(), kind=ChangeKind.ATTACH, deal_id="1", tier=Tier.SURE, rule=rule)
    assert rows(judged)[0]["rule"] == cell


def test_only_what_is_certain_is_shown_as_certain() -> None:
    assert list(map(confidence_text, (1.0, 0.99999, 0.5, 0.12345))) == [
        *("1.0000", "0.9999", "0.5000", "0.1235"),
    ]


def test_rows_are_ordered_by_conversation_and_evidence_is_written_once_for_each() -> None:
    proposal = {"kind": ChangeKind.ATTACH, "deal_id": "1", "tier": Tier.SURE}
    verdicts = [
        verdict(email(message), conversation, **proposal)
        for message, conversation in (("a", 1), ("b", 0), ("c", 1), ("d", 0))
    ]
    assert [row["message_id"] for row in rows(*verdicts)] == ["b", "d", "a", "c"]
    contact = ContactFacts("7", tuple(one.email for one in verdicts), (CRANES, PUMPS))
    place = [column.name for column in VERDICT_COLUMNS].index("scores")
    scores = [row[place] for row in ContactRows(contact, verdicts).verdict_rows()]
    assert [one is not None for one in scores] == [True, False, True, False]


@pytest.mark.parametrize(
    ("judged", "passes"),
    [
        (email(deal_id="1"), True),
        (email(deal_id="2"), False),
        (email(), False),
        (email(link_known=False), False),
        (EmailFacts("a", deal_id="1"), False),
    ],
)
def test_a_filter_passes_only_what_is_known_to_match(judged: EmailFacts, passes: bool) -> None:
    chosen = make_proposal_filter(["1"], "1970-01-01T00:00Z", "1970-01-01", on_no_deal=False)
    assert chosen.passes(judged) is passes
