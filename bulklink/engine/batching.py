"""Batching with the fewest calls, and the first whole batches of a contact (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import attrgetter

from bulklink.engine.message_state import MessageState, NextStep
from bulklink.models import Message, Op
from bulklink.zoho.requests import MAX_MESSAGE_IDS_LENGTH, MAX_MESSAGES_PER_CALL

MAX_WINDOW_MESSAGES = 10_000
"""Maximum messages of one contact sent together; its pages are read once for all of them."""
_OWNER_ID = attrgetter("owner_id")
_WRITE_STEPS = (NextStep.UNLINK, NextStep.LINK)


def link_batches(
    messages: Sequence[Message], size: int = MAX_MESSAGES_PER_CALL
) -> list[list[Message]]:
    """Cut messages of one contact and owner into the fewest link calls of at most `size`."""
    return [list(messages[i : i + size]) for i in range(0, len(messages), size)]


def unlink_batches(
    messages: Sequence[Message], size: int = MAX_MESSAGES_PER_CALL
) -> list[list[Message]]:
    """Pack messages of one contact and owner into few unlink calls, first fit decreasing.

    A call takes at most `size` messages and 2,000 characters of ids joined by commas. Ids of equal
    length are packed into the fewest possible calls.
    """
    by_length = sorted(messages, key=lambda message: -len(message.message_id))
    batches: list[list[Message]] = []
    free_characters: list[int] = []
    first_open = 0
    for message in by_length:
        needed = len(message.message_id) + 1
        index = next(
            (i for i in range(first_open, len(free_characters)) if free_characters[i] >= needed),
            len(free_characters),
        )
        if index == len(free_characters):
            batches.append([])
            free_characters.append(
                MAX_MESSAGE_IDS_LENGTH + 1
            )  # the first id has no comma before it
        batches[index].append(message)
        free_characters[index] = (
            free_characters[index] - needed if len(batches[index]) < size else 0
        )
        while first_open < len(free_characters) and not free_characters[first_open]:
            first_open += 1
    return batches


def min_unlink_calls(count: int, characters: int) -> int:
    """Return a lower bound on the unlink calls for `count` ids of `characters` in total.

    The bound is the larger of the limits by messages and by characters with their commas. For ids
    of equal length, `unlink_calls_for_length` is exact.
    """
    return max(
        -(-count // MAX_MESSAGES_PER_CALL), -(-(characters + count) // (MAX_MESSAGE_IDS_LENGTH + 1))
    )


def unlink_calls_for_length(count: int, length: int, size: int = MAX_MESSAGES_PER_CALL) -> int:
    """Return the number of unlink calls for `count` ids of equal length."""
    return -(-count // min(size, (MAX_MESSAGE_IDS_LENGTH + 1) // (length + 1)))


def packed_unlink_calls(lengths: Iterable[int], size: int = MAX_MESSAGES_PER_CALL) -> int:
    """Return the number of unlink calls that `unlink_batches` needs for ids of these lengths."""
    open_batches: list[tuple[int, int]] = []
    for needed in sorted((length + 1 for length in lengths), reverse=True):
        index = next(
            (
                i
                for i, (free_characters, free_items) in enumerate(open_batches)
                if free_characters >= needed and free_items
            ),
            -1,
        )
        if index < 0:
            open_batches.append((MAX_MESSAGE_IDS_LENGTH + 1 - needed, size - 1))
        else:
            free_characters, free_items = open_batches[index]
            open_batches[index] = (free_characters - needed, free_items - 1)
    return len(open_batches)


def message_batches(
    messages: Iterable[Message], step: NextStep, batch_size: int, *, by_contact: bool = False
) -> Iterator[list[Message]]:
    """Yield the batches of a step, each for one call.

    Args:
        messages: messages of one contact that need this step.
        step: UNLINK, LINK or PUT_BACK.
        batch_size: maximum messages per call.
        by_contact: whether several owners share a link call.
    """
    messages = list(messages)
    is_unlink = step is NextStep.UNLINK
    batching = unlink_batches if is_unlink else link_batches
    owners_share_calls = by_contact and not is_unlink
    if owners_share_calls or len(set(map(_OWNER_ID, messages))) == 1:
        yield from batching(messages, batch_size)
        return
    for _, members in groupby(sorted(messages, key=_OWNER_ID), key=_OWNER_ID):
        yield from batching(list(members), batch_size)


def cut_batches(
    states: Sequence[MessageState], step: NextStep, batch_size: int, *, by_contact: bool = False
) -> Iterator[list[MessageState]]:
    """Yield the batches of a step like `message_batches`; parts of a split batch stay apart."""
    by_row = {state.message.row: state for state in states}
    for _, members in groupby(sorted(states, key=_split_id), key=_split_id):
        messages = [state.message for state in members]
        for batch in message_batches(messages, step, batch_size, by_contact=by_contact):
            yield [by_row[message.row] for message in batch]


def _split_id(state: MessageState) -> int:
    return state.split_id


def first_batches(
    states: Sequence[MessageState], min_messages: int, batch_size: int, *, by_contact: bool
) -> list[MessageState]:
    """Return the states of the first whole batches of at least `min_messages` messages.

    Sending these first costs no extra call: they fill their link calls, and their unlink calls are
    among those that all messages together would be cut into. Messages left open by an earlier
    invocation go first, whatever step they need.

    Args:
        states: states of the open messages of one contact, with their snapshots read.
        min_messages: minimum messages to return.
        batch_size: maximum messages per call.
        by_contact: whether several owners share a link call.
    """
    chosen = [state for state in states if state.next_step not in _WRITE_STEPS]
    unsent = [state for state in states if state.next_step in _WRITE_STEPS]
    for group in _link_groups(unsent, by_contact=by_contact):
        if len(chosen) >= min_messages:
            break
        chosen += _first_whole_batches(group, min_messages - len(chosen), batch_size)
    return chosen


def _link_groups(
    states: Sequence[MessageState], *, by_contact: bool
) -> Iterator[list[MessageState]]:
    """Yield the states that share link calls, in the order of the plan."""
    if by_contact:
        yield list(states)
        return
    for _, members in groupby(states, key=lambda state: state.message.owner_id):
        yield list(members)


def _first_whole_batches(
    group: list[MessageState], min_messages: int, batch_size: int
) -> list[MessageState]:
    """Return whole batches of one group, or all of it if none can be split off."""
    links = [state for state in group if state.next_step is NextStep.LINK]
    chosen: list[MessageState] = []
    unlinks = [state for state in group if state.next_step is NextStep.UNLINK]
    for batch in cut_batches(unlinks, NextStep.UNLINK, batch_size):
        if len(chosen) >= min_messages and _links_to_fill(chosen, batch_size) <= len(links):
            break
        chosen += batch
    fill_count = _links_to_fill(chosen, batch_size)
    extra = max(0, min_messages - len(chosen) - fill_count)
    return chosen + links[: fill_count + -(-extra // batch_size) * batch_size]


def _links_to_fill(states: Iterable[MessageState], batch_size: int) -> int:
    """Return how many more links would fill the last link call, relinks included."""
    links = sum(
        state.next_step is NextStep.LINK or state.message.op is Op.RELINK for state in states
    )
    return -links % batch_size
