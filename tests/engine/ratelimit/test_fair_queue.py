"""Calls that wait: the oldest first, no contact beyond its share, and waiters that withdraw."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from bulklink.engine.ratelimit.fair_queue import FairQueue

NO_LIMIT = 1_000


def queue_of(*entries: tuple[int, str]) -> FairQueue[str]:
    """Return a queue in which calls wait, each with its age and contact, put in this order."""
    queue = FairQueue[str]()
    for sequence, contact_id in entries:
        queue.put(sequence, contact_id, f"{contact_id}{sequence}")
    return queue


def always(contact_id: str) -> bool:
    return True


def never(contact_id: str) -> bool:
    return False


def take_all(queue: FairQueue[str]) -> list[str]:
    """Take what waits, one after the other, where nobody holds anything."""
    taken = []
    while (entry := queue.take({}, NO_LIMIT)) is not None:
        taken.append(entry)
    return taken


def test_the_oldest_entry_of_any_contact_is_taken_first() -> None:
    queue = queue_of((1, "a"), (2, "b"), (3, "a"), (4, "c"))
    assert take_all(queue) == ["a1", "b2", "a3", "c4"]


def test_a_call_that_waits_again_keeps_its_age() -> None:
    queue = queue_of((2, "b"), (3, "a"), (1, "a"))
    assert take_all(queue) == ["a1", "b2", "a3"]


def test_a_contact_with_its_full_share_is_skipped() -> None:
    queue = queue_of((1, "a"), (2, "a"), (3, "b"))
    assert queue.take({"a": 2}, 2) == "b3"


def test_a_contact_with_less_than_its_share_is_not_skipped() -> None:
    queue = queue_of((1, "a"), (2, "b"))
    assert queue.take({"a": 1}, 2) == "a1"


def test_a_skipped_entry_keeps_its_age() -> None:
    queue = queue_of((1, "a"), (2, "b"), (3, "b"))
    assert queue.take({"a": 1}, 1) == "b2"
    assert take_all(queue) == ["a1", "b3"]


def test_if_all_contacts_have_their_share_the_oldest_entry_is_taken() -> None:
    queue = queue_of((1, "b"), (2, "a"))
    assert queue.take({"a": 2, "b": 2}, 2) == "b1"


def test_nothing_is_taken_while_another_contact_may_claim_its_share() -> None:
    queue = queue_of((1, "a"), (2, "a"))
    assert queue.take({"a": 2}, 2, never) is None
    assert take_all(queue) == ["a1", "a2"]


def test_a_removed_entry_is_never_taken() -> None:
    queue = queue_of((1, "a"), (2, "b"), (3, "a"))
    queue.remove(1, "a")
    assert take_all(queue) == ["b2", "a3"]


def test_after_a_removal_the_oldest_entry_of_the_contact_is_taken_first() -> None:
    # 2 waits a second time: it comes after 3, and is older.
    queue = queue_of((1, "a"), (3, "a"), (2, "a"))
    queue.remove(1, "a")
    assert take_all(queue) == ["a2", "a3"]


def test_after_a_removal_the_contact_keeps_its_rank() -> None:
    queue = queue_of((1, "a"), (4, "a"), (2, "a"), (3, "b"))
    queue.remove(1, "a")
    assert queue.take({}, NO_LIMIT) == "a2"


def test_a_contact_without_entries_can_be_added_again() -> None:
    queue = queue_of((1, "a"))
    queue.remove(1, "a")
    assert take_all(queue) == []
    queue.put(2, "a", "a2")
    assert take_all(queue) == ["a2"]


def test_removing_a_missing_entry_changes_nothing() -> None:
    queue = queue_of((1, "a"), (2, "b"))
    queue.remove(7, "a")
    queue.remove(7, "c")
    assert len(queue) == 2
    assert take_all(queue) == ["a1", "b2"]


def test_the_queue_counts_and_lists_its_entries() -> None:
    queue = queue_of((1, "a"), (2, "b"), (3, "b"))
    queue.take({}, NO_LIMIT)
    queue.remove(3, "b")
    assert len(queue) == 1
    assert queue.entries() == ["b2"]


class ObviousQueue:
    """The same by a search through all that waits."""

    def __init__(self) -> None:
        self.waiting: list[tuple[int, str]] = []

    def take(
        self, counts: Counter[str], share: int, is_alone: Callable[[str], bool]
    ) -> tuple[int, str] | None:
        oldest_first = sorted(self.waiting)
        chosen = next((entry for entry in oldest_first if counts[entry[1]] < share), None)
        if chosen is None and oldest_first and is_alone(oldest_first[0][1]):
            chosen = oldest_first[0]
        if chosen is not None:
            self.waiting.remove(chosen)
        return chosen


STEPS = st.one_of(
    st.tuples(st.just("put"), st.integers(1, 30), st.sampled_from("aab")),
    st.tuples(st.just("take"), st.integers(1, 3), st.booleans()),
    st.tuples(st.just("remove"), st.integers(0, 29), st.just("")),
)


@given(
    ages=st.permutations(range(1, 9)),
    contact_ids=st.lists(st.sampled_from("aab"), min_size=8, max_size=8),
    steps=st.lists(STEPS, max_size=40),
)
def test_the_queue_takes_the_same_entries_as_a_plain_search(
    ages: list[int], contact_ids: list[str], steps: list[tuple[str, int, str | bool]]
) -> None:
    queue, obvious, counts = FairQueue[tuple[int, str]](), ObviousQueue(), Counter[str]()
    first_calls = [("put", *call) for call in zip(ages, contact_ids, strict=True)]
    for action, number, detail in [*first_calls, *steps]:
        if action == "put" and number not in [sequence for sequence, _ in obvious.waiting]:
            queue.put(number, str(detail), (number, str(detail)))
            obvious.waiting.append((number, str(detail)))
        elif action == "take":
            is_alone = always if detail else never
            expected = obvious.take(counts, number, is_alone)
            assert queue.take(counts, number, is_alone) == expected
            counts.update([expected[1]] if expected else [])
        elif action == "remove" and obvious.waiting:
            sequence, contact_id = obvious.waiting.pop(number % len(obvious.waiting))
            queue.remove(sequence, contact_id)
        assert sorted(queue.entries()) == sorted(obvious.waiting)
        assert len(queue) == len(obvious.waiting)
    while obvious.waiting:
        assert queue.take({}, NO_LIMIT) == obvious.take(Counter(), NO_LIMIT, always)
