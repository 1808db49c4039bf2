"""What a run is told of its undos, and when it counts as undone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bulklink.runs.folder import RunFolder
from bulklink.runs.record import Invocation, RunRecord, RunState, UndoneRun
from bulklink.runs.undone import record_undo

FIRST, SECOND, THIRD, FOURTH = (f"2026-11-22T10:0{n}:00.000Z" for n in range(4))
NOW = "2026-11-22T12:00:00.000Z"
DONE = {"done": 3, "unchanged": 1}


def write_run(path: Path, created: str = FIRST, **fields: Any) -> RunFolder:
    """Write the record of a finished run that one command ran."""
    folder = RunFolder(path)
    path.mkdir(exist_ok=True)
    values: dict[str, Any] = {
        "state": RunState.FINISHED,
        "counts": DONE,
        "invocations": (Invocation(created),),
    }
    record = RunRecord(version="1", op="link", asked={}, inputs=(), created=created)
    folder.write(record.replace(**(values | fields)))
    return folder


def write_undo(path: Path, of: RunFolder, created: str = SECOND, **fields: Any) -> RunFolder:
    """Write the record of an undo of a run."""
    source = of.read()
    undo_of = UndoneRun(str(of.path), None, source.digest, source.created, len(source.invocations))
    return write_run(path, created, **({"undo_of": undo_of} | fields))


def note(undo: RunFolder) -> list[str]:
    """Tell the runs before an undo where it stands; return the warnings."""
    return list(record_undo(undo, undo.read(), NOW))


def test_a_finished_undo_makes_its_run_undone(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    assert note(write_undo(tmp_path / "back", run)) == []
    undo = run.read().effective_undo
    assert undo is not None
    assert (undo.run_dir, undo.at, undo.counts) == (str(tmp_path / "back"), NOW, DONE)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"state": RunState.STOPPED}, id="stopped"),
        pytest.param({"counts": DONE | {"failed": 1}}, id="a row failed"),
        pytest.param({"counts": DONE | {"rejected": 1}}, id="a row cannot be undone"),
        pytest.param({"counts": DONE | {"pending": 1}}, id="a row is pending"),
    ],
)
def test_an_undo_that_leaves_rows_makes_its_run_undone_in_part(
    fields: dict[str, Any], tmp_path: Path
) -> None:
    run = write_run(tmp_path / "run")
    note(write_undo(tmp_path / "back", run, **fields))
    assert run.read().effective_undo is None
    assert run.read().last_undo is not None


def test_a_resumed_undo_replaces_what_was_noted_of_it_even_where_it_has_moved(
    tmp_path: Path,
) -> None:
    run = write_run(tmp_path / "run")
    note(write_undo(tmp_path / "back", run, state=RunState.STOPPED))
    note(write_undo(tmp_path / "moved", run))
    (undo,) = run.read().undone_by
    assert undo.complete
    assert undo.run_dir == str(tmp_path / "moved")


def test_an_undo_that_changed_nothing_is_not_noted(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    assert note(write_undo(tmp_path / "back", run, counts={"failed": 4})) == []
    assert run.read().undone_by == ()


def test_each_undo_of_an_undo_reaches_the_first_run(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    back = write_undo(tmp_path / "back", run)
    note(back)
    again = write_undo(tmp_path / "again", back, THIRD)
    note(again)
    assert run.read().effective_undo is None
    assert run.read().last_undo is None
    note(write_undo(tmp_path / "last", again, FOURTH))
    assert run.read().effective_undo is not None


def test_a_run_that_went_on_after_its_undo_is_not_wholly_undone(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    note(write_undo(tmp_path / "back", run))
    run.write(run.read().replace(invocations=(Invocation(FIRST), Invocation(THIRD))))
    assert run.read().effective_undo is None


def test_a_circle_of_undos_ends(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    back = write_undo(tmp_path / "back", run)
    run.write(run.read().replace(undo_of=UndoneRun(str(back.path), created=SECOND)))
    assert note(back) == []


def test_another_run_at_the_place_of_the_undone_one_is_left_alone(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    back = write_undo(tmp_path / "back", run)
    write_run(tmp_path / "run", THIRD)
    (warning,) = note(back)
    assert "Another run is there now" in warning
    assert run.read().undone_by == ()


@pytest.mark.parametrize("state", ["gone", "running", "no run"])
def test_a_run_that_cannot_be_told_is_warned_of(state: str, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    back = write_undo(tmp_path / "back", run)
    if state == "running":
        with run.run_lock():
            warnings = note(back)
    else:
        run.record.unlink()
        if state == "gone":
            run.path.rmdir()
        warnings = note(back)
    assert len(warnings) == 1
    assert str(run.path) in warnings[0]
