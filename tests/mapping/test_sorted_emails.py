"""Fetched emails, read from any format, sorted by contact."""

from __future__ import annotations

import csv
import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bulklink.errors import BadFileError, InterruptedPlanningError
from bulklink.finding.values import EmailFacts, Person
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.sorted_emails import EmailCounts, write_sorted_emails
from bulklink.mapping.sorted_emails_reader import stream_contact_ids, stream_emails
from bulklink.operations.fetching.table import CANDIDATES_COLUMN, FETCH_COLUMNS
from bulklink.tables import format_for, write_table

COLUMNS = (*FETCH_COLUMNS, CANDIDATES_COLUMN)
CONTACT, OTHER, OWNER, DEAL = "58431040001", "58431040002", "58431040003", "58431040004"


class Line(msgspec.Struct):
    contact_id: str
    email: EmailFacts


def row(message: str, contact: str = CONTACT, **cells: str | None) -> dict[str, str | None]:
    return {
        "contact_id": contact,
        "owner_id": OWNER,
        "message_id": message,
        "from_deal_id": "none",
        "subject": 'A, "quoted"\nsubject; of ünïcode',
        "time": "2026-01-02T03:04:05+01:00",
        "direction": "received",
        "from_address": "Ann@X.example",
        "from_name": "Ann",
        "to_addresses": "B@x.example; c@x.example",
        "candidates": '[{"id":"1","role":true}]',
    } | cells


def write(path: Path, rows: list[dict[str, str | None]], **options: Any) -> Path:
    """Write rows as a fetch does."""
    with write_table(path, format_for(str(path), **options), COLUMNS) as table:
        table.write([tuple(one.get(column.header) for column in COLUMNS) for one in rows])
    return path


def load(path: Path, folder: Path) -> tuple[EmailCounts, list[Line]]:
    """Return the counts of a file, and its emails in order."""
    target = folder / "sorted.parquet"
    target.unlink(missing_ok=True)
    counts = write_sorted_emails(str(path), target, stop=PlanningStop())
    decode = msgspec.json.Decoder(Line).decode_lines
    lines = [line for block in stream_emails(target, PlanningStop()) for line in decode(block)]
    ids = list(stream_contact_ids(target, PlanningStop()))
    assert ids == sorted({line.contact_id for line in lines})
    assert [line.contact_id for line in lines] == sorted(line.contact_id for line in lines)
    assert {path.name for path in folder.iterdir()} <= {target.name, path.name}
    return counts, lines


ROWS = [
    row("b1", OTHER, from_deal_id=DEAL, direction="sent"),
    row("a1"),
    row("a2", time="2026-01-01T00:00:00Z", cc_addresses="d@x.example", summary="Asks."),
    row("a3", from_deal_id=None, time=None, direction=None, owner_id=None),
]


SUBJECTS = ["", "a,b", 'a "b" c', '"', "two\nlines", "two\r\nlines", "a;b", " ", "\\", "x" * 2_000]


