"""Folders that drivers left on a machine: removed by the next one, but for evidence."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

from bulklink.cluster.driving import _remove_earlier_folders
from bulklink.cluster.segments import UNSHIPPED
from bulklink.runs.folder import RunFolder


def make_folder(work_folder: Path, name: str) -> RunFolder:
    """Create the folder of a driver."""
    folder = RunFolder(work_folder / name / "run")
    folder.path.mkdir(parents=True)
    folder.ledger.touch()
    return folder


def test_folders_of_dead_drivers_are_removed_but_no_evidence(tmp_path: Path) -> None:
    run, other = uuid4(), uuid4()
    dead = make_folder(tmp_path, f"{run}-1")
    cut_off = make_folder(tmp_path, f"{run}-2")
    (cut_off.path / UNSHIPPED).touch()
    suspended = make_folder(tmp_path, f"{run}-3")
    another = make_folder(tmp_path, f"{other}-1")
    with suspended.run_lock():
        _remove_earlier_folders(tmp_path, run)
    assert not dead.path.parent.exists()
    assert cut_off.ledger.exists()
    assert suspended.ledger.exists()
    assert another.ledger.exists()
