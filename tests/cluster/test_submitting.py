"""Submission of several plans, and waiting for their end."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import anyio
import pytest

from bulklink.cluster.database import ClusterDatabase
from bulklink.cluster.runs import RunTable
from bulklink.cluster.waiting import WaitResult, wait_for_runs
from bulklink.errors import ExitCode
from tests.cluster.conftest import TIMING
from tests.cluster.postgres import PostgresServer
from tests.cluster.submitted import drain, shown_runs, submit
from tests.cluster.test_bad_input import refused
from tests.e2e.command import Command, ensure_terminated, interrupt, wait_for_exit
from tests.guard import off_loop

pytestmark = pytest.mark.timeout(120)
PLAN = ("plan", "--op", "relink")
BOTH = ("cluster", "submit", "july", "other/july", "--yes")


def test_a_plan_with_refused_rows_is_sent_and_pulled_with_their_results(
    command: Command, world: Path, tmp_path: Path
) -> None:
    header, *lines = (world / "mapping.csv").read_text("utf-8").splitlines()
    lines[0] = ",".join("no id" if cell.isdigit() else cell for cell in lines[0].split(","))
    (tmp_path / "refused.csv").write_text("\n".join([header, *lines]), "utf-8")
    sealed = command(*PLAN, "refused.csv", "--on-invalid", "skip", "--run-dir", "refused")
    assert sealed.code == ExitCode.ROWS_NOT_DONE, sealed
    submit(command, run="refused")
    drained = drain(command)
    assert (drained["finished"], drained["with_failures"]) == (1, 1), drained
    assert command("cluster", "pull", "refused", "-o", "pulled").code == 0
    counts = command("status", "pulled", "--check", "--json").object["counts"]
    assert (counts["rejected"], counts["pending"]) == (1, 0)
    ledgers = [tmp_path / folder / "ledger.jsonl" for folder in ("refused", "pulled")]
    before, after = [ledger.read_bytes() for ledger in ledgers]
    assert before
    assert after.startswith(before)


def test_an_undo_is_sent_by_a_cluster(command: Command) -> None:
    submit(command)
    assert drain(command)["finished"] == 1
    assert command("cluster", "pull", "july", "-o", "pulled").code == 0
    sealed = command("undo", "pulled", "--dry-run", "--run-dir", "undo", "--json")
    assert sealed.object["messages"] == 40, sealed
    submit(command, run="undo")
    drained = drain(command)
    assert (drained["finished"], drained["exit_code"]) == (1, 0), drained
    assert command("verify", "pulled").code == ExitCode.ROWS_NOT_DONE


def test_several_plans_are_sent_in_the_order_in_which_they_are_named(command: Command) -> None:
    result = command("cluster", "submit", "other/july", "july", "--yes", "--json")
    ids = [run["id"] for each in result.object["submitted"] for run in each["runs"]]
    assert [(run["id"], run["state"]) for run in shown_runs(command)] == [
        (ids[0], "ready"),
        (ids[1], "behind"),
    ]


def test_no_plan_is_submitted_if_one_of_them_cannot_be(command: Command) -> None:
    assert command("apply", "other/july", "--yes").code == 0
    error = refused(command, *BOTH)
    assert "other/july" in error["where"]
    assert shown_runs(command) == []


def test_the_digest_of_one_plan_is_not_that_of_several(command: Command) -> None:
    error = refused(command, *BOTH, "--expect", "0" * 64)
    assert error["where"] == "--expect"
    assert shown_runs(command) == []


def test_a_submitter_that_waits_exits_as_the_worker_of_its_runs(command: Command) -> None:
    with ThreadPoolExecutor() as pool, ensure_terminated(command.start(*BOTH, "--wait")) as process:
        ended = pool.submit(wait_for_exit, process)
        while len(shown_runs(command)) < 2:
            pass
        assert drain(command)["finished"] == 2
        result = ended.result()
    assert result.code == 0
    assert "Finished 2 runs; 0 left to you, 0 cancelled." in result.out
    assert "july: finished" in result.err


def test_a_run_that_is_left_or_cancelled_ends_the_wait(command: Command) -> None:
    submit(command, "--max-credits", "5")
    assert drain(command)["left"] == ["july"]
    result = command("cluster", "submit", "july", "--yes", "--wait", "--json")
    assert (result.code, result.object["left"]) == (ExitCode.STOPPED, ["july"])
    assert "july: left to you" in result.err
    assert command("cluster", "cancel", "july").code == 0
    result = command("cluster", "submit", "july", "--yes", "--wait")
    assert result.code == ExitCode.STOPPED
    assert "0 left to you, 1 cancelled." in result.out


def seal_job(command: Command, world: Path) -> None:
    sealed = command(*PLAN, world / "mapping.csv", "--shards", "2", "--run-dir", "job")
    assert sealed.code == 0, sealed


def test_runs_behind_one_that_needs_a_person_end_the_wait(command: Command, world: Path) -> None:
    seal_job(command, world)
    submit(command, "--max-credits", "1", run="job")
    assert drain(command)["left"] == ["job-shard-1"]
    result = command("cluster", "submit", "job", "--yes", "--wait", "--json")
    assert result.code == ExitCode.STOPPED
    assert (result.object["left"], result.object["held"]) == (["job-shard-1"], ["job-shard-2"])
    assert command("cluster", "cancel", "job-shard-1").code == 0
    result = command("cluster", "submit", "job", "--yes", "--wait")
    assert result.code == ExitCode.STOPPED
    assert "0 left to you, 1 cancelled, 1 behind these." in result.out


def test_a_shard_that_holds_others_of_its_job_holds_no_other_run(
    command: Command, world: Path
) -> None:
    seal_job(command, world)
    submit(command, run="job")
    submit(command)
    assert command("cluster", "cancel", "job-shard-1").code == 0
    assert [(run["name"], run["state"]) for run in shown_runs(command)] == [
        ("job-shard-1", "cancelled"),
        ("job-shard-2", "behind"),
        ("july", "ready"),
    ]


def test_a_run_behind_another_of_the_name_of_one_that_was_left_is_not_held(
    command: Command, world: Path
) -> None:
    submit(command, "--max-credits", "5")
    assert drain(command)["left"] == ["july"]
    submit(command, run="other/july")
    sealed = command(*PLAN, world / "mapping.csv", "--run-dir", "august")
    assert sealed.code == 0, sealed
    submit(command, run="august")
    *_, august = shown_runs(command)
    assert [august[name] for name in ("state", "behind", "is_held")] == ["behind", "july", False]


@pytest.mark.parametrize("verb", ["pull", "forget"])
def test_a_shard_alone_is_neither_pulled_nor_forgotten(
    command: Command, world: Path, verb: str
) -> None:
    seal_job(command, world)
    submit(command, run="job")
    words = ("-o", "pulled") if verb == "pull" else ("--force",)
    error = refused(command, "cluster", verb, "job-shard-2", *words)
    job = error["advice"].rpartition(" ")[2].rstrip(".")
    assert command("cluster", verb, job, *words).code == 0


def test_runs_that_an_earlier_worker_left_count_for_the_next_one(command: Command) -> None:
    submit(command, "--max-credits", "5")
    assert drain(command)["exit_code"] == ExitCode.STOPPED
    again = drain(command)
    assert (again["finished"], again["left"]) == (0, ["july"])
    assert again["exit_code"] == ExitCode.STOPPED
    assert command("cluster", "cancel", "july").code == 0
    assert drain(command)["exit_code"] == ExitCode.OK
    (run,) = shown_runs(command)
    assert [run[name] for name in ("state", "code", "message")] == ["cancelled", None, None]
    assert "left to you" not in command("status", "--cluster").out


def test_ctrl_c_ends_the_wait_and_not_the_run(command: Command) -> None:
    with ensure_terminated(command.start(*BOTH, "--wait")) as process:
        assert process.stderr is not None
        while "waits for a worker" not in process.stderr.readline():
            assert process.poll() is None
        interrupt(process)
        result = wait_for_exit(process)
    assert result.code == ExitCode.INTERRUPTED
    assert "The runs go on without you" in result.err
    assert [run["state"] for run in shown_runs(command)] == ["ready", "behind"]


def test_a_database_that_is_away_is_waited_for(
    command: Command, database: ClusterDatabase, postgres: PostgresServer
) -> None:
    submit(command)
    assert drain(command)["finished"] == 1
    runs = RunTable(database).all()
    postgres.stop()
    reported: list[str] = []
    waits: list[float] = []

    async def start_again(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 2:
            await off_loop(postgres.start)

    result = anyio.run(
        partial(
            wait_for_runs,
            database,
            TIMING,
            runs,
            report=lambda run, _: reported.append(run.state),
            report_away=lambda error: reported.append(error.code),
            sleep=start_again,
        )
    )
    assert reported == ["unreachable", "finished"]
    assert waits == [TIMING.watch, TIMING.watch]
    assert result == WaitResult(
        finished=1, with_failures=0, left=(), cancelled=(), held=(), exit_code=ExitCode.OK
    )