@pytest.mark.parametrize(
    "name", ["e.csv", "e.csv.gz", "e.jsonl", "e.jsonl.gz", "e.parquet", "e.xlsx"]
)
def test_every_format_of_fetch_gives_the_same_emails(name: str, tmp_path: Path) -> None:
    counts, lines = load(write(tmp_path / name, ROWS), tmp_path)
    assert counts == EmailCounts(
        rows=4,
        refused=0,
        emails=4,
        contacts=2,
        undated=1,
        link_unknown=1,
        on_deals=1,
        digest=counts.digest,
    )
    assert [(line.contact_id, line.email.message_id) for line in lines] == [
        (CONTACT, "a2"), (CONTACT, "a1"), (CONTACT, "a3"), (OTHER, "b1")
    ]  # fmt: skip
    people = (Person("b@x.example"), Person("c@x.example"))
    assert lines[1].email == EmailFacts(
        "a1",
        OWNER,
        'A, "quoted"\nsubject; of ünïcode',
        1767319445.0,
        "received",
        sender=Person("ann@x.example", "Ann"),
        to=people,
    )
    assert lines[2].email == EmailFacts(
        "a3",
        None,
        'A, "quoted"\nsubject; of ünïcode',
        link_known=False,
        sender=Person("ann@x.example", "Ann"),
        to=people,
    )
    assert (lines[3].email.deal_id, lines[3].email.direction) == (DEAL, "sent")
    assert lines[0].email.cc == (Person("d@x.example"),)
    assert [line.email.summary for line in lines] == ["Asks.", None, None, None]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_csv_file_of_a_fetch_is_read_alike_by_the_exact_reader(
    newline: str, tmp_path: Path
) -> None:
    """The other delimiter keeps the file from DuckDB's own reader."""
    rows = [row(f"m{n}", subject=text, time=None) for n, text in enumerate(SUBJECTS)]
    loaded = []
    for delimiter in (",", ";"):
        path = tmp_path / "e.csv"
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(
                file, rows[0], delimiter=delimiter, lineterminator=newline, restval=""
            )
            writer.writeheader()
            writer.writerows(rows)
        loaded.append(load(path, tmp_path))
    assert loaded[0] == loaded[1]
    assert [line.email.subject for line in loaded[0][1]] == [one or None for one in SUBJECTS]


def test_a_file_for_spreadsheets_is_read_without_its_apostrophes(tmp_path: Path) -> None:
    counts, lines = load(write(tmp_path / "e.csv", ROWS, spreadsheet=True), tmp_path)
    assert (counts.refused, {line.contact_id for line in lines}) == (0, {CONTACT, OTHER})


def test_the_order_of_rows_and_columns_changes_nothing(tmp_path: Path) -> None:
    rows = [row(f"m{n}", contact=f"584310400{n % 7}", time=None) for n in range(50)]
    expected = load(write(tmp_path / "e.csv", rows), tmp_path)
    random.Random(5).shuffle(rows)
    rows = [dict(reversed(one.items())) for one in rows]
    (tmp_path / "e.csv").unlink()
    text = "".join(json.dumps(one) + "\n" for one in rows)
    (tmp_path / "e.jsonl").write_text(text)
    assert load(tmp_path / "e.jsonl", tmp_path) == expected


@pytest.mark.parametrize(
    ("cells", "refused"),
    [
        ({"contact_id": "5.84E+18"}, 1),
        ({"contact_id": ""}, 1),
        ({"contact_id": "none"}, 1),
        ({"contact_id": "1" * 101}, 1),
        ({"message_id": "a b"}, 1),
        ({"message_id": None}, 1),
        ({"contact_id": f'="{CONTACT}"'}, 0),
        ({"contact_id": f" zcrm_{CONTACT} "}, 0),
        ({"owner_id": "Patricia"}, 0),
    ],
)
def test_rows_without_a_contact_or_an_email_are_counted_and_left_out(
    cells: dict[str, Any], refused: int, tmp_path: Path
) -> None:
    for name in ("e.csv", "e.parquet"):
        path = write(tmp_path / name, [row("a1") | cells, row("a2")])
        counts, lines = load(path, tmp_path)
        assert (counts.rows, counts.refused, len(lines)) == (2, refused, 2 - refused)
        path.unlink()


@pytest.mark.parametrize(
    "time",
    [
        *("yesterday", "2026-01-02", "2026-01-02T03:04:05", "2026-13-01T00:00:00Z", "01/02/2026"),
        *("infinity", "9999-12-31T23:59:59Z", "1969-12-31T23:59:59Z", "2026-01-02 03:04 PM", "5"),
    ],
)
def test_a_time_that_is_none_or_has_no_offset_is_unknown(time: str, tmp_path: Path) -> None:
    counts, lines = load(write(tmp_path / "e.csv", [row("a1", time=time)]), tmp_path)
    assert (counts.undated, lines[0].email.time) == (1, None)


@pytest.mark.parametrize("deal", ["", "None", "a deal", "1|2", "-5"])
def test_a_deal_that_is_neither_an_id_nor_none_is_unknown(deal: str, tmp_path: Path) -> None:
    counts, lines = load(write(tmp_path / "e.csv", [row("a1", from_deal_id=deal)]), tmp_path)
    assert (counts.link_unknown, lines[0].email.link_known) == (1, False)


