"""Plan of rows that need no check: hashed and measured as they are streamed, without a database.

`check` loads any mapping into a database, checks its rows against each other, and sorts them. The
inverse of a run is already in the order of a plan, and its ids and names are already clean, so it
is measured in a pass over its rows, in a fifth of the time and in constant memory. Whatever is
unusual is left to `check`; both describe the same plan.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from functools import lru_cache
from itertools import pairwise
from operator import ne
from typing import TYPE_CHECKING

from bulklink.mapping.name_cells import is_clean_name
from bulklink.mapping.plan_digest import RowHasher, RowHashes
from bulklink.mapping.plan_stats import SHORT_ID, GroupSizes, PlanStats, plan_stats_of
from bulklink.mapping.schema import (
    GUARD,
    ID_COLUMNS,
    MAX_ID_LENGTH,
    MAX_MESSAGE_ID_LENGTH,
    id_pattern,
)
from bulklink.models import GUARD_SEPARATOR, NO_DEAL, Op

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    Columns = Mapping[str, Sequence[str | None]]

#: Limits on what is kept: message ids of a group, and deals and owners without a name.
_MAX_KEPT = 10_000
_CACHED_TEXTS = 4096
_OPS = {op.value for op in Op}
_LINK, _UNLINK = Op.LINK.value, Op.UNLINK.value
_DEAL = f"(?:{id_pattern('deal_id')}|{NO_DEAL})"
_GUARD = re.compile(f"{_DEAL}(?:{re.escape(GUARD_SEPARATOR)}{_DEAL})*")
_Sizes = tuple[int, int, int]


class PlainPlan:
    """Plan of a mapping whose rows are streamed in the order of the plan.

    Attributes:
        is_plain: whether all rows so far are plain; if not, the mapping has to be checked.
        rows: number of rows.
    """

    rejected = duplicates = 0

    def __init__(self) -> None:
        self.is_plain = True
        self.rows = 0
        self._hasher = RowHasher()
        self._groups: Counter[tuple[_Sizes, int | None]] = Counter()
        self._contacts: Counter[_Sizes] = Counter()
        self._contact_messages = array("I")
        self._nameless: dict[str, set[str]] = {"deal": set(), "owner": set()}
        self._group = _Group(("", ""))
        self._contact: _Sizes = (0, 0, 0)

    @property
    def messages(self) -> int:
        """Number of messages: no row is refused or repeats another."""
        return self.rows

    def refusals(self) -> dict[str, int]:
        """Return the refused rows by reason: none."""
        return {}

    def add(self, columns: Columns) -> None:
        """Add the next rows.

        Args:
            columns: the texts of each column in `KNOWN_COLUMNS`; None for a missing one.
        """
        if not self.is_plain:
            return
        self.rows += len(columns["op"])
        self.is_plain = _are_plain(columns) and self._add_groups(columns)
        if self.is_plain:
            self._hasher.add(columns)

    def end(self) -> None:
        """Complete the plan after the last row."""
        self.is_plain = self._end_group() and self.is_plain
        self._end_contact()

    def hash_plan(self) -> RowHashes:
        """Return the hashes of the plan's rows."""
        return self._hasher.hashes()

    def plan_stats(self) -> PlanStats:
        """Return the sizes of the plan, which is complete."""
        return plan_stats_of(
            [GroupSizes(*sizes, n, length) for (sizes, length), n in self._groups.items()],
            [GroupSizes(*sizes, n) for sizes, n in self._contacts.items()],
            deals_without_name=len(self._nameless["deal"]),
            owners_without_name=len(self._nameless["owner"]),
            mixed_unlinks=lambda: iter(()),
            first_contacts=lambda limit: self._contact_messages[:limit].tolist(),
        )

    def _add_groups(self, columns: Columns) -> bool:
        """Add rows to their groups; return whether these are plain."""
        ops, messages = columns["op"], columns["message_id"]
        keys = list(zip(columns["contact_id"], columns["owner_id"], strict=True))
        ends = [end for end, differs in enumerate(map(ne, keys, keys[1:]), 1) if differs]
        for first, end in pairwise([0, *ends, len(keys)]):
            if keys[first] != self._group.key:
                if keys[first] <= self._group.key or not self._end_group():
                    return False
                if keys[first][0] != self._group.key[0]:
                    self._end_contact()
                self._group = _Group(keys[first])
            if not self._group.add(ops[first:end], messages[first:end]):
                return False
        return self._add_nameless(columns)

    def _add_nameless(self, columns: Columns) -> bool:
        """Keep the deals and owners without a name; return whether they are few enough."""
        for kind, nameless in self._nameless.items():
            names = columns[f"{kind}_name"]
            if None in names and columns["op"].count(_UNLINK) < len(names):
                rows = zip(columns["op"], names, columns[f"{kind}_id"], strict=True)
                nameless |= {
                    ident for op, name, ident in rows if ident and not name and op != _UNLINK
                }
        return all(len(nameless) <= _MAX_KEPT for nameless in self._nameless.values())

    def _end_group(self) -> bool:
        """Count the group that ends; return whether its unlinks have one length, or are short."""
        group = self._group
        sizes = (group.counts[Op.LINK], group.counts[Op.UNLINK], group.counts[Op.RELINK])
        is_uniform = group.shortest == group.longest or group.longest <= SHORT_ID
        length = group.longest or None
        if any(sizes):
            self._groups[sizes, length] += 1
        links, unlinks, relinks = self._contact
        self._contact = (links + sizes[0], unlinks + sizes[1], relinks + sizes[2])
        return is_uniform

    def _end_contact(self) -> None:
        if any(self._contact):
            self._contacts[self._contact] += 1
            self._contact_messages.append(sum(self._contact))
        self._contact = (0, 0, 0)


