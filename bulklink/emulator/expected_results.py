"""Expected results and final links of a run over a synthetic mapping."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec

from bulklink.emulator.invalid_rows import invalid_row
from bulklink.emulator.link_digest import LinkDigest
from bulklink.emulator.settings import MAX_ITEMS_PER_CALL, MAX_MESSAGE_IDS_CHARACTERS
from bulklink.emulator.synthetic import InitialLink, RowKind, SyntheticRow, SyntheticWorld


class Operation(StrEnum):
    """Operation of a run over the mapping."""

    LINK = "link"
    RELINK = "relink"
    UNLINK = "unlink"


class ExpectedResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """Result that a correct run reports for a row.

    Args:
        status: status of the row in the report.
        code: the code that the report must show, or None.
    """

    status: str
    code: str | None = None


_DONE = ExpectedResult("done")
_UNCHANGED = ExpectedResult("unchanged")
_DUPLICATE = ExpectedResult("duplicate")
_CONFLICT = ExpectedResult("rejected", "conflict")
_FAILED = ExpectedResult("failed", "ALREADY_LINKED")


_RESULT_BY_LINK = {
    (Operation.LINK, InitialLink.NONE): _DONE,
    (Operation.LINK, InitialLink.RIGHT): _UNCHANGED,
    (Operation.LINK, InitialLink.WRONG): _FAILED,
    (Operation.RELINK, InitialLink.NONE): _DONE,
    (Operation.RELINK, InitialLink.RIGHT): _UNCHANGED,
    (Operation.RELINK, InitialLink.WRONG): _DONE,
    (Operation.UNLINK, InitialLink.NONE): _UNCHANGED,
    (Operation.UNLINK, InitialLink.RIGHT): _DONE,
    (Operation.UNLINK, InitialLink.WRONG): _DONE,
}


class RowFacts(msgspec.Struct, frozen=True):
    """Facts about a row before any run.

    Args:
        row: the row.
        link: the initial link of its message.
        is_conflict: whether the mapping names two deals for its message.
        is_repeat: whether an earlier row names the same message.
    """

    row: SyntheticRow
    link: InitialLink
    is_conflict: bool
    is_repeat: bool


def row_facts(synthetic: SyntheticWorld, position: int) -> RowFacts:
    """Return the facts about the row at `position` of the mapping, counted from 0."""
    row = synthetic.row_at(position)
    if row.kind is RowKind.INVALID:
        return RowFacts(row, InitialLink.NONE, is_conflict=False, is_repeat=False)
    good_position, repeat_position = synthetic.row_positions(row.message)
    is_repeat = repeat_position is not None and position == max(good_position, repeat_position)
    is_conflict = repeat_position is not None and synthetic.is_conflict(row.message)
    return RowFacts(row, synthetic.initial_link(row.message), is_conflict, is_repeat)


def usual_result(synthetic: SyntheticWorld, op: Operation) -> ExpectedResult:
    """Return the result that most rows have."""
    linked_share = synthetic.recipe.linked_right + synthetic.recipe.linked_wrong
    return _UNCHANGED if op is Operation.UNLINK and linked_share < 0.5 else _DONE


def expected_result(facts: RowFacts, op: Operation) -> ExpectedResult:
    """Return the result that a correct run of `op` reports for a row.

    A correct run skips invalid rows and reads links back. An email already on the target deal (for
    an unlink: on no deal) is unchanged. An unlink ignores the deal, so rows that conflict when
    linking are duplicates when unlinking.
    """
    if facts.row.kind is RowKind.INVALID:
        return ExpectedResult("rejected", invalid_row(facts.row.index_in_kind).code)
    if op is not Operation.UNLINK and facts.is_conflict:
        return _CONFLICT
    return _DUPLICATE if facts.is_repeat else _RESULT_BY_LINK[op, facts.link]


class MessageFacts(msgspec.Struct, frozen=True):
    """Facts about a message before any run.

    Args:
        contact_id: its contact.
        message_id: its id.
        group: the number of its group: one contact and one owner.
        initial_deal_id: the deal it is on, or None.
        target_deal_id: the deal that the mapping names for it.
        link: how its initial deal compares with its target deal.
        is_conflict: whether the mapping names two deals for it.
    """

    contact_id: str
    message_id: str
    group: int
    initial_deal_id: str | None
    target_deal_id: str
    link: InitialLink
    is_conflict: bool


def message_facts(synthetic: SyntheticWorld, message: int) -> MessageFacts:
    """Return the facts about a message."""
    contact, link, target_deal = (
        synthetic.contact_of(message),
        synthetic.initial_link(message),
        synthetic.deal_of(message),
    )
    initial_deal = {
        InitialLink.NONE: None,
        InitialLink.RIGHT: target_deal,
        InitialLink.WRONG: synthetic.other_deal(message),
    }[link]
    return MessageFacts(
        contact_id=synthetic.contact_id(contact),
        message_id=synthetic.message_id(message),
        group=contact * synthetic.recipe.owners_per_contact + synthetic.owner_slot(message),
        initial_deal_id=None if initial_deal is None else synthetic.deal_id(initial_deal),
        target_deal_id=synthetic.deal_id(target_deal),
        link=link,
        is_conflict=synthetic.is_conflict(message),
    )


def expected_deal_id(facts: MessageFacts, op: Operation) -> str | None:
    """Return the deal that a message is on after a correct run."""
    if op is Operation.UNLINK:
        return None
    is_refused = op is Operation.LINK and facts.link is InitialLink.WRONG
    return facts.initial_deal_id if facts.is_conflict or is_refused else facts.target_deal_id


@dataclass(slots=True)
class ExpectedTotals:
    """Expected totals of one operation.

    Args:
        op: the operation.
        synthetic: the world and its mapping.
    """

    op: Operation
    synthetic: SyntheticWorld
    _counts: Counter[str] = field(default_factory=Counter, init=False)
    _digest: LinkDigest = field(default_factory=LinkDigest, init=False)
    _group_sizes: array[int] = field(init=False)

    def __post_init__(self) -> None:
        recipe = self.synthetic.recipe
        group_count = recipe.contacts * recipe.owners_per_contact
        self._group_sizes = array("L", bytes(array("L").itemsize * group_count))

    def add_row(self, result: ExpectedResult) -> None:
        """Add the result of a row of the mapping."""
        self._counts[result.status] += 1

    def add_message(self, facts: MessageFacts) -> None:
        """Add a message of the world."""
        self._digest.add(facts.contact_id, facts.message_id, expected_deal_id(facts, self.op))
        if self.op is Operation.UNLINK or not facts.is_conflict:
            self._group_sizes[facts.group] += 1

    def as_dict(self) -> dict[str, object]:
        """Return the counts by status, the fewest calls, and the digest of the final links."""
        names = ("done", "unchanged", "failed", "in_doubt", "rejected", "duplicate", "pending")
        return {
            "counts": {name: self._counts[name] for name in names},
            "least": self._fewest_calls(),
            "exit_code": 1 if self._counts["failed"] + self._counts["rejected"] else 0,
            "digest": str(self._digest),
        }

    def _fewest_calls(self) -> int:
        link_calls, unlink_calls = (
            _count_calls(self._group_sizes, MAX_ITEMS_PER_CALL),
            _count_calls(self._group_sizes, self._max_unlink_items),
        )
        return {
            Operation.LINK: link_calls,
            Operation.UNLINK: unlink_calls,
            Operation.RELINK: link_calls + unlink_calls,
        }[self.op]

    @property
    def _max_unlink_items(self) -> int:
        """Number of message ids that fit in one query, joined by commas."""
        fitting_count = (MAX_MESSAGE_IDS_CHARACTERS + 1) // (
            self.synthetic.recipe.message_id_length + 1
        )
        return min(MAX_ITEMS_PER_CALL, fitting_count)


def _count_calls(group_sizes: Iterable[int], max_items: int) -> int:
    return sum(-(-size // max_items) for size in group_sizes)
