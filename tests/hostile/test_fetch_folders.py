"""A fetch continues only from a folder that is as a fetch left it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.e2e.command import Command
from tests.hostile.folders import GoodFolders, contents
from tests.hostile.tamperings import Change, folder, hard_link, link, pipe

FILES = (
    *("contacts.txt", "reading_order.txt", "requests.parquet", "requests.new.parquet"),
    *("deals.txt", "unresolved.jsonl", "fetch.json", "fetched.jsonl", "fetched.torn"),
    *("answers.jsonl", "lock"),
)
LOOKUP = {"event": "contact", "n": 0, "life": 1}


@pytest.fixture(scope="module")
def unfinished(good_folders: GoodFolders, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a fetch of four contacts that stopped partway."""
    path = tmp_path_factory.mktemp("fetch")
    result = fetch(good_folders, path, "--max-credits", "31")
    assert result == 4
    return path / "f.csv.fetching"


def fetch(good_folders: GoodFolders, path: Path, *options: str) -> int:
    ids = [contact.id for contact in good_folders.emulator.world.contacts]
    command = Command(path).with_env(**good_folders.emulator.env())
    return command("fetch", *ids, "-o", "f.csv", *options).code


def _line(**fields: object) -> Change:
    return _raw(json.dumps(LOOKUP | fields).encode() + b"\n")


def _raw(line: bytes) -> Change:
    def change(run: Path, _: Path) -> None:
        with (run / "fetched.jsonl").open("ab") as log:
            log.write(line)

    return change


def _record(**fields: object) -> Change:
    def change(run: Path, _: Path) -> None:
        record = json.loads((run / "fetch.json").read_bytes())
        (run / "fetch.json").write_text(json.dumps(record | fields))

    return change


def _file(name: str, content: bytes) -> Change:
    def change(run: Path, _: Path) -> None:
        (run / name).write_bytes(content)

    return change


CHANGES: dict[str, tuple[Change, str]] = {
    **{f"link-{name}": (link(name), name) for name in (*FILES, ".gitignore")},
    **{f"hard-link-{name}": (hard_link(name), name) for name in (*FILES, ".gitignore")},
    **{f"pipe-{name}": (pipe(name), name) for name in FILES},
    **{f"folder-{name}": (folder(name), name) for name in FILES},
    "n-beyond": (_line(n=4), "fetched.jsonl:"),
    "n--1": (_line(n=-1), "fetched.jsonl:"),
    "n-1e14": (_line(n=10**14), "fetched.jsonl:"),
    "n-text": (_line(n="1"), "fetched.jsonl:"),
    "life-huge": (_line(life=10**40), "fetched.jsonl:"),
    "subject-number": (_line(event="email", subject=5), "fetched.jsonl:"),
    "no-json": (_raw(b"hello\n"), "fetched.jsonl:"),
    "not-utf-8": (_raw(b'{"event":"\xff"}\n'), "fetched.jsonl:"),
    "nested": (_raw(b'{"event":' + b"[" * 100_000 + b"\n"), "fetched.jsonl:"),
    "long": (_raw(b"x" * (3 << 20)), "fetched.jsonl:"),
    "record-contacts": (_record(contacts=10**14), "fetch.json"),
    "record-hash": (_record(contacts_sha256=5), "fetch.json"),
    "record-address": (_record(api_url="http://["), "fetch.json"),
    "record-fewer-contacts": (_record(contacts=3), "contacts.txt"),
    "record-since": (_record(email_filter={"since": "yesterday"}), "fetch.json"),
    "record-condition": (_record(conditions={"deals_where": ["id > 0) or (id > 0"]}), "fetch.json"),
    "other-contacts": (_file("contacts.txt", b"1\n2\n3\n4\n"), "contacts.txt"),
    "order-of-others": (_file("reading_order.txt", b"4 1\n"), "reading_order.txt"),
    "order-of-fewer": (_file("reading_order.txt", b""), "reading_order.txt"),
    "order-of-texts": (_file("reading_order.txt", b"x y\n"), "reading_order.txt"),
    "unresolved": (_file("unresolved.jsonl", b"{}\n"), "unresolved.jsonl"),
    "record-other-host": (_record(api_url="https://www.zohoapis.eu"), "BULKLINK_API_URL"),
}


@pytest.mark.parametrize(("change", "named"), CHANGES.values(), ids=CHANGES)
def test_a_fetch_folder_that_was_tampered_with_is_refused(
    good_folders: GoodFolders, unfinished: Path, change: Change, named: str, tmp_path: Path
) -> None:
    path = tmp_path / "f.csv.fetching"
    shutil.copytree(unfinished, path)
    outside = tmp_path / "outside" / "file"
    outside.parent.mkdir()
    outside.write_bytes(b"mine\n")
    change(path, outside)
    before, outside_before = contents(path), contents(outside.parent)
    command = Command(tmp_path).with_env(**good_folders.emulator.env())
    ids = [contact.id for contact in good_folders.emulator.world.contacts]
    result = command("fetch", *ids, "-o", "f.csv")
    assert "bug in bulklink" not in " ".join(result.output.lower().split()), result
    assert result.code in (2, 3), result
    assert named in result.output, result
    assert contents(outside.parent) == outside_before
    assert not (tmp_path / "f.csv").exists()
    if named in (*FILES, ".gitignore"):
        assert contents(path) == before


def test_a_fetch_folder_can_be_copied(
    good_folders: GoodFolders, unfinished: Path, tmp_path: Path
) -> None:
    shutil.copytree(unfinished, tmp_path / "f.csv.fetching")
    assert fetch(good_folders, tmp_path) == 0
    assert not (tmp_path / "f.csv.fetching").exists()


@pytest.mark.parametrize(
    ("command", "odd"),
    [
        ("fetch 1 -o f.csv", "f.csv.fetching"),
        ("fetch 1 -o f.csv", "f.csv.fetching/fetch.json"),
        ("fetch 1 -o f.csv", "f.csv.fetching/answers.jsonl"),
        ("audit 1 -o m.csv", "m.emails.parquet.selection"),
    ],
)
def test_a_file_of_the_wrong_type_beside_the_output_is_to_be_removed(
    command: str, odd: str, good_folders: GoodFolders, tmp_path: Path
) -> None:
    path = tmp_path / odd
    path.parent.mkdir(exist_ok=True)
    (tmp_path / "other.txt").write_text("", "utf-8")
    (tmp_path / "m.emails.parquet").write_text("", "utf-8")
    path.symlink_to(tmp_path / "other.txt")
    result = Command(tmp_path).with_env(**good_folders.emulator.env())(*command.split())
    assert result.code == 2, result
    assert "Remove it and run the command again, or use another output." in result.err
