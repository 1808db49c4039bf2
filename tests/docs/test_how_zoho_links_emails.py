"""docs/how-zoho-links-emails.md: its table follows the rule, and its commands correct emails."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from bulklink.emulator.prediction import DealCandidate, predict_deal
from bulklink.emulator.settings import PredictionMode
from tests.docs.test_which_call import EMAIL, HOUSE, INPUT, TRAVEL
from tests.e2e.command import Command
from tests.e2e.servers import serve_world_file

TEXT = (Path(__file__).parents[2] / "docs" / "how-zoho-links-emails.md").read_text("utf-8")
ROWS = [
    pytest.param(*(cell.strip() for cell in line.split("|")[1:-1]), id=line.split("|")[1].strip())
    for line in re.findall(r"^\| [ABC] (?:Open|Closed).*$", TEXT, re.MULTILINE)
]
COMMANDS = re.findall(
    r"^bulklink (.*)$", "".join(re.findall(r"```sh\n(.*?)```", TEXT, re.DOTALL)), re.MULTILINE
)
SENT = {**EMAIL, "message_id": "e0aa51c7", "received": False}
LETTERS = "ABC"


def candidates(deals: str) -> list[DealCandidate]:
    """Return the deals of a cell, such as `A Open 3, C Closed Lost 9`."""
    found = re.findall(r"([ABC]) (Open|Closed Won|Closed Lost) (\d+)", deals)
    assert len(found) == deals.count(",") + 1
    return [
        DealCandidate(str(LETTERS.index(letter)), forecast_type, float(day))
        for letter, forecast_type, day in found
    ]


@pytest.mark.parametrize(("deals", "strict", "loose", "last_modified_first"), ROWS)
def test_the_table_follows_the_three_readings(
    deals: str, strict: str, loose: str, last_modified_first: str
) -> None:
    known = candidates(deals)
    modes: tuple[PredictionMode, ...] = ("strict", "loose", "last-modified-first")
    predicted = [predict_deal(known, mode) for mode in modes]
    names = tuple("none" if deal is None else LETTERS[int(deal)] for deal in predicted)
    assert names == (strict, loose, last_modified_first)


def test_the_table_has_several_rows() -> None:
    assert len(ROWS) >= 6


def fill_in(file: Path, deal_by_message: dict[str, str]) -> None:
    """Fill in the column `deal_id` of a fetched file."""
    with file.open(encoding="utf-8", newline="") as source:
        rows = list(csv.DictReader(source))
    with file.open("w", encoding="utf-8", newline="") as target:
        writer = csv.DictWriter(target, rows[0])
        writer.writeheader()
        writer.writerows(
            row | {"deal_id": deal_by_message.get(row["message_id"], "")} for row in rows
        )


def test_the_commands_move_link_and_unlink_what_they_say(tmp_path: Path) -> None:
    fetch, plan, relink, link, unlink = [line for line in COMMANDS if "RUN" not in line]
    (tmp_path / "contacts.txt").write_text(EMAIL["contact_id"], "utf-8")
    with serve_world_file(INPUT / "world.json") as crm:
        command = Command(tmp_path, crm.env())
        assert crm.post("receive", EMAIL)["deal_id"] == HOUSE
        assert crm.post("receive", SENT)["deal_id"] is None
        before = crm.links()
        assert command(*fetch.split()).code == 0
        fill_in(tmp_path / "emails.csv", {EMAIL["message_id"]: TRAVEL})
        for line in (plan, relink):
            assert command(*line.split()).code == 0, line
        assert crm.links() == before | {EMAIL["message_id"]: TRAVEL}
        fill_in(tmp_path / "emails.csv", {EMAIL["message_id"]: HOUSE, SENT["message_id"]: TRAVEL})
        assert command(*link.split()).code == 0
        moved = {EMAIL["message_id"]: TRAVEL, SENT["message_id"]: TRAVEL}
        assert crm.links() == before | moved
        assert command(*unlink.split()).code == 0
        assert crm.links() == before | moved | {"5d20c1aa": None}


def test_every_source_is_named_with_its_address() -> None:
    sources = TEXT.partition("## Sources")[2]
    rows = [line for line in sources.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 5
    assert [row for row in rows if "](https://" not in row] == []
