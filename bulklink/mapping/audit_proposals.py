"""Proposals of an audit, in its file of verdicts: their digest, random samples, demotion.

A sample is the start of a random order of the proposals of each tier, by a hash of the digest of
the audit and of each proposal. The same audit draws the same emails, and a larger sample begins
with a smaller one. Tiers are those that the audit gave (`judged_tier`), also after a demotion.
"""
# ruff: noqa: S608

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import msgspec

from bulklink.duckdb_sql import literal, metadata_option
from bulklink.mapping.database import Database
from bulklink.mapping.verdict_table import open_verdicts, read_metadata
from bulklink.models import NO_DEAL

_REQUIRED = (
    *("contact_id", "conversation", "message_id", "owner_id", "owner_name", "subject", "time"),
    *("direction", "from_deal_id", "from_deal_name", "kind", "tier", "judged_tier", "deal_id"),
    *("scores",),
)
_DIGEST_PREFIX = "audit-"
"""Keeps a spreadsheet from taking a digest for a number."""
_DIGEST_CHARACTERS = 16
_ROW_GROUP_ROWS = 16_384
_MAX_NEARBY = 20
"""Emails of a conversation that are shown with a drawn one."""
_TIERS = ("sure", "likely", "look")


class DrawnProposal(msgspec.Struct, frozen=True):
    """A proposal of a sample.

    Args:
        tier: tier that the audit gave it.
        number: its place in the random order of the tier, from 1.
        kind: the proposed change.
        contact_id: id of the contact.
        owner_id: user whose mailbox holds the email; None if unknown.
        owner_name: name of that user.
        message_id: id of the email.
        subject: its subject.
        time: when it was sent, ISO 8601.
        from_deal_id: the deal that it is on; None for none.
        from_deal_name: name of that deal.
        deal_id: the proposed deal; None for none.
        scores: the candidates of its conversation, as JSON.
        nearby: the first emails of its conversation, as JSON: objects with `time`, `direction`,
            `subject` and `deal`.
    """

    tier: str
    number: int
    kind: str
    contact_id: str
    owner_id: str | None
    owner_name: str | None
    message_id: str
    subject: str | None
    time: str | None
    from_deal_id: str | None
    from_deal_name: str | None
    deal_id: str | None
    scores: str | None
    nearby: str


class AuditProposals:
    """The proposals in an open file of verdicts.

    Args:
        database: reads the file.
        path: the file.
        relation: SQL of its rows.
    """

    def __init__(self, database: Database, path: Path, relation: str) -> None:
        self._database = database
        self._path = path
        self._verdicts = relation

    @cached_property
    def digest(self) -> str:
        """A digest of all proposals, whatever their order and their tiers."""
        digest = hashlib.sha256()
        query = f"SELECT {_KEY} FROM {self._verdicts} WHERE kind IS NOT NULL ORDER BY 1"
        for batch in self._database.batches(query):
            digest.update("".join(key for (key,) in batch).encode())
        return _DIGEST_PREFIX + digest.hexdigest()[:_DIGEST_CHARACTERS]

    def count(self) -> dict[tuple[str, str], int]:
        """Return the number of proposals by the tier that the audit gave, and kind."""
        return self._count("judged_tier")

    def count_after(self, tiers: Mapping[tuple[str, str], str]) -> dict[tuple[str, str], int]:
        """Return the number of proposals by tier and kind after a demotion.

        Args:
            tiers: new tier by the tier that the audit gave, and kind.
        """
        return self._count(demoted_tier_sql(tiers))

    def _count(self, tier: str) -> dict[tuple[str, str], int]:
        query = (
            f"SELECT {tier} AS counted, kind, count(*) FROM {self._verdicts} WHERE kind IS NOT NULL"
            " GROUP BY ALL"
        )
        return {(name, kind): count for name, kind, count in self._database.rows(query)}

    def draw(self, sizes: Mapping[str, int]) -> Iterator[DrawnProposal]:
        """Yield a random sample of each tier, in random order.

        Args:
            sizes: number of emails by tier; all of a tier that has fewer.
        """
        limits = " OR ".join(
            f"(judged_tier = {literal(tier)} AND number <= {size})" for tier, size in sizes.items()
        )
        query = _DRAWN.format(
            verdicts=self._verdicts,
            ordered=self._ordered,
            limits=limits,
            tiers=", ".join(map(literal, _TIERS)),
            no_deal=literal(NO_DEAL),
            max_nearby=_MAX_NEARBY,
        )
        for row in self._database.rows(query):
            yield DrawnProposal(*row)

    def find_number(self, tier: str, kind: str, count: int) -> int:
        """Return how many emails of a tier must be drawn to have some number of one kind.

        Args:
            tier: the tier that the audit gave.
            kind: kind of change.
            count: emails of this kind to draw; no more than there are.
        """
        query = (
            f"SELECT coalesce(max(number), 0) FROM (SELECT number FROM {self._ordered}"
            f" WHERE judged_tier = {literal(tier)} AND kind = {literal(kind)}"
            f" ORDER BY number LIMIT {count})"
        )
        return int(self._database.fetch_one(query)[0])

    @cached_property
    def _ordered(self) -> str:
        """The table of all proposals with their numbers in the random order of their tier."""
        statement = _ORDER.format(verdicts=self._verdicts, key=_KEY, digest=literal(self.digest))
        self._database.execute(statement)
        return "ordered"

    def count_demoted(self, tiers: Mapping[tuple[str, str], str]) -> int:
        """Return how many proposals get a lower tier.

        Args:
            tiers: new tier by the tier that the audit gave, and kind.
        """
        lower = f"tier <> {demoted_tier_sql(tiers)}"
        query = f"SELECT count(*) FROM {self._verdicts} WHERE {lower}"
        return int(self._database.fetch_one(query)[0])

    def write_demoted(self, target: Path, tiers: Mapping[tuple[str, str], str]) -> None:
        """Write the verdicts with lower tiers to a file.

        Args:
            target: the file.
            tiers: new tier by the tier that the audit gave, and kind.
        """
        query = f"SELECT * REPLACE ({demoted_tier_sql(tiers)} AS tier) FROM {self._verdicts}"
        options = ["FORMAT parquet", f"ROW_GROUP_SIZE {_ROW_GROUP_ROWS}"]
        if metadata := read_metadata(self._database, self._path):
            options.append(metadata_option(metadata))
        self._database.copy(query, target, *options)


