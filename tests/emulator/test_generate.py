"""Synthetic worlds are consistent and reproducible, and the truth predicts what a run does."""

from __future__ import annotations

import csv
import json
import tracemalloc
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulklink.cli.commands.generate import generate as command
from bulklink.emulator.generate import generate
from bulklink.emulator.invalid_rows import INVALID_ROWS
from bulklink.emulator.link_digest import LinkDigest
from bulklink.emulator.settings import MixedAnswer, Settings
from bulklink.emulator.synthetic import Permutation, Recipe, SyntheticWorld
from bulklink.emulator.worldfile import load_world
from bulklink.errors import UsageError
from tests.emulator.client import EmulatorClient

FULL = {
    "messages": 300,
    "contacts": 12,
    "deals_per_contact": 3,
    "owners_per_contact": 2,
    "skew": 1.0,
    "linked_right": 0.1,
    "linked_wrong": 0.2,
    "duplicates": 0.05,
    "conflicts": 0.04,
    "invalid": 0.04,
    "names_missing": 0.3,
}
NAMES = ("world.json", "mapping.csv", "truth.json")


def make_full_recipe(**changed: Any) -> Recipe:
    return Recipe(**(FULL | changed))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output_folder = tmp_path_factory.mktemp("generated")
    generate(make_full_recipe(), output_folder)
    return output_folder


def rows_of(folder: Path) -> list[dict[str, str]]:
    with (folder / "mapping.csv").open(encoding="utf-8", newline="") as source:
        return list(csv.DictReader(source))


def truth_of(folder: Path) -> Any:
    return json.loads((folder / "truth.json").read_text("utf-8"))


def test_the_same_seed_reproduces_the_bytes_and_another_does_not(
    folder: Path, tmp_path: Path
) -> None:
    generate(make_full_recipe(), tmp_path / "same")
    generate(make_full_recipe(seed=2), tmp_path / "other")
    for name in NAMES:
        assert (tmp_path / "same" / name).read_bytes() == (folder / name).read_bytes()
        assert (tmp_path / "other" / name).read_bytes() != (folder / name).read_bytes()


def test_valid_rows_match_the_world(folder: Path) -> None:
    world = load_world(folder / "world.json")
    unusual = {entry["row"]: entry for entry in truth_of(folder)["unusual"]}
    for number, row in enumerate(rows_of(folder), 1):
        if unusual.get(number, {}).get("unlink", {}).get("status") == "rejected":
            continue
        email = world.mailboxes[row["contact_id"]].by_id[row["message_id"]]
        deal = world.deals[row["deal_id"]]
        assert (email.owner_id, deal.contact_id) == (row["owner_id"], row["contact_id"])
        if row["deal_name"]:
            assert row["deal_name"] == deal.name
            assert row["owner_name"] == world.users[row["owner_id"]].full_name


def test_every_message_of_the_world_has_a_row(folder: Path) -> None:
    world = load_world(folder / "world.json")
    named = {row["message_id"] for row in rows_of(folder)}
    mailboxes = world.mailboxes.values()
    assert named >= {message_id for mailbox in mailboxes for message_id in mailbox.by_id}
    assert sum(len(mailbox.emails) for mailbox in mailboxes) == 300


def is_broken(row: dict[str, str]) -> bool:
    """Return whether the row alone shows that every operation must reject it."""
    ids = row["contact_id"] + row["owner_id"]
    return not (ids.isdecimal() and row["message_id"].isalnum())


def expected_report(folder: Path, op: str) -> tuple[Counter[str], dict[str, str | None]]:
    """Return the counts and final links of a correct run, worked out from rows and world alone."""
    world = load_world(folder / "world.json")
    deals = {
        email.message_id: email.deal_id
        for mailbox in world.mailboxes.values()
        for email in mailbox.emails
    }
    wanted_deals: defaultdict[str, set[str]] = defaultdict(set)
    valid_rows = [row for row in rows_of(folder) if not is_broken(row)]
    for row in valid_rows:
        wanted_deals[row["message_id"]].add("" if op == "unlink" else row["deal_id"])
    counts = Counter(rejected=len(rows_of(folder)) - len(valid_rows))
    seen_messages: set[str] = set()
    for row in valid_rows:
        message = row["message_id"]
        if len(wanted_deals[message]) > 1:
            counts["rejected"] += 1
        elif message in seen_messages:
            counts["duplicate"] += 1
        else:
            counts[apply_row(deals, message, row["deal_id"], op)] += 1
        seen_messages.add(message)
    return counts, deals


