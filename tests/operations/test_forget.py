"""Forgotten data is removed from every file and the rest is kept, even after a kill."""

from __future__ import annotations

import shutil
import stat
from pathlib import Path

import duckdb
import orjson
import pytest

from bulklink.engine.clock import Clock
from bulklink.errors import LedgerError, LockedError, RunDirError
from bulklink.ledger.records import Result, answer_line, result_line, snapshot_line
from bulklink.ledger.replay import replay
from bulklink.mapping.plan_reader import SealedPlan
from bulklink.models import Message, Op, Status
from bulklink.operations.check import check_run
from bulklink.operations.forget import forget, forget_in_steps
from bulklink.operations.job import Job, OnInvalid
from bulklink.operations.plan import plan
from bulklink.runs.folder import RunFolder
from bulklink.runs.hashes import ledger_hash, sha256_of
from bulklink.runs.record import RunState

TS = "2026-11-22T10:15:00.000Z"
NOW = 1_800_000_000.0
SECRET = "Schmidt"
STEPS = 10


def clock_at(moment: float) -> Clock:
    """Return a clock that is stopped."""
    return Clock(wall=lambda: moment, monotonic=lambda: moment, random=lambda: 0.5)


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> RunFolder:
    """A finished run with a customer's name in every text."""
    return RunFolder(shutil.copytree(finished_run, tmp_path / "run"))