@contextmanager
def open_proposals(path: Path) -> Iterator[AuditProposals]:
    """Open the proposals of an audit; blocks.

    Args:
        path: file of verdicts that the audit wrote.

    Raises:
        BadFileError: if it is not such a file.
    """
    with open_verdicts(path, _REQUIRED) as (database, relation):
        yield AuditProposals(database, path, relation)


def demoted_tier_sql(tiers: Mapping[tuple[str, str], str]) -> str:
    """Build the tier of a verdict after a demotion.

    Args:
        tiers: new tier by the tier that the audit gave, and kind. No tier is raised.
    """
    cases = "".join(
        f" WHEN judged_tier = {literal(judged)} AND kind = {literal(kind)}"
        f" AND tier IN ({', '.join(map(literal, _TIERS[: _TIERS.index(tier)]))})"
        f" THEN {literal(tier)}"
        for (judged, kind), tier in tiers.items()
        if tier != _TIERS[0]
    )
    return f"(CASE{cases} ELSE tier END)" if cases else "tier"


_KEY = (
    "sha256(concat_ws(chr(31), contact_id, coalesce(owner_id, ''), message_id, kind,"
    f" coalesce(deal_id, '{NO_DEAL}')))"
)
_ORDER = """
CREATE TABLE ordered AS
SELECT row, judged_tier, kind, contact_id, conversation,
    row_number() OVER (PARTITION BY judged_tier ORDER BY place, key) AS number
FROM (
    SELECT *, sha256(concat({digest}, key)) AS place FROM (
        SELECT row_number() OVER () AS row, contact_id, conversation, kind, judged_tier,
            {key} AS key
        FROM {verdicts}
    ) WHERE kind IS NOT NULL
)
"""
_DRAWN = """
WITH drawn AS (SELECT * FROM {ordered} WHERE {limits}),
emails AS (
    SELECT * FROM (SELECT row_number() OVER () AS row, * FROM {verdicts})
    SEMI JOIN drawn USING (contact_id, conversation)
),
conversations AS (
    SELECT contact_id, conversation, to_json(list({{
        'time': time, 'direction': direction, 'subject': subject,
        'deal': coalesce(from_deal_name, nullif(from_deal_id, {no_deal}))
    }} ORDER BY row)[:{max_nearby}])::VARCHAR AS nearby
    FROM emails GROUP BY contact_id, conversation
)
SELECT drawn.judged_tier, number, drawn.kind, drawn.contact_id, owner_id, owner_name, message_id,
    subject, time, nullif(from_deal_id, {no_deal}), from_deal_name, deal_id, known_scores,
    nearby
FROM (
    SELECT *, last_value(scores IGNORE NULLS) OVER (
        PARTITION BY contact_id, conversation ORDER BY row ROWS UNBOUNDED PRECEDING
    ) AS known_scores
    FROM emails
) AS known
JOIN drawn USING (row)
JOIN conversations ON conversations.contact_id = drawn.contact_id
    AND conversations.conversation = drawn.conversation
ORDER BY list_position([{tiers}], drawn.judged_tier), number
"""
