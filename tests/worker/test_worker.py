"""The worker, with child processes that are played on virtual time."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import anyio
import pytest

from bulklink.errors import ExitCode, LockedError, RunDirError, StoppedBy
from bulklink.operations.queue_access import cancel
from bulklink.runs.folder import RunFolder
from bulklink.runs.queue import RunNotes, RunQueue
from bulklink.runs.record import Invocation, OrgRecord, RunState
from bulklink.worker.overview import overview
from tests.virtual import now
from tests.worker.fake_runs import DIE, FINISH, FakeRuns, Play, is_refused, stops


@pytest.fixture
def runs(tmp_path: Path) -> FakeRuns:
    return FakeRuns(tmp_path / "runs")


@pytest.mark.parametrize(("slots", "most"), [(3, 3), (9, 4)])
def test_the_runs_of_an_org_follow_each_other_and_orgs_share_the_slots(
    runs: FakeRuns, slots: int, most: int
) -> None:
    for number in range(12):
        runs.add(f"run-{number:02d}", of=f"org-{number % 4}")
    result = runs.work(slots=slots)
    assert (result.finished, result.left, result.waiting, result.exit_code) == (12, (), (), 0)
    assert runs.most_active == {"": most, **{f"org-{number}": 1 for number in range(4)}}
    order = [name for _, name, _ in runs.starts]
    for org in range(4):
        of_org = [name for name in order if int(name[4:]) % 4 == org]
        assert of_org == sorted(of_org)
    assert {verb for _, _, verb in runs.starts} == {"apply"}
    assert runs.queue.approvals() == []


def test_a_child_sends_what_was_approved_and_asks_nothing(runs: FakeRuns) -> None:
    org = OrgRecord("77", "Zylker", "production")
    fields: dict[str, Any] = {
        "options": ("--rate", "5"),
        "org": org,
        "profile": "acme",
        "canary": 3,
    }
    runs.add("run", stops(StoppedBy.CREDITS, resume_in=90.0), FINISH, **fields)
    runs.work()
    apply, resume = (command[5:] for command in runs.commands)
    path = str(runs.folder / "run")
    common = ["--expect", "run", "--yes", "--json", "--progress", "none", "--profile", "acme"]
    assert apply == [path, *common, "--expect-org", "77", "--canary", "3", "--rate", "5"]
    assert resume == [path, *common, "--expect-org", "77", "--rate", "5"]
    assert [command[4] for command in runs.commands] == ["apply", "resume"]


def test_what_dies_is_started_again_at_once_then_a_minute_apart_five_times(runs: FakeRuns) -> None:
    runs.add("dies", *[DIE] * 9)
    runs.add("other", of="other")
    result = runs.work()
    assert runs.started("dies") == [0.0, 10.0, 80.0, 150.0, 220.0, 290.0]
    assert (result.finished, result.left, result.exit_code) == (1, ("dies",), ExitCode.STOPPED)
    assert "died 6 times" in runs.reports[-1]
    assert "signal 9" in runs.reports[-1]


def test_a_run_that_dies_seldom_is_always_started_again(runs: FakeRuns) -> None:
    long_life = Play(700.0, -9, RunState.RUNNING)
    runs.add("run", *[long_life] * 8, FINISH)
    assert runs.work().finished == 1
    assert len(runs.started("run")) == 9


def test_a_run_goes_on_when_credits_are_back_and_its_org_waits_meanwhile(runs: FakeRuns) -> None:
    runs.add("first", stops(StoppedBy.CREDITS, resume_in=3600.0), FINISH)
    runs.add("second")
    runs.add("elsewhere", of="other")
    result = runs.work(slots=1)
    assert result.finished == 3
    assert runs.started("first") == [0.0, 3610.0]
    assert runs.started("elsewhere") == [10.0]
    assert runs.started("second") == [3620.0]


def test_a_run_whose_credits_do_not_come_back_is_not_tried_all_the_time(runs: FakeRuns) -> None:
    runs.add("run", *[stops(StoppedBy.CREDITS, resume_in=-5.0)] * 3, FINISH)
    runs.work()
    assert runs.started("run") == [0.0, 70.0, 140.0, 210.0]


@pytest.mark.parametrize(
    ("by", "holds"),
    [
        (StoppedBy.CANARY, False),
        (StoppedBy.MAX_FAILURES, False),
        (StoppedBy.MAX_CREDITS, False),
        (StoppedBy.LEDGER, False),
        (StoppedBy.INTERNAL, False),
        (StoppedBy.INTERRUPTED, False),
        (StoppedBy.NO_ANSWER, True),
        (StoppedBy.FATAL, True),
    ],
)
def test_what_a_person_must_look_at_is_left_alone_and_said(
    runs: FakeRuns, by: StoppedBy, holds: bool
) -> None:
    runs.add("run", stops(by, message="Why it stopped."))
    runs.add("next")
    result = runs.work()
    assert result.left == ("run",)
    assert runs.started("run") == [0.0]
    assert len(runs.started("next")) == (0 if holds else 1)
    assert result.waiting == (("next",) if holds else ())
    report = next(text for text in runs.reports if text.startswith("run is left to you"))
    assert f"({by})" in report
    assert ("later runs of its org wait" in report) == holds
    # Another worker leaves it too, until it is approved again.
    assert runs.work().left == ("run",)
    assert runs.started("run") == [0.0]
    runs.approve("run")
    assert runs.work().left == ()
    assert [verb for _, name, verb in runs.starts if name == "run"] == ["apply", "resume"]


def test_a_person_who_finishes_a_run_that_was_left_lets_its_org_go_on(runs: FakeRuns) -> None:
    runs.add("run", stops(StoppedBy.NO_ANSWER))
    runs.add("next")

    async def finish() -> None:
        await anyio.sleep(100.0)
        folder = RunFolder(runs.folder / "run")
        record = folder.read()
        again = (*record.invocations, record.invocations[-1])
        folder.write(record.replace(state=RunState.FINISHED, stopped_by=None, invocations=again))
        await anyio.sleep(100.0)
        runs.stop.interrupt(StoppedBy.TERMINATED)

    result = runs.work(drain=False, meanwhile=finish)
    assert result.finished == 2
    assert 100.0 <= runs.started("next")[0] <= 131.0


def test_a_run_that_is_locked_is_tried_again(runs: FakeRuns) -> None:
    runs.add("run", *[is_refused("locked")] * 3, FINISH)
    assert runs.work().finished == 1
    assert runs.started("run") == [0.0, 16.0, 32.0, 48.0]


def test_whatever_is_wrong_with_a_run_is_named_and_the_others_go_on(runs: FakeRuns) -> None:
    for name in ("vanished", "damaged", "link", "another", "changed", "profile", "fine"):
        runs.add(name, *([is_refused("config", "There is no such profile.")] * (name == "profile")))
    shutil.rmtree(runs.folder / "vanished")
    (runs.folder / "damaged" / "run.json").write_text("{")
    (runs.folder / "link" / "run.json").rename(runs.folder / "kept.json")
    (runs.folder / "link" / "run.json").symlink_to(runs.folder / "kept.json")
    record = runs.record("another")
    RunFolder(runs.folder / "another").write(record.replace(created="2027-01-15T09:00:00.000Z"))
    RunFolder(runs.folder / "changed").write(runs.record("changed").replace(digest="else"))
    result = runs.work(slots=1)
    assert result.left == ("another", "changed", "damaged", "link", "profile", "vanished")
    assert (result.finished, result.exit_code) == (1, ExitCode.STOPPED)
    assert [name for _, name, _ in runs.starts] == ["profile", "fine"]
    texts = {text.split(" ", 1)[0]: text for text in runs.reports if " left to you " in text}
    assert "(run-dir)" in texts["vanished"]
    assert "There is no such folder" in texts["vanished"]
    assert "run.json is not valid" in texts["damaged"]
    assert "symbolic link" in texts["link"]
    assert "another run" in texts["another"]
    assert "(digest)" in texts["changed"]
    assert "no such profile" in texts["profile"]


def test_a_folder_that_comes_back_is_driven(runs: FakeRuns) -> None:
    runs.add("run")
    (runs.folder / "run").rename(runs.folder.parent / "away")

    async def put_back() -> None:
        await anyio.sleep(100.0)
        (runs.folder.parent / "away").rename(runs.folder / "run")
        await anyio.sleep(100.0)
        runs.stop.interrupt(StoppedBy.TERMINATED)

    assert runs.work(drain=False, meanwhile=put_back).finished == 1


def test_a_clock_that_is_set_back_is_said_and_delays_nothing(runs: FakeRuns) -> None:
    runs.add("run", stops(StoppedBy.CREDITS, resume_in=3600.0), FINISH)

    async def set_back() -> None:
        await anyio.sleep(100.0)
        runs.clock_error = -7 * 86_400.0

    assert runs.work(meanwhile=set_back).finished == 1
    assert runs.started("run") == [0.0, 3610.0]
    assert sum("was set back by 604,800 seconds" in text for text in runs.reports) == 1


def test_a_machine_that_slept_goes_on_by_its_wall_clock(runs: FakeRuns) -> None:
    runs.add("run", stops(StoppedBy.CREDITS, resume_in=3600.0), FINISH)

    async def sleep() -> None:
        await anyio.sleep(100.0)
        runs.clock_error = 3600.0  # the monotonic clock stood still

    assert runs.work(meanwhile=sleep).finished == 1
    assert runs.started("run")[1] < 110.0


def test_a_stop_stops_the_runs_gently_and_another_worker_goes_on(runs: FakeRuns) -> None:
    runs.add("run", Play(1000.0), FINISH)
    runs.add("next")

    async def stop() -> None:
        await anyio.sleep(50.0)
        runs.stop.interrupt(StoppedBy.TERMINATED)

    result = runs.work(meanwhile=stop)
    assert (result.stopped_by, result.exit_code) == ("terminated", ExitCode.TERMINATED)
    assert (result.left, result.waiting) == ((), ("next", "run"))
    assert runs.record("run").stopped_by == StoppedBy.TERMINATED
    runs.stop = type(runs.stop)()
    assert runs.work().finished == 2
    assert [verb for _, name, verb in runs.starts if name == "run"] == ["apply", "resume"]


@pytest.mark.parametrize(("deaths", "starts"), [(0, [0.0]), (1, [60.0]), (5, [])])
def test_deaths_together_with_the_worker_count(
    runs: FakeRuns, deaths: int, starts: list[float]
) -> None:
    approval = runs.add("run")
    started = Invocation(started="2027-01-15T08:00:00.000Z")
    killed = runs.record("run").replace(state=RunState.RUNNING, invocations=(started,))
    RunFolder(runs.folder / "run").write(killed)
    with runs.queue.worker_lock():
        runs.queue.write_notes({"run": RunNotes(approval.approved, started=True, deaths=deaths)})
    result = runs.work()
    assert runs.started("run") == starts
    assert result.left == (() if starts else ("run",))


def test_a_run_that_is_cancelled_is_stopped_gently(runs: FakeRuns) -> None:
    runs.add("run", Play(1000.0))
    runs.add("next")

    async def take_out() -> None:
        await anyio.sleep(50.0)
        cancel(runs.folder / "run", environment=runs.environment())

    result = runs.work(meanwhile=take_out)
    assert (result.finished, result.left, result.waiting) == (1, (), ())
    assert runs.record("run").stopped_by == StoppedBy.TERMINATED
    assert 50.0 <= runs.started("next")[0] <= 53.0
    with pytest.raises(RunDirError, match="not in the queue"):
        cancel(runs.folder / "run", environment=runs.environment())


def test_a_second_worker_of_a_folder_is_refused(runs: FakeRuns) -> None:
    runs.add("run")
    with runs.queue.worker_lock(), pytest.raises(LockedError, match="Another worker"):
        runs.work()
    assert runs.starts == []


def test_a_folder_that_is_missing_is_refused(runs: FakeRuns) -> None:
    with pytest.raises(RunDirError, match="no such folder"):
        runs.work()


def test_an_approval_from_elsewhere_sends_nothing_and_is_named(runs: FakeRuns) -> None:
    approval = runs.add("forged")
    RunQueue(runs.folder, "6" * 32).add(approval)
    runs.add("damaged")
    (runs.folder / ".queue" / "damaged.approved").write_text("{}")
    runs.add("renamed")
    (runs.folder / ".queue" / "renamed.approved").rename(runs.folder / ".queue" / "other.approved")
    runs.add("fine")
    result = runs.work()
    assert [name for _, name, _ in runs.starts] == ["fine"]
    assert result.finished == 1
    assert sum("not given on this machine" in text for text in runs.reports) == 2
    assert sum("cannot be read" in text for text in runs.reports) == 1
    shown = overview(runs.folder, runs.environment())
    assert shown is not None
    assert len(shown.problems) == 3


def test_the_overview_says_what_each_run_waits_for(runs: FakeRuns) -> None:
    runs.add("credits", stops(StoppedBy.CREDITS, resume_in=3600.0))
    runs.add("behind")
    runs.add("left", stops(StoppedBy.CANARY, message="Two were wrong."), of="other")
    shown: dict[str, tuple[str, str | None, str | None]] = {}

    async def look() -> None:
        await anyio.sleep(60.0)
        found = overview(runs.folder, runs.environment())
        assert found is not None
        assert found.worker
        shown.update(
            {Path(run.run_dir).name: (run.state, run.behind, run.message) for run in found.runs}
        )
        runs.stop.interrupt(StoppedBy.TERMINATED)

    runs.work(meanwhile=look)
    assert shown == {
        "credits": ("waiting", None, None),
        "behind": ("behind", "credits", None),
        "left": ("left", None, "Two were wrong."),
    }


def test_a_run_that_has_finished_keeps_no_other_waiting(runs: FakeRuns) -> None:
    runs.add("finished")
    runs.add("next")
    folder = RunFolder(runs.folder / "finished")
    folder.write(folder.read().replace(state=RunState.FINISHED))
    shown = overview(runs.folder, runs.environment())
    assert shown is not None
    assert [(run.state, run.behind) for run in shown.runs] == [("finished", None), ("ready", None)]
    assert runs.work().finished == 2
    assert runs.started("finished") == []


def test_a_worker_without_work_looks_at_the_queue_now_and_then(runs: FakeRuns) -> None:
    runs.folder.mkdir()

    async def approve() -> None:
        await anyio.sleep(1000.0)
        began = now()
        runs.add("run")
        await anyio.sleep(20.0)
        assert now() - began == pytest.approx(20.0, abs=0.1)
        runs.stop.interrupt(StoppedBy.INTERRUPTED)

    result = runs.work(drain=False, meanwhile=approve)
    assert result.finished == 1
    assert result.exit_code == ExitCode.INTERRUPTED
    assert 1000.0 <= runs.started("run")[0] <= 1002.1
