"""Another thread sees the stage of planning, and its progress if known."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from bulklink.errors import InterruptedPlanningError
from bulklink.mapping.database import Database
from bulklink.mapping.interrupt import PlanningStage, PlanningStop
from tests.mapping.planner import HEADER, LINK, MappingPlanner

if TYPE_CHECKING:
    from pathlib import Path


class RecordingStop(PlanningStop):
    """Records the stages it is called with."""

    def __init__(self) -> None:
        super().__init__()
        self.stages: list[PlanningStage] = []

    def begin_stage(
        self, stage: str, size: int | None = None, *, single_query: bool = False
    ) -> None:
        super().begin_stage(stage, size, single_query=single_query)
        self._record()

    def report_position(self, position: int) -> None:
        super().report_position(position)
        self._record()

    def _record(self) -> None:
        if (stage := self.stage) is not None:
            self.stages.append(stage)


def test_no_stage_is_reported_before_planning_begins() -> None:
    assert PlanningStop().stage is None


def test_a_mapping_is_read_completely_then_loaded_checked_grouped_and_sorted(
    planner: MappingPlanner,
) -> None:
    content = HEADER + "".join(f"1,2,m{n},5,\n" for n in range(20_000))
    stop = RecordingStop()
    checked = planner.check([planner.write(content)], LINK, stop=stop)
    checked.plan_stats()
    checked.seal(planner.folder)
    names = list(dict.fromkeys(stage.name for stage in stop.stages))
    assert names == [
        "Reading the mapping",
        "Loading the rows",
        "Checking the rows",
        "Grouping the emails",
        "Sorting the plan",
    ]
    shares = [stage.share for stage in stop.stages if stage.size == len(content)]
    assert shares[0] == 0.0
    assert shares[-1] == 1.0
    assert shares == sorted(share for share in shares if share is not None)
    assert len(shares) > 2


def test_the_progress_of_a_query_is_reported_while_it_runs(tmp_path: Path) -> None:
    stop = PlanningStop()
    database = Database(tmp_path / "spill", stop, threads=1)
    stop.begin_stage("Sorting", single_query=True)
    query = "CREATE TABLE t AS SELECT hash(range) AS h FROM range(20000000) ORDER BY h"

    def run() -> None:
        with suppress(InterruptedPlanningError):
            database.execute(query)

    work = threading.Thread(target=run)
    work.start()
    shares = set()
    while work.is_alive():
        stage = stop.stage
        assert stage is not None
        if stage.share is not None:
            shares.add(stage.share)
        if len(shares) > 2:
            break
    stop.interrupt()
    work.join()
    database.close()
    assert len(shares) > 2
    assert all(0 <= share <= 1 for share in shares)
