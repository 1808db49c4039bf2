"""Choice among the messages that wanted emails may be, and of a shift of all times."""

from __future__ import annotations

import itertools
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from bulklink.finding.email_choice import (
    MIN_SHIFT_EMAILS,
    MatchChoice,
    TimeShift,
    UnclearReason,
    choose_messages,
    find_shift,
)


class Pair(NamedTuple):
    wanted: int
    message_id: str
    deal_id: str = "d"
    owner_id: str | None = "o"
    time: int | None = 0
    content: str = ""
    is_usual_time: bool = True
    subject: int = 3
    people: int = 3


def choose(*pairs: Pair) -> MatchChoice:
    """Choose among pairs; each message has its own content unless it names one."""
    return choose_messages(
        [pair._replace(content=pair.content or pair.message_id) for pair in pairs]
    )


def test_the_stronger_of_two_messages_is_chosen_for_each_kind_of_strength() -> None:
    for weaker in ({"is_usual_time": False}, {"subject": 1}, {"people": 1}):
        pairs = Pair(1, "a"), Pair(1, "b")._replace(**weaker)
        assert choose(*pairs) == MatchChoice({"a": 1}, set(), {}), weaker


def test_a_message_that_is_better_in_one_way_and_worse_in_another_is_not_clear() -> None:
    choice = choose(Pair(1, "a", subject=1), Pair(1, "b", people=1))
    assert choice == MatchChoice({}, set(), {1: UnclearReason.SEVERAL_EMAILS})


def test_what_is_taken_by_a_clear_pair_is_no_rival_of_the_others() -> None:
    choice = choose(Pair(1, "a"), Pair(2, "a", "e", subject=1), Pair(2, "b", "e", subject=1))
    assert choice.matched == {"a": 1, "b": 2}
    assert not choice.unclear


def test_as_many_emails_as_messages_need_no_order_if_they_have_one_deal() -> None:
    pairs = [Pair(wanted, message) for wanted in (1, 2) for message in "ab"]
    assert set(choose(*pairs).matched) == {"a", "b"}
    two_deals = [pair._replace(deal_id=f"d{pair.wanted}") for pair in pairs]
    assert choose(*two_deals).unclear.keys() == {1, 2}
    more_messages = [*pairs, Pair(1, "c")]
    assert choose(*more_messages).unclear.keys() == {1, 2}


def test_a_repeated_email_is_told_from_two_that_want_one_message_on_two_deals() -> None:
    assert choose(Pair(1, "a"), Pair(2, "a")) == MatchChoice({"a": 1}, {2}, {})
    weak = choose(Pair(1, "a"), Pair(2, "a", subject=1))
    assert weak == MatchChoice({"a": 1}, {2}, {})
    contradiction = choose(Pair(1, "a"), Pair(2, "a", "e"))
    reasons = dict.fromkeys((1, 2), UnclearReason.SEVERAL_DEALS)
    assert contradiction == MatchChoice({}, set(), reasons)


def test_copies_in_several_mailboxes_are_one_email_but_not_two_in_one_mailbox() -> None:
    copies = Pair(1, "a", content="same"), Pair(1, "b", owner_id="p", content="same")
    assert choose(*copies).matched == {"a": 1, "b": 1}
    equal = Pair(1, "a", content="same"), Pair(1, "b", content="same")
    assert choose(*equal).unclear == {1: UnclearReason.SEVERAL_EMAILS}


PAIRS = st.lists(
    st.builds(
        Pair,
        st.integers(1, 4),
        st.sampled_from("abcd"),
        subject=st.integers(0, 2),
        people=st.integers(0, 1),
        is_usual_time=st.booleans(),
    ),
    min_size=1,
    max_size=10,
    unique_by=lambda pair: pair[:2],
)


@given(PAIRS, st.lists(st.sampled_from("de"), min_size=4, max_size=4), st.randoms())
def test_every_email_is_decided_once_whatever_the_order(pairs, deals, rng) -> None:  # type: ignore[no-untyped-def]
    pairs = [pair._replace(deal_id=deals[pair.wanted - 1]) for pair in pairs]
    choice = choose(*pairs)
    matched = set(choice.matched.values())
    parts = (matched, set(choice.repeated), set(choice.unclear))
    assert set.union(*parts) == {pair.wanted for pair in pairs}
    assert not any(one & other for one, other in itertools.combinations(parts, 2))
    assert {(wanted, message) for message, wanted in choice.matched.items()} <= {
        pair[:2] for pair in pairs
    }
    rng.shuffle(pairs)
    shuffled = choose(*pairs)
    assert shuffled == choice


def test_a_shift_is_clear_if_nearly_all_emails_agree_on_it() -> None:
    many = MIN_SHIFT_EMAILS * 10
    assert find_shift({}) is None
    assert find_shift({0: 5, 4: 5}) is None
    assert find_shift({4: many, 0: 1}) == TimeShift(3600, many, many + 1)
    clear = {
        name: shift is not None and shift.is_clear
        for name, shift in {
            "all": find_shift({-22: many}),
            "few": find_shift({4: MIN_SHIFT_EMAILS - 1}),
            "two, of summer and winter": find_shift({4: many, 8: many - 1}),
        }.items()
    }
    assert clear == {"all": True, "few": False, "two, of summer and winter": False}


def test_a_shift_in_summer_alone_is_found_but_not_clear() -> None:
    summer = find_shift({0: 60, -4: 40, 7: 2})
    assert summer == TimeShift(-3600, 40, 102)
    assert not summer.is_clear
    assert find_shift({0: 1000, -4: 40, 7: 2}) is None
