"""Sizes of a plan, for forecasting calls and look-ups."""
# ruff: noqa: S608

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import msgspec

from bulklink.mapping.load import CHANGED_NAME
from bulklink.models import Op

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from bulklink.mapping.database import Database
    from bulklink.mapping.headers import MappingColumn
    from bulklink.mapping.schema import MappingOptions
    from bulklink.mapping.validate import RowStatistics

_Size = TypeVar("_Size", int, tuple[int, int])

#: Emails on a page of the read call.
PAGE_EMAILS = 10
#: Maximum length of ids of which twenty, with commas, fit into one unlink call.
SHORT_ID = 99

#: The length is NULL where the ids to unlink differ in length and some are long.
_GROUP_SIZES = f"""
SELECT links, unlinks, relinks, count(*),
    CASE WHEN shortest = longest OR longest <= {SHORT_ID} THEN longest END AS length
FROM groups GROUP BY ALL
"""
_CONTACT_SIZES = """
SELECT links, unlinks, relinks, count(*) FROM (
    SELECT sum(links)::BIGINT AS links, sum(unlinks)::BIGINT AS unlinks,
        sum(relinks)::BIGINT AS relinks
    FROM groups GROUP BY contact_id
) GROUP BY ALL
"""
_FIRST_CONTACTS = """
SELECT sum(links + unlinks + relinks)::BIGINT AS messages FROM groups
GROUP BY contact_id ORDER BY min(number) LIMIT {limit}
"""
_NAMELESS = """
SELECT count(*) FROM (
    SELECT DISTINCT {ident}_id_number, {ident}_id_text FROM good
    WHERE {ident}_name IS NULL AND NOT repeated AND op <> 'unlink'
)
"""
#: Counts the owners if no row names its owner: the groups include all of them.
_ALL_OWNERS = "SELECT count(DISTINCT owner_id) FROM groups WHERE links + relinks > 0"
_MIXED_UNLINKS = f"""
SELECT number, length(message_id) FROM good JOIN groups USING (contact_id, owner_id)
WHERE shortest <> longest AND longest > {SHORT_ID} AND op <> 'link' AND NOT repeated
ORDER BY number, row
"""


class GroupSizes(NamedTuple):
    """Numbers of messages of a contact or group, and how many contacts or groups have the same.

    `length` is the length of each id to unlink, or of the longest if all are short.
    """

    links: int
    unlinks: int
    relinks: int
    times: int
    length: int | None = None

    @property
    def changed(self) -> int:
        """Messages that an unlink call removes from their deal."""
        return self.unlinks + self.relinks

    @property
    def linked(self) -> int:
        """Messages that a link call puts on their deal."""
        return self.links + self.relinks


