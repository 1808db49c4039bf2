"""Verdicts on emails, read back from the Parquet file of an audit."""
# ruff: noqa: S608

from __future__ import annotations

import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bulklink.duckdb_sql import identifier, literal
from bulklink.errors import BadFileError
from bulklink.mapping.database import DamagedTableError, Database, open_database

_MEMORY = "256MB"
_SCORES = "scores"
_REQUIRED = frozenset(("contact_id", "conversation", "message_id", "owner_id", _SCORES))


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


@contextmanager
def open_verdicts(path: Path, columns: Collection[str]) -> Iterator[tuple[Database, str]]:
    """Open a file of verdicts; yield the database that reads it, and the SQL of its rows.

    Args:
        path: file of verdicts that an audit wrote.
        columns: columns that it must have.

    Raises:
        BadFileError: if it is not such a file.
    """
    with tempfile.TemporaryDirectory(prefix="bulklink-") as folder:
        try:
            with open_database(Path(folder, "spill"), memory=_MEMORY) as database:
                relation = database.files.read_parquet(path)
                if not set(columns).issubset(_column_names(database, relation)):
                    raise bad_verdicts_error(path)
                yield database, relation
        except DamagedTableError:
            raise bad_verdicts_error(path) from None


def bad_verdicts_error(path: Path) -> BadFileError:
    """Return the error about a file that holds no verdicts."""
    return BadFileError(
        "This is not a file of verdicts that an audit wrote, or it is damaged.",
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
    found = database.rows(
        f"SELECT {columns} FROM {relation} WHERE message_id = {literal(message_id)}"
    )
    rows = [dict(zip(names, row, strict=True)) for row in found]
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
