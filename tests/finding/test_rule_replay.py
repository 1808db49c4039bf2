"""A replayed verdict is exact only where nothing unknown could change it, and then it is right."""

from __future__ import annotations

from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulklink.finding.connection_span import (
    ALWAYS_CONNECTED,
    CONNECTION_UNKNOWN,
    Arrival,
    ConnectionSpan,
)
from bulklink.finding.prediction_rule import Reading
from bulklink.finding.rule_replay import RuleReplay, RuleVerdict
from bulklink.finding.uncertainty import Uncertainty
from bulklink.finding.values import ContactFacts, DealFacts, Person
from tests.finding.builders import (
    DAY,
    STAGES,
    contact,
    deal,
    email,
    move,
    replay_email,
    touch,
)
from tests.finding.small_worlds import SmallWorld, make_small_world

HOUR = 3600.0
seeds = st.integers(0, 2**32)


def verdicts(
    facts: ContactFacts, world: SmallWorld, connection: ConnectionSpan
) -> dict[str, RuleVerdict]:
    replay = RuleReplay(facts, STAGES)
    return {
        message.message_id: replay.replay(message, [world.reading], connection)
        for message in facts.emails
    }


@given(seeds, st.booleans())
def test_an_exact_verdict_is_what_the_rule_did(seed: int, backlog: bool) -> None:
    world = make_small_world(seed, backlog=backlog)
    found = verdicts(world.contact, world, ConnectionSpan.at(world.connected))
    for message in world.contact.emails:
        assert message.deal_id in found[message.message_id].possible


@given(seeds, st.booleans(), st.data())
def test_what_the_rule_did_is_possible_whatever_is_unknown(
    seed: int, backlog: bool, data: st.DataObject
) -> None:
    world = make_small_world(seed, backlog=backlog)
    ids = [facts.id for facts in world.contact.deals]
    facts = world.without_histories(data.draw(st.sets(st.sampled_from(ids))))
    found = verdicts(facts, world, CONNECTION_UNKNOWN)
    for message in world.contact.emails:
        assert message.deal_id in found[message.message_id].possible


@given(seeds, st.booleans(), st.data())
def test_an_exact_verdict_stays_when_more_histories_are_read(
    seed: int, backlog: bool, data: st.DataObject
) -> None:
    world = make_small_world(seed, backlog=backlog)
    ids = sorted(facts.id for facts in world.contact.deals)
    withheld = data.draw(st.sets(st.sampled_from(ids)))
    fewer = data.draw(st.sets(st.sampled_from(sorted(withheld)))) if withheld else set()
    span = ConnectionSpan.at(world.connected)
    before = verdicts(world.without_histories(withheld), world, span)
    after = verdicts(world.without_histories(fewer), world, span)
    for message_id, verdict in before.items():
        assert set(after[message_id].possible) <= set(verdict.possible)


@given(seeds, st.booleans(), seeds)
def test_the_order_of_deals_and_emails_does_not_matter(
    seed: int, backlog: bool, shuffle_seed: int
) -> None:
    world = make_small_world(seed, backlog=backlog)
    random = Random(shuffle_seed)
    shuffled = msgspec.structs.replace(
        world.contact,
        deals=tuple(random.sample(world.contact.deals, len(world.contact.deals))),
        emails=tuple(random.sample(world.contact.emails, len(world.contact.emails))),
    )
    span = ConnectionSpan.at(world.connected)
    assert verdicts(shuffled, world, span) == verdicts(world.contact, world, span)


def test_most_emails_of_calm_deals_have_exact_verdicts() -> None:
    """The properties above would hold if everything was uncertain."""
    found = [
        verdict
        for seed in range(50)
        for world in [make_small_world(seed)]
        for verdict in verdicts(world.contact, world, ALWAYS_CONNECTED).values()
    ]
    assert sum(verdict.exact for verdict in found) > len(found) / 2


def test_an_email_that_came_after_all_changes_needs_no_history() -> None:
    verdict = replay_email(
        email(DAY), deal("A", modified=HOUR), deal("B", modified=2 * HOUR), deal("C", "Lost")
    )
    assert (verdict.exact, verdict.deal_id) == (True, "B")


