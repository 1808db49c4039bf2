"""Emails sorted by contact, read from the file that `write_sorted_emails` wrote."""
# ruff: noqa: S608

from __future__ import annotations

from typing import TYPE_CHECKING

from bulklink.duckdb_sql import literal
from bulklink.mapping.database import open_database, spill_folder

if TYPE_CHECKING:
    import ctypes
    from collections.abc import Iterator
    from pathlib import Path

    from bulklink.mapping.interrupt import PlanningStop

_READ_MEMORY = "256MB"
_BYTES_AT_ONCE = 1 << 20


def stream_emails(
    path: Path, stop: PlanningStop, first: str = "", end: str | None = None
) -> Iterator[bytes]:
    """Yield the emails of a file that `write_sorted_emails` wrote, contact by contact.

    Args:
        path: the file.
        stop: interrupts the reading.
        first: id of the first contact.
        end: id of the contact before which it ends; None for all from the first one on.

    Yields:
        Whole lines of JSON, each an object `contact_id`, `email`: as many as fit into a megabyte,
        because the objects that are made of them take several times as much.
    """
    with open_database(
        spill_folder(path), memory=_READ_MEMORY, stop=stop, reads_parts=True
    ) as database:
        until = "" if end is None else f" AND contact_id < {literal(end)}"
        query = (
            f"SELECT line FROM {database.files.read_parquet(path)}"
            f" WHERE contact_id >= {literal(first)}{until}"
        )
        for (lines,) in database.column_bytes(query):
            yield from _whole_lines(lines)


def _whole_lines(lines: ctypes.Array[ctypes.c_char]) -> Iterator[bytes]:
    """Yield about a megabyte of whole lines at a time; DuckDB returns 64 of them."""
    view, start = memoryview(lines), 0
    while start < len(view):
        size = _BYTES_AT_ONCE
        while not (end := bytes(view[start : start + size]).rfind(b"\n") + 1):
            size *= 2
        yield bytes(view[start : start + end])
        start += end


def cut_contacts(path: Path, emails: int, stop: PlanningStop) -> list[str]:
    """Return the contacts at which the emails of a file can be cut into parts of about one size.

    Args:
        path: file that `write_sorted_emails` wrote.
        emails: emails of a part; a contact with more is a part of its own.
        stop: interrupts the reading.

    Returns:
        Ascending ids: the first contact of each part after the first one.
    """
    with open_database(spill_folder(path), memory=_READ_MEMORY, stop=stop) as database:
        numbered = database.files.read_parquet(path)
        query = (
            "SELECT DISTINCT contact_id FROM (SELECT contact_id, row_number() OVER () AS n"
            f" FROM {numbered}) WHERE n % {emails} = 0 ORDER BY contact_id"
        )
        return [row[0] for row in database.rows(query)]


def stream_contact_ids(path: Path, stop: PlanningStop) -> Iterator[str]:
    """Yield the contacts of a file that `write_sorted_emails` wrote, in order.

    Args:
        path: the file.
        stop: interrupts the reading.
    """
    with open_database(spill_folder(path), memory=_READ_MEMORY, stop=stop) as database:
        emails = database.files.read_parquet(path)
        query = f"SELECT DISTINCT contact_id FROM {emails} ORDER BY contact_id"
        for row in database.rows(query):
            yield row[0]
