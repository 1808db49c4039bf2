"""Contact ids from arguments, lists and plans."""
# ruff: noqa: S608

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from bulklink.advice import Advice, Keyword
from bulklink.atomic_files import atomic_replace
from bulklink.errors import BadFileError, UsageError
from bulklink.mapping.database import open_database, spill_folder
from bulklink.mapping.faults import explain_bad_id
from bulklink.mapping.id_cells import bare_id
from bulklink.mapping.ignorable import strip_ignorable
from bulklink.mapping.plan_layout import plan_relation
from bulklink.mapping.schema import id_pattern, normalize_header

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

_HEADER = normalize_header("contact_id")
_ID = re.compile(id_pattern("contact_id"))
_ADVICE = "An id has only digits; export ids as text."
_MEMORY = "128MB"


def parse_contact_id(text: str) -> str | None:
    """Return the id in a cell, without the characters that exports add; None if there is no id."""
    bare = bare_id(text)
    return bare if _ID.fullmatch(bare) else None


def parse_contact_argument(text: str) -> str:
    """Return the id in a command-line argument.

    Raises:
        UsageError: if it is not an id.
    """
    contact = parse_contact_id(text)
    if contact is None:
        raise UsageError(
            _no_contact_id(text),
            where="CONTACTS",
            advice=Advice(
                "{} Pass a file of ids as @FILE, or a mapping with {}.",
                _ADVICE,
                Keyword("from_mapping"),
            ),
        )
    return contact


def read_contact_list(lines: Iterable[bytes], name: str) -> Iterator[str]:
    """Yield the ids of a list, one per line; skip blank lines and a header `contact_id`.

    Args:
        lines: lines of the list.
        name: the list as the user named it.

    Raises:
        BadFileError: if a line is not an id.
    """
    for number, line in enumerate(lines, 1):
        text = strip_ignorable(line.decode("utf-8", "replace"))
        if not text or (number == 1 and normalize_header(text) == _HEADER):
            continue
        contact = parse_contact_id(text)
        if contact is None:
            raise BadFileError(
                _no_contact_id(text),
                where=f"{name}, line {number}",
                advice=Advice(
                    "Write one id per line. {} Pass a table with a column contact_id with {}.",
                    _ADVICE,
                    Keyword("from_mapping"),
                ),
            )
        yield contact


def _no_contact_id(text: str) -> str:
    return f"The contact id is {explain_bad_id(text, 'contact_id')}."


def load_plan_contacts(plan: Path) -> Iterator[tuple[int, str]]:
    """Yield the contacts of a sealed plan, each with its first row."""
    with open_database(spill_folder(plan), memory=_MEMORY) as database:
        query = (
            "SELECT min(bulklink_row) AS row, bulklink_contact_id "
            f"FROM {plan_relation(database, plan)} GROUP BY ALL ORDER BY row"
        )
        yield from database.rows(query)


def write_unique_contacts(contacts: Iterable[tuple[int, str]], path: Path) -> int:
    """Write each contact once to a file, one per line, ordered by its lowest position.

    Args:
        contacts: pairs of a position and a contact, in any order.
        path: the file.

    Returns:
        Number of contacts written.
    """
    with open_database(spill_folder(path), memory=_MEMORY) as database:
        database.execute("CREATE TABLE contacts (position BIGINT, contact_id VARCHAR)")
        database.insert_all(
            "contacts", ((str(position), contact) for position, contact in contacts)
        )
        query = (
            "SELECT contact_id FROM contacts GROUP BY contact_id ORDER BY min(position), contact_id"
        )
        count = 0
        with atomic_replace(path) as temporary, temporary.open("wb") as file:
            for batch in database.batches(query):
                count += len(batch)
                file.writelines(f"{row[0]}\n".encode() for row in batch)
        return count
