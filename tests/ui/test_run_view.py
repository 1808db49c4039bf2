"""What the page shows of a run in each of its states, and what it offers to do."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bulklink import Job, Op, plan
from bulklink.engine.metrics import LimitedBy
from bulklink.engine.outage import Outage
from bulklink.errors import LedgerError
from bulklink.ledger.records import CallLine, Result, call_line, result_line, snapshot_line
from bulklink.models import Status
from bulklink.operations.callbacks import Metrics, ReadProgress, RunProgress
from bulklink.runs.folder import RunFolder
from bulklink.runs.job_folder import JobFolder
from bulklink.runs.record import (
    CanaryRecord,
    CanaryState,
    InputRecord,
    Invocation,
    OrgRecord,
    RunRecord,
    RunState,
    UndoneBy,
)
from bulklink.runs.timeline import append_interval
from bulklink.ui.activity import Activity, PageQuestion, Progress
from bulklink.ui.live_values import live_values
from bulklink.ui.run_view import DamagedRun, JobView, RunView, list_runs, view_run
from bulklink.ui.timeline_follower import TimelineFollowers
from tests.ui.intervals import interval

CREATED, STARTED, ENDED = (f"2026-11-30T12:0{minute}:00Z" for minute in range(3))
ENDED_WELL = Invocation(STARTED, ENDED, 60.0, None, 0)
FINISHED = {
    "state": RunState.FINISHED,
    "invocations": (ENDED_WELL,),
    "counts": {"done": 10},
}
UNDONE = FINISHED | {
    "undone_by": (UndoneBy("undo", CREATED, ENDED, RunState.FINISHED, None, {"done": 10}),)
}
KILLED = ("was killed", "bad")


def write_run(folder: Path, **changed: Any) -> RunFolder:
    folder.mkdir(parents=True)
    record = RunRecord(
        version="1", op="link", asked={}, inputs=(), created=CREATED, rows=10, messages=10
    )
    run = RunFolder(folder)
    run.write(record.replace(**changed))
    return run


@pytest.fixture
def running(tmp_path: Path) -> Iterator[RunFolder]:
    """A run that something else works on."""
    run = write_run(tmp_path / "run", state=RunState.RUNNING, invocations=(Invocation(STARTED),))
    with run.run_lock():
        yield run


def offers(view: RunView) -> set[str]:
    names = ("apply", "resume", "retry", "undo", "verify")
    return {name for name in names if getattr(view, f"can_{name}")}


@pytest.mark.parametrize(
    ("changed", "state", "tone", "offered"),
    [
        ({}, "waits for approval", "", {"apply"}),
        ({"messages": 0, "counts": {"rejected": 10}}, "waits for approval", "", {"apply"}),
        ({"load_test": True}, "not started", "", set()),
        (
            {"state": RunState.RUNNING, "invocations": (Invocation(STARTED),)},
            "was killed",
            "bad",
            {"resume", "verify"},
        ),
        (
            {
                "state": RunState.STOPPED,
                "invocations": (Invocation(STARTED, ENDED, 60.0, "interrupted", 130),),
                "counts": {"done": 4},
            },
            "stopped",
            "bad",
            {"resume", "undo", "verify"},
        ),
        (
            {"state": RunState.REFUSED, "invocations": (Invocation(STARTED, ENDED, 1.0, None, 2),)},
            "refused",
            "bad",
            set(),
        ),
        (FINISHED, "finished", "good", {"undo", "verify"}),
        (FINISHED | {"counts": {"unchanged": 10}}, "finished", "good", {"verify"}),
        (
            FINISHED | {"counts": {"done": 9, "failed": 1}},
            "finished, not all done",
            "care",
            {"retry", "undo", "verify"},
        ),
        (
            FINISHED | {"counts": {"done": 9, "in_doubt": 1}},
            "finished, not all done",
            "care",
            {"retry", "undo", "verify"},
        ),
        (
            FINISHED | {"counts": {"done": 9, "rejected": 1}},
            "finished, not all done",
            "care",
            {"undo", "verify"},
        ),
        (UNDONE, "undone", "", {"verify"}),
        (FINISHED | {"load_test": True}, "finished", "good", set()),
    ],
    ids=[
        "planned",
        "planned, all rows refused",
        "planned load test",
        "killed",
        "stopped",
        "refused",
        "finished",
        "nothing to undo",
        "failed row",
        "row in doubt",
        "rejected row",
        "undone",
        "load test",
    ],
)
def test_each_state_has_its_words_and_offers_what_is_possible(
    tmp_path: Path, changed: dict[str, Any], state: str, tone: str, offered: set[str]
) -> None:
    view = view_run(write_run(tmp_path / "run", **changed))
    assert (view.state, view.tone, offers(view)) == (state, tone, offered)
    assert not view.is_elsewhere


def test_a_run_of_another_process_offers_nothing(running: RunFolder) -> None:
    view = view_run(running)
    assert (view.state, view.tone, offers(view)) == ("running", "care", set())
    assert view.is_elsewhere


def settled(row: int, status: Status) -> bytes:
    return result_line(
        ENDED,
        Result(
            row=row,
            op=Op.RELINK,
            contact_id="1",
            owner_id="2",
            message_id=f"m{row}",
            deal_id="5",
            status=status,
            code=None,
            message="",
            http_status=200,
        ),
    )


@pytest.fixture
def killed(tmp_path: Path) -> RunFolder:
    """A run that was killed between the halves of a relink."""
    run = write_run(
        tmp_path / "run",
        op="relink",
        state=RunState.RUNNING,
        reason="It was interrupted.",
        invocations=(Invocation(STARTED),),
        counts={"done": 1},
    )
    results = [settled(row, Status.DONE) for row in range(1, 8)]
    unlinked = [snapshot_line(STARTED, 8, "77", None, 1)]
    call = call_line(STARTED, CallLine(2, "unlink", 1, "1", (8,)))
    run.ledger.write_bytes(b"".join([*results, *unlinked, call]))
    return run


def test_a_killed_run_shows_what_its_ledger_says(killed: RunFolder) -> None:
    view = view_run(killed)
    assert (view.state, view.counts["done"], view.counts["pending"]) == ("was killed", 7, 3)
    assert offers(view) == {"resume", "undo", "verify"}
    assert view.reason is None, "that of an earlier command"
    assert live_values(killed, None, TimelineFollowers()).progress == "7 of 10 rows"
    with killed.ledger.open("ab") as ledger:
        ledger.write(settled(9, Status.FAILED))
    assert view_run(killed).counts["failed"] == 1


def test_a_call_in_flight_of_a_killed_run_can_be_undone(killed: RunFolder) -> None:
    killed.ledger.write_bytes(call_line(STARTED, CallLine(1, "link", 1, "1", (8,))))
    assert offers(view_run(killed)) == {"resume", "undo", "verify"}


def test_a_killed_run_names_its_half_done_relinks(killed: RunFolder) -> None:
    (relinks,) = view_run(killed).detached
    assert "row 8 (was on deal 77)" in relinks
    with killed.ledger.open("ab") as ledger:
        ledger.write(settled(8, Status.DONE))
    assert view_run(killed).detached == ()


def test_a_killed_run_with_a_damaged_ledger_is_listed(killed: RunFolder) -> None:
    killed.ledger.write_bytes(b"{}\n{}\n")
    with pytest.raises(LedgerError):
        view_run(killed)
    assert [run.name for run in list_runs(killed.path.parent)] == ["run"]


def test_a_failed_canary_is_to_be_accepted_first(tmp_path: Path) -> None:
    canary = CanaryRecord(20, CanaryState.STOPPED, "5 of 20 emails are not on their deal.")
    stopped = {
        "state": RunState.STOPPED,
        "canary": canary,
        "invocations": (Invocation(STARTED, ENDED, 60.0, "canary", 3),),
    }
    assert view_run(write_run(tmp_path / "a", **stopped)).failed_canary == canary.found
    silent = stopped | {"canary": msgspec.structs.replace(canary, found=None)}
    found = view_run(write_run(tmp_path / "b", **silent)).failed_canary
    assert found == "The canary did not pass."
    passed = FINISHED | {"canary": msgspec.structs.replace(canary, state=CanaryState.PASSED)}
    assert view_run(write_run(tmp_path / "c", **passed)).failed_canary is None


@pytest.mark.parametrize(
    ("org", "shown"),
    [
        (None, None),
        (OrgRecord(), None),
        (OrgRecord("1", "Zylker"), "Zylker"),
        (OrgRecord("1", "Zylker", "production"), "Zylker (production)"),
        (OrgRecord("1", None, "sandbox"), "(sandbox)"),
    ],
    ids=["before the first call", "unknown", "name", "name and type", "type"],
)
def test_the_org_is_named_with_its_type(
    tmp_path: Path, org: OrgRecord | None, shown: str | None
) -> None:
    assert view_run(write_run(tmp_path / "run", org=org)).org == shown


def test_files_are_named_without_their_folders(tmp_path: Path) -> None:
    inputs = tuple(InputRecord(name, "", 0, 0) for name in ("/home/ann/secret/a.csv", "b.csv"))
    assert view_run(write_run(tmp_path / "run", inputs=inputs)).mapping == "a.csv, b.csv"
    undone = UndoneBy("/home/ann/runs/undo-1", CREATED, ENDED, RunState.FINISHED)
    view = view_run(write_run(tmp_path / "undone", **FINISHED, undone_by=(undone,)))
    assert [undo.name for undo in view.undone_by] == ["undo-1"]


def test_an_undo_is_a_link_only_if_the_page_lists_it(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    names = ("listed", "elsewhere/other", "elsewhere/taken", "elsewhere/..")
    undone_by = tuple(
        UndoneBy(str(runs / name), f"2026-11-30T13:0{minute}:00Z", ENDED, RunState.FINISHED)
        for minute, name in enumerate(names)
    )
    write_run(runs / "listed", created=undone_by[0].created)
    write_run(runs / "elsewhere" / "other", created=undone_by[1].created)
    write_run(runs / "taken", created="2026-11-30T14:00:00Z")
    view = view_run(write_run(runs / "run", **FINISHED, undone_by=undone_by))
    assert [undo.is_listed for undo in view.undone_by] == [True, False, False, False]


@pytest.mark.parametrize(
    ("op", "title"),
    [("mixed", "Link, unlink and relink emails"), ("new-op", "New-op")],
    ids=["known", "of a later version"],
)
def test_a_run_is_titled_by_what_it_does(tmp_path: Path, op: str, title: str) -> None:
    assert view_run(write_run(tmp_path / "run", op=op)).title == title


def test_runs_are_listed_the_newest_first_and_damaged_ones_are_named(tmp_path: Path) -> None:
    write_run(tmp_path / "old", created="2026-11-01T12:00:00Z")
    write_run(tmp_path / "new", created="2026-11-30T12:00:00Z")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "run.json").write_text("{")
    (tmp_path / "no run").mkdir()
    (tmp_path / "file").write_text("")
    listed = list_runs(tmp_path)
    assert [run.name for run in listed] == ["new", "old", "bad"]
    assert isinstance(listed[-1], DamagedRun)
    assert listed[-1].message
    assert listed[-1].where == str(tmp_path / "bad" / "run.json")


def test_a_job_is_listed_with_its_shards_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    mapping = tmp_path / "m.csv"
    rows = [f"{contact},1,m{contact},5" for contact in range(1, 31)]
    mapping.write_text("\n".join(["contact_id,owner_id,message_id,deal_id", *rows]))
    for name in ("job", "lost"):
        plan(Job(mappings=(str(mapping),), op=Op.LINK, run_dir=tmp_path / "runs" / name), shards=2)
    shutil.rmtree(tmp_path / "runs" / "lost" / "shard-2")
    listed = {run.name: run for run in list_runs(tmp_path / "runs")}
    job = listed["job"]
    assert isinstance(job, JobView)
    assert (job.title, job.state) == ("Link emails", "waits for approval")
    assert (job.messages, job.shards) == (30, 2)
    lost = listed["lost"]
    assert isinstance(lost, DamagedRun)
    assert "Shard 2 of 2 is missing" in lost.message


@pytest.fixture
def job(tmp_path: Path) -> JobFolder:
    """A job of two shards of 15 emails each, not sent."""
    mapping = tmp_path / "m.csv"
    rows = [f"{contact},1,m{contact},5" for contact in range(1, 31)]
    mapping.write_text("\n".join(["contact_id,owner_id,message_id,deal_id", *rows]))
    folder = tmp_path / "runs" / "job"
    plan(Job(mappings=(str(mapping),), op=Op.LINK, run_dir=folder), shards=2)
    return JobFolder(folder)


@pytest.mark.parametrize(
    ("first", "second", "state", "tone"),
    [
        ({"state": RunState.RUNNING, "invocations": (Invocation(STARTED),)}, {}, *KILLED),
        (FINISHED, {"state": RunState.RUNNING, "invocations": (Invocation(STARTED),)}, *KILLED),
        (FINISHED, FINISHED, "finished", "good"),
        (FINISHED | {"counts": {"failed": 1}}, FINISHED, "finished, not all done", "care"),
        (FINISHED, FINISHED | {"counts": {"in_doubt": 1}}, "finished, not all done", "care"),
        (FINISHED, {"state": RunState.REFUSED}, "finished, not all done", "care"),
        (UNDONE, FINISHED, "finished", "good"),
        (UNDONE, FINISHED | {"counts": {"unchanged": 10}}, "undone", ""),
    ],
    ids=[
        "killed",
        "killed later",
        "finished",
        "failed row",
        "row in doubt",
        "refused shard",
        "undone in part",
        "undone",
    ],
)
def test_a_job_says_what_became_of_its_shards(
    job: JobFolder, first: dict[str, Any], second: dict[str, Any], state: str, tone: str
) -> None:
    shards = [folder for folder, _ in job.open_shards(job.read())]
    for shard, changed in zip(shards, (first, second), strict=True):
        shard.write(shard.read().replace(**changed))
    (view,) = list_runs(job.path.parent)
    assert isinstance(view, JobView)
    assert (view.state, view.tone) == (state, tone)


def test_a_job_that_is_sent_is_running(job: JobFolder) -> None:
    (shard, record), _ = job.open_shards(job.read())
    shard.write(record.replace(state=RunState.RUNNING, invocations=(Invocation(STARTED),)))
    with shard.run_lock():
        (view,) = list_runs(job.path.parent)
    assert isinstance(view, JobView)
    assert (view.state, view.tone) == ("running", "care")


def test_a_missing_folder_has_no_runs(tmp_path: Path) -> None:
    assert list_runs(tmp_path / "missing") == []


async def _no_work(*_: object) -> None:
    """Do nothing."""


def active(progress: Progress) -> Activity:
    activity = Activity(verb="apply", work=_no_work)
    activity.progress = progress
    return activity


def values_of(progress: Progress) -> dict[str, Any]:
    run = RunFolder(Path("not read"))
    values = live_values(run, active(progress), TimelineFollowers())
    return dict(msgspec.to_builtins(values))


def test_a_run_of_the_page_shows_its_progress() -> None:
    metrics = Metrics(rate=12.34, seconds_left=90, limited_by=LimitedBy.LATENCY)
    counts = {Status.DONE: 2500, Status.FAILED: 3}
    codes = {f"CODE_{n}": n for n in range(1, 8)}
    values = values_of(Progress("Sending", RunProgress(10_000, counts, codes, metrics)))
    assert (values["state"], values["phase"]) == ("running", "Sending …")
    assert values["progress"] == "2,503 of 10,000 rows"
    assert values["share"] == 0.2503
    assert values["rate"] == "12.3 a second"
    assert values["left"] == "about 1 min 30 s left"
    assert values["limit"] == f"limited by {LimitedBy.LATENCY}"
    assert values["codes"] == "7 CODE_7, 6 CODE_6, 5 CODE_5, 4 CODE_4, 3 CODE_3"
    assert values["counts"]["done"] == 2500
    assert values["counts"]["pending"] == 7497


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(4, "about 4 s left"), (60, "about 1 min left"), (5400, "about 1 h 30 min left")],
    ids=["seconds", "minutes", "hours"],
)
def test_the_time_left_has_a_fitting_unit(seconds: float, text: str) -> None:
    run = RunProgress(10, {}, {}, Metrics(seconds_left=seconds))
    assert values_of(Progress(run=run))["left"] == text


def test_before_the_first_row_the_reading_is_shown() -> None:
    values = values_of(Progress("Looking up names", reading=ReadProgress("names", 50, 200)))
    assert (values["progress"], values["share"], values["counts"]) == ("50 of 200 names", 0.25, {})


@pytest.mark.parametrize(
    ("waiting", "words"),
    [
        (Progress(waiting_until=1_800_000_000.0), "Waiting for credits until"),
        (Progress(outage=Outage("timeout", 1_800_000_000.0)), "No answer (timeout)"),
        (Progress(), ""),
    ],
    ids=["credits", "outage", "nothing"],
)
def test_what_a_run_waits_for_is_shown(waiting: Progress, words: str) -> None:
    note = values_of(waiting)["note"]
    assert note.startswith(words)
    assert bool(note) is bool(words)


def test_a_question_is_named_by_its_number() -> None:
    assert values_of(Progress(question=PageQuestion(3, "Send?")))["question"] == 3


def test_a_run_without_a_command_is_not_active(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", **FINISHED)
    values = live_values(run, None, TimelineFollowers())
    assert (values.active, values.state, values.progress) == (False, "finished", "10 of 10 rows")


def test_a_run_of_another_process_shows_the_results_of_its_timeline(running: RunFolder) -> None:
    followers = TimelineFollowers()
    append_interval(running.timeline, interval(settled={"done": 4}, limited_by="latency"))
    values = live_values(running, None, followers)
    assert (values.active, values.progress) == (True, "4 of 10 rows")
    assert values.limit == "limited by latency"
    append_interval(running.timeline, interval(settled={"done": 1, "failed": 1}))
    values = live_values(running, None, followers)
    assert values.counts == dict.fromkeys(values.counts, 0) | {"done": 5, "failed": 1, "pending": 4}


@pytest.mark.parametrize(
    ("before", "results", "after"),
    [
        ({"rejected": 2}, {"done": 3}, {"rejected": 2, "done": 3, "pending": 5}),
        ({"done": 6}, {"done": 3}, {"done": 9, "pending": 1}),
        ({"done": 8, "failed": 2}, {}, {"done": 8, "failed": 2}),
        ({"done": 8, "failed": 2}, {"done": 1}, {"done": 9, "failed": 1}),
        ({"done": 8, "failed": 2}, {"done": 1, "failed": 1}, {"done": 9, "failed": 1}),
        ({"done": 8, "in_doubt": 2}, {"done": 2}, {"done": 10}),
    ],
    ids=["rejected rows", "resumed", "retry begins", "retry", "retry fails", "doubt settled"],
)
def test_results_of_earlier_commands_count_and_retried_rows_count_once(
    tmp_path: Path, before: dict[str, int], results: dict[str, int], after: dict[str, int]
) -> None:
    run = write_run(
        tmp_path / "run",
        state=RunState.RUNNING,
        counts=before,
        invocations=(ENDED_WELL, Invocation("2026-11-30T12:03:00Z")),
    )
    append_interval(run.timeline, interval(settled={"done": 7}, ts=STARTED))
    append_interval(run.timeline, interval(settled=results, ts="2026-11-30T12:04:00Z"))
    with run.run_lock():
        values = live_values(run, None, TimelineFollowers())
    assert values.counts == dict.fromkeys(values.counts, 0) | after
