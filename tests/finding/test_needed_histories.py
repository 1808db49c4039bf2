"""Only histories are read that a verdict, or the life of a deal around an email, depends on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulklink.finding.connection_span import ALWAYS_CONNECTED, ConnectionSpan
from bulklink.finding.needed_histories import needed_histories
from bulklink.finding.prediction_rule import Reading
from bulklink.finding.rule_replay import RuleReplay, RuleVerdict
from bulklink.finding.uncertainty import Uncertainty
from bulklink.finding.values import ContactFacts, DealFacts, EmailFacts
from tests.finding.builders import DAY, OWNER, STAGES, contact, deal, email, move
from tests.finding.small_worlds import SmallWorld, make_small_world

CONNECTED = {OWNER: ALWAYS_CONNECTED}
seeds = st.integers(0, 2**32)


def needed(
    deals: Sequence[DealFacts], emails: Sequence[EmailFacts], *, lives: bool = False
) -> tuple[str, ...]:
    replay = RuleReplay(contact(deals, emails), STAGES)
    return needed_histories(replay, [Reading.STRICT], CONNECTED, lives=lives)


def test_deals_that_have_not_changed_since_need_no_history() -> None:
    assert needed([deal("A"), deal("B", modified=60)], [email(DAY)], lives=True) == ()


def test_all_deals_that_changed_since_an_email_came_are_needed() -> None:
    deals = [deal("A"), deal("B", modified=2 * DAY), deal("C", "Lost", modified=3 * DAY)]
    assert needed(deals, [email(DAY), email(9 * DAY)]) == ("B", "C")


def test_a_deal_that_was_created_later_is_not_needed() -> None:
    assert needed([deal("A"), deal("B", created=2 * DAY, modified=3 * DAY)], [email(DAY)]) == ()


def test_a_history_that_was_read_is_not_needed_again() -> None:
    history = [move(2 * DAY, "Lost", "Open")]
    assert needed([deal("A", modified=2 * DAY, history=history)], [email(DAY)]) == ()


def test_a_history_that_contradicts_itself_is_not_needed_again() -> None:
    assert needed([deal("A", modified=2 * DAY, history=[])], [email(DAY)]) == ()


def test_the_earlier_part_of_a_history_is_needed() -> None:
    facts = deal(
        "A", modified=3 * DAY, history=[move(3 * DAY, "Open", "Talks")], history_since=2 * DAY
    )
    assert needed([facts], [email(DAY)]) == ("A",)


@pytest.mark.parametrize("time", [None, DAY])
def test_sent_emails_and_emails_of_unknown_time_need_a_history_only_for_lives(
    time: float | None,
) -> None:
    deals = [deal("A", modified=2 * DAY)]
    assert needed(deals, [email(time, direction="sent")]) == ()
    assert needed(deals, [email(time, direction="sent")], lives=True) == (("A",) if time else ())


def test_of_the_deals_that_may_be_open_before_the_mailbox_was_connected_one_is_asked_for() -> None:
    deals = [deal("A"), deal("B", modified=2 * DAY), deal("C", modified=2 * DAY)]
    replay = RuleReplay(contact(deals, [email(DAY)]), STAGES)
    spans = {OWNER: ConnectionSpan.at(9 * DAY)}
    assert needed_histories(replay, [Reading.STRICT], spans, lives=False) == ("B",)


def test_a_deal_that_decides_several_old_emails_is_asked_for_once() -> None:
    deals = [
        deal("A"),
        deal("B", created=2 * DAY, modified=5 * DAY),
        deal("C", modified=5 * DAY),
        deal("D", created=4 * DAY, modified=9 * DAY),
    ]
    replay = RuleReplay(contact(deals, [email(DAY), email(3 * DAY)]), STAGES)
    spans = {OWNER: ConnectionSpan.at(9 * DAY)}
    assert needed_histories(replay, [Reading.STRICT], spans, lives=False) == ("C",)


def test_no_history_is_needed_where_two_deals_surely_were_open_before_the_mailbox_was() -> None:
    deals = [deal("A"), deal("B"), deal("C", modified=2 * DAY)]
    replay = RuleReplay(contact(deals, [email(DAY)]), STAGES)
    spans = {OWNER: ConnectionSpan.at(9 * DAY)}
    assert needed_histories(replay, [Reading.STRICT], spans, lives=False) == ()


def read(
    world: SmallWorld, spans: dict[str, ConnectionSpan], *, lives: bool
) -> tuple[set[str], ContactFacts]:
    """Return the histories that are read, one round after the other, and what is known then."""
    ids = {facts.id for facts in world.contact.deals}
    read_ids: set[str] = set()
    while True:
        facts = world.without_histories(ids - read_ids)
        replay = RuleReplay(facts, STAGES)
        wanted = set(needed_histories(replay, [world.reading], spans, lives=lives))
        if not wanted:
            return read_ids, facts
        assert not wanted & read_ids
        read_ids |= wanted


def knowledge(
    facts: ContactFacts, world: SmallWorld, spans: dict[str, ConnectionSpan], *, lives: bool
) -> list[tuple[RuleVerdict, Sequence[object]]]:
    """Return what is known of each email: the verdict, and the deals when it came."""
    replay = RuleReplay(facts, STAGES)
    return [
        (
            replay.replay(message, [world.reading], spans[OWNER]),
            [traced.at(message.time or 0) for traced in replay.deals.values()] if lives else [],
        )
        for message in facts.emails
    ]


@given(seeds, st.booleans(), st.booleans())
def test_what_is_not_asked_for_would_tell_nothing_more(
    seed: int, backlog: bool, lives: bool
) -> None:
    world = make_small_world(seed, backlog=backlog)
    spans = {OWNER: ConnectionSpan.at(world.connected)}
    _, facts = read(world, spans, lives=lives)
    found = knowledge(facts, world, spans, lives=lives)
    for (verdict, states), (full_verdict, full_states) in zip(
        found, knowledge(world.contact, world, spans, lives=lives), strict=True
    ):
        assert verdict.exact == full_verdict.exact
        assert states == full_states
        if verdict.exact:
            assert verdict == full_verdict


@given(seeds, st.booleans())
def test_without_any_of_the_histories_that_are_asked_for_something_is_unknown(
    seed: int, lives: bool
) -> None:
    """Each of them is missed by an email, if all others are read."""
    world = make_small_world(seed)
    ids = {facts.id for facts in world.contact.deals}
    read_ids, _ = read(world, CONNECTED, lives=lives)
    for dropped in read_ids:
        facts = world.without_histories(ids - read_ids | {dropped})
        assert misses_history(knowledge(facts, world, CONNECTED, lives=lives))


def misses_history(known: Iterable[tuple[RuleVerdict, Sequence[object]]]) -> bool:
    why = Uncertainty.HISTORY_NOT_READ
    return any(
        verdict.uncertainty is why
        or any(getattr(state, "uncertainty", None) is why for state in states)
        for verdict, states in known
    )