def test_an_email_that_came_before_a_change_is_uncertain_without_the_history() -> None:
    verdict = replay_email(email(HOUR), deal("A", modified=0), deal("B", modified=DAY))
    assert verdict == RuleVerdict(("A", "B"), Uncertainty.HISTORY_NOT_READ)
    assert verdict.deal_id is None


def test_a_contact_without_deals_has_exact_verdicts_at_any_time() -> None:
    assert replay_email(email(None), connection=CONNECTION_UNKNOWN) == RuleVerdict((None,))


def test_an_email_of_unknown_time_is_uncertain_if_the_verdict_ever_changed() -> None:
    verdict = replay_email(email(None), deal("A", created=HOUR, modified=HOUR))
    assert verdict == RuleVerdict((None, "A"), Uncertainty.TIME_UNKNOWN)


@pytest.mark.parametrize("seconds", [-59, 0, 59])
def test_a_change_at_about_the_time_of_an_email_makes_it_uncertain(seconds: int) -> None:
    facts = deal("A", "Won", modified=DAY, history=[move(DAY, "Open", "Won")])
    verdict = replay_email(email(DAY + seconds), facts)
    assert verdict == RuleVerdict((None, "A"), Uncertainty.NEAR_CHANGE)


@pytest.mark.parametrize("seconds", [-59, 0, 59])
def test_a_change_that_does_not_change_the_outcome_may_be_at_any_time(seconds: int) -> None:
    facts = deal("A", modified=DAY, history=[touch(DAY)])
    assert replay_email(email(DAY + seconds), facts) == RuleVerdict(("A",))


def test_an_email_two_minutes_from_a_change_is_exact() -> None:
    facts = deal("A", "Won", modified=DAY, history=[move(DAY, "Open", "Won")])
    assert replay_email(email(DAY - 120), facts) == RuleVerdict(("A",))
    assert replay_email(email(DAY + 120), facts) == RuleVerdict((None,))


def test_two_deals_that_changed_in_the_same_second_are_uncertain() -> None:
    verdict = replay_email(email(DAY), deal("A", modified=HOUR), deal("B", modified=HOUR))
    assert verdict == RuleVerdict(("A", "B"), Uncertainty.SAME_SECOND)


@pytest.mark.parametrize(
    ("by_role", "roles", "possible"),
    [
        (True, True, ("R",)),
        (True, False, ("A",)),
        (None, True, ("R",)),
        (None, False, ("A", "R")),
        (False, False, ("R",)),
    ],
)
def test_deals_by_contact_role_count_if_the_user_says_so(
    by_role: bool | None, roles: bool, possible: tuple[str, ...]
) -> None:
    role_deal = deal("R", modified=HOUR, by_role=by_role)
    verdict = replay_email(email(DAY), deal("A"), role_deal, roles=roles)
    assert verdict.possible == possible
    assert verdict.uncertainty in (None, Uncertainty.ROLE_UNKNOWN)


def test_a_deal_that_the_contact_is_not_on_any_more_may_have_got_its_emails() -> None:
    messages = [email(DAY), email(2 * DAY, "Z")]
    replay = RuleReplay(contact([deal("A")], messages), STAGES)
    verdict = replay.replay(messages[0], [Reading.STRICT], ALWAYS_CONNECTED)
    assert verdict == RuleVerdict(("A", "Z"), Uncertainty.DEAL_NOT_LISTED)


@pytest.mark.parametrize(
    ("sender", "recipient", "exact"),
    [
        ("ann@new.example", "us@our.example", True),
        ("ann@old.example", "us@our.example", False),
        ("bob@new.example", "ann@new.example", True),
    ],
    ids=["present address", "other address", "copy to the present address"],
)
def test_an_email_without_an_address_of_the_contact_may_be_of_another_contact(
    sender: str, recipient: str, exact: bool
) -> None:
    message = msgspec.structs.replace(email(DAY), sender=Person(sender), to=(Person(recipient),))
    facts = msgspec.structs.replace(contact([deal("A")], [message]), addresses=("ann@new.example",))
    verdict = RuleReplay(facts, STAGES).replay(message, [Reading.STRICT], ALWAYS_CONNECTED)
    expected = (("A",), None) if exact else ((None, "A"), Uncertainty.CONTACT_MERGED)
    assert (verdict.possible, verdict.uncertainty) == expected