class _Group:
    """Messages of a contact and owner.

    Attributes:
        counts: number of messages by operation.
        shortest: length of the shortest message id to unlink or relink; 0 without one.
        longest: length of the longest one.
    """

    def __init__(self, key: tuple[str | None, ...]) -> None:
        self.key = key
        self.counts: Counter[str | None] = Counter()
        self.shortest = self.longest = 0
        self._message_ids: set[str | None] = set()

    def add(self, ops: Sequence[str | None], message_ids: Sequence[str | None]) -> bool:
        """Add messages; return whether the group is plain: not large, and without duplicates."""
        before = len(self._message_ids)
        self._message_ids.update(message_ids)
        self.counts.update(ops)
        lengths = [
            len(message_id)
            for op, message_id in zip(ops, message_ids, strict=True)
            if op != _LINK and message_id
        ]
        if lengths:
            shortest = min(lengths)
            self.shortest = min(self.shortest or shortest, shortest)
            self.longest = max(self.longest, max(lengths))  # noqa: PLW3301 - a call for each id
        after = len(self._message_ids)
        return after == before + len(message_ids) and after <= _MAX_KEPT


def _are_plain(columns: Columns) -> bool:
    """Return whether a check would leave every row as it is."""
    unlinks = [op == _UNLINK for op in columns["op"]]
    return (
        _OPS.issuperset(columns["op"])
        and [deal_id is None for deal_id in columns["deal_id"]] == unlinks
        and all(_are_ids(name, columns[name]) for name in ID_COLUMNS)
        and _all_plain(columns["owner_name"], _is_name)
        and _all_plain(columns["deal_name"], _is_name)
        and _all_plain(columns[GUARD], _is_guard)
    )


def _are_ids(column: str, texts: Iterable[str | None]) -> bool:
    """Return whether texts are clean ids of a column; a deal may be missing."""
    ids = [text for text in texts if text is not None]
    content = "".join(ids)
    raw = content.encode()
    is_valid = raw.isalnum() if column == "message_id" else raw.isdigit()
    lengths = [*map(len, ids)] or [1]
    most = MAX_MESSAGE_ID_LENGTH if column == "message_id" else MAX_ID_LENGTH
    in_range = min(lengths) > 0 and max(lengths) <= most
    return not ids or (is_valid and in_range)


def _all_plain(texts: Iterable[str | None], is_plain: Callable[[str], bool]) -> bool:
    return all(text is None or is_plain(text) for text in set(texts))


@lru_cache(_CACHED_TEXTS)
def _is_name(text: str) -> bool:
    return is_clean_name(text)


@lru_cache(_CACHED_TEXTS)
def _is_guard(text: str) -> bool:
    return _GUARD.fullmatch(text) is not None
