"""Many rows over several threads keep their numbers and order."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from bulklink.errors import LedgerError
from bulklink.mapping.database import PLANNING_MEMORY
from bulklink.mapping.input.files import find_sources
from bulklink.mapping.input.prepare import prepare_input
from bulklink.mapping.interrupt import PlanningStop
from bulklink.mapping.plan_reader import SealedPlan
from tests.mapping.planner import HEADER, LINK, MappingPlanner, query_plan

if TYPE_CHECKING:
    import io
    from pathlib import Path

ROWS = 320_000

STRAY_CELLS = (
    """count(*) FILTER (bulklink_line <> bulklink_row + 1 OR "Note" <> bulklink_row::VARCHAR)"""
)
GROUPS = """count(DISTINCT bulklink_group), max(bulklink_group),
    count(DISTINCT (bulklink_group, contact_id, owner_id))"""


def shuffled_mapping(*, quoted: bool) -> str:
    """Write many shuffled rows whose note is their row number; each 1,000th is broken."""
    rng = random.Random(7)
    quote = '"' if quoted else ""
    return HEADER + "".join(
        f"{rng.randrange(40_000)},{rng.randrange(3)},m{row},5,{quote}{row}{quote}\n"
        if row % 1000 or not quoted
        else "broken\n"
        for row in range(1, ROWS + 1)
    )


@pytest.mark.parametrize("quoted", [False, True], ids=["regular", "quoted"])
def test_rows_keep_their_numbers_and_groups_stay_together_at_any_size(
    planner: MappingPlanner, *, quoted: bool
) -> None:
    name = planner.write(shuffled_mapping(quoted=quoted))
    planned = planner.plan_files([name], threads=2)
    assert planned.rejected == (ROWS // 1000 if quoted else 0)
    assert [fault.row + 1 for fault in planned.faults] == [fault.line for fault in planned.faults]
    count, last = 0, ("", "", 0)
    for chunk in planned.sealed.chunks():
        for message in chunk:
            count += 1
            assert message.message_id == f"m{message.row}"
            place = (message.contact_id, message.owner_id, message.row)
            assert place > last
            last = place
    assert count == planned.messages == ROWS - planned.rejected
    assert query_plan(planned.sealed.path, STRAY_CELLS) == (0,)
    assert query_plan(planned.sealed.path, GROUPS) == (planned.shape.groups,) * 3


def test_regular_files_are_read_by_duckdb(planner: MappingPlanner, empty_stdin: io.BytesIO) -> None:
    inputs = find_sources(
        [planner.write(f"{HEADER}1,2,m,5,é\n"), planner.write(f'{HEADER}1,2,m,5,"', "b.csv")]
    )
    ways = [
        prepare_input(
            source, LINK, planner.scratch, empty_stdin, PlanningStop(), PLANNING_MEMORY
        ).csv_input.staged
        for source in inputs
    ]
    assert ways == [False, True]
    for path in planner.scratch.iterdir():
        path.unlink()


def test_a_plan_that_is_out_of_order_is_not_sent(tmp_path: Path, shuffled_plan: Path) -> None:
    assert shuffled_plan.parent == tmp_path
    with pytest.raises(LedgerError, match="out of order"):
        list(SealedPlan(shuffled_plan).chunks())
