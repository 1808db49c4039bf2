"""Columns that a sealed plan derives from other columns or from the file's metadata."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import duckdb
import msgspec
import pytest

from bulklink.errors import RunDirError
from bulklink.mapping.database import Database
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.plan_digest import read_plan_content
from bulklink.mapping.plan_layout import load_layout, write_parquet
from bulklink.mapping.plan_reader import SealedPlan
from bulklink.mapping.schema import MappingOptions
from bulklink.models import Op
from tests.mapping.planner import (
    HEADER,
    LINK,
    MIXED,
    MappingPlanner,
    PlannedMapping,
    read_plan,
)

if TYPE_CHECKING:
    from pathlib import Path

ALWAYS = {"row", "group", "duplicate_of"}
NAMES = "contact_id,owner_id,message_id,deal_id,owner_name,deal_name\n"


def stored_columns(planned: PlannedMapping) -> set[str]:
    """Return bulklink's own columns that are written to the file."""
    with duckdb.connect() as connection:
        cursor = connection.execute("SELECT * FROM read_parquet(?)", [str(planned.sealed.path)])
        names = [column[0] for column in cursor.description or []]
    return {name.removeprefix("bulklink_") for name in names if name.startswith("bulklink_")}


@pytest.mark.parametrize(
    ("content", "mapping_options", "stored"),
    [
        pytest.param(f"{HEADER}1,2,m,5,\n", LINK, set(), id="nothing-cleaned"),
        pytest.param(f"{HEADER}zcrm_1,2,m,5,\n", LINK, {"contact_id"}, id="prefix"),
        pytest.param(f"{HEADER}1,2, m,5,\n", LINK, {"message_id"}, id="space"),
        pytest.param(f"{HEADER}007,{'9' * 40},m,5,\n", LINK, set(), id="not-64-bit-numbers"),
        pytest.param(f"{HEADER}1,2,m,5,\nzcrm_1,x,m,5,\n", LINK, set(), id="refused"),
        pytest.param(f'{HEADER}1,2,m,5,"a,b"\n', LINK, {"line"}, id="quoted"),
        pytest.param(f"{NAMES}1,2,m,5,Ann,Five\n", LINK, set(), id="names"),
        pytest.param(f"{NAMES}1,2,m,5,,Five \n", LINK, {"owner_name", "deal_name"}, id="untidy"),
        pytest.param(
            f"{HEADER}1,,m,5,\n",
            MappingOptions(Op.LINK, defaults=(("owner_id", "7"),)),
            {"owner_id"},
            id="default",
        ),
        pytest.param(
            "op,contact_id,owner_id,message_id,deal_id\nunlink,1,2,m,5\n",
            MIXED,
            {"op", "deal_id"},
            id="mixed",
        ),
    ],
)
def test_a_bulklink_column_is_written_only_if_it_cannot_be_derived(
    planner: MappingPlanner, content: str, mapping_options: MappingOptions, stored: set[str]
) -> None:
    assert stored_columns(planner.plan(content, mapping_options)) == ALWAYS | stored


def test_rows_of_several_files_have_their_file_and_line(planner: MappingPlanner) -> None:
    names = [planner.write(f"{HEADER}1,2,{name},5,\n", f"{name}.csv") for name in "ab"]
    planned = planner.plan_files(names)
    assert stored_columns(planned) == ALWAYS | {"file", "line"}
    assert [(row["bulklink_file"], row["bulklink_line"]) for row in planned.plan] == [
        (name, 2) for name in names
    ]


def stored_types(planned: PlannedMapping) -> dict[str, str]:
    """Return the types of the columns in the file."""
    with duckdb.connect() as connection:
        query = f"DESCRIBE FROM read_parquet('{planned.sealed.path}')"
        return {row[0]: row[1] for row in connection.execute(query).fetchall()}


