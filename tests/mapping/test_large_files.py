"""A large file is scanned while DuckDB loads it, and is read exactly if its scan says so."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from bulklink.errors import BadFileError, InterruptedPlanningError
from bulklink.mapping.input import scan
from bulklink.mapping.input.prepare import READING_ROWS
from bulklink.mapping.interrupt import PlanningStop
from tests.mapping.planner import HEADER, LINK, MappingPlanner

ROWS = 40_000
NOTE = "n" * 100
LINES = "".join(f"{n % 9000},2,m{n},5,{NOTE}\n" for n in range(ROWS))


class StageNames(PlanningStop):
    """Records the names of the stages."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def begin_stage(
        self, stage: str, size: int | None = None, *, single_query: bool = False
    ) -> None:
        super().begin_stage(stage, size, single_query=single_query)
        self.names.append(stage)


@pytest.mark.parametrize(
    ("end", "rows", "rejected", "exact"),
    [
        pytest.param("1,2,z,5,n\n", ROWS + 1, 0, False, id="regular"),
        pytest.param("1,2,z,5,n", ROWS + 1, 0, False, id="no-final-end"),
        pytest.param('1,2,z,5,"n"\n', ROWS + 1, 0, True, id="quote"),
        pytest.param("1,2,z,5,n,x\n", ROWS + 1, 1, True, id="too-many"),
        pytest.param("\n1,2,z,5,n\n", ROWS + 1, 0, True, id="blank-line"),
        pytest.param("1,2,z,5,n\r\n", ROWS + 1, 0, True, id="mixed-ends"),
    ],
)
def test_the_end_of_a_large_file_decides_how_it_is_read(
    planner: MappingPlanner, end: str, rows: int, rejected: int, *, exact: bool
) -> None:
    content = HEADER + LINES + end
    stop = StageNames()
    checked = planner.check([planner.write(content)], LINK, stop=stop)
    assert (checked.rows, checked.rejected) == (rows, rejected)
    assert (READING_ROWS in stop.names) is exact
    (file,) = checked.inputs
    encoded = content.encode()
    assert (file.records, file.bytes, file.sha256) == (
        rows,
        len(encoded),
        hashlib.sha256(encoded).hexdigest(),
    )


def test_a_large_file_with_other_bytes_than_utf_8_is_read_exactly(planner: MappingPlanner) -> None:
    checked = planner.check([planner.write((HEADER + LINES).encode() + b"1,2,z,5,\xe9\n")])
    assert (checked.rows, checked.rejected) == (ROWS + 1, 1)


def test_several_large_files_are_numbered_in_their_order(planner: MappingPlanner) -> None:
    names = [
        planner.write(f"{HEADER}{LINES}{last}", f"{number}.csv")
        for number, last in enumerate(("1,2,y,5,n\n", "1,x,y,5,n\n", '1,2,x,5,"n"\n'))
    ]
    checked = planner.check(names)
    (fault,) = checked.faults()
    assert (fault.row, fault.file, fault.line) == (2 * (ROWS + 1), names[1], ROWS + 2)


def test_a_stop_ends_the_scan_of_a_large_file(
    planner: MappingPlanner,
) -> None:
    class StopInTheScan(PlanningStop):
        def report_position(self, position: int) -> None:
            super().report_position(position)
            if position > 2 * scan.BLOCK_BYTES * 4:
                self.interrupt()

    name = planner.write(HEADER + LINES)
    with pytest.raises(InterruptedPlanningError):
        planner.check([name], LINK, stop=StopInTheScan())


def test_a_large_file_that_changes_during_its_scan_is_refused(
    planner: MappingPlanner,
) -> None:
    name = planner.write(HEADER + LINES)
    size = Path(name).stat().st_size

    class WriteInTheScan(PlanningStop):
        def report_position(self, position: int) -> None:
            super().report_position(position)
            if position > len(LINES) // 2 and Path(name).stat().st_size == size:
                with Path(name).open("a", encoding="utf-8") as file:
                    file.write("1,2,late,5,n\n")

    with pytest.raises(BadFileError, match="changed"):
        planner.check([name], LINK, stop=WriteInTheScan())
