"""The links of an org show which reading it follows and when its mailboxes were connected."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from random import Random

import pytest

from bulklink.finding.connection_span import ALWAYS_CONNECTED, ConnectionSpan
from bulklink.finding.link_evidence import LinkEvidence, ReadingChoice, ReadingScore
from bulklink.finding.prediction_rule import Reading
from bulklink.finding.rule_replay import RuleReplay
from bulklink.finding.values import ContactFacts, DealFacts, EmailFacts
from tests.finding.builders import DAY, OWNER, STAGES, contact, deal, email, touch

CONNECTED = {OWNER: ALWAYS_CONNECTED}
FIRST_DAY = 20_000 * DAY


def evidence_of(contacts: Iterable[ContactFacts]) -> LinkEvidence:
    evidence = LinkEvidence()
    for facts in contacts:
        evidence.add(RuleReplay(facts, STAGES))
    return evidence


def closed_deal_last(deal_ids: Sequence[str | None], stage: str = "Won") -> list[ContactFacts]:
    """Return contacts with open deals A and B and a closed deal C that changed last."""
    deals = [deal("A"), deal("B", modified=DAY), deal("C", stage, modified=2 * DAY)]
    return [
        contact(deals, [email(FIRST_DAY, deal_id)], f"c{number}")
        for number, deal_id in enumerate(deal_ids)
    ]


def two_open_deals(linked: Sequence[bool], gap: float = DAY) -> list[ContactFacts]:
    """Return contacts with two open deals and an email each, later from one to the next."""
    deals = [deal("A"), deal("B", modified=DAY)]
    return [
        contact(deals, [email(FIRST_DAY + number * gap, "B" if is_linked else None)], f"c{number}")
        for number, is_linked in enumerate(linked)
    ]


@pytest.mark.parametrize(
    ("stage", "deal_id", "reading", "rivals"),
    [
        ("Won", "B", Reading.STRICT, []),
        ("Won", "C", Reading.LOOSE, [Reading.LAST_MODIFIED_FIRST]),
        ("Lost", None, Reading.LAST_MODIFIED_FIRST, []),
        ("Lost", "B", Reading.STRICT, [Reading.LOOSE]),
    ],
)
def test_the_reading_that_explains_most_links_is_chosen(
    stage: str, deal_id: str | None, reading: Reading, rivals: list[Reading]
) -> None:
    evidence = evidence_of(closed_deal_last([deal_id] * 10 + ["A"], stage))
    choice = evidence.choose_reading(CONNECTED)
    assert (choice.reading, list(choice.rivals)) == (reading, rivals)
    assert choice.plausible == (reading, *rivals)
    assert choice.scores[0] == ReadingScore(reading, 10, 1)
    assert choice.scores[-1].contradicted == 11


def test_too_few_links_leave_all_readings_possible() -> None:
    choice = evidence_of(closed_deal_last(["B"] * 6)).choose_reading(CONNECTED)
    assert choice.reading is Reading.STRICT
    assert set(choice.plausible) == set(Reading)


def test_no_links_leave_all_readings_possible() -> None:
    choice = LinkEvidence().choose_reading(CONNECTED)
    assert choice == ReadingChoice(
        Reading.STRICT,
        (Reading.LOOSE, Reading.LAST_MODIFIED_FIRST),
        tuple(ReadingScore(reading, 0, 0) for reading in Reading),
    )


def test_a_large_org_is_judged_like_a_small_one() -> None:
    evidence = evidence_of(closed_deal_last(["B"] * 6) * 2**9)
    choice = evidence.choose_reading(CONNECTED)
    assert (choice.plausible, choice.scores[0].explained) == ((Reading.STRICT,), 6 * 2**9)


def test_emails_of_one_contact_that_tell_the_same_count_once() -> None:
    deals = [deal("A"), deal("B", modified=DAY), deal("C", "Won", modified=2 * DAY)]
    emails = [email(FIRST_DAY + day * DAY, "B") for day in range(30)]
    choice = evidence_of([contact(deals, emails)]).choose_reading(CONNECTED)
    assert choice.scores[0] == ReadingScore(Reading.STRICT, 1, 0)


@pytest.mark.parametrize(
    "connections",
    [{}, {OWNER: ConnectionSpan(FIRST_DAY - DAY, FIRST_DAY + DAY)}],
    ids=["unknown", "perhaps not connected yet"],
)
def test_emails_of_a_mailbox_that_may_not_have_been_connected_say_nothing_about_readings(
    connections: dict[str, ConnectionSpan],
) -> None:
    choice = evidence_of(closed_deal_last([None] * 20, "Lost")).choose_reading(connections)
    assert choice.scores[0].explained == 0


@pytest.mark.parametrize(
    "message",
    [
        email(FIRST_DAY, "B", direction="sent"),
        email(FIRST_DAY, direction=None),
        email(FIRST_DAY, link_known=False),
        email(None, "B"),
    ],
    ids=["sent", "of unknown direction", "of unknown link", "of unknown time"],
)
def test_an_email_that_the_rule_may_not_have_seen_says_nothing(message: EmailFacts) -> None:
    deals = [deal("A"), deal("B", modified=DAY), deal("C", "Won", modified=2 * DAY)]
    for some_deals in (deals, deals[:2]):
        evidence = evidence_of([contact(some_deals, [message])] * 50)
        assert evidence.connections() == {}
        assert evidence.choose_reading(CONNECTED).scores[0].explained == 0


def test_an_email_whose_verdict_is_uncertain_says_nothing() -> None:
    unread = [deal("A"), deal("B", modified=FIRST_DAY + DAY)]
    evidence = evidence_of([contact(unread, [email(FIRST_DAY, "B")])] * 50)
    assert evidence.connections() == {}


def test_an_email_that_one_reading_leaves_uncertain_says_nothing_of_the_others() -> None:
    deals = [deal("A", modified=DAY), deal("B", modified=DAY), deal("C", "Won", modified=2 * DAY)]
    evidence = evidence_of([contact(deals, [email(FIRST_DAY, "C")])] * 50)
    assert {score.explained for score in evidence.choose_reading(CONNECTED).scores} == {0}


def test_an_email_that_may_be_on_its_deal_in_any_case_says_nothing_of_the_mailbox() -> None:
    """It has one open deal and a closed one."""
    deals = [deal("A", modified=DAY), deal("C", "Lost")]
    assert evidence_of([contact(deals, [email(FIRST_DAY, "A")])] * 50).connections() == {}


def test_mailboxes_are_told_apart() -> None:
    contacts = two_open_deals([False] * 40 + [True] * 40)
    others = two_open_deals([True] * 80)
    moved = [
        contact(facts.deals, [email(message.time, message.deal_id, owner_id="o2")])
        for facts in others
        for message in facts.emails
    ]
    spans = evidence_of([*contacts, *moved]).connections()
    day = FIRST_DAY + 40 * DAY
    assert spans[OWNER].earliest < day < spans[OWNER].latest < day + 5 * DAY
    assert spans["o2"].latest < FIRST_DAY + 9 * DAY


def test_a_corrected_conversation_is_no_more_evidence_than_one_email() -> None:
    """Somebody linked all old emails of a contact, day after day."""
    contacts = two_open_deals([False] * 40 + [True] * 40)
    old = [email(FIRST_DAY + (20 + day) * DAY, "B") for day in range(15)]
    deals: tuple[DealFacts, ...] = contacts[0].deals
    spans = evidence_of([*contacts, contact(deals, old, "corrected")]).connections()
    assert spans[OWNER].earliest > FIRST_DAY + 34 * DAY


@pytest.mark.parametrize(("is_linked", "conversations"), [(True, 3), (False, 3)])
def test_conversations_of_one_contact_are_counted_by_their_gaps(
    is_linked: bool, conversations: int
) -> None:
    """Each conversation has three emails on days that follow each other."""
    deals = [deal("A"), deal("B", modified=DAY)]
    emails = [
        email(FIRST_DAY + (conversation * 30 + day) * DAY, "B" if is_linked else None)
        for conversation in range(conversations)
        for day in range(3)
    ]
    evidence = evidence_of([contact(deals, emails)])
    first_days = [FIRST_DAY / DAY + conversation * 30 for conversation in range(conversations)]
    assert sorted(day for _, day, _ in evidence._counts) == [
        day + (0 if is_linked else 2) for day in first_days
    ]


def mixed_contacts() -> list[ContactFacts]:
    deals = [deal("A"), deal("B", modified=40 * DAY, history=[touch(40 * DAY)])]
    emails = [email(FIRST_DAY + day * 9 * DAY, "B" if day % 3 else None) for day in range(9)]
    return [
        *two_open_deals([False] * 9 + [True] * 20),
        *closed_deal_last(["B", "C", None]),
        contact(deals, emails),
    ]


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_contacts_and_emails_does_not_matter(seed: int) -> None:
    random = Random(seed)
    contacts = mixed_contacts()
    shuffled = [
        contact(facts.deals, random.sample(facts.emails, len(facts.emails)), facts.id)
        for facts in random.sample(contacts, len(contacts))
    ]
    reordered = evidence_of(shuffled)
    expected = evidence_of(contacts)
    assert reordered.connections() == expected.connections()
    spans = expected.connections()
    assert reordered.choose_reading(spans) == expected.choose_reading(spans)
