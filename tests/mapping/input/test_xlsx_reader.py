"""Workbooks: the first sheet, ids as text, and numbers within a spreadsheet's precision."""

from __future__ import annotations

import gzip
import hashlib

import pytest

from bulklink.errors import BadFileError
from bulklink.mapping.schema import MappingOptions
from bulklink.models import Op
from bulklink.spreadsheet_grid import column_letters
from tests.mapping.input.workbook import (
    DATE,
    DATE_AND_TIME,
    DURATION,
    TIME,
    Raw,
    number,
    workbook,
    yes,
)
from tests.mapping.planner import HEADER, LINK, MappingPlanner, PlannedMapping

COLUMNS = HEADER.strip().split(",")
GOOD = ["1", "2", "m", "5", "n"]


def plan_workbook(
    planner: MappingPlanner, *rows: list[str], mapping_options: MappingOptions = LINK
) -> PlannedMapping:
    return planner.plan(workbook([COLUMNS, *rows]), mapping_options, "m.xlsx")


def test_texts_are_read_from_the_first_sheet(planner: MappingPlanner) -> None:
    planned = plan_workbook(planner, ["5843104000000424162", "2", "8937fb4a", "5", ' "a"\nb, c '])
    assert planned.sealed_messages[0].contact_id == "5843104000000424162"
    assert planned.plan[0]["Note"] == ' "a"\nb, c '


@pytest.mark.parametrize("name", ["m.XLSX", "m.xlsx.gz"])
def test_the_hash_of_a_workbook_is_that_of_the_original_file(
    planner: MappingPlanner, name: str
) -> None:
    content = workbook([COLUMNS, GOOD])
    content = gzip.compress(content) if name.endswith(".gz") else content
    checked = planner.check(
        [planner.write(content, name)], MappingOptions(Op.LINK, encoding="utf-16")
    )
    assert checked.inputs[0].sha256 == hashlib.sha256(content).hexdigest()
    assert (checked.inputs[0].bytes, checked.messages) == (len(content), 1)


def test_lines_are_the_rows_of_the_sheet_and_empty_rows_are_blank_lines(
    planner: MappingPlanner,
) -> None:
    rows = [COLUMNS, GOOD, [], ["", " "], ["x", *GOOD[1:]], ["1", "2", "b", "5", ""]]
    planned = planner.plan(workbook(rows, first_row=4, first_column=2), name="m.xlsx")
    assert [(row["bulklink_row"], row["bulklink_line"]) for row in planned.plan] == [(1, 5), (3, 9)]
    (fault,) = planned.faults
    assert (fault.row, fault.line, fault.column) == (2, 8, "contact_id")
    assert "cell C8" in fault.message


@pytest.mark.parametrize(
    "digits", ["5843104000000424162", "5.8431040000004E+18", "1000000000000000", "1e400", "1.5"]
)
def test_a_number_rounded_by_a_spreadsheet_is_refused_with_its_cell(
    planner: MappingPlanner, digits: str
) -> None:
    planned = plan_workbook(planner, GOOD, ["1", number(digits), "b", "5", "n"])
    assert planned.reasons == {2: ("rounded-id", "owner_id")}
    assert planned.faults[0].message.startswith("owner_id in cell B3 is ")
    assert planned.faults[0].message.endswith("export ids as text, not as numbers")


def test_whole_numbers_of_up_to_15_digits_keep_their_digits(
    planner: MappingPlanner,
) -> None:
    planned = plan_workbook(
        planner, [number("999999999999999"), number("2.0"), number("77"), number("5E3"), ""]
    )
    (message,) = planned.sealed_messages
    assert (message.contact_id, message.owner_id) == ("999999999999999", "2")
    assert (message.message_id, message.deal_id) == ("77", "5000")


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (number("45000", DATE), "2023-03-15"),
        (number("45000.5", DATE_AND_TIME), "2023-03-15 12:00:00"),
        (number("0.5", TIME), "12:00:00"),
        (number("1.5", DURATION), "1 day, 12:00:00"),
        (yes(), "TRUE"),
        (number("12"), "12"),
        (number("-12"), "-12"),
        (number("1.25"), "1.25"),
        (number("1e20"), "1e+20"),
        (Raw(' t="e"|<v>#REF!</v>'), "#REF!"),
        (Raw(' t="str"|<f>A1</f><v>made</v>'), "made"),
        ("", ""),
    ],
    ids=[
        "date", "date-and-time", "time", "duration", "true", "whole", "negative", "decimal",
        "large", "error", "formula", "empty",
    ],
)  # fmt: skip
def test_the_users_cells_are_kept_as_readable_text(
    planner: MappingPlanner, cell: str, text: str
) -> None:
    planned = plan_workbook(planner, [*GOOD[:4], cell], ["x", "2", "b", "5", cell])
    assert [row["Note"] for row in [*planned.plan, *planned.rejects]] == [text, text]


