"""The table of a fetch, from its log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulklink.errors import RunDirError
from bulklink.mapping.interrupt import PlanningStop
from bulklink.operations.fetching.folder import FetchFolder, FetchRecord
from bulklink.operations.fetching.log import contact_line
from bulklink.operations.fetching.selection import EmailFilter
from bulklink.operations.fetching.table import FetchTable

CONTACTS = 4


def email(contact: int, life: int, place: int, message: str = "", **fields: Any) -> bytes:
    line = {
        "event": "email",
        "n": contact,
        "life": life,
        "place": place,
        "contact_id": f"{contact}",
        "message_id": message or f"m{contact}x{place}",
        **fields,
    }
    return msgspec.json.encode(line) + b"\n"


def table_of(folder: Path, *lines: bytes, **options: Any) -> FetchTable:
    fetch_folder = FetchFolder(folder)
    fetch_folder.log.write_bytes(b"".join(lines))
    record = FetchRecord(CONTACTS, "", email_filter=EmailFilter(**options))
    return FetchTable(fetch_folder, record, PlanningStop())


def messages(table: FetchTable) -> list[object]:
    return [row[3] for rows in table.rows() for row in rows]


def test_contacts_are_in_order_and_each_email_is_there_once(tmp_path: Path) -> None:
    lines = [
        email(1, 1, 0, "a"),
        email(0, 1, 0, "b"),
        email(1, 1, 1, "c"),
        email(1, 1, 2, "a"),  # moved to the next page by an email that came in meanwhile
        contact_line(1, 1, 0),
        contact_line(0, 1, 0),
    ]
    assert messages(table_of(tmp_path, *lines)) == ["b", "a", "c"]


def test_lines_of_a_command_that_was_killed_amid_a_contact_do_not_count(tmp_path: Path) -> None:
    lines = [
        email(0, 1, 0, "old"),
        email(0, 2, 0, "new"),
        contact_line(0, 2, 0),
        email(1, 2, 0, "unfinished"),
    ]
    assert messages(table_of(tmp_path, *lines)) == ["new"]


@given(st.data())
def test_the_order_of_the_lines_of_different_contacts_does_not_matter(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Compares with a plain sort of the lines."""
    folder = tmp_path_factory.mktemp("fetch")
    streams = [
        [email(contact, 1, place) for place in range(data.draw(st.integers(0, 5)))]
        + [contact_line(contact, 1, 0)] * data.draw(st.integers(0, 1))
        for contact in range(CONTACTS)
    ]
    expected = [
        f"m{contact}x{place}"
        for contact, stream in enumerate(streams)
        if b'"contact"' in b"".join(stream[-1:])
        for place in range(len(stream) - 1)
    ]
    lines: list[bytes] = []
    while any(streams):
        stream = data.draw(st.sampled_from([stream for stream in streams if stream]))
        lines.append(stream.pop(0))
    assert messages(table_of(folder, *lines)) == expected


def test_a_filter_by_time_counts_what_it_leaves_out(tmp_path: Path) -> None:
    times = (
        *("2026-01-31T23:30:00+00:00", "2026-02-01T00:30:00+01:00", "2026-02-01T00:00:00Z"),
        *("2026-03-01T00:00:00+00:00", "yesterday", None),
    )
    lines = [email(0, 1, place, f"m{place}", time=time) for place, time in enumerate(times)]
    since, until = "2026-01-31T23:45:00+00:00", "2026-03-01T00:00:00+00:00"
    table = table_of(tmp_path, *lines, contact_line(0, 1, 0), since=since, until=until)
    assert messages(table) == ["m2"]
    assert (table.counts["filtered_out"], table.counts["undated"]) == (5, 2)
    first, last = "0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59.999999+00:00"
    table = table_of(tmp_path, *lines, contact_line(0, 1, 0), since=first, until=last)
    assert messages(table) == ["m0", "m1", "m2", "m3"]


@pytest.mark.parametrize(
    "line",
    [email(CONTACTS, 1, 0), contact_line(CONTACTS, 1, 0), b"{\n", b'{"event":"email","n":-1}\n'],
)
def test_a_line_that_does_not_belong_to_the_contacts_is_refused(
    tmp_path: Path, line: bytes
) -> None:
    with pytest.raises(RunDirError, match="damaged"):
        messages(table_of(tmp_path, email(0, 1, 0), contact_line(0, 1, 0), line))
