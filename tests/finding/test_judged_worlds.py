"""On generated worlds, what is sure is right, and links that people made stay."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from bulklink.emulator.conversations.knobs import ConversationRecipe
from bulklink.emulator.conversations.writer import generate_conversations
from bulklink.finding.judge import Judge
from bulklink.finding.link_origin import LinkOrigin
from bulklink.finding.org_evidence import OrgEvidence
from bulklink.finding.verdicts import EmailVerdict, Tier
from tests.finding.judged import weights
from tests.finding.worlds import GeneratedWorld

WORLDS = [("plain", 3), ("plain", 4), ("corrected-by-hand", 3), ("corrected-by-hand", 4)]
MESSAGES = 700


@dataclass(frozen=True)
class JudgedEmail:
    """A verdict, the right deal, and who made the link."""

    verdict: EmailVerdict
    right: str | None
    linked_by: str | None


def judge_world(world: GeneratedWorld) -> list[JudgedEmail]:
    contacts = list(world.contacts())
    evidence = OrgEvidence(world.stages)
    for contact in contacts:
        evidence.add(contact)
    judge = Judge(weights(), evidence.org_facts())
    return [
        JudgedEmail(verdict, truth["deal_id"], truth["linked_by"])
        for contact in contacts
        for verdict in judge.judge(contact)
        for truth in [world.truth[contact.id, verdict.email.message_id]]
    ]


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> list[JudgedEmail]:
    emails: list[JudgedEmail] = []
    for kind, seed in WORLDS:
        folder: Path = tmp_path_factory.mktemp("world")
        generate_conversations(ConversationRecipe(MESSAGES, kind, seed=seed), folder)
        emails += judge_world(GeneratedWorld(folder))
    return emails


def test_what_is_sure_is_nearly_always_right(judged: list[JudgedEmail]) -> None:
    sure = [email for email in judged if email.verdict.tier is Tier.SURE]
    wrong = sum(email.verdict.deal_id != email.right for email in sure)
    assert len(sure) > 250
    assert wrong <= 0.03 * len(sure)


def test_what_is_likely_is_mostly_right(judged: list[JudgedEmail]) -> None:
    likely = [email for email in judged if email.verdict.tier is Tier.LIKELY]
    wrong = sum(email.verdict.deal_id != email.right for email in likely)
    assert len(likely) > 200
    assert wrong <= 0.1 * len(likely)


def test_no_link_that_people_made_is_changed(judged: list[JudgedEmail]) -> None:
    """A link that the rule may have made as well is taken for the rule's, in rare cases."""
    by_people = [
        email.verdict
        for email in judged
        if email.linked_by in ("hand", "sent") and email.verdict.email.deal_id is not None
    ]
    changed = [verdict for verdict in by_people if verdict.kind is not None]
    assert len(by_people) > 400
    assert len(changed) <= 0.01 * len(by_people)
    assert all(verdict.email.direction == "received" for verdict in changed)
    assert all(verdict.link.origin not in (LinkOrigin.HAND, LinkOrigin.SENT) for verdict in changed)
    assert sum(verdict.tier is Tier.SURE for verdict in changed) <= 0.002 * len(by_people)
