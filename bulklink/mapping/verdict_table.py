"""Verdicts on emails, read back from the Parquet file of an audit."""
# ruff: noqa: S608

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import msgspec

from bulklink.duckdb_sql import identifier, literal
from bulklink.errors import BadFileError
from bulklink.mapping.database import DamagedTableError, Database, open_database
from bulklink.mapping.interrupt import PlanningStop

_MEMORY = "256MB"
_SCORES = "scores"
_REQUIRED = frozenset(("contact_id", "conversation", "message_id", "owner_id", _SCORES))
_SENDER = ("from_address", "from_name")
_CONVERSATION = itemgetter("contact_id", "conversation")
_PROPOSED = """
CREATE TABLE proposed AS SELECT contact_id, conversation, bool_and(tier = 'sure') AS is_sure
FROM {relation} WHERE kind IS NOT NULL GROUP BY contact_id, conversation
"""


class VerdictCounts(msgspec.Struct, frozen=True):
    """Counts of the verdicts of an audit.

    Args:
        contacts: contacts with emails.
        emails: their emails.
        conversations: conversations with an email whose deal is to change.
        proposed: emails whose deal is to change, by tier and kind.
    """

    contacts: int
    emails: int
    conversations: int
    proposed: Mapping[tuple[str, str], int]


class VerdictTable:
    """The verdicts of an audit, streamed by conversation.

    Args:
        database: database that reads the file.
        path: the file.
        relation: SQL of its rows.
    """

    def __init__(self, database: Database, path: Path, relation: str) -> None:
        self._database = database
        self._path = path
        self._relation = relation
        self._names = _column_names(database, relation)
        database.execute(_PROPOSED.format(relation=relation))

    def counts(self) -> VerdictCounts:
        """Return what the file holds."""
        contacts, emails = self._database.fetch_one(
            f"SELECT count(DISTINCT contact_id), count(*) FROM {self._relation}"
        )
        (conversations,) = self._database.fetch_one("SELECT count(*) FROM proposed")
        by_tier = self._database.rows(
            f"SELECT tier, kind, count(*) FROM {self._relation} WHERE kind IS NOT NULL GROUP BY ALL"
        )
        proposed = {(str(tier), str(kind)): int(number) for tier, kind, number in by_tier}
        return VerdictCounts(int(contacts), int(emails), int(conversations), proposed)

    def metadata(self, key: str) -> str | None:
        """Return a value of the file's metadata; None if it has none."""
        return read_metadata(self._database, self._path).get(key)

    def conversations(self, *, sure: bool) -> Iterator[list[dict[str, Any]]]:
        """Yield the rows of each conversation with a proposal, in the order of the file.

        Args:
            sure: whether to yield those of which every proposal is sure; if not, the others.
        """
        columns = ", ".join(map(identifier, self._names))
        rows = self._database.rows(
            f"SELECT {columns} FROM {self._relation} SEMI JOIN (SELECT contact_id, conversation"
            f" FROM proposed WHERE is_sure = {sure}) USING (contact_id, conversation)"
        )
        named = (dict(zip(self._names, row, strict=True)) for row in rows)
        for _, members in groupby(named, key=_CONVERSATION):
            yield list(members)


@contextmanager
def open_verdict_table(path: Path, stop: PlanningStop | None = None) -> Iterator[VerdictTable]:
    """Open the file of verdicts that an audit wrote, to read whole conversations; blocks.

    Args:
        path: the file.
        stop: interrupts the reading.

    Raises:
        BadFileError: if it is not such a file.
    """
    with open_verdicts(path, _REQUIRED.union(_SENDER), stop) as (database, relation):
        yield VerdictTable(database, path, relation)


@contextmanager
def open_verdicts(
    path: Path, columns: Collection[str], stop: PlanningStop | None = None
) -> Iterator[tuple[Database, str]]:
    """Open a file of verdicts; yield the database that reads it, and the SQL of its rows.

    Args:
        path: file of verdicts that an audit wrote.
        columns: columns that it must have.
        stop: interrupts the reading.

    Raises:
        BadFileError: if it is not such a file.
    """
    with tempfile.TemporaryDirectory(prefix="bulklink-") as folder:
        try:
            with open_database(Path(folder, "spill"), memory=_MEMORY, stop=stop) as database:
                relation = database.files.read_parquet(path)
                if not set(columns).issubset(_column_names(database, relation)):
                    raise bad_verdicts_error(path)
                yield database, relation
        except DamagedTableError:
            raise bad_verdicts_error(path) from None


def read_verdicts(path: Path, message_id: str) -> list[dict[str, Any]]:
    """Return the rows of an email, one for each contact and mailbox that has it; blocks.

    Each has the scores of its conversation, which the file holds once only.

    Args:
        path: file of verdicts that an audit wrote.
        message_id: id of the email.

    Raises:
        BadFileError: if it is not such a file.
    """
    with open_verdicts(path, _REQUIRED) as (database, relation):
        return _read(database, relation, _column_names(database, relation), message_id)


def read_metadata(database: Database, path: Path) -> dict[str, str]:
    """Return the texts about the audit as a whole that a file of verdicts keeps, by name."""
    entries = database.rows(f"SELECT key, value FROM {database.files.parquet_metadata(path)}")
    return {str(key, "utf-8"): str(value, "utf-8") for key, value in entries}


def bad_verdicts_error(path: Path) -> BadFileError:
    """Return the error about a file that holds no verdicts."""
    return BadFileError(
        "This is not an audit file that bulklink wrote, or it is damaged.",
        where=str(path),
        advice="Run the audit again; the emails and deals it has read are kept.",
    )


def _column_names(database: Database, relation: str) -> list[str]:
    described = database.rows(f"SELECT column_name FROM (DESCRIBE SELECT * FROM {relation})")
    return [str(name) for (name,) in described]


def _read(
    database: Database, relation: str, names: Sequence[str], message_id: str
) -> list[dict[str, Any]]:
    columns = ", ".join(map(identifier, names))
    query = f"SELECT {columns} FROM {relation} WHERE message_id = {literal(message_id)}"
    rows = [dict(zip(names, row, strict=True)) for row in database.rows(query)]
    for row in rows:
        row[_SCORES] = row[_SCORES] or _scores_above(database, relation, row)
    return rows


def _scores_above(database: Database, relation: str, row: dict[str, Any]) -> str | None:
    """Return the scores that hold for a row: the last ones of its conversation up to it."""
    scores: str | None = None
    query = (
        f"SELECT message_id, owner_id, {_SCORES} FROM {relation} WHERE contact_id ="
        f" {literal(row['contact_id'])} AND conversation = {int(row['conversation'])}"
    )
    for message_id, owner_id, new_scores in database.rows(query):
        scores = new_scores or scores
        if (message_id, owner_id) == (row["message_id"], row["owner_id"]):
            break
    return scores