@pytest.fixture(scope="module")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, to be copied."""
    tmp_path = tmp_path_factory.mktemp("finished")
    lines = [f"{n},2,m{n},{n % 3},{SECRET} {n},{SECRET} & Sons,{SECRET}@home" for n in range(1, 9)]
    header = f"contact_id,owner_id,message_id,deal_id,deal_name,owner_name,E-mail of {SECRET}\n"
    mapping = tmp_path / "m.csv"
    mapping.write_text(header + "\n".join([*lines, f"{SECRET},2,m,5,,,"]) + "\n", "utf-8")
    job = Job(
        mappings=(str(mapping),),
        op=Op.RELINK,
        run_dir=tmp_path / "run",
        on_invalid=OnInvalid.SKIP,
        columns=(("contact_id", "contact_id"),),
        defaults=(("owner_name", SECRET), ("owner_id", "2")),
    )
    plan(job)
    folder = RunFolder(tmp_path / "run")
    results = [
        Result(
            n, Op.RELINK, str(n), "2", f"m{n}", str(n % 3), Status.DONE, "SUCCESS", 200,
            f"{SECRET} was linked", 1, 1, previous_deal_id="7", previous_deal_name=SECRET,
        )
        for n in range(1, 9)
    ]  # fmt: skip
    with folder.ledger.open("ab") as ledger:
        ledger.writelines(snapshot_line(TS, n, "7", SECRET, 1) for n in range(1, 9))
        ledger.writelines(result_line(TS, result) for result in results)
    folder.answers.write_bytes(answer_line(TS, 1, "link", 400, SECRET))
    for path in (
        folder.ledger_torn,
        folder.names,
        folder.verification_answers,
        folder.path / "report.html",
    ):
        path.write_text(SECRET, "utf-8")
    counts = {"done": 8, "rejected": 1}
    proof = ledger_hash(folder.ledger)
    folder.write(folder.read().replace(state=RunState.FINISHED, counts=counts, **proof))
    return folder.path


def messages(run: RunFolder) -> list[Message]:
    return [message for chunk in SealedPlan(run.plan).chunks() for message in chunk]


def read_all_text(run: RunFolder) -> str:
    """Return all texts in the files of a run, decompressed."""
    texts = [
        path.read_bytes().decode("utf-8", "replace")
        for path in run.path.iterdir()
        if path.is_file()
    ]
    with duckdb.connect() as connection:
        texts.append(str(connection.read_parquet(str(run.plan)).fetchall()))
        query = "SELECT value FROM parquet_kv_metadata($1)"
        texts.append(str(connection.execute(query, [str(run.plan)]).fetchall()))
    return "\n".join(texts)


def assert_forgotten(run: RunFolder, before: tuple[str, str], ids: list[tuple[int, str]]) -> None:
    assert SECRET not in read_all_text(run)
    assert [(m.row, m.message_id) for m in messages(run)] == ids
    assert {(m.owner_name, m.deal_name) for m in messages(run)} == {(None, None)}
    assert {path.name for path in run.path.iterdir()} == {
        *(".gitignore", "lock", "verify.lock"),
        *("run.json", "plan.parquet", "ledger.jsonl"),
    }
    assert {stat.S_IMODE(p.stat().st_mode) for p in run.path.iterdir()} == {0o600}
    assert replay(run.ledger).counts[Status.DONE] == 8
    lines = [orjson.loads(line) for line in run.ledger.read_bytes().splitlines()]
    assert [line["previous_deal_id"] for line in lines if line["event"] == "snapshot"] == ["7"] * 8
    (forgotten,) = run.read().forgotten
    assert (forgotten.plan_before, forgotten.ledger_before) == before
    assert forgotten.plan_after == sha256_of(run.plan)
    assert forgotten.ledger_after == sha256_of(run.ledger)
    proof = check_run(run)
    assert proof.ok
    assert proof.forgotten == (forgotten,)


def test_names_columns_and_texts_are_removed_and_ids_kept(run: RunFolder) -> None:
    assert SECRET in read_all_text(run)
    before = sha256_of(run.plan), sha256_of(run.ledger)
    ids = [(m.row, m.message_id) for m in messages(run)]
    forget(run, clock=clock_at(NOW))
    assert_forgotten(run, before, ids)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, STEPS - 1])
def test_forgetting_can_be_repeated_after_a_kill_at_any_step(run: RunFolder, steps: int) -> None:
    before = sha256_of(run.plan), sha256_of(run.ledger)
    ids = [(m.row, m.message_id) for m in messages(run)]
    doing = forget_in_steps(run, TS)
    assert len([next(doing) for _ in range(steps)]) == steps
    proof = check_run(run)
    assert not proof.ok
    assert "run it again" in proof.plan.detail
    forget(run, clock=clock_at(NOW))
    assert_forgotten(run, before, ids)


def test_every_step_is_tested(run: RunFolder) -> None:
    assert len(list(forget_in_steps(run, TS))) == STEPS


def test_forgetting_again_only_adds_a_record(run: RunFolder) -> None:
    forget(run, clock=clock_at(NOW))
    plan_file, ledger = messages(run), run.ledger.read_bytes()
    forget(run, clock=clock_at(NOW + 1))
    assert messages(run) == plan_file
    assert run.ledger.read_bytes() == ledger
    assert len(run.read().forgotten) == 2
    assert check_run(run).ok


@pytest.mark.parametrize("state", [RunState.PLANNED, RunState.STOPPED, RunState.RUNNING])
def test_an_unfinished_run_is_forgotten_only_if_forced(run: RunFolder, state: RunState) -> None:
    run.write(run.read().replace(state=state))
    with pytest.raises(RunDirError, match="not finished") as refused:
        forget(run, clock=clock_at(NOW))
    assert "force=True" in refused.value.advice
    assert SECRET in read_all_text(run)
    forget(run, clock=clock_at(NOW), force=True)
    assert SECRET not in read_all_text(run)


def test_a_running_or_verified_run_is_refused(run: RunFolder) -> None:
    with run.run_lock(), pytest.raises(LockedError, match="drives"):
        forget(run, clock=clock_at(NOW), force=True)
    with run.verify_lock(), pytest.raises(LockedError, match="verifies"):
        forget(run, clock=clock_at(NOW), force=True)
    assert SECRET in read_all_text(run)


def test_a_damaged_ledger_is_left_unchanged(run: RunFolder) -> None:
    run.ledger.write_bytes(run.ledger.read_bytes() + b"{\n")
    kept = run.record.read_bytes(), run.ledger.read_bytes()
    with pytest.raises(LedgerError, match="not a ledger line"):
        forget(run, clock=clock_at(NOW))
    assert (run.record.read_bytes(), run.ledger.read_bytes()) == kept


def test_a_folder_that_is_not_a_run_is_left_unchanged(tmp_path: Path) -> None:
    with pytest.raises(RunDirError, match=r"run\.json"):
        forget(RunFolder(tmp_path), clock=clock_at(NOW))
    assert list(tmp_path.iterdir()) == []
