"""The shipped jobs work as documented, and errors in a job file are located."""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.audit import assert_crm_matches, audit_run
from tests.e2e.command import Command
from tests.e2e.servers import Emulator, serve_world_file

JOBS = Path(__file__).parents[2] / "jobs"
SHIPPED = ["bulk_correction", "data_migration", "load_run"]


@pytest.fixture
def job_emulator(request: pytest.FixtureRequest) -> Iterator[Emulator]:
    """Serve the world of a shipped job."""
    with serve_world_file(JOBS / request.param / "world.json") as emulator:
        yield emulator


@pytest.mark.parametrize("job_emulator", ["data_migration"], indirect=True)
def test_the_migration_links_unlinks_and_relinks_approved_rows(
    bulklink: Command, job_emulator: Emulator
) -> None:
    before = job_emulator.links()
    result = bulklink.with_env(**job_emulator.env())("run", JOBS / "data_migration.toml", "--json")
    run = audit_run(result, bulklink.folder, 210)
    assert (result.code, run.summary["op"], run.counts) == (0, "mixed", {"done": 210})
    ops = Counter(line["op"] for line in run.results.values())
    assert ops == {"link": 126, "relink": 56, "unlink": 28}
    assert (run.calls["link"] + run.calls["unlink"], run.calls["retried"]) == (
        run.calls["least"],
        0,
    )
    assert_crm_matches(run, before, job_emulator.links())
    assert "--only leaves out 14 rows" in result.err
    record = json.loads((run.folder / "run.json").read_text("utf-8"))
    assert (record["left_out"], record["canary"]["state"]) == (14, "passed")
    kept = {name for name in run.plan_columns() if not name.startswith("bulklink_")}
    assert "Legacy Case" in kept
    assert "Approved" not in kept


@pytest.mark.parametrize("job_emulator", ["data_migration"], indirect=True)
def test_the_migration_continues_after_a_days_credits_ran_out(
    bulklink: Command, job_emulator: Emulator
) -> None:
    command = bulklink.with_env(**job_emulator.env())
    before = job_emulator.links()
    job = (JOBS / "data_migration.toml", "--credits-per-day", "60", "--reserve-credits", "1")
    first = command("run", *job, "--run-dir", "days", "--json")
    assert (first.code, first.object["stopped_by"]) == (4, "credits")
    assert first.object["counts"]["pending"] > 0
    assert first.object["resume_at"] is not None
    last = command("resume", "days", "--credits-per-day", "40000", "--json")
    run = audit_run(last, bulklink.folder, 210)
    assert (last.code, run.counts) == (0, {"done": 210})
    assert_crm_matches(run, before, job_emulator.links())


@pytest.mark.parametrize("job_emulator", ["bulk_correction"], indirect=True)
def test_the_correction_skips_emails_changed_since_the_review(
    bulklink: Command, job_emulator: Emulator
) -> None:
    command = bulklink.with_env(**job_emulator.env())
    before = job_emulator.links()
    result = command("run", JOBS / "bulk_correction.toml", "--json")
    run = audit_run(result, bulklink.folder, 120)
    assert (result.code, run.counts) == (1, {"done": 106, "unchanged": 8, "failed": 6})
    failed = [line for line in run.results.values() if line["status"] == "failed"]
    assert {line["code"] for line in failed} == {"changed-since"}
    assert_crm_matches(run, before, job_emulator.links())
    back = command("undo", run.folder, "--json")
    assert (back.code, back.object["counts"]["done"]) == (0, 106)
    assert job_emulator.links() == before


def test_the_load_run_measures_a_local_crm_of_its_own(bulklink: Command) -> None:
    small = ("--world-messages", "400", "--world-contacts", "20", "--warm-up", "0")
    result = bulklink("loadtest", JOBS / "load_run.toml", *small, "--duration", "1s", "--json")
    assert result.code in (0, 1), result  # a busy machine may miss a threshold
    measured = result.object
    assert (measured["target"]["url"], measured["seed"]) == ("emulator", 8)
    assert (measured["settings"]["op"], measured["settings"]["concurrency"]) == ("alternate", 25)
    assert (measured["asked_calls_per_second"], measured["errors"]) == (100.0, {})
    assert [threshold["expression"] for threshold in measured["thresholds"]] == tomllib.loads(
        (JOBS / "load_run.toml").read_text("utf-8")
    )["threshold"]


@pytest.mark.parametrize("name", ["bulk_correction", "data_migration"])
def test_a_shipped_job_can_be_planned_without_a_connection(bulklink: Command, name: str) -> None:
    result = bulklink("run", JOBS / f"{name}.toml", "--dry-run", "--json")
    assert result.code == 0, result
    assert result.object["rejected"] == 0


