"""How many groups a plan has and how many calls they need."""
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
#: Twenty ids of this length and their commas fit into one unlink call.
SHORT_ID = 99

_TOTALS = """
SELECT count(*), coalesce(sum(links), 0), coalesce(sum(unlinks), 0), coalesce(sum(relinks), 0)
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
_NAMELESS = """
SELECT count(*) FROM (
    SELECT DISTINCT {ident}_id_number, {ident}_id_text FROM good
    WHERE {ident}_name IS NULL AND NOT repeated AND op <> 'unlink'
)
"""
#: The same where no row names its owner: the groups know them all.
_OWNERS = "SELECT count(DISTINCT owner_id) FROM groups WHERE links + relinks > 0"
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
    """The size of a plan's messages, as far as calls and look-ups depend on it.

    Attributes:
        groups: pairs of a contact and an owner.
        links: messages to link; unlinks and relinks likewise.
        pages_of_unlinks: pages to read at least so that every message is seen that is unlinked or
            relinked.
        pages_of_all: the same for every message.
        deals_without_name: different deals of links and relinks that name none; owners likewise.
        link_sizes: pairs of a number of messages to link in one group, and of such groups.
        contact_link_sizes: the same where all owners of a contact are one group.
        unlink_sizes: number of ids to unlink in one group, their length, number of such groups.
        mixed_unlinks: streams the lengths of the ids of every group that `unlink_sizes` leaves
            out, because its ids differ in length and some are long; works until the check is
            closed.
    """

    groups: int
    links: int
    unlinks: int
    relinks: int
    pages_of_unlinks: int
    pages_of_all: int
    deals_without_name: int
    owners_without_name: int
    link_sizes: tuple[tuple[int, int], ...]
    contact_link_sizes: tuple[tuple[int, int], ...]
    unlink_sizes: tuple[tuple[int, int, int], ...]
    mixed_unlinks: Callable[[], Iterator[list[int]]]

    def link_calls(self, batch_size: int, *, by_contact: bool = False) -> int:
        """Count the link calls that the groups need.

        Args:
            batch_size: most emails a call.
            by_contact: whether several owners of a contact share a call.
        """
        sizes = self.contact_link_sizes if by_contact else self.link_sizes
        return sum(-(-size // batch_size) * times for size, times in sizes)

    def unlink_calls(self, pack: Callable[[Sequence[int]], int]) -> int:
        """Count the unlink calls that the groups need.

        Args:
            pack: says how many calls ids of these lengths need.
        """
        same = sum(pack([length] * size) * times for size, length, times in self.unlink_sizes)
        return same + sum(map(pack, self.mixed_unlinks()))


def group_tables_sql(op: Op | None, statistics: RowStatistics) -> list[str]:
    """Build the statements that make `groups`: contacts and owners, numbered as they are sent.

    A table that is filled in their order numbers them; a window would do it with one thread.
    """
    key_columns = statistics.group_key_columns()
    ids = [
        f"coalesce({column}_number::VARCHAR, {column}_text)"
        if f"{column}_text" in key_columns
        else f"{column}_number::VARCHAR"
        for column in ("contact_id", "owner_id")
    ]
    lengths = [f"{least}(length(message_id))" for least in ("min", "max")]
    if op is Op.LINK:
        lengths = ["NULL::BIGINT", "NULL::BIGINT"]
    elif op is None:
        lengths = [f"{length} FILTER (op <> 'link')" for length in lengths]
    return [
        f"CREATE TABLE sizes AS SELECT {', '.join(key_columns)}, {ids[0]} AS contact_id, "
        f"{ids[1]} AS owner_id,"
        f" {', '.join(f'{_count(length, op)} AS {length.value}s' for length in Op)}, "
        f"{lengths[0]} AS shortest, {lengths[1]} AS longest "
        f"FROM good WHERE NOT repeated GROUP BY {', '.join(key_columns)} ORDER BY contact_id,"
        " owner_id",
        "CREATE VIEW groups AS SELECT rowid + 1 AS number, * FROM sizes",
    ]


def _count(counted_op: Op, op: Op | None) -> str:
    """Count the rows of one operation; where all have the same there is less to look at."""
    if op is None:
        return f"count(*) FILTER (op = '{counted_op.value}')"
    return "count(*)" if op is counted_op else "0::BIGINT"


def measure_plan(
    database: Database,
    options: MappingOptions,
    columns: Sequence[MappingColumn],
    statistics: RowStatistics,
) -> PlanStats:
    """Measure the plan in a database in which the rows are checked and grouped."""
    groups, links, unlinks, relinks = map(int, database.fetch_one(_TOTALS))
    pages_of_unlinks, pages_of_all = map(int, database.fetch_one(_PAGES))
    known = {column.known for column in columns}
    deals, owners = (
        int(database.fetch_one(query)[0]) if query else 0
        for query in _nameless(known, options, statistics)
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
        link_sizes=tuple((size, times) for size, times in database.rows(_LINK_SIZES)),
        contact_link_sizes=tuple(
            (size, times) for size, times in database.rows(_CONTACT_LINK_SIZES)
        ),
        unlink_sizes=tuple((n, length, times) for n, length, times in database.rows(_UNLINK_SIZES)),
        mixed_unlinks=lambda: _grouped(database.rows(_MIXED_UNLINKS)),
    )


def _nameless(
    known: Collection[str | None], options: MappingOptions, statistics: RowStatistics
) -> Iterator[str | None]:
    """Build what counts deals and owners without a name; None where each row has one."""
    defaults = {column for column, value in options.defaults if value.strip()}
    for ident, name in (("deal", "deal_name"), ("owner", "owner_name")):
        if name in defaults or (name in known and not statistics.flags & CHANGED_NAME[name]):
            yield None
        elif ident == "owner" and name not in known:
            yield _OWNERS
        else:
            yield _NAMELESS.format(ident=ident)


def _grouped(rows: Iterable[tuple[int, int]]) -> Iterator[list[int]]:
    number, lengths = 0, list[int]()
    for group, length in rows:
        if group != number and lengths:
            yield lengths
            lengths = []
        number = group
        lengths.append(length)
    if lengths:
        yield lengths