def apply_row(deals: dict[str, str | None], message: str, deal: str, op: str) -> str:
    target = None if op == "unlink" else deal
    if deals[message] == target:
        return "unchanged"
    if op == "link" and deals[message] is not None:
        return "failed"
    deals[message] = target
    return "done"


@pytest.mark.parametrize("op", ["link", "relink", "unlink"])
def test_the_truth_agrees_with_the_rows_and_the_world(folder: Path, op: str) -> None:
    counts, deals = expected_report(folder, op)
    truth = truth_of(folder)[op]
    assert {name: n for name, n in truth["counts"].items() if n} == dict(counts)
    assert sum(truth["counts"].values()) == truth_of(folder)["rows"]
    world, digest = load_world(folder / "world.json"), LinkDigest()
    for contact_id, mailbox in world.mailboxes.items():
        for email in mailbox.emails:
            digest.add(contact_id, email.message_id, deals[email.message_id])
    assert truth["digest"] == str(digest)


@pytest.mark.parametrize("op", ["link", "relink", "unlink"])
def test_the_truth_lists_the_unusual_rows(folder: Path, op: str) -> None:
    truth = truth_of(folder)
    unusual_counts = Counter(entry[op]["status"] for entry in truth["unusual"] if op in entry)
    unusual_counts[truth["usual"][op]["status"]] += truth["rows"] - unusual_counts.total()
    assert unusual_counts == Counter({name: n for name, n in truth[op]["counts"].items() if n})