@pytest.mark.parametrize("name", SHIPPED)
def test_the_comments_explain_every_key(name: str) -> None:
    text = (JOBS / f"{name}.toml").read_text("utf-8")
    lines = text.splitlines()
    for key in tomllib.loads(text):
        (at,) = (at for at, line in enumerate(lines) if line.startswith(f"{key} = "))
        assert lines[at - 1].startswith("#") or lines[at - 2].startswith("#"), key


def test_the_jobs_are_small() -> None:
    assert sum(file.stat().st_size for file in JOBS.rglob("*") if file.is_file()) < 300_000


@pytest.mark.parametrize(
    ("wrong", "where", "expected_text"),
    [
        ('btch_size = 2', "3, key btch_size", "batch_size"),
        ('batch_size = 21', "3, key batch_size", "21"),
        ('batch_size = "many"', "3, key batch_size", "many"),
        ("batch_size = [\n  2,\n]", "3, key batch_size", "single value"),
        ('# batch_size\n"batch_size" = 0', "4, key batch_size", "0"),
        ('only = "a=b"', "3, key only", "a list"),
        ('column = ["contact_id"]', "3, key column", "contact_id"),
        ('no_names = "yes"', "3, key no_names", "true or false"),
        ('snapshot = 1', "3, key snapshot", "true or false"),
        ('max_failures = "lots"', "3, key max_failures", "lots"),
        ('edition = "platinum"', "3, key edition", "platinum"),
        ('[limits]\nrate = 5', "3, key limits", "limits"),
    ],
)  # fmt: skip
def test_a_wrong_key_or_value_is_named_with_its_line(
    bulklink: Command, wrong: str, where: str, expected_text: str
) -> None:
    (bulklink.folder / "job.toml").write_text(f'op = "link"\nmapping = "m.csv"\n{wrong}\n', "utf-8")
    result = bulklink("run", "job.toml", "--json")
    assert (result.code, result.error["code"]) == (2, "config")
    assert result.error["where"] == f"job.toml:{where}"
    assert expected_text in result.error["message"] + result.error["advice"]


@pytest.mark.parametrize(
    ("command", "line"), [("run", "batch_size = 21"), ("loadtest", "arrival_rate = 0")]
)
def test_a_wrong_value_names_the_command_that_has_the_option(
    bulklink: Command, command: str, line: str
) -> None:
    (bulklink.folder / "job.toml").write_text(f'op = "link"\nmapping = "m.csv"\n{line}\n', "utf-8")
    result = bulklink(command, "job.toml", "--json")
    key = line.partition(" ")[0]
    assert (result.code, result.error["where"]) == (2, f"job.toml:3, key {key}")
    option = f"--{key.replace('_', '-')}"
    assert result.error["advice"] == f"`bulklink {command} --help` shows the values of {option}."


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ('# ours\nop = "lnk"\nmapping = "m.csv"\n', "job.toml:2, key op"),
        ('op = "link"\n\nmapping = 3\n', "job.toml:3, key mapping"),
        ('op = "link"\n', "job.toml, key mapping"),
    ],
)
def test_a_wrong_op_or_mapping_is_named_with_its_line(
    bulklink: Command, text: str, where: str
) -> None:
    (bulklink.folder / "job.toml").write_text(text, "utf-8")
    result = bulklink("run", "job.toml", "--json")
    assert (result.code, result.error["where"]) == (2, where)


def test_a_job_of_a_load_test_names_its_command(bulklink: Command) -> None:
    (bulklink.folder / "job.toml").write_text('op = "alternate"\n', "utf-8")
    error = bulklink("run", "job.toml", "--json").error
    assert error["advice"] == "This is a job of `bulklink loadtest job.toml`."


@pytest.mark.parametrize(
    ("line", "where", "says"),
    [
        ("rate = ", "job.toml", "line 3"),
        ("rate = " + "[" * 5000, "job.toml", "nested too deeply"),
        ("rate = " + "9" * 5000, "job.toml", "too long"),
        ('run_dir = "a\\u0000b"', "job.toml:3, key run_dir", "NUL"),
        ('log = "a\\u0000b"', "job.toml:3, key log", "NUL"),
        ('only = ["a=b", "c\\u0000=d"]', "job.toml:3, key only", "NUL"),
        ("rate = nan", "job.toml:3, key rate", "nan"),
        ("concurrency = {a = 1}", "job.toml:3, key concurrency", "a"),
    ],
)
def test_an_unreadable_job_file_is_reported_with_its_line(
    bulklink: Command, line: str, where: str, says: str
) -> None:
    (bulklink.folder / "job.toml").write_text(f'op = "link"\nmapping = "m.csv"\n{line}\n', "utf-8")
    result = bulklink("run", "job.toml", "--json")
    assert result.code == 2, result
    assert result.error["where"] == where
    assert says in result.error["message"]