@pytest.mark.parametrize("cell", [yes(), number("45000", DATE)], ids=["true", "date"])
def test_a_cell_that_is_not_a_number_is_not_an_id(planner: MappingPlanner, cell: str) -> None:
    planned = plan_workbook(planner, [cell, *GOOD[1:]], [*GOOD[:2], cell, *GOOD[3:]])
    assert planned.reasons == {1: ("bad-id", "contact_id"), 2: ("bad-id", "message_id")}


def test_a_tick_in_a_sheet_can_be_the_approval(planner: MappingPlanner) -> None:
    mapping_options = MappingOptions(Op.LINK, only=(("Note", "TRUE"),))
    planned = plan_workbook(
        planner, [*GOOD[:4], yes()], ["1", "2", "b", "5", ""], mapping_options=mapping_options
    )
    assert (planned.messages, planned.left_out) == (1, 1)


PROTECTED = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(2000)
WHOLE = workbook([COLUMNS, GOOD])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (PROTECTED, "password"),
        (b"contact_id\n1\n", "no columns owner_id"),
        (WHOLE[: len(WHOLE) // 2], "cannot be read"),
        (WHOLE[:-4], "cannot be read"),
        (WHOLE[:900] + b"\xff" * 40 + WHOLE[940:], "cannot be read"),
        (workbook([]), "There are no rows"),
        (workbook([COLUMNS]), "only a header"),
        (workbook([["Title"], COLUMNS, GOOD]), "no columns contact_id"),
    ],
    ids=["protected", "csv", "half", "cut", "damaged", "empty", "header-only", "title-above"],
)
def test_an_unreadable_workbook_is_an_error(
    planner: MappingPlanner, content: bytes, message: str
) -> None:
    name = planner.write(content, "m.xlsx")
    with pytest.raises(BadFileError, match=message) as raised:
        planner.plan_files([name])
    assert (raised.value.where or "").removesuffix(", sheet Emails") == name
    assert raised.value.advice
    assert list(planner.scratch.iterdir()) == []


def test_a_stray_cell_far_from_the_table_is_another_column(planner: MappingPlanner) -> None:
    rows = [COLUMNS, GOOD, [""] * 16_383 + ["x"]]
    planned = planner.plan(workbook(rows, first_row=9001), name="m.xlsx")
    assert planned.reasons == {2: ("missing-value", "contact_id")}
    assert [row[""] for row in planned.rejects] == ["x"]


def test_a_sheet_with_more_columns_than_can_be_read_names_the_cell(planner: MappingPlanner) -> None:
    rows = [COLUMNS, GOOD, ["x"] * 1001]
    with pytest.raises(BadFileError, match="reaches to cell ALM9003"):
        planner.plan(workbook(rows, first_row=9001), name="m.xlsx")


def test_a_row_beyond_a_mebibyte_is_a_broken_record(planner: MappingPlanner) -> None:
    planned = plan_workbook(planner, [*GOOD[:4], "x" * (1 << 20)], ["1", "2", "b", "5", "n"])
    assert planned.reasons == {1: ("broken-record", None)}


def test_columns_are_named_as_a_spreadsheet_does() -> None:
    letters = [column_letters(column) for column in (0, 25, 26, 701, 702, 16_383)]
    assert letters == ["A", "Z", "AA", "ZZ", "AAA", "XFD"]