@pytest.mark.parametrize(("op", "halves"), [("link", 1), ("unlink", 1), ("relink", 2)])
def test_the_truth_counts_the_minimum_number_of_calls(folder: Path, op: str, halves: int) -> None:
    groups: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    wanted: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows_of(folder):
        wanted[row["message_id"]].add(row["deal_id"])
    for row in rows_of(folder):
        conflict = op != "unlink" and len(wanted[row["message_id"]]) > 1
        if not is_broken(row) and not conflict:
            groups[row["contact_id"], row["owner_id"]].add(row["message_id"])
    least = sum(-(-len(messages) // 20) for messages in groups.values())
    assert truth_of(folder)[op]["least"] == halves * least


def test_long_message_ids_need_more_unlink_calls(tmp_path: Path) -> None:
    generate(Recipe(messages=20, contacts=1, message_id_length=500), tmp_path)
    truth = truth_of(tmp_path)
    assert (truth["link"]["least"], truth["unlink"]["least"]) == (1, 7)


def test_invalid_rows_are_rejected_with_the_expected_codes(folder: Path) -> None:
    rows = rows_of(folder)
    reasons_by_row = {
        entry["row"]: entry["unlink"]["code"]
        for entry in truth_of(folder)["unusual"]
        if entry.get("unlink", {}).get("status") == "rejected"
    }
    assert {number for number, row in enumerate(rows, 1) if is_broken(row)} == set(reasons_by_row)
    assert set(reasons_by_row.values()) == {invalid.code for invalid in INVALID_ROWS}
    for number, code in reasons_by_row.items():
        row = rows[number - 1]
        assert (code == "missing-value") == (row["message_id"] == "")
        assert (code == "rounded-id") == ("E+" in row["owner_id"])


def test_skew_gives_some_contacts_more_emails() -> None:
    def largest(skew: float) -> int:
        synthetic = SyntheticWorld(Recipe(messages=1_000, contacts=10, skew=skew))
        return max(Counter(synthetic.contact_of(n) for n in range(1_000)).values())

    assert largest(0) == 100
    assert largest(2) > 400


def test_ids_have_the_requested_length_and_never_look_rounded(tmp_path: Path) -> None:
    generate(Recipe(messages=500, contacts=100, id_length=16, message_id_length=33), tmp_path)
    for row in rows_of(tmp_path):
        for name in ("contact_id", "owner_id", "deal_id"):
            assert len(row[name]) == 16
            assert row[name][-1] != "0"
        assert len(row["message_id"]) == 33


def test_the_requested_share_of_rows_has_no_names(folder: Path) -> None:
    missing = sum(row["deal_name"] == "" for row in rows_of(folder))
    assert 0.2 < missing / 339 < 0.4
    assert all((row["deal_name"] == "") == (row["owner_name"] == "") for row in rows_of(folder))


def test_jsonl_holds_the_same_rows(folder: Path, tmp_path: Path) -> None:
    generate(make_full_recipe(), tmp_path, "jsonl")
    lines = (tmp_path / "mapping.jsonl").read_text("utf-8").splitlines()
    filled = [{name: v for name, v in row.items() if v} for row in rows_of(folder)]
    assert [json.loads(line) for line in lines] == filled


def test_memory_does_not_grow_with_the_number_of_messages(tmp_path: Path) -> None:
    def peak(messages: int) -> int:
        tracemalloc.start()
        generate(Recipe(messages=messages, contacts=50), tmp_path)
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak_bytes

    peak(100)
    assert peak(4_000) < peak(400) * 1.1


@given(size=st.integers(1, 5_000), seed=st.integers(0, 50))
def test_a_permutation_has_every_number_once_and_an_inverse(size: int, seed: int) -> None:
    order = Permutation(size, seed)
    numbers = [order.number_at(position) for position in range(size)]
    assert sorted(numbers) == list(range(size))
    assert all(order.position_of(number) == position for position, number in enumerate(numbers))


@pytest.mark.parametrize(
    ("wrong", "expected_text"),
    [
        ({"messages": 0}, "messages"),
        ({"linked_right": 1.5}, "linked_right"),
        ({"linked_right": 0.6, "linked_wrong": 0.6}, "at most 1"),
        ({"conflicts": 0.1, "deals_per_contact": 1, "linked_wrong": 0}, "at least 2"),
        ({"owners_per_contact": 11}, "owners_per_contact"),
        ({"id_length": 5}, "id_length"),
        ({"message_id_length": 8}, "message_id_length"),
        ({"skew": -1}, "skew"),
    ],
)
def test_an_invalid_recipe_is_refused(wrong: dict[str, Any], expected_text: str) -> None:
    with pytest.raises(ValueError, match=expected_text):
        make_full_recipe(**wrong)


def run(*arguments: str) -> None:
    command.main(list(arguments), standalone_mode=False)


def test_the_command_has_an_option_for_every_field_of_the_recipe() -> None:
    names = {option.name for option in command.params}
    others = {"out", "kind", "mapping_format", "force", "as_json", "debug", "world", "prediction"}
    assert names - others == set(Recipe.__slots__)


def test_the_command_writes_the_files_and_lists_their_paths(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--messages", "10", "--contacts", "2", "--out", str(tmp_path))
    run(*arguments)
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / name) for name in NAMES]
    with pytest.raises(UsageError, match="already exists"):
        run(*arguments)
    run(*arguments, "--force")


def test_the_command_refuses_invalid_options_and_folders(tmp_path: Path) -> None:
    arguments = ("--messages", "10", "--contacts", "2", "--out", str(tmp_path))
    with pytest.raises(UsageError, match=": --owners-per-contact must"):
        run(*arguments, "--owners-per-contact", "99")
    with pytest.raises(click.BadParameter):
        run(*arguments, "--linked-right", "2")
    blocked = tmp_path / "file"
    blocked.write_text("", "utf-8")
    with pytest.raises(UsageError, match="Cannot write"):
        run(*arguments[:-1], str(blocked / "below"))


async def test_linking_the_mapping_leaves_the_links_that_the_truth_predicts(folder: Path) -> None:
    settings = Settings(mixed_answer=MixedAnswer(applied="yes", good="omitted"), names="optional")
    crm = EmulatorClient(settings, load_world(folder / "world.json"))
    rejected = {
        entry["row"]
        for entry in truth_of(folder)["unusual"]
        if entry.get("link", {}).get("status") == "rejected"
    }
    groups: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
    for number, row in enumerate(rows_of(folder), 1):
        if number not in rejected:
            groups[row["contact_id"]].append(row)
    module = crm.crm.world.module_id
    for contact, rows in groups.items():
        for start in range(0, len(rows), 20):
            await crm.link(
                *(body_of(row, module) for row in rows[start : start + 20]), contact=contact
            )
    assert (await crm.state())["digest"] == truth_of(folder)["link"]["digest"]


def body_of(row: dict[str, str], module: str) -> dict[str, object]:
    """Return the email of a link body for a row."""
    return {
        "owner": {"id": row["owner_id"]},
        "message_id": row["message_id"],
        "linked_record": {"id": row["deal_id"], "module": {"api_name": "Deals", "id": module}},
    }