def test_long_texts_and_many_recipients_are_cut(tmp_path: Path) -> None:
    people = "; ".join(f"{n}@x.example" for n in range(500))
    path = write(tmp_path / "e.parquet", [row("a1", subject="x" * 30_000, to_addresses=people)])
    _, lines = load(path, tmp_path)
    assert (len(lines[0].email.subject or ""), len(lines[0].email.to)) == (2_000, 100)


@pytest.mark.parametrize(
    "column",
    ["contact_id", "owner_id", "message_id", "from_deal_id", "subject", "time", "direction"],
)
def test_a_file_without_a_column_that_is_needed_is_refused(column: str, tmp_path: Path) -> None:
    rest = {name: cell for name, cell in row("a1").items() if name != column}
    path = tmp_path / "e.jsonl"
    path.write_text(json.dumps(rest) + "\n")
    with pytest.raises(BadFileError, match=f"no column {column}") as caught:
        load(path, tmp_path)
    assert caught.value.where == str(path)


def test_a_file_without_rows_has_no_emails(tmp_path: Path) -> None:
    for name in ("e.csv", "e.parquet", "e.xlsx"):
        path = write(tmp_path / name, [])
        counts, lines = load(path, tmp_path)
        assert (counts.emails, counts.contacts, lines) == (0, 0, [])
        path.unlink()


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "binary": lambda content: bytes(range(256)) * 9,
    "half": lambda content: content[: len(content) // 2],
    "other": lambda content: b"a,b\n1,2\n",
}


@pytest.mark.parametrize("name", ["e.csv", "e.parquet", "e.xlsx", "e.csv.gz"])
@pytest.mark.parametrize("damage", BROKEN.values(), ids=BROKEN)
def test_a_damaged_file_is_refused_and_half_a_text_has_whole_rows_only(
    name: str, damage: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    path = write(tmp_path / name, ROWS * 50)
    path.write_bytes(damage(path.read_bytes()))
    if name == "e.csv" and damage is BROKEN["half"]:
        counts, lines = load(path, tmp_path)
        assert 0 < len(lines) < 200
        assert counts.refused <= 1
        return
    with pytest.raises(BadFileError) as caught:
        load(path, tmp_path)
    assert str(path) in caught.value.where


def test_gzipped_parquet_is_unpacked(tmp_path: Path) -> None:
    path = write(tmp_path / "e.parquet", ROWS)
    path.write_bytes(gzip.compress(path.read_bytes()))
    assert load(path, tmp_path)[0].emails == 4


def test_a_stop_ends_the_sorting(tmp_path: Path) -> None:
    stop = PlanningStop()
    stop.interrupt()
    path = write(tmp_path / "e.csv", ROWS)
    with pytest.raises(InterruptedPlanningError):
        write_sorted_emails(str(path), tmp_path / "sorted.parquet", stop=stop)


def test_emails_are_read_back_in_blocks_of_at_most_a_megabyte(tmp_path: Path) -> None:
    """Whatever the number of emails: objects made of all lines at once would not fit in memory."""
    rows = [row(f"m{number:04}", subject="x" * 2_000) for number in range(1_200)]
    path = write(tmp_path / "e.parquet", rows)
    _, lines = load(path, tmp_path)
    assert [line.email.message_id for line in lines] == [one["message_id"] for one in rows]
    blocks = list(stream_emails(tmp_path / "sorted.parquet", PlanningStop()))
    assert len(blocks) == 3
    assert max(map(len, blocks)) <= 1 << 20
    assert all(block.endswith(b"\n") for block in blocks)


def test_an_email_longer_than_a_block_is_read_back(tmp_path: Path) -> None:
    people = "; ".join(f"{number}@{'x' * 12_000}.example" for number in range(100))
    rows = [row("m1"), row("m2", to_addresses=people), row("m3")]
    _, lines = load(write(tmp_path / "e.parquet", rows), tmp_path)
    assert [len(line.email.to) for line in lines] == [2, 100, 2]
