"""Batching: nothing is lost, limits are kept, calls are as few as possible."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulklink.engine.batching import (
    link_batches,
    min_unlink_calls,
    packed_unlink_calls,
    unlink_batches,
    unlink_calls_for_length,
)
from bulklink.engine.dispatch import FairOrder, contact_windows
from bulklink.engine.worker_pool import ItemsInMemory
from bulklink.models import Message, Op
from tests.virtual import run_virtual

SIZES = st.integers(1, 20)


def unlink(row: int, length: int) -> Message:
    return Message(row, Op.UNLINK, "1", "2", f"{row:x}".rjust(length, "a"))


def query(batch: list[Message]) -> str:
    return ",".join(m.message_id for m in batch)


@given(count=st.integers(0, 400), size=SIZES)
def test_links_take_the_fewest_calls(count: int, size: int) -> None:
    messages = [Message(n, Op.LINK, "1", "2", f"{n:064x}", "3") for n in range(count)]
    batches = link_batches(messages, size)
    assert [m for batch in batches for m in batch] == messages
    assert all(1 <= len(batch) <= size for batch in batches)
    assert len(batches) == math.ceil(count / size)


@given(count=st.integers(1, 300), length=st.integers(4, 500), size=SIZES)
def test_unlinks_of_ids_of_equal_length_take_the_fewest_calls(
    count: int, length: int, size: int
) -> None:
    batches = unlink_batches([unlink(n, length) for n in range(count)], size)
    assert sorted(m.row for batch in batches for m in batch) == list(range(count))
    assert all(len(batch) <= size and len(query(batch)) <= 2000 for batch in batches)
    # k ids and k - 1 commas fit where k * length + k - 1 <= 2000.
    max_ids = min(size, max(k for k in range(1, 500) if k * length + k - 1 <= 2000))
    assert (
        len(batches) == math.ceil(count / max_ids) == unlink_calls_for_length(count, length, size)
    )


@given(lengths=st.lists(st.integers(4, 500), min_size=1, max_size=120), size=SIZES)
def test_unlinks_of_mixed_ids_are_packed_first_fit_decreasing(
    lengths: list[int], size: int
) -> None:
    messages = [unlink(n, length) for n, length in enumerate(lengths)]
    batches = unlink_batches(messages, size)
    assert sorted(m.row for batch in batches for m in batch) == list(range(len(lengths)))
    assert all(len(batch) <= size and len(query(batch)) <= 2000 for batch in batches)
    assert (
        len(batches) == packed_unlink_calls(lengths, size) == _first_fit_decreasing(lengths, size)
    )
    assert len(batches) >= min_unlink_calls(len(lengths), sum(lengths))


def _first_fit_decreasing(lengths: list[int], size: int) -> int:
    """Return the number of batches of a textbook first-fit-decreasing packing."""
    calls: list[list[int]] = []
    for length in sorted(lengths, reverse=True):
        for call in calls:
            if len(call) < size and sum(call) + length + len(call) <= 2000:
                call.append(length)
                break
        else:
            calls.append([length])
    return len(calls)


@pytest.mark.parametrize(
    ("length", "in_a_call"),
    [(64, 20), (96, 20), (99, 20), (100, 19), (500, 3)],
    ids=["64 hex digits", "96 hex digits", "20 just fit", "20 do not fit", "longest"],
)
def test_an_unlink_takes_as_many_ids_as_fit_in_its_query(length: int, in_a_call: int) -> None:
    batches = unlink_batches([unlink(n, length) for n in range(60)])
    assert len(batches[0]) == in_a_call


@given(
    contacts=st.lists(
        st.lists(st.tuples(st.integers(0, 1), st.sampled_from(list(Op))), max_size=90),
        max_size=4,
    ),
    most=st.integers(20, 70),
    size=SIZES,
    chunk=st.integers(1, 50),
    by_contact=st.booleans(),
)
def test_windows_hold_one_contact_and_cost_no_extra_call(
    contacts: list[list[tuple[int, Op]]], most: int, size: int, chunk: int, by_contact: bool
) -> None:
    messages = [
        Message(number * 1000 + n, op, str(number), str(owner), f"{n:064x}", "9")
        for number, contact in enumerate(contacts)
        for n, (owner, op) in enumerate(sorted(contact, key=lambda pair: pair[0]))
    ]
    chunks = [messages[i : i + chunk] for i in range(0, len(messages), chunk)]
    windows = list(contact_windows(chunks, size, most, by_contact=by_contact))
    assert sorted(m.row for w in windows for m in w) == sorted(m.row for m in messages)
    assert all(len({m.contact_id for m in w}) == 1 for w in windows)
    assert all(len(w) <= most + 1 + 3 * size for w in windows)
    assert _link_calls(windows, size, by_contact) == _link_calls([messages], size, by_contact)


def _link_calls(windows: list[list[Message]], size: int, by_contact: bool) -> int:
    """Count the link calls of each group in each window, including those of relinks."""
    calls = 0
    for window in windows:
        groups: dict[tuple[str, str], int] = {}
        for m in window:
            if m.op is not Op.UNLINK:
                key = (m.contact_id, "" if by_contact else m.owner_id)
                groups[key] = groups.get(key, 0) + 1
        calls += sum(math.ceil(count / size) for count in groups.values())
    return calls


@given(
    sizes=st.lists(st.tuples(st.integers(0, 3), st.integers(1, 4)), max_size=40),
    share=st.integers(1, 3),
    ahead=st.integers(1, 8),
)
def test_fair_order_yields_every_window_once_and_respects_shares(
    sizes: list[tuple[int, int]], share: int, ahead: int
) -> None:
    windows = [
        [
            Message(n * 10 + k, Op.LINK, f"c{contact}", "o", "m", "d", None, None)
            for k in range(many)
        ]
        for n, (contact, many) in enumerate(sizes)
    ]
    in_progress = Counter[str]()
    started: list[list[Message]] = []
    order = FairOrder(
        source=ItemsInMemory(windows),
        in_progress=in_progress,
        max_per_contact=share,
        lookahead=ahead,
        max_messages=10**6,
    )
    while (window := run_virtual(order.next())) is not None:
        contact_id = window[0].contact_id
        if in_progress[contact_id] >= share:  # only if no other contact is within the lookahead
            remaining_windows = [item for item in windows if item not in started]
            assert all(
                in_progress[item[0].contact_id] >= share for item in remaining_windows[:ahead]
            )
        started.append(window)
        in_progress[contact_id] += 1
        if len(started) % 3 == 0:
            in_progress[started[len(started) // 3 - 1][0].contact_id] -= 1
    assert sorted(w[0].row for w in started) == [w[0].row for w in windows]