class PlanStats(msgspec.Struct, frozen=True):
    """Sizes of a plan that determine the number of calls and look-ups.

    Args:
        groups: pairs of a contact and an owner.
        links: messages to link.
        unlinks: messages to unlink.
        relinks: messages to relink.
        pages_of_unlinks: minimum number of pages that show every message to unlink or relink.
        pages_of_all: minimum number of pages that show every message.
        deals_without_name: distinct deals of links and relinks without a name.
        owners_without_name: distinct owners of links and relinks without a name.
        contact_sizes: emails of a contact to unlink or relink, emails to link, number of such
            contacts.
        link_sizes: messages to link in a group, number of such groups.
        contact_link_sizes: the same if all owners of a contact are one group.
        unlink_sizes: ids to unlink in a group, their length, number of such groups.
        mixed_unlinks: streams the lengths of the ids of each group that `unlink_sizes` omits
            because they differ and some are long; valid until the mapping is closed.
        first_contacts: returns the number of emails of each of the first n contacts, in the order
            of sending; valid until the mapping is closed.
    """

    groups: int
    links: int
    unlinks: int
    relinks: int
    pages_of_unlinks: int
    pages_of_all: int
    deals_without_name: int
    owners_without_name: int
    contact_sizes: tuple[tuple[int, int, int], ...]
    link_sizes: tuple[tuple[int, int], ...]
    contact_link_sizes: tuple[tuple[int, int], ...]
    unlink_sizes: tuple[tuple[int, int, int], ...]
    mixed_unlinks: Callable[[], Iterator[list[int]]]
    first_contacts: Callable[[int], list[int]]

    @property
    def messages(self) -> dict[Op, int]:
        """Messages of each operation."""
        return {Op.LINK: self.links, Op.UNLINK: self.unlinks, Op.RELINK: self.relinks}

    @property
    def pages_of_links(self) -> int:
        """Minimum number of pages that show every message to link."""
        return sum(-(-links // PAGE_EMAILS) * n for _, links, n in self.contact_sizes)

    @property
    def ops(self) -> tuple[Op, ...]:
        """Operations with messages."""
        return tuple(op for op, messages in self.messages.items() if messages)

    def link_calls(self, batch_size: int, *, by_contact: bool = False) -> int:
        """Count the link calls that the groups need.

        Args:
            batch_size: maximum number of emails in a call.
            by_contact: whether several owners of a contact share a call.
        """
        sizes = self.contact_link_sizes if by_contact else self.link_sizes
        return sum(-(-size // batch_size) * times for size, times in sizes)

    def unlink_calls(self, pack: Callable[[Sequence[int]], int]) -> int:
        """Count the unlink calls that the groups need.

        Args:
            pack: returns the number of calls that ids of these lengths need.
        """
        uniform = sum(pack([length] * size) * times for size, length, times in self.unlink_sizes)
        return uniform + sum(map(pack, self.mixed_unlinks()))


def group_tables_sql(
    op: Op | None, statistics: RowStatistics, *, orphans: bool = False
) -> list[str]:
    """Build the statements that create `groups`: contacts and owners, numbered in sending order.

    The rowid of a table that is filled in order numbers them; a window function would use only
    one thread.

    Args:
        op: operation of every row; None if they differ.
        statistics: totals over the rows.
        orphans: whether refused rows may have duplicates, which have groups too.
    """
    sent = " FILTER (NOT repeated)" if orphans else ""
    where = "" if orphans else "WHERE NOT repeated "
    key_columns = statistics.group_key_columns()
    ids = [
        f"coalesce({column}_number::VARCHAR, {column}_text)"
        if f"{column}_text" in key_columns
        else f"{column}_number::VARCHAR"
        for column in ("contact_id", "owner_id")
    ]
    lengths = [f"{least}(length(message_id)){sent}" for least in ("min", "max")]
    if op is Op.LINK:
        lengths = ["NULL::BIGINT", "NULL::BIGINT"]
    elif op is None:
        changed = "FILTER (op <> 'link' AND NOT repeated)"
        lengths = [f"{least}(length(message_id)) {changed}" for least in ("min", "max")]
    return [
        f"CREATE TABLE sizes AS SELECT {', '.join(key_columns)}, {ids[0]} AS contact_id, "
        f"{ids[1]} AS owner_id,"
        f" {', '.join(f'{_count_sql(counted, op, sent)} AS {counted.value}s' for counted in Op)}, "
        f"{lengths[0]} AS shortest, {lengths[1]} AS longest "
        f"FROM good {where}GROUP BY {', '.join(key_columns)} ORDER BY contact_id, owner_id",
        "CREATE VIEW groups AS SELECT rowid + 1 AS number, * FROM sizes",
    ]


def _count_sql(counted_op: Op, op: Op | None, sent: str) -> str:
    """Build the count of the rows of one operation; it is cheaper if all rows have the same."""
    if op is None:
        return f"count(*) FILTER (op = '{counted_op.value}' AND NOT repeated)"
    return f"count(*){sent}" if op is counted_op else "0::BIGINT"


def measure_plan(
    database: Database,
    options: MappingOptions,
    columns: Sequence[MappingColumn],
    statistics: RowStatistics,
    *,
    all_named: bool = False,
) -> PlanStats:
    """Measure a plan whose rows are checked and grouped in the database.

    Args:
        database: holds the rows.
        options: options for reading the mapping.
        columns: the user's columns.
        statistics: totals over its rows.
        all_named: whether missing names were looked up.
    """
    groups = [GroupSizes(*row) for row in database.rows(_GROUP_SIZES)]
    contacts = [GroupSizes(*row) for row in database.rows(_CONTACT_SIZES)]
    known = {column.known for column in columns}
    deals, owners = (
        int(database.fetch_one(query)[0]) if query and not all_named else 0
        for query in _nameless_queries(known, options, statistics)
    )
    has_mixed = any(group.changed and group.length is None for group in groups)
    return plan_stats_of(
        groups,
        contacts,
        deals_without_name=deals,
        owners_without_name=owners,
        mixed_unlinks=lambda: _lengths_by_group(database.rows(_MIXED_UNLINKS) if has_mixed else ()),
        first_contacts=lambda limit: [
            messages for (messages,) in database.rows(_FIRST_CONTACTS.format(limit=limit))
        ],
    )


def plan_stats_of(
    groups: Sequence[GroupSizes],
    contacts: Sequence[GroupSizes],
    *,
    deals_without_name: int,
    owners_without_name: int,
    mixed_unlinks: Callable[[], Iterator[list[int]]],
    first_contacts: Callable[[int], list[int]],
) -> PlanStats:
    """Return the sizes of a plan by those of its groups.

    Args:
        groups: sizes of the groups.
        contacts: sizes of the contacts, without a length.
        deals_without_name: as in `PlanStats`.
        owners_without_name: as in `PlanStats`.
        mixed_unlinks: as in `PlanStats`.
        first_contacts: as in `PlanStats`.
    """
    return PlanStats(
        groups=sum(group.times for group in groups if group.links + group.changed),
        links=sum(group.links * group.times for group in groups),
        unlinks=sum(group.unlinks * group.times for group in groups),
        relinks=sum(group.relinks * group.times for group in groups),
        pages_of_unlinks=sum(_pages(contact.changed) * contact.times for contact in contacts),
        pages_of_all=sum(
            _pages(contact.links + contact.changed) * contact.times for contact in contacts
        ),
        deals_without_name=deals_without_name,
        owners_without_name=owners_without_name,
        contact_sizes=tuple(
            (changed, links, times)
            for (changed, links), times in _count(
                ((contact.changed, contact.links), contact.times) for contact in contacts
            )
        ),
        link_sizes=tuple(_count((group.linked, group.times) for group in groups if group.linked)),
        contact_link_sizes=tuple(
            _count((contact.linked, contact.times) for contact in contacts if contact.linked)
        ),
        unlink_sizes=tuple(
            (changed, length, times)
            for (changed, length), times in _count(
                ((group.changed, group.length), group.times)
                for group in groups
                if group.changed and group.length is not None
            )
        ),
        mixed_unlinks=mixed_unlinks,
        first_contacts=first_contacts,
    )


def _pages(emails: int) -> int:
    return -(-emails // PAGE_EMAILS)


def _count(sizes: Iterable[tuple[_Size, int]]) -> list[tuple[_Size, int]]:
    """Add up how many times each size occurs; return the sizes in order, with these counts."""
    counts: dict[_Size, int] = defaultdict(int)
    for size, times in sizes:
        counts[size] += times
    return sorted(counts.items())


def _nameless_queries(
    known: Collection[str | None], options: MappingOptions, statistics: RowStatistics
) -> Iterator[str | None]:
    """Yield the query that counts deals without a name, then owners; None if all have one."""
    for ident, name in (("deal", "deal_name"), ("owner", "owner_name")):
        if options.default_values.get(name) or (
            name in known and not statistics.flags & CHANGED_NAME[name]
        ):
            yield None
        elif ident == "owner" and name not in known:
            yield _ALL_OWNERS
        else:
            yield _NAMELESS.format(ident=ident)


def _lengths_by_group(rows: Iterable[tuple[int, int]]) -> Iterator[list[int]]:
    number, lengths = 0, list[int]()
    for group, length in rows:
        if group != number and lengths:
            yield lengths
            lengths = []
        number = group
        lengths.append(length)
    if lengths:
        yield lengths
