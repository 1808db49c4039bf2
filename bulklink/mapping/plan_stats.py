"""Sizes of a plan, for forecasting calls and look-ups."""
# ruff: noqa: S608

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from bulklink.mapping.load import CHANGED_NAME
from bulklink.models import Op

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Sequence

    from bulklink.mapping.database import Database
    from bulklink.mapping.headers import MappingColumn
    from bulklink.mapping.schema import MappingOptions
    from bulklink.mapping.validate import RowStatistics

#: Emails on a page of the read call.
PAGE_EMAILS = 10
#: Maximum length of ids of which twenty, with commas, fit into one unlink call.
SHORT_ID = 99

_TOTALS = """
SELECT count(*) FILTER (links + unlinks + relinks > 0),
    coalesce(sum(links), 0), coalesce(sum(unlinks), 0), coalesce(sum(relinks), 0)
FROM groups
"""
_PAGES = f"""
SELECT coalesce(sum((changed + {PAGE_EMAILS - 1}) // {PAGE_EMAILS}), 0),
    coalesce(sum((messages + {PAGE_EMAILS - 1}) // {PAGE_EMAILS}), 0)
FROM (
    SELECT sum(unlinks + relinks) AS changed, sum(links + unlinks + relinks) AS messages
    FROM groups GROUP BY contact_id
)
"""
_CONTACT_SIZES = """
SELECT changed, links, count(*) FROM (
    SELECT sum(unlinks + relinks)::BIGINT AS changed, sum(links)::BIGINT AS links
    FROM groups GROUP BY contact_id
) GROUP BY changed, links ORDER BY changed, links
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
_LINK_SIZES = """
SELECT links + relinks AS size, count(*) FROM groups WHERE links + relinks > 0
GROUP BY size ORDER BY size
"""
_CONTACT_LINK_SIZES = """
SELECT size, count(*) FROM (
    SELECT sum(links + relinks)::BIGINT AS size FROM groups GROUP BY contact_id
) WHERE size > 0 GROUP BY size ORDER BY size
"""
_UNLINK_SIZES = f"""
SELECT unlinks + relinks AS size, longest, count(*) FROM groups
WHERE unlinks + relinks > 0 AND (shortest = longest OR longest <= {SHORT_ID})
GROUP BY size, longest ORDER BY size, longest
"""
_MIXED_UNLINKS = f"""
SELECT number, length(message_id) FROM good JOIN groups USING (contact_id, owner_id)
WHERE shortest <> longest AND longest > {SHORT_ID} AND op <> 'link' AND NOT repeated
ORDER BY number, row
"""


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
    groups, links, unlinks, relinks = map(int, database.fetch_one(_TOTALS))
    pages_of_unlinks, pages_of_all = map(int, database.fetch_one(_PAGES))
    known = {column.known for column in columns}
    deals, owners = (
        int(database.fetch_one(query)[0]) if query and not all_named else 0
        for query in _nameless_queries(known, options, statistics)
    )
    return PlanStats(
        groups=groups,
        links=links,
        unlinks=unlinks,
        relinks=relinks,
        pages_of_unlinks=pages_of_unlinks,
        pages_of_all=pages_of_all,
        deals_without_name=deals,
        owners_without_name=owners,
        contact_sizes=tuple(
            (changed, links, contacts) for changed, links, contacts in database.rows(_CONTACT_SIZES)
        ),
        link_sizes=tuple((size, times) for size, times in database.rows(_LINK_SIZES)),
        contact_link_sizes=tuple(
            (size, times) for size, times in database.rows(_CONTACT_LINK_SIZES)
        ),
        unlink_sizes=tuple((n, length, times) for n, length, times in database.rows(_UNLINK_SIZES)),
        mixed_unlinks=lambda: _lengths_by_group(database.rows(_MIXED_UNLINKS)),
        first_contacts=lambda limit: [
            messages for (messages,) in database.rows(_FIRST_CONTACTS.format(limit=limit))
        ],
    )


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
