"""Which messages of a contact go first: whole calls, those that would be sent anyway."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulklink.engine.batching import first_batches, unlink_batches
from bulklink.engine.message_state import MessageState, NextStep
from bulklink.models import Message, Op

OWNERS = ("1", "2", "3")


def make_state(row: int, owner: str, op: Op, next_step: NextStep, length: int = 64) -> MessageState:
    """Return the track of an email that needs this next."""
    deal = None if op is Op.UNLINK else "9"
    state = MessageState(Message(row, op, "5", owner, f"{row:0{length}x}", deal), snapshot=False)
    state.next_step = next_step
    return state


def make_states(*groups: tuple[str, Op, NextStep, int]) -> list[MessageState]:
    """Return so many tracks of each owner, op and need, owner by owner as a plan has them."""
    specs = [(owner, op, next_step) for owner, op, next_step, count in groups for _ in range(count)]
    return [
        make_state(row, *spec)
        for row, spec in enumerate(sorted(specs, key=lambda spec: spec[0]), 1)
    ]


def rows_of(states: Sequence[MessageState]) -> set[int]:
    return {state.message.row for state in states}


def unlink_calls(states: Sequence[MessageState], size: int) -> set[frozenset[int]]:
    """Return the unlink calls of some tracks, each as its rows."""
    return {
        frozenset(message.row for message in batch)
        for owner in OWNERS
        for batch in unlink_batches(
            [
                t.message
                for t in states
                if t.next_step is NextStep.UNLINK and t.message.owner_id == owner
            ],
            size,
        )
    }


def count_link_calls(states: Sequence[MessageState], size: int, *, by_contact: bool) -> int:
    """Count the link calls of some tracks, those after their unlinks too."""
    emails_by_owner = Counter(
        "" if by_contact else state.message.owner_id
        for state in states
        if state.next_step is NextStep.LINK or state.message.op is Op.RELINK
    )
    return sum(math.ceil(count / size) for count in emails_by_owner.values())


STEPS = st.sampled_from(
    [
        (Op.LINK, NextStep.LINK),
        (Op.UNLINK, NextStep.UNLINK),
        (Op.RELINK, NextStep.UNLINK),
        (Op.RELINK, NextStep.LINK),  # its email is on no deal
    ]
)


@given(
    drawn=st.lists(st.tuples(st.sampled_from(OWNERS), STEPS, st.integers(1, 300)), max_size=60),
    at_least=st.integers(1, 70),
    size=st.integers(1, 20),
    by_contact=st.booleans(),
)
def test_first_batches_cost_no_extra_call_and_have_the_requested_size(
    drawn: list[tuple[str, tuple[Op, NextStep], int]], at_least: int, size: int, by_contact: bool
) -> None:
    given = [
        make_state(row, owner, *what, length=length + 4)
        for row, (owner, what, length) in enumerate(sorted(drawn, key=lambda one: one[0]), 1)
    ]
    first = first_batches(given, at_least, size, by_contact=by_contact)
    rest = [one for one in given if one not in first]
    assert len(first) == len(rows_of(first)) >= min(at_least, len(given))
    assert unlink_calls(first, size) | unlink_calls(rest, size) == unlink_calls(given, size)
    assert count_link_calls(first, size, by_contact=by_contact) + count_link_calls(
        rest, size, by_contact=by_contact
    ) == count_link_calls(given, size, by_contact=by_contact)


@pytest.mark.parametrize(
    ("at_least", "size", "first"), [(1, 20, 20), (20, 20, 20), (21, 20, 40), (5, 1, 5), (50, 7, 50)]
)
def test_first_batches_of_one_op_and_owner_are_the_fewest_whole_calls(
    at_least: int, size: int, first: int
) -> None:
    for op, need in (
        (Op.LINK, NextStep.LINK),
        (Op.UNLINK, NextStep.UNLINK),
        (Op.RELINK, NextStep.UNLINK),
    ):
        given = make_states(("1", op, need, 50))
        assert len(first_batches(given, at_least, size, by_contact=False)) == first


def test_one_owner_is_completed_before_the_next_begins() -> None:
    given = make_states(("1", Op.LINK, NextStep.LINK, 5), ("2", Op.LINK, NextStep.LINK, 50))
    assert rows_of(first_batches(given, 20, 20, by_contact=False)) == set(range(1, 26))


def test_grouped_by_contact_owners_share_a_link_call() -> None:
    given = make_states(("1", Op.LINK, NextStep.LINK, 5), ("2", Op.LINK, NextStep.LINK, 50))
    assert rows_of(first_batches(given, 20, 20, by_contact=True)) == set(range(1, 21))


def test_links_fill_the_link_call_of_relinks() -> None:
    given = make_states(("1", Op.RELINK, NextStep.UNLINK, 5), ("1", Op.LINK, NextStep.LINK, 40))
    first = first_batches(given, 5, 20, by_contact=False)
    assert Counter(one.message.op for one in first) == {Op.RELINK: 5, Op.LINK: 15}


def test_messages_left_open_by_an_earlier_command_go_first() -> None:
    given = make_states(("1", Op.LINK, NextStep.LINK, 40), ("3", Op.LINK, NextStep.READ_BACK, 3))
    first = first_batches(given, 1, 20, by_contact=False)
    assert {one.message.row for one in first} == {41, 42, 43}


def test_all_messages_are_taken_if_fewer_are_left_than_requested() -> None:
    given = make_states(("1", Op.UNLINK, NextStep.UNLINK, 7), ("2", Op.LINK, NextStep.LINK, 4))
    assert rows_of(first_batches(given, 500, 20, by_contact=False)) == rows_of(given)
    assert first_batches([], 5, 20, by_contact=True) == []
