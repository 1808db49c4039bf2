"""The links of an org show whether the rule considers deals by a contact role."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from bulklink.finding.connection_span import ALWAYS_CONNECTED, ConnectionSpan
from bulklink.finding.judge import Judge
from bulklink.finding.link_origin import LinkOrigin
from bulklink.finding.org_evidence import OrgEvidence, OrgFacts
from bulklink.finding.role_evidence import RoleEvidence
from bulklink.finding.rule_replay import RuleReplay
from bulklink.finding.values import ContactFacts
from tests.finding.builders import DAY, OWNER, STAGES, contact, deal, email
from tests.finding.judged import weights

CONNECTED = {OWNER: ALWAYS_CONNECTED}
FIRST_DAY = 20_000 * DAY
OWN = [deal("own", modified=DAY)]
BOTH = [*OWN, deal("role", modified=2 * DAY, by_role=True)]
"""If roles count, the rule picks `role`, which was modified last; else `own`."""


def contacts(linked: Sequence[str | None]) -> list[ContactFacts]:
    return [
        contact(BOTH, [email(FIRST_DAY + place * DAY, deal_id)], f"c{place}")
        for place, deal_id in enumerate(linked)
    ]


def decide(
    linked: Sequence[str | None], connections: dict[str, ConnectionSpan] | None = None
) -> bool | None:
    evidence = RoleEvidence()
    for facts in contacts(linked):
        evidence.add(RuleReplay(facts, STAGES), RuleReplay(facts, STAGES, roles=False))
    return evidence.decide(CONNECTED if connections is None else connections)


@pytest.mark.parametrize(
    ("linked", "counts"),
    [
        (["role"] * 7, True),
        (["own"] * 7, False),
        (["role"] * 14 + ["own"], True),
        (["role"] * 6, None),
        (["role"] * 7 + ["own"] * 5, None),
        ([None] * 20, None),
        ([], None),
    ],
)
def test_links_tell_whether_roles_count_unless_that_may_be_chance(
    linked: list[str | None], counts: bool | None
) -> None:
    assert decide(linked) is counts


def test_emails_of_a_mailbox_that_may_not_have_been_connected_tell_nothing() -> None:
    assert decide(["role"] * 20, {}) is None
    assert decide(["role"] * 20, {OWNER: ConnectionSpan(0.0, FIRST_DAY + 100 * DAY)}) is None


def test_emails_between_the_same_changes_are_one_vote() -> None:
    facts = contact(BOTH, [email(FIRST_DAY + place, "role") for place in range(50)])
    evidence = RoleEvidence()
    evidence.add(RuleReplay(facts, STAGES), RuleReplay(facts, STAGES, roles=False))
    assert evidence.decide(CONNECTED) is None


@pytest.mark.parametrize(
    ("roles", "origin"),
    [(True, LinkOrigin.HAND), (False, LinkOrigin.RULE), (None, LinkOrigin.UNCERTAIN)],
)
def test_a_link_is_by_hand_only_if_it_is_so_whether_or_not_roles_count(
    roles: bool | None, origin: LinkOrigin
) -> None:
    org = OrgFacts(STAGES, connections=CONNECTED, roles=roles)
    (verdict,) = Judge(weights(), org).judge(contact(BOTH, [email(FIRST_DAY, "own")]))
    assert verdict.link.origin is origin


def test_an_org_is_judged_by_what_its_links_tell_of_roles() -> None:
    evidence = OrgEvidence(STAGES)
    for facts in contacts_of_an_org():
        evidence.add(facts)
    assert evidence.org_facts().roles is True
    assert evidence.org_facts().connections[OWNER].latest < FIRST_DAY + 30 * DAY


def test_what_parts_of_the_contacts_tell_adds_up_to_what_all_tell() -> None:
    whole, first, second = OrgEvidence(STAGES), OrgEvidence(STAGES), OrgEvidence(STAGES)
    for place, facts in enumerate(contacts_of_an_org()):
        whole.add(facts)
        (first if place % 3 else second).add(facts)
    assert first.org_facts() != whole.org_facts()
    first.merge(second)
    assert first.org_facts() == whole.org_facts()
    assert first.choose_reading() == whole.choose_reading()


def contacts_of_an_org() -> Iterator[ContactFacts]:
    """Yield contacts with two open deals of their own, then contacts with a role on one."""
    for place in range(20):  # two open deals of the contact itself: the mailbox is connected
        own = [deal("a", modified=DAY), deal("b", modified=2 * DAY)]
        yield contact(own, [email(FIRST_DAY + place * DAY, "b")], f"own{place}")
    yield from contacts([None] * 5 + ["role"] * 9)
