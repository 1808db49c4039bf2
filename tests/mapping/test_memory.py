"""Mappings full of duplicates or conflicts stay within the memory limit; DuckDB spills the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bulklink.errors import RunDirError
from bulklink.mapping.database import Database
from bulklink.mapping.duplicates import duplicate_tables_sql
from bulklink.mapping.interrupt import PlanningStop
from tests.mapping.planner import HEADER, MappingPlanner

if TYPE_CHECKING:
    from pathlib import Path

ROWS = 150_000
#: Far less than the rows take; what an operator cannot spill does not fit.
MEMORY = "80MB"


LONG_ROWS = 500_000
OWNER_FORMS = ("contact_id_number", "contact_id_text", "owner_id_number", "owner_id_text")
#: `checked_rows` as `validate` makes it: every message twice, with a deal of 100 digits.
LONG_DEALS = f"""
CREATE TABLE checked_rows AS SELECT i + 1 AS row, i + 1 AS origin_row, 'link' AS op,
    NULL::VARCHAR AS reason,
    i % {LONG_ROWS // 2} // 8 AS contact_id_number, NULL::VARCHAR AS contact_id_text,
    1 AS owner_id_number, NULL::VARCHAR AS owner_id_text,
    format('{{:040x}}', i % {LONG_ROWS // 2}) AS message_id,
    NULL::UBIGINT AS deal_id_number,
    lpad((i % {LONG_ROWS // 2})::VARCHAR, 100, '1') AS deal_id_text, NULL::VARCHAR AS from_deal_id
FROM range({LONG_ROWS}) AS made(i)
"""


def duplicated_mapping(*deals: int) -> str:
    """Write every message once for each of two deals, in another order the second time."""
    half = ROWS // 2
    return HEADER + "".join(
        f"{4150868000000000001 + n % half * 7919 % half // 8},4150868000000200001,"
        f"{n % half * 7919 % half:040x},{4150868000003000001 + deals[n // half]},note {n}\n"
        for n in range(ROWS)
    )


@pytest.mark.parametrize(
    ("deals", "rejected", "duplicates"),
    [((1, 1), 0, ROWS // 2), ((1, 2), ROWS, 0)],
    ids=["duplicates", "conflicts"],
)
def test_a_mapping_full_of_duplicates_and_conflicts_is_planned_in_little_memory(
    planner: MappingPlanner, deals: tuple[int, int], rejected: int, duplicates: int
) -> None:
    name = planner.write(duplicated_mapping(*deals))
    planned = planner.plan_files([name], threads=1, memory=MEMORY)
    assert (planned.rejected, planned.duplicates) == (rejected, duplicates)
    rows = [row for row in range(1, ROWS + 1) if rejected]
    assert [int(row["bulklink_row"]) for row in planned.rejects] == rows
    assert [refused.row for refused in planned.refused_rows] == rows
    assert len(planned.duplicate_rows) == duplicates
    assert len(planned.sealed_messages) == planned.messages == ROWS - rejected - duplicates


def test_too_little_memory_is_an_error_that_names_the_setting(planner: MappingPlanner) -> None:
    name = planner.write(duplicated_mapping(1, 1))
    with pytest.raises(RunDirError) as raised:
        planner.plan_files([name], threads=1, memory="8MB")
    assert "memory" in raised.value.advice


def test_duplicates_are_found_in_less_memory_than_their_texts_take(tmp_path: Path) -> None:
    """DuckDB cannot spill the minimum and maximum of long texts."""
    database = Database(tmp_path / "spill", PlanningStop(), threads=1, memory="40MB")
    database.execute(LONG_DEALS)
    for statement in duplicate_tables_sql(OWNER_FORMS):
        database.execute(statement)
    assert database.fetch_one("SELECT count(*), count(*) FILTER (repeated) FROM good") == (
        LONG_ROWS,
        LONG_ROWS // 2,
    )
    database.close()
