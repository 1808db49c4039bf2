"""`bulklink match`: a list of another system, joined to the emails of a CRM over a socket."""

from __future__ import annotations

import csv
import json
import random
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.audit import audit_run
from tests.e2e.command import PROGRAM, Command
from tests.e2e.servers import Emulator, serve_world_file

QUICK = ("--rate", "off")
WANTED = ("from_address", "to_addresses", "cc_addresses", "subject", "time", "deal_id")


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def write(path: Path, headers: tuple[str, ...], rows: list[Any]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([headers, *rows])


def generate_world(command: Command) -> tuple[Path, dict[str, str]]:
    """Generate a world; return its file, and the right deal of each message that has one."""
    recipe = ("--kind", "conversations", "--messages", "400", "--seed", "77", "--out", "crm")
    assert command("generate", *recipe).code == 0
    truth = json.loads((command.folder / "crm" / "truth.json").read_text("utf-8"))
    world = command.folder / "crm" / "world.json"
    contacts = [contact["id"] for contact in json.loads(world.read_text("utf-8"))["contacts"]]
    (command.folder / "contacts.txt").write_text("\n".join(contacts), "utf-8")
    return world, {row["message_id"]: row["deal_id"] for row in truth if row["deal_id"]}


def as_other_system(rows: list[dict[str, str]], right: dict[str, str]) -> list[tuple[str, ...]]:
    """Return the emails as another system has them: a minute off, some subjects cut short."""
    rng = random.Random(1)
    wanted = {}
    for row in rows:
        if deal_id := right.get(row["message_id"]):
            time = datetime.fromisoformat(row["time"]) + timedelta(seconds=rng.randint(-60, 60))
            half = rng.random() < 0.05
            subject = row["subject"][: len(row["subject"]) // 2 + 9] if half else row["subject"]
            people = row["from_address"], row["to_addresses"], row["cc_addresses"]
            wanted[row["message_id"]] = (*people, subject, time.isoformat(), deal_id)
    return sorted(wanted.values())


def test_the_deals_of_a_migration_reach_the_crm(tmp_path: Path) -> None:
    command = Command(tmp_path)
    world, right = generate_world(command)
    with serve_world_file(world) as crm:
        connected = command.with_env(**crm.env())
        fetch = ("fetch", "@contacts.txt", "--candidates", "-o", "zoho.parquet", *QUICK)
        assert connected(*fetch).code == 0
        assert connected("fetch", "@contacts.txt", "-o", "zoho.csv", *QUICK).code == 0
        wanted = as_other_system(read(tmp_path / "zoho.csv"), right)
        write(tmp_path / "wanted.csv", WANTED, wanted)
        match = ("match", "wanted.csv", "--fetched", "zoho.parquet", "-o", "mapping.csv", "--json")
        result = command(*match)
        assert result.code == 0, result
        counts = result.object
        assert counts["matched"] == counts["wanted"] == len(wanted)
        mapping = read(tmp_path / "mapping.csv")
        assert len(mapping) == counts["attach"] + counts["move"] > 100
        run = connected("run", "mapping.csv", "--run-dir", "run", "--json", *QUICK)
        audit_run(run, tmp_path)
        assert run.object["counts"]["done"] == len(mapping)
        emails = crm.state()["world"]["emails"]
    links = {(email["contact_id"], email["message_id"]): email["deal_id"] for email in emails}
    for row in mapping:
        linked = links[row["contact_id"], row["message_id"]]
        assert linked == row["deal_id"] == right[row["message_id"]]


def deals_by_key(crm: Emulator, folder: Path, *options: str) -> Any:
    command = Command(folder, crm.env())
    return command("match", "w.csv", "--fetched", "f.csv", "-o", "m.csv", "--json", *options)


@pytest.fixture(scope="module")
def keyed_crm(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Serve a world whose deals have keys of another system, one of them twice."""
    folder = tmp_path_factory.mktemp("keyed")
    deals = [
        {
            "id": f"54000000{number:04}",
            "name": f"Deal {number}",
            "contact_id": "5300000001",
            "stage": "Negotiation",
            "created_time": "2026-01-01T00:00:00Z",
            "modified_time": "2026-01-01T00:00:00Z",
            "fields": {"Legacy_Id": "twice" if number > 2 else f"K'{number}"},
        }
        for number in range(1, 5)
    ]
    world = {
        "module_id": "5500000001",
        "users": [{"id": "5200000001", "full_name": "Pat", "email": "pat@our-org.example"}],
        "contacts": [{"id": "5300000001", "name": "Ann", "email": "ann@x.example"}],
        "deals": deals,
        "emails": [],
    }
    (folder / "world.json").write_text(json.dumps(world), "utf-8")
    with serve_world_file(folder / "world.json") as crm:
        yield crm


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    """Write an email that was fetched, and the list that wants it on the deal of a key."""
    fetched = ("contact_id", "owner_id", "message_id", "from_deal_id", "direction", *WANTED[:5])
    email = ("ann@x.example", "pat@our-org.example", "", "The roof", "2026-01-02T09:00:00Z")
    write(tmp_path / "f.csv", fetched, [("1", "2", "a1", "none", "received", *email)])
    write(tmp_path / "w.csv", (*WANTED[:5], "deal_key"), [(*email, "K'1"), (*email, "gone")])
    return tmp_path


def test_keys_of_deals_are_read_of_the_crm_whatever_they_are(
    keyed_crm: Emulator, lists: Path
) -> None:
    result = deals_by_key(keyed_crm, lists, "--deal-key", "Legacy_Id")
    assert result.code == 1
    assert result.object["missing"] == {"unknown-deal": 1}
    assert (result.object["calls"]["lookup"], result.object["credits"]) == (2, 4)
    (row,) = read(lists / "m.csv")
    assert (row["deal_id"], row["deal_name"]) == ("540000000001", "Deal 1")


def test_a_key_of_two_deals_and_a_field_that_is_none_are_refused(
    keyed_crm: Emulator, lists: Path
) -> None:
    unknown = deals_by_key(keyed_crm, lists, "--deal-key", "Old_Id")
    assert unknown.code == 2
    assert unknown.object["error"]["where"] == "--deal-key Old_Id"
    assert "Zoho refuses the field" in unknown.object["error"]["message"]
    bad = deals_by_key(keyed_crm, lists, "--deal-key", "Old Id")
    assert "is not the API name of a field" in bad.object["error"]["message"]
    text = (lists / "w.csv").read_text("utf-8")
    (lists / "w.csv").write_text(text.replace("gone", "twice"), "utf-8")
    twice = deals_by_key(keyed_crm, lists, "--deal-key", "Legacy_Id")
    assert twice.code == 2
    assert twice.object["error"]["where"] == "Deals, field Legacy_Id"
    assert not (lists / "m.csv").exists()


def test_a_limit_of_credits_stops_the_reading_of_keys(keyed_crm: Emulator, lists: Path) -> None:
    stopped = deals_by_key(keyed_crm, lists, "--deal-key", "Legacy_Id", "--max-credits", "2")
    assert stopped.code == 4
    assert stopped.object["stopped_by"] == "max-credits"
    assert not (lists / "m.csv").exists()


def test_a_fetch_that_is_not_complete_is_no_file_to_match_with(lists: Path) -> None:
    (lists / "f.csv").rename(lists / "other.csv")
    (lists / "f.csv.fetching").mkdir()
    (lists / "f.csv.fetching" / "fetch.json").write_text(
        '{"contacts": 1, "contacts_sha256": ""}', "utf-8"
    )
    result = Command(lists)("match", "w.csv", "--fetched", "f.csv", "-o", "m.csv")
    assert result.code == 2
    assert "The fetch into this file is not complete." in result.err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit on the size of files")
def test_a_full_disk_leaves_nothing_half_written(lists: Path) -> None:
    text = (lists / "w.csv").read_text("utf-8").replace("deal_key", "deal_id")
    (lists / "w.csv").write_text(text.replace("K'1", "5400000001").replace("gone", "5"), "utf-8")
    match = f"{PROGRAM} match w.csv --fetched f.csv -o m.csv"
    ended = subprocess.run(
        ["sh", "-c", f"ulimit -f 2; exec {match}"],
        cwd=lists,
        env=Command(lists).environment(),
        capture_output=True,
        text=True,
        timeout=45,
    )
    assert ended.returncode == 2, ended
    assert "space" in ended.stderr
    assert {path.name for path in lists.iterdir()} == {"w.csv", "f.csv"}
