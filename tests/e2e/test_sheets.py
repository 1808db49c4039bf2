"""Workbooks on the command line, in job files and for a fetch: sheet and hidden rows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from bulklink.operations.job import Job
from tests.e2e.command import Command
from tests.e2e.world import PAT, World, message_id
from tests.mapping.input.workbook import Book, Tab

if TYPE_CHECKING:
    from tests.e2e.servers import StandIn

CONTACT = World().add(free=3)
HEADER = ["contact_id", "owner_id", "message_id", "deal_id"]
ROWS = [[CONTACT.id, PAT, message_id("sheet", at), CONTACT.a] for at in range(3)]
COVER = Tab(name="Cover", rows=[["July"]])
EMAILS = Tab(name="To link", rows=[HEADER, *ROWS], row_attributes={3: 'hidden="1"'})


@pytest.fixture
def folder(bulklink: Command) -> Command:
    """Return the command in a folder with a workbook: a cover sheet, then a mapping."""
    (bulklink.folder / "m.xlsx").write_bytes(Book(tabs=[COVER, EMAILS]).content())
    return bulklink


def test_the_errors_name_the_options_that_fix_them(folder: Command) -> None:
    first = folder("plan", "--op", "link", "m.xlsx")
    assert (first.code, "--sheet 'To link'" in first.err) == (2, True)
    second = folder("plan", "--op", "link", "m.xlsx", "--sheet", "To link")
    assert (second.code, "1 hidden row (3)" in second.err) == (2, True)
    assert "--hidden-rows skip" in second.err
    third = folder("plan", "--op", "link", "m.xlsx", "--sheet", "2", "--hidden-rows", "skip")
    assert (third.code, "1 hidden row (3) left out" in third.err) == (0, True)


@pytest.mark.parametrize(("choice", "messages"), [("include", 3), ("skip", 2)])
def test_a_job_file_has_both_options_and_the_run_keeps_them(
    folder: Command, choice: str, messages: int
) -> None:
    (folder.folder / "job.toml").write_text(
        f'op = "link"\nmapping = "m.xlsx"\nsheet = 2\nhidden_rows = "{choice}"\n'
    )
    planned = folder("run", "job.toml", "--dry-run", "--json")
    assert (planned.code, planned.object["messages"]) == (0, messages)
    sealed = folder(
        *("plan", "--op", "link", "m.xlsx", "--sheet", "to LINK", "--hidden-rows", choice),
        *("--run-dir", "r", "--json"),
    )
    assert sealed.code == 0, sealed
    recorded: dict[str, Any] = json.loads((folder.folder / "r" / "run.json").read_text())
    assert (recorded["asked"]["sheet"], recorded["asked"]["hidden_rows"]) == ("to LINK", choice)


def test_contacts_are_fetched_from_a_sheet(folder: Command, standin: StandIn, world: World) -> None:
    contacts = [world.add(free=1) for _ in range(2)]
    rows = [["contact_id"], *([contact.id] for contact in contacts)]
    table = Tab(name="People", rows=rows, row_attributes={3: 'hidden="1"'})
    (folder.folder / "p.xlsx").write_bytes(Book(tabs=[COVER, table]).content())
    result = folder.with_env(**standin.env())(
        *("fetch", "--from-mapping", "p.xlsx", "--sheet", "People", "--hidden-rows", "skip"),
        *("-o", "f.csv", "--json"),
    )
    assert (result.code, result.object["contacts"]) == (0, 1), result


def test_a_job_accepts_a_sheet_number() -> None:
    job = Job(mappings=("m.xlsx",), sheet=2, hidden_rows="skip")  # type: ignore[arg-type]
    assert (job.sheet, job.hidden_rows) == ("2", "skip")