@pytest.mark.parametrize(
    ("cell", "own", "user"),
    [
        ("18446744073709551615", None, "UBIGINT"),
        ("18446744073709551616", None, "VARCHAR"),
        ("007", None, "VARCHAR"),
        ("0", None, "UBIGINT"),
        ("zcrm_5", "UBIGINT", "VARCHAR"),
        ("zcrm_05", "VARCHAR", "VARCHAR"),
    ],
)
@pytest.mark.parametrize("place", [0, 1, 3], ids=["contact", "owner", "deal"])
def test_ids_are_written_as_numbers_where_numbers_preserve_them(
    planner: MappingPlanner, place: int, cell: str, own: str | None, user: str
) -> None:
    cells = ["1", "2", "m", "3"]
    cells[place] = cell
    planned = planner.plan(f"{HEADER}{','.join(cells)},\n8,8,n,8,\n")
    types, column = stored_types(planned), HEADER.split(",")[place]
    assert (types.get(f"bulklink_{column}"), types[column]) == (own, user)
    assert {row[f"bulklink_{column}"] for row in planned.plan} == {cell.removeprefix("zcrm_"), "8"}
    assert {row[column] for row in planned.plan} == {cell, "8"}


def test_contacts_are_sent_in_the_order_of_their_ids_as_texts(planner: MappingPlanner) -> None:
    contacts = ["9", "10", "100", "2"]
    planned = planner.plan(HEADER + "".join(f"{contact},2,m,5,\n" for contact in contacts))
    assert stored_types(planned)["contact_id"] == "UBIGINT"
    assert [m.contact_id for m in planned.sealed_messages] == ["10", "100", "2", "9"]


CLEAN = ("12345678901234567890", "007", "7" * 40, "4150868000000000001")
DIRTY = ("zcrm_5", " 5", '"=""5"""', "'007", "zcrm_" + "7" * 40)


@pytest.mark.parametrize("dirty", [(), DIRTY], ids=["as-they-stand", "cleaned"])
@pytest.mark.parametrize("place", [0, 1, 3], ids=["contact", "owner", "deal"])
def test_ids_of_all_kinds_and_the_users_cells_are_read_from_a_plan(
    planner: MappingPlanner, place: int, dirty: tuple[str, ...]
) -> None:
    cells = (*CLEAN, *dirty)
    records = [["1", "2", f"m{n}", "3"] for n in range(len(cells))]
    for record, cell in zip(records, cells, strict=True):
        record[place] = cell
    text = "".join(",".join(record) + ",\n" for record in records)
    planned = planner.plan(HEADER + text)
    column = HEADER.split(",")[place]
    rows_by_message: dict[str, dict[str, Any]] = {row["message_id"]: row for row in planned.plan}
    for number, cell in enumerate(cells):
        user = cell[1:-1].replace('""', '"') if cell.startswith('"') else cell
        row = rows_by_message[f"m{number}"]
        assert row[column] == user
        assert row[f"bulklink_{column}"] == user.strip(" '=\"").removeprefix("zcrm_")


def test_a_plan_of_an_earlier_version_is_read_with_its_original_digest(
    planner: MappingPlanner,
) -> None:
    """Such a plan has all ids as texts, and lacks the deals that emails were on when fetched."""
    path = planner.plan(f"{HEADER}1,2,m,5,\n").sealed.path
    content, rows = read_plan_content(path), read_plan(path)
    with closing(Database(planner.scratch / "spill", PlanningStop(), threads=1)) as database:
        layout = load_layout(database, path)
        elsewhere = {n: c for n, c in layout.elsewhere.items() if not n.startswith("fetched")}
        assert len(elsewhere) == len(layout.elsewhere) - 2
        earlier = msgspec.structs.replace(layout, elsewhere=elsewhere)
        assert layout.numbers == {"contact_id", "owner_id", "deal_id"}
        texts = ", ".join(f"{name}::VARCHAR AS {name}" for name in layout.numbers)
        source = f"SELECT * REPLACE ({texts}) FROM {database.files.read_parquet(path)}"
        write_parquet(database, source, path, earlier.metadata_option())
    assert read_plan_content(path) == content
    assert read_plan(path) == rows


def test_a_parquet_file_that_is_not_a_plan_is_named(tmp_path: Path) -> None:
    path = tmp_path / "plan.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"COPY (SELECT 1 AS bulklink_row) TO '{path}' (FORMAT parquet)")
    with pytest.raises(RunDirError, match="not a plan that bulklink sealed"):
        list(SealedPlan(path).chunks())
