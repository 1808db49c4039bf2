"""Files that only bulklink itself writes are known by name, and refused as outputs."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulklink.errors import UsageError
from bulklink.operations.auditing.folder import AuditFolder
from bulklink.operations.fetching.folder import FetchFolder
from bulklink.operations.load_files import PERCENTILES_NAME, RESULT_NAME
from bulklink.operations.merge import MERGE_FILE
from bulklink.operations.probing.folder import ProbeFolder
from bulklink.own_files import JOB_FILES, RUN_FILES, UNFINISHED_FOLDERS, refuse_own_file
from bulklink.runs.folder import RunFolder
from bulklink.runs.job_folder import JobFolder
from bulklink.tables.output import check_can_create

PAGE = "report.html"
UNFINISHED = {record for record, _ in UNFINISHED_FOLDERS.values()}


def property_names(folder: RunFolder | JobFolder) -> set[str]:
    values = (getattr(folder, name) for name in vars(type(folder)) if not name.startswith("__"))
    paths = [value for value in values if isinstance(value, Path) and value.suffix]
    return {path.name for path in paths} - {PAGE}


def test_the_files_of_the_folders_are_known() -> None:
    assert property_names(RunFolder(Path("run"))) <= RUN_FILES
    assert {RESULT_NAME, PERCENTILES_NAME, "lock", "verify.lock"} <= RUN_FILES
    assert property_names(JobFolder(Path("job"))) | {MERGE_FILE, "lock"} == JOB_FILES
    folders = (FetchFolder(Path("f")), AuditFolder(Path("a")), ProbeFolder(Path("p")))
    assert {folder.record.name for folder in folders} == UNFINISHED


@pytest.mark.parametrize(
    ("record", "name", "owner"),
    [
        *(("run.json", name, "a run") for name in sorted(RUN_FILES)),
        *(("job.json", name, "a job") for name in sorted(JOB_FILES)),
        ("run.json", "LEDGER.jsonl", "a run"),
        ("m.csv.fetching/fetch.json", "m.csv.fetching/anything.csv", "an unfinished fetch"),
        ("m.csv.auditing/audit.json", "m.csv.auditing/read.jsonl", "an unfinished audit"),
        ("p.json.probing/before.json", "p.json.probing/calls.jsonl", "an unfinished probe"),
    ],
)
def test_a_file_of_bulklink_is_refused(tmp_path: Path, record: str, name: str, owner: str) -> None:
    for path in (tmp_path / record, tmp_path / "plan.parquet", tmp_path / "1" / "run.json"):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    with pytest.raises(UsageError, match=f"a file of {owner},"):
        refuse_own_file(tmp_path / name)


@pytest.mark.parametrize("stray", ["run.json", "job.json", *sorted(UNFINISHED)])
def test_the_output_of_a_command_does_not_make_a_folder_that_of_a_run(
    tmp_path: Path, stray: str
) -> None:
    (tmp_path / stray).touch()
    for name in ("rejects.csv", "loadtest.json", "m.csv"):
        refuse_own_file(tmp_path / name)


@pytest.mark.parametrize("name", [PAGE, "results.csv", "calls.log"])
def test_any_other_file_may_be_written_into_a_run_folder(tmp_path: Path, name: str) -> None:
    for own in ("run.json", "ledger.jsonl"):
        (tmp_path / own).touch()
    refuse_own_file(tmp_path / name)


def test_the_names_are_free_elsewhere(tmp_path: Path) -> None:
    for name in RUN_FILES - {"run.json"}:
        refuse_own_file(tmp_path / name)
    with pytest.raises(UsageError, match="of the run to be created"):
        refuse_own_file(tmp_path / "plan.parquet", run_dir=tmp_path)


def test_a_link_to_a_file_of_bulklink_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    for name in ("run.json", "ledger.jsonl"):
        (tmp_path / "run" / name).touch()
    (tmp_path / "calls.log").symlink_to(tmp_path / "run" / "ledger.jsonl")
    (tmp_path / "folder").symlink_to(tmp_path / "run")
    for path in (tmp_path / "calls.log", tmp_path / "folder" / "verify.jsonl"):
        with pytest.raises(UsageError):
            refuse_own_file(path)


def test_a_program_cannot_replace_a_file_of_bulklink_either(tmp_path: Path) -> None:
    for name in ("run.json", "ledger.jsonl"):
        (tmp_path / name).touch()
    with pytest.raises(UsageError, match="only bulklink itself writes"):
        check_can_create(tmp_path / "ledger.jsonl", force=True)
