"""A check finds every change of a run folder."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from bulklink.ledger.records import Result, result_line
from bulklink.models import Op, Status
from bulklink.operations.check import check_run
from bulklink.operations.job import Job, OnInvalid
from bulklink.operations.plan import plan
from bulklink.runs.check_result import CheckResult, CheckStatus
from bulklink.runs.folder import RunFolder
from bulklink.runs.hashes import ledger_hash, sha256_of, whole_lines_length
from bulklink.runs.record import RunState

TS = "2026-11-22T10:15:00.000Z"


def result(row: int, status: Status = Status.DONE, message: str = "") -> bytes:
    return result_line(
        TS, Result(row, Op.LINK, "1", "2", message or f"m{row}", "5", status, "SUCCESS", 200)
    )


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> RunFolder:
    """A finished run: three done, one duplicate, one rejected."""
    shutil.copytree(finished_run, tmp_path, dirs_exist_ok=True)
    run = RunFolder(tmp_path / "run")
    (mapping,) = run.read().inputs
    mapping = msgspec.structs.replace(mapping, name=str(tmp_path / "m.csv"))
    run.write(run.read().replace(inputs=(mapping,)))
    return run


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run and its mapping, to be copied."""
    tmp_path = tmp_path_factory.mktemp("finished")
    mapping = tmp_path / "m.csv"
    lines = ["1,2,m1,5", "1,2,m2,5", "1,2,m3,5", "1,2,m1,5", "x,2,m5,5"]
    mapping.write_text("contact_id,owner_id,message_id,deal_id\n" + "\n".join(lines), "utf-8")
    folder = RunFolder(tmp_path / "run")
    skip = OnInvalid.SKIP
    plan(Job(mappings=(str(mapping),), op=Op.LINK, run_dir=folder.path, on_invalid=skip))
    with folder.ledger.open("ab") as ledger:
        ledger.writelines(result(row) for row in (1, 2, 3))
    mark_as(folder, RunState.FINISHED)
    return tmp_path


def mark_as(folder: RunFolder, state: RunState) -> None:
    counts = {"done": 3, "rejected": 1, "duplicate": 1, "pending": 0, "failed": 0}
    hashes = ledger_hash(folder.ledger)
    folder.write(folder.read().replace(state=state, counts=counts, **hashes))


def verdicts(result: CheckResult) -> tuple[str, ...]:
    return tuple(item.verdict for item in (result.plan, result.ledger, result.accounting))


def test_an_unchanged_run_passes_the_check(run: RunFolder) -> None:
    proof = check_run(run)
    assert proof.ok
    assert verdicts(proof) == ("ok", "ok", "ok")
    assert [part.verdict for part in proof.mappings.values()] == [CheckStatus.OK]


def _append(*lines: bytes) -> Callable[[RunFolder], None]:
    def change(run: RunFolder) -> None:
        with run.ledger.open("ab") as ledger:
            ledger.writelines(lines)

    return change


def _append_and_finish(*lines: bytes) -> Callable[[RunFolder], None]:
    def change(run: RunFolder) -> None:
        _append(*lines)(run)
        mark_as(run, RunState.FINISHED)

    return change


def _remove_last_line(run: RunFolder) -> None:
    run.ledger.write_bytes(b"".join(run.ledger.read_bytes().splitlines(keepends=True)[:-1]))


def _edit(run: RunFolder) -> None:
    run.ledger.write_bytes(
        run.ledger.read_bytes().replace(b'"http_status":200', b'"http_status":201')
    )


def _alter_plan(run: RunFolder) -> None:
    run.plan.write_bytes(run.plan.read_bytes() + b" ")


@pytest.mark.parametrize(
    ("change", "expected", "expected_text"),
    [
        (_alter_plan, ("differs", "ok", "ok"), "SHA-256"),
        (lambda run: run.ledger.unlink(), ("ok", "missing", "differs"), "0 of 5 rows"),
        (_edit, ("ok", "differs", "ok"), "SHA-256"),
        (_remove_last_line, ("ok", "differs", "differs"), "4 of 5 rows"),
        (_append(result(1)), ("ok", "differs", "differs"), "settled twice: 1"),
        (_append_and_finish(result(1)), ("ok", "ok", "differs"), "settled twice: 1"),
        (_append_and_finish(result(1, message="other")), ("ok", "ok", "differs"), "row 1"),
        (_append_and_finish(result(9)), ("ok", "ok", "differs"), "ledger.jsonl:6"),
    ],
    ids=["plan", "no-ledger", "edited", "cut", "added", "twice", "other-email", "other-row"],
)
def test_every_change_is_found(
    run: RunFolder,
    change: Callable[[RunFolder], None],
    expected: tuple[str, ...],
    expected_text: str,
) -> None:
    change(run)
    proof = check_run(run)
    assert not proof.ok
    assert verdicts(proof) == expected
    details = (proof.plan.detail, proof.ledger.detail, proof.accounting.detail)
    assert expected_text in " ".join(details)


def test_a_missing_mapping_is_not_a_difference_but_a_changed_one_is(
    run: RunFolder, tmp_path: Path
) -> None:
    (tmp_path / "m.csv").write_text("changed", "utf-8")
    assert not check_run(run).ok
    (tmp_path / "m.csv").unlink()
    proof = check_run(run)
    assert proof.ok
    assert [part.verdict for part in proof.mappings.values()] == [CheckStatus.MISSING]


def test_the_ledger_of_an_active_run_is_compared_up_to_its_recorded_length(run: RunFolder) -> None:
    failed = result(1, Status.FAILED)
    run.ledger.write_bytes(run.ledger.read_bytes().replace(result(1), failed))
    run.write(run.read().replace(state=RunState.RUNNING, **ledger_hash(run.ledger)))
    _append(result(1), b'{"event":"re')(run)
    proof = check_run(run)
    assert proof.ok
    assert "has not ended" in proof.ledger.detail
    run.ledger.write_bytes(run.ledger.read_bytes().replace(failed, result(1, Status.IN_DOUBT)))
    assert check_run(run).ledger.verdict is CheckStatus.DIFFERS


def test_a_retried_row_is_not_settled_twice(run: RunFolder) -> None:
    _append_and_finish(result(9))(run)
    run.ledger.write_bytes(
        run.ledger.read_bytes()
        .replace(result(9), b"")
        .replace(result(1), result(1, Status.FAILED) + result(1))
    )
    mark_as(run, RunState.FINISHED)
    assert check_run(run).ok


def test_hashes_cover_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    assert whole_lines_length(path) == 0
    path.write_bytes(b"a\nbb\nccc")
    assert whole_lines_length(path) == 5
    torn = ledger_hash(path)
    path.write_bytes(b"a\nbb\n")
    assert ledger_hash(path) == torn == {"ledger_sha256": sha256_of(path), "ledger_bytes": 5}
    path.write_bytes(b"x" * (3 << 20))
    assert whole_lines_length(path) == 0
    path.write_bytes(b"\n" + b"x" * (3 << 20))
    assert whole_lines_length(path) == 1