TWO_OPEN = (deal("A"), deal("B", modified=HOUR))


@pytest.mark.parametrize(
    ("connection", "possible", "uncertainty"),
    [
        (ALWAYS_CONNECTED, ("B",), None),
        (ConnectionSpan.at(9 * DAY), ("B",), None),
        (ConnectionSpan.at(11 * DAY), (None,), None),
        (ConnectionSpan.at(10 * DAY + 30), (None, "B"), Uncertainty.MAILBOX),
        (ConnectionSpan(9 * DAY, 11 * DAY), (None, "B"), Uncertainty.MAILBOX),
        (CONNECTION_UNKNOWN, (None, "B"), Uncertainty.MAILBOX),
    ],
)
def test_of_several_open_deals_none_gets_mail_from_before_its_mailbox_was_connected(
    connection: ConnectionSpan,
    possible: tuple[str | None, ...],
    uncertainty: Uncertainty | None,
) -> None:
    verdict = replay_email(email(10 * DAY), *TWO_OPEN, connection=connection)
    assert verdict == RuleVerdict(possible, uncertainty)


def test_a_single_open_deal_gets_its_mail_whenever_the_mailbox_was_connected() -> None:
    verdict = replay_email(email(DAY), deal("A"), connection=CONNECTION_UNKNOWN)
    assert verdict == RuleVerdict(("A",))


def test_which_deals_count_before_the_mailbox_was_connected_is_uncertain() -> None:
    connection = ConnectionSpan.at(2 * DAY)
    verdict = replay_email(email(DAY), deal("A"), deal("C", "Lost"), connection=connection)
    assert verdict == RuleVerdict((None, "A"), Uncertainty.BACKLOG_RULE)


def test_an_email_that_is_exact_in_a_connected_mailbox_is_uncertain_because_of_the_mailbox() -> (
    None
):
    deals = (deal("A"), deal("C", "Lost"))
    verdict = replay_email(email(DAY), *deals, connection=CONNECTION_UNKNOWN)
    assert verdict == RuleVerdict((None, "A"), Uncertainty.MAILBOX)


@pytest.mark.parametrize(
    ("deals", "possible"),
    [
        ([deal("A"), deal("C", "Won", modified=HOUR)], ("A", "C")),
        ([deal("A", modified=HOUR), deal("C", "Won")], ("A",)),
    ],
)
def test_several_readings_are_exact_only_where_they_agree(
    deals: list[DealFacts], possible: tuple[str, ...]
) -> None:
    message = email(DAY)
    replay = RuleReplay(contact(deals, [message]), STAGES)
    verdict = replay.replay(message, [Reading.STRICT, Reading.LOOSE], ALWAYS_CONNECTED)
    assert verdict.possible == possible
    assert verdict.uncertainty is (Uncertainty.READING if len(possible) > 1 else None)


def test_the_reason_is_what_is_unknown_of_the_deals_that_may_have_got_the_email() -> None:
    """What is unknown of S does not matter, as another deal changed later."""
    deals = [deal("S", "Strange"), deal("A", modified=HOUR)]
    verdict = replay_email(
        email(2 * DAY), *deals, deal("R", modified=DAY, by_role=None), roles=False
    )
    assert verdict == RuleVerdict(("A", "R"), Uncertainty.ROLE_UNKNOWN)


def test_an_email_of_unknown_time_came_in_live_only_if_its_mailbox_was_always_connected() -> None:
    replay = RuleReplay(contact([]), STAGES)
    assert replay.arrival(email(None), ALWAYS_CONNECTED) is Arrival.LIVE
    assert replay.arrival(email(None), ConnectionSpan.at(0)) is Arrival.EITHER
