"""Which messages of a contact go first: whole calls, those that would be sent anyway."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulklink.engine.batching import first_batches, unlink_batches
from bulklink.engine.message_state import Need, Track
from bulklink.models import Message, Op

OWNERS = ("1", "2", "3")


def track(row: int, owner: str, op: Op, need: Need, length: int = 64) -> Track:
    """Return the track of an email that needs this next."""
    deal = None if op is Op.UNLINK else "9"
    made = Track(Message(row, op, "5", owner, f"{row:0{length}x}", deal), snapshot=False)
    made.need = need
    return made


def tracks(*groups: tuple[str, Op, Need, int]) -> list[Track]:
    """Return so many tracks of each owner, op and need, owner by owner as a plan has them."""
    each = [(owner, op, need) for owner, op, need, many in groups for _ in range(many)]
    return [track(row, *one) for row, one in enumerate(sorted(each, key=lambda one: one[0]), 1)]


def rows(some: Sequence[Track]) -> set[int]:
    return {one.message.row for one in some}


def unlinked_in(some: Sequence[Track], size: int) -> set[frozenset[int]]:
    """Return the unlink calls of some tracks, each as its rows."""
    return {
        frozenset(message.row for message in batch)
        for owner in OWNERS
        for batch in unlink_batches(
            [t.message for t in some if t.need is Need.UNLINK and t.message.owner_id == owner],
            size,
        )
    }


def links_of(some: Sequence[Track], size: int, *, by_contact: bool) -> int:
    """Count the link calls of some tracks, those after their unlinks too."""
    linked = Counter(
        "" if by_contact else one.message.owner_id
        for one in some
        if one.need is Need.LINK or one.message.op is Op.RELINK
    )
    return sum(math.ceil(many / size) for many in linked.values())


NEEDS = st.sampled_from(
    [
        (Op.LINK, Need.LINK),
        (Op.UNLINK, Need.UNLINK),
        (Op.RELINK, Need.UNLINK),
        (Op.RELINK, Need.LINK),  # its email is on no deal
    ]
)


@given(
    drawn=st.lists(st.tuples(st.sampled_from(OWNERS), NEEDS, st.integers(1, 300)), max_size=60),
    at_least=st.integers(1, 70),
    size=st.integers(1, 20),
    by_contact=st.booleans(),
)
def test_they_cost_no_call_and_are_as_many_as_asked_for(
    drawn: list[tuple[str, tuple[Op, Need], int]], at_least: int, size: int, by_contact: bool
) -> None:
    given = [
        track(row, owner, *what, length=length + 4)
        for row, (owner, what, length) in enumerate(sorted(drawn, key=lambda one: one[0]), 1)
    ]
    first = first_batches(given, at_least, size, by_contact=by_contact)
    rest = [one for one in given if one not in first]
    assert len(first) == len(rows(first)) >= min(at_least, len(given))
    assert unlinked_in(first, size) | unlinked_in(rest, size) == unlinked_in(given, size)
    assert links_of(first, size, by_contact=by_contact) + links_of(
        rest, size, by_contact=by_contact
    ) == links_of(given, size, by_contact=by_contact)


@pytest.mark.parametrize(
    ("at_least", "size", "first"), [(1, 20, 20), (20, 20, 20), (21, 20, 40), (5, 1, 5), (50, 7, 50)]
)
def test_of_one_op_and_owner_they_are_the_fewest_whole_calls(
    at_least: int, size: int, first: int
) -> None:
    for op, need in ((Op.LINK, Need.LINK), (Op.UNLINK, Need.UNLINK), (Op.RELINK, Need.UNLINK)):
        given = tracks(("1", op, need, 50))
        assert len(first_batches(given, at_least, size, by_contact=False)) == first


def test_an_owner_is_done_before_the_next_begins() -> None:
    given = tracks(("1", Op.LINK, Need.LINK, 5), ("2", Op.LINK, Need.LINK, 50))
    assert rows(first_batches(given, 20, 20, by_contact=False)) == set(range(1, 26))


def test_grouped_by_contact_the_owners_fill_one_link_call() -> None:
    given = tracks(("1", Op.LINK, Need.LINK, 5), ("2", Op.LINK, Need.LINK, 50))
    assert rows(first_batches(given, 20, 20, by_contact=True)) == set(range(1, 21))


def test_links_fill_the_link_call_of_relinks() -> None:
    given = tracks(("1", Op.RELINK, Need.UNLINK, 5), ("1", Op.LINK, Need.LINK, 40))
    first = first_batches(given, 5, 20, by_contact=False)
    assert Counter(one.message.op for one in first) == {Op.RELINK: 5, Op.LINK: 15}


def test_what_an_earlier_command_left_open_goes_first_whatever_it_needs() -> None:
    given = tracks(("1", Op.LINK, Need.LINK, 40), ("3", Op.LINK, Need.SETTLE, 3))
    first = first_batches(given, 1, 20, by_contact=False)
    assert {one.message.row for one in first} == {41, 42, 43}


def test_where_less_is_left_than_asked_for_all_goes() -> None:
    given = tracks(("1", Op.UNLINK, Need.UNLINK, 7), ("2", Op.LINK, Need.LINK, 4))
    assert rows(first_batches(given, 500, 20, by_contact=False)) == rows(given)
    assert first_batches([], 5, 20, by_contact=True) == []
