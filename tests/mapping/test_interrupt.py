"""Planning stops when another thread interrupts it, and leaves nothing behind."""

from __future__ import annotations

import io
import threading
from typing import TYPE_CHECKING

import pytest

from bulklink.errors import BadFileError, InterruptedPlanningError, RunDirError
from bulklink.mapping.checked import check
from bulklink.mapping.database import Database
from bulklink.mapping.input.files import find_sources
from bulklink.mapping.input.sheet_staging import READING_SHEET
from bulklink.mapping.interrupt import PlanningStop
from tests.mapping.input.workbook import workbook
from tests.mapping.planner import HEADER, LINK, MappingPlanner

if TYPE_CHECKING:
    from pathlib import Path

ENDLESS = "SELECT count(*) FROM range(1000000000) a, range(1000000000) b"


class StoppingStdin(io.BytesIO):
    """Standard input that interrupts planning while it is read."""

    def __init__(self, stop: PlanningStop) -> None:
        super().__init__((HEADER + "1,2,m,5,\n").encode())
        self._stop = stop

    def read(self, size: int | None = -1, /) -> bytes:
        self._stop.interrupt()
        return super().read(size)


class AppendingStop(PlanningStop):
    """Appends a line to a file while planning reads it, like another program."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._wrote = False

    def check(self) -> None:
        if not self._wrote:
            self._wrote = True
            with self._path.open("a", encoding="utf-8") as file:
                file.write("1,2,more,5,\n")


def test_a_running_query_is_interrupted_immediately(tmp_path: Path) -> None:
    stop = PlanningStop()
    database = Database(tmp_path / "spill", stop)
    threading.Timer(0.05, stop.interrupt).start()
    with pytest.raises(InterruptedPlanningError):
        database.execute(ENDLESS)
    with pytest.raises(InterruptedPlanningError):
        database.execute("SELECT 1")
    database.close()


def test_an_interrupted_read_leaves_nothing_in_the_scratch_folder(tmp_path: Path) -> None:
    stop = PlanningStop()
    inputs = find_sources(["-"], "csv")
    with pytest.raises(InterruptedPlanningError):
        check(inputs, LINK, tmp_path, stop=stop, standard_input=StoppingStdin(stop))
    assert list(tmp_path.iterdir()) == []


def test_streams_of_a_checked_mapping_are_interrupted_too(planner: MappingPlanner) -> None:
    stop = PlanningStop()
    checked = planner.check([planner.write(HEADER + "x,2,m,5,\n" * 5000)], stop=stop)
    faults = checked.faults()
    next(faults)
    stop.interrupt()
    with pytest.raises(InterruptedPlanningError):
        list(faults)
    with pytest.raises(InterruptedPlanningError):
        checked.seal(planner.folder)
    assert not (planner.folder / "plan.parquet").exists()


def test_a_file_that_cannot_be_read_leaves_nothing_in_the_scratch_folder(
    planner: MappingPlanner,
) -> None:
    with pytest.raises(BadFileError):
        planner.plan_files(
            [planner.write(f'{HEADER}1,2,m,5,"x"\n'), planner.write("a\n1\n", "b.csv")]
        )
    assert list(planner.scratch.iterdir()) == []


def test_a_plan_that_cannot_be_written_says_where(planner: MappingPlanner) -> None:
    checked = planner.check([planner.write(HEADER + "1,2,m,5,\n")])
    with pytest.raises(RunDirError) as raised:
        checked.seal(planner.folder / "none")
    assert "none" in raised.value.where
    assert raised.value.advice


def test_a_missing_scratch_folder_is_named(planner: MappingPlanner) -> None:
    inputs = find_sources([planner.write(HEADER + "1,2,m,5,\n")])
    with pytest.raises(RunDirError) as raised:
        check(inputs, LINK, planner.folder / "none")
    assert "none" in raised.value.where


def test_a_file_that_changes_while_it_is_read_is_refused(planner: MappingPlanner) -> None:
    name = planner.write(HEADER + "1,2,m,5,\n")
    with pytest.raises(BadFileError, match="changed while it was read"):
        planner.plan_files([name], stop=AppendingStop(planner.folder / "mapping.csv"))


def test_an_interrupt_calls_functions_registered_before_and_after_it() -> None:
    calls: list[str] = []
    stop = PlanningStop()
    with stop.calling(lambda: calls.append("ended")):
        pass
    with stop.calling(lambda: calls.append("waits")):
        stop.interrupt()
    with stop.calling(lambda: calls.append("late")):
        pass
    assert calls == ["waits", "late"]


class SelfStoppingStop(PlanningStop):
    """Interrupts planning once part of a workbook has been read."""

    def check(self) -> None:
        if self.stage is not None and self.stage.name == READING_SHEET and self.stage.share:
            self.interrupt()
        super().check()


def test_reading_a_workbook_can_be_interrupted_in_the_middle_of_a_sheet(
    planner: MappingPlanner,
) -> None:
    name = planner.write(
        workbook([HEADER.strip().split(",")] + [["1", "2", "m", "5"]] * 5000), "m.xlsx"
    )
    with pytest.raises(InterruptedPlanningError):
        planner.check([name], stop=SelfStoppingStop())
    assert list(planner.scratch.iterdir()) == []
