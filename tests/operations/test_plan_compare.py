"""The comparison of a mapping with fetched emails agrees with a naive one."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bulklink import check_run, forget
from bulklink.errors import BadFileError
from bulklink.mapping.compare import MAX_COMPARISON_ROWS, Comparison
from bulklink.models import Op
from bulklink.operations.fetching.table import FETCH_COLUMNS
from bulklink.operations.job import Job
from bulklink.operations.plan import plan
from bulklink.tables import format_for, write_table
from tests.e2e.command import write_mapping
from tests.mapping.planner import read_plan

Row = dict[str, str]
RESULTS = (
    *("moved", "linked", "unlinked", "right", "already_linked", "changed_since", "not_told"),
    *("not_this_contacts", "not_in_file"),
)


def write_fetched(path: Path, rows: list[Row]) -> Path:
    """Write these emails as `fetch` writes them."""
    with write_table(path, format_for(path.name), FETCH_COLUMNS) as table:
        table.write(
            [tuple(row.get(column.header) or None for column in FETCH_COLUMNS) for row in rows]
        )
    return path


def compare_plan(tmp_path: Path, op: Op | None, rows: list[Row], file: Path) -> Comparison:
    write_mapping(tmp_path / "m.csv", rows)
    job = Job(mappings=(str(tmp_path / "m.csv"),), op=op, memory="128MB")
    comparison = plan(job, compare_with=str(file)).compare
    assert comparison is not None
    return comparison


def compare_naively(op: Op | None, rows: list[Row], emails: list[Row]) -> dict[str, Any]:
    """Compare one by one."""
    results: Counter[str] = Counter()
    leave: Counter[str] = Counter()
    come: Counter[str] = Counter()
    changed: Counter[str] = Counter()
    moves: Counter[tuple[str, str]] = Counter()
    for row in rows:
        row_op = op or Op(row["op"])
        deal_id = "none" if row_op is Op.UNLINK else row["deal_id"]
        same_message = [e for e in emails if e["message_id"] == row["message_id"]]
        same_contact = [e for e in same_message if e["contact_id"] == row["contact_id"]]
        guard = row.get("from_deal_id") if row_op is not Op.LINK else ""
        if not same_contact:
            result = "not_this_contacts" if same_message else "not_in_file"
        elif not same_contact[0]["from_deal_id"]:
            result = "not_told"
        elif same_contact[0]["from_deal_id"] == deal_id:
            result = "right"
        elif guard and guard != same_contact[0]["from_deal_id"]:
            result = "changed_since"
        elif row_op is Op.LINK and same_contact[0]["from_deal_id"] != "none":
            result = "already_linked"
        else:
            present_deal = same_contact[0]["from_deal_id"]
            if present_deal != "none":
                leave[present_deal] += 1
            if deal_id != "none":
                come[deal_id] += 1
            changed[row["contact_id"]] += 1
            moves[present_deal, deal_id] += 1
            result = (
                "unlinked" if deal_id == "none" else "linked" if present_deal == "none" else "moved"
            )
        results[result] += 1
    deals = {deal: (leave[deal], come[deal]) for deal in leave.keys() | come.keys()}
    top_deals = sorted(deals, key=lambda deal: (-sum(deals[deal]), deal))[:MAX_COMPARISON_ROWS]
    contacts = sorted(changed, key=lambda contact: (-changed[contact], contact))[
        :MAX_COMPARISON_ROWS
    ]
    top_moves = sorted(moves, key=lambda move: (-moves[move], *move))[:MAX_COMPARISON_ROWS]
    return {
        "moves": [(*move, moves[move]) for move in top_moves],
        "moves_in_all": len(moves),
        **{result: results[result] for result in RESULTS},
        "from_deals": len(leave),
        "to_deals": len(come),
        "deals": [(deal, *deals[deal]) for deal in top_deals],
        "contacts": [(contact, changed[contact]) for contact in contacts],
        "deals_in_all": len(deals),
        "contacts_in_all": len({row["contact_id"] for row in rows}),
    }


def draw_mapping(rng: random.Random, op: Op | None, count: int) -> tuple[list[Row], list[Row]]:
    """Draw emails, and a mapping of some of them."""
    contacts = [str(100 + n) for n in range(rng.choice((1, 5, 40)))]
    deals = [str(500 + n) for n in range(rng.choice((2, 50)))]
    emails, rows = [], []
    for number in range(count):
        email = {
            "contact_id": rng.choice(contacts),
            "owner_id": rng.choice("12"),
            "message_id": f"m{number}",
            "from_deal_id": rng.choice([*deals, "none", "none", ""]),
        }
        if rng.random() < 0.9:
            emails.append(email)
        row = {
            "contact_id": rng.choice((email["contact_id"], rng.choice(contacts))),
            "owner_id": rng.choice((email["owner_id"], "3")),
            "message_id": email["message_id"],
            "deal_id": rng.choice((email["from_deal_id"], rng.choice(deals))),
            "from_deal_id": rng.choice(("", email["from_deal_id"], rng.choice(deals))),
        }
        if row["deal_id"] in ("none", ""):
            row["deal_id"] = deals[0]
        if op is None:
            row["op"] = rng.choice(list(Op)).value
        if rng.random() < 0.8:
            rows.append(row)
    return emails, rows or [row]


@pytest.mark.parametrize(
    ("op", "name"),
    [
        (Op.LINK, "f.csv"),
        (Op.UNLINK, "f.jsonl"),
        (Op.RELINK, "f.csv.gz"),
        (None, "f.parquet"),
        (Op.RELINK, "f.xlsx"),
    ],
)
def test_the_comparison_agrees_with_a_naive_one(tmp_path: Path, op: Op | None, name: str) -> None:
    chance = random.Random(name)
    for many in (10, 400):
        emails, rows = draw_mapping(chance, op, many)
        file = write_fetched(tmp_path / name, emails)
        comparison = compare_plan(tmp_path, op, rows, file)
        expected = compare_naively(op, rows, emails)
        counts = {name: getattr(comparison, name) for name in expected}
        counts["deals"] = [(entry.deal_id, entry.leave, entry.come) for entry in comparison.deals]
        counts["moves"] = [
            (entry.from_deal_id or "none", entry.to_deal_id or "none", entry.emails)
            for entry in comparison.moves
        ]
        counts["contacts"] = [(entry.contact_id, entry.change) for entry in comparison.contacts]
        assert counts == expected, many
        assert sum(counts[result] for result in RESULTS) == len(rows)


def email(message: str, deal: str, **more: str) -> Row:
    return {
        "contact_id": "7", "owner_id": "1", "message_id": message, "from_deal_id": deal, **more
    }  # fmt: skip


def test_a_completed_fetched_file_can_be_compared_with_itself(tmp_path: Path) -> None:
    rows = [email("a", "5", deal_id="6", op="relink"), email("b", "none", deal_id="6", op="link")]
    write_mapping(tmp_path / "f.csv", rows)
    comparison = compare_plan(tmp_path, None, rows, tmp_path / "f.csv")
    assert (comparison.moved, comparison.linked, comparison.emails) == (1, 1, 2)


def test_for_an_email_in_two_mailboxes_that_of_the_planned_owner_counts(tmp_path: Path) -> None:
    file = write_fetched(tmp_path / "f.csv", [email("a", "5"), email("a", "6", owner_id="2")])
    row = {"contact_id": "7", "owner_id": "2", "message_id": "a", "deal_id": "6"}
    comparison = compare_plan(tmp_path, Op.RELINK, [row], file)
    assert (comparison.right, comparison.other_owner) == (1, 0)
    comparison = compare_plan(tmp_path, Op.RELINK, [{**row, "owner_id": "3"}], file)
    assert comparison.other_owner == 1


def test_deals_are_named_as_the_file_names_them(tmp_path: Path) -> None:
    file = write_fetched(tmp_path / "f.csv", [email("a", "5", from_deal_name="Boat")])
    row = {**email("a", ""), "deal_id": "6", "deal_name": "Travel"}
    comparison = compare_plan(tmp_path, Op.RELINK, [row], file)
    assert {entry.deal_id: entry.deal_name for entry in comparison.deals} == {
        "5": "Boat",
        "6": "Travel",
    }


def test_the_plan_keeps_which_deal_each_email_is_on(tmp_path: Path) -> None:
    emails = [email("a", "5", from_deal_name="Boat"), email("b", "none"), email("c", "")]
    file = write_fetched(tmp_path / "f.csv", emails)
    rows = [{**entry, "from_deal_id": "", "deal_id": "6"} for entry in (*emails, email("d", ""))]
    write_mapping(tmp_path / "m.csv", rows)
    job = Job(mappings=(str(tmp_path / "m.csv"),), op=Op.RELINK, run_dir=tmp_path / "here")
    sealed = plan(job, compare_with=str(file))
    fetched = {
        row["bulklink_message_id"]: (
            row["bulklink_fetched_deal_id"],
            row["bulklink_fetched_deal_name"],
        )
        for row in read_plan(tmp_path / "here" / "plan.parquet")
    }
    assert fetched == {
        "a": ("5", "Boat"), "b": ("none", None), "c": (None, None), "d": (None, None)
    }  # fmt: skip
    unsealed = msgspec.structs.replace(job, run_dir=None)
    assert plan(unsealed, compare_with=str(file)).digest == sealed.digest
    assert plan(unsealed).digest != sealed.digest, "who approves has seen where emails are"
    assert check_run(tmp_path / "here").ok
    forget(tmp_path / "here", force=True)
    (first, *_) = read_plan(tmp_path / "here" / "plan.parquet")
    assert (first["bulklink_fetched_deal_id"], first["bulklink_fetched_deal_name"]) == ("5", None)
    assert check_run(tmp_path / "here").ok


@pytest.mark.parametrize("name", ["f.csv", "f.parquet"])
def test_a_file_that_fetch_did_not_write_is_refused(tmp_path: Path, name: str) -> None:
    if name == "f.csv":
        write_mapping(tmp_path / name, [{"contact_id": "1", "owner_id": "1", "message_id": "a"}])
    else:
        (tmp_path / name).write_bytes(b"PAR1 no")
    with pytest.raises(BadFileError):
        compare_plan(tmp_path, Op.UNLINK, [email("a", "")], tmp_path / name)


def test_a_missing_file_is_refused_before_a_plan_is_sealed(tmp_path: Path) -> None:
    write_mapping(tmp_path / "m.csv", [email("a", "")])
    job = Job(mappings=(str(tmp_path / "m.csv"),), op=Op.UNLINK, run_dir=tmp_path / "here")
    with pytest.raises(BadFileError):
        plan(job, compare_with=str(tmp_path / "nope.csv"))
    assert not (tmp_path / "here").exists()
