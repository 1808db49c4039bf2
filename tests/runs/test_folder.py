"""Run folders: whose they are, who drives them, and what they say."""

from __future__ import annotations

import errno
import shutil
import stat
from pathlib import Path

import pytest

from bulklink.errors import LockedError, RunDirError
from bulklink.ledger.records import CallLine, Result, call_line, result_line
from bulklink.models import Op, Status
from bulklink.runs.folder import RunFolder, create_run_folder, list_run_folders
from bulklink.runs.record import Invocation, RunRecord, RunState, close_last_invocation
from bulklink.runs.status import status

NOW = 1_800_000_000.0
TS = "2027-01-15T08:00:00.000Z"


def record(**changed: object) -> RunRecord:
    return RunRecord(version="1", op="link", asked={}, inputs=(), created=TS).replace(**changed)


def fresh(tmp_path: Path) -> RunFolder:
    return create_run_folder(None, tmp_path / "runs", "link", NOW, "3f2a")


def test_a_folder_is_named_by_time_and_op_and_is_its_owners_alone(tmp_path: Path) -> None:
    folder = fresh(tmp_path)
    assert folder.path.name == "20270115T080000Z-link-3f2a"
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    assert (folder.path / ".gitignore").read_text() == "*\n"


@pytest.mark.parametrize("kind", ["file", "used"])
def test_a_folder_in_use_is_refused(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "run"
    if kind == "file":
        target.write_text("mine")
    else:
        target.mkdir()
        (target / "mine").write_text("mine")
    with pytest.raises(RunDirError) as caught:
        create_run_folder(target, tmp_path, "link", NOW, "x")
    assert str(target) in caught.value.where
    assert "missing or empty" in caught.value.advice


def test_a_folder_below_a_file_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(RunDirError, match="Cannot create"):
        create_run_folder(tmp_path / "file" / "run", tmp_path, "link", NOW, "x")


def test_only_one_process_drives_a_run(tmp_path: Path) -> None:
    folder = fresh(tmp_path)
    with folder.run_lock():
        assert folder.is_running()
        with pytest.raises(LockedError), RunFolder(folder.path).run_lock():
            pytest.fail("two drive it")
    assert not folder.is_running()


@pytest.mark.parametrize("code", ["ENOLCK", "EOPNOTSUPP"])
def test_a_file_system_without_locks_is_named_and_a_copy_elsewhere_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    fcntl = pytest.importorskip("fcntl")

    def no_locks(_file: int, _operation: int) -> None:
        raise OSError(getattr(errno, code), "no locks available")

    folder = fresh(tmp_path)
    with monkeypatch.context() as network_share:
        network_share.setattr(fcntl, "flock", no_locks)
        with (
            pytest.raises(RunDirError, match="file system without locks") as caught,
            folder.run_lock(),
        ):
            pytest.fail("nothing keeps another process out")
    assert caught.value.where == str(folder.path)
    assert "run_dir" in caught.value.advice
    copy = shutil.copytree(folder.path, tmp_path / "local")
    with RunFolder(copy).run_lock():
        assert RunFolder(copy).is_running()


def test_run_json_is_replaced_as_a_whole_and_read_back(tmp_path: Path) -> None:
    folder = fresh(tmp_path)
    folder.write(record(rows=5))
    folder.write(record(rows=6))
    assert folder.read() == record(rows=6)
    assert stat.S_IMODE(folder.record.stat().st_mode) == 0o600
    assert sorted(path.name for path in folder.path.iterdir()) == [".gitignore", "run.json"]


@pytest.mark.parametrize("content", [None, "{", '{"rows": "many"}'])
def test_what_is_no_run_folder_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(RunDirError) as caught:
        status(RunFolder(tmp_path))
    assert str(tmp_path) in caught.value.where


def test_a_running_run_that_nobody_drives_was_killed(tmp_path: Path) -> None:
    folder = fresh(tmp_path)
    folder.write(record(state=RunState.RUNNING, rows=3, invocations=(Invocation(TS),)))
    line = result_line(
        "2027-01-15T08:00:07.500Z", Result(1, Op.LINK, "1", "2", "a", "3", Status.DONE)
    )
    folder.ledger.write_bytes(call_line(TS, CallLine(1, "link", 1, "1", (1, 2))) + line + line[:20])
    with folder.run_lock():
        running = status(folder)
        assert (running.state, running.stopped_by, running.exit_code) == ("running", None, None)
    summary = status(folder)
    assert (summary.state, summary.stopped_by, summary.exit_code) == ("stopped", "killed", 3)
    assert (summary.counts["done"], summary.counts["pending"]) == (1, 2)
    assert summary.calls.link == 1
    assert summary.seconds == 7.5


def test_a_killed_command_lasted_until_the_last_line_and_not_into_the_next() -> None:
    ended = Invocation(TS, "2027-01-15T08:00:01.000Z", 1.0, None, 0)
    killed = Invocation("2027-01-15T09:00:00.000Z")
    assert close_last_invocation((), TS) == ()
    assert close_last_invocation((killed, ended), TS) == (killed, ended)
    *earlier, last = close_last_invocation((ended, killed), "2027-01-15T09:00:02.500Z")
    assert earlier == [ended]
    assert last == Invocation(killed.started, "2027-01-15T09:00:02.500Z", 2.5, "killed")
    (unheard,) = close_last_invocation((killed,), "2027-01-15T08:00:01.000Z")
    assert unheard == Invocation(killed.started, killed.started, 0.0, "killed")


def test_all_runs_are_found_by_name(tmp_path: Path) -> None:
    for tag in ("b", "a"):
        create_run_folder(None, tmp_path, "link", NOW, tag).write(record())
    (tmp_path / "other").mkdir()
    assert [folder.path.name[-1] for folder in list_run_folders(tmp_path)] == ["a", "b"]
