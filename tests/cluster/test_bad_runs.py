"""Runs that cannot be submitted, found or driven: each is named, and nothing is lost."""

from __future__ import annotations

import json
import time
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import msgspec
import psycopg
import pytest

from bulklink.cluster.clocks import DatabaseClock
from bulklink.cluster.database import ClusterDatabase, conninfo_from
from bulklink.cluster.lease import Lease, Moment
from bulklink.cluster.running import remove_old_runs
from bulklink.cluster.runs import RunTable
from bulklink.ledger.records import parse_time
from bulklink.profiles.profile import Profile, Profiles, SecretBackend
from bulklink.profiles.secrets import FileSecretStore
from bulklink.runs.folder import RunFolder
from bulklink.zoho.connection import Credentials
from tests.cluster.single_runs import new_run
from tests.cluster.submitted import drain, shown_runs, submit
from tests.cluster.test_bad_input import refused
from tests.crash.agreement import read_lines
from tests.e2e.command import Command, ensure_terminated, wait_for_exit
from tests.e2e.servers import Emulator, serve_world_file

pytestmark = pytest.mark.timeout(120)
ORG = "5843104000000020005"
YEAR = 365 * 86_400.0


# Submitting


def test_what_is_no_plan_is_refused(command: Command, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("nowhere", "empty"):
        error = refused(command, "cluster", "submit", name, "--yes")
        assert name in error["where"]
    assert shown_runs(command) == []


def test_another_plan_than_the_expected_one_is_refused(command: Command) -> None:
    error = refused(command, "cluster", "submit", "july", "--yes", "--expect", "0" * 64)
    assert error["code"] == "digest"
    assert shown_runs(command) == []


def test_a_run_of_another_org_is_refused(command: Command) -> None:
    error = refused(command, "cluster", "submit", "july", "--yes", "--expect-org", "111")
    assert ORG in error["message"]
    assert "111" in error["message"]
    assert error["where"] == "--expect-org"
    assert shown_runs(command) == []


def test_a_plan_that_is_submitted_twice_is_sent_once(command: Command, crm: Emulator) -> None:
    first, second = submit(command), submit(command)
    assert (first["new"], second["new"]) == (True, False)
    assert first["runs"] == second["runs"]
    assert (
        "Submitted before: relink of 40 emails."
        in command("cluster", "submit", "july", "--yes").out
    )
    assert drain(command)["finished"] == 1
    assert submit(command)["new"] is False
    assert [run["state"] for run in shown_runs(command)] == ["finished"]
    assert submit(command, "--request", "once more")["new"] is True


def test_a_plan_that_was_sent_already_is_refused(command: Command) -> None:
    assert command("apply", "july", "--yes").code == 0
    error = refused(command, "cluster", "submit", "july", "--yes")
    assert "july" in error["where"]
    assert shown_runs(command) == []


# Naming


@pytest.mark.parametrize("verb", ["cancel", "resume", "forget", "pull"])
def test_a_run_that_is_unknown_is_named(command: Command, verb: str) -> None:
    words = ["-o", "pulled"] if verb == "pull" else []
    for name in ("nowhere", "0191d2f0-0000-7000-8000-000000000000", "n\udce4me"):
        error = refused(command, "cluster", verb, name, *words)
        assert error["where"] == name.replace("\udce4", r"\xe4")
        assert "bulklink status --cluster" in error["advice"]


@pytest.mark.parametrize("verb", ["cancel", "resume", "forget", "pull"])
def test_two_runs_of_one_name_are_told_apart_by_their_ids(command: Command, verb: str) -> None:
    ids = [submitted_id(command, run) for run in ("july", "other/july")]
    words = ["-o", "pulled"] if verb == "pull" else []
    error = refused(command, "cluster", verb, "july", *words)
    assert error["where"] == "july"
    assert all(run_id in error["advice"] for run_id in ids)
    assert [run["state"] for run in shown_runs(command)] == ["ready", "behind"]
    assert command("cluster", "pull", ids[1], "-o", "pulled").code == 0


def submitted_id(command: Command, run: str) -> str:
    return str(submit(command, run=run)["runs"][0]["id"])


def test_a_run_that_is_queued_is_neither_given_back_nor_forgotten(command: Command) -> None:
    submit(command)
    assert "queued" in refused(command, "cluster", "resume", "july")["message"]
    error = refused(command, "cluster", "forget", "july")
    assert "queued" in error["message"]
    assert "bulklink cluster cancel" in error["advice"]
    assert command("cluster", "forget", "july", "--force").code == 0
    assert shown_runs(command) == []


def test_a_run_is_not_pulled_over_what_is_there(command: Command, tmp_path: Path) -> None:
    submit(command)
    before = (tmp_path / "july" / "run.json").read_bytes()
    error = refused(command, "cluster", "pull", "july", "-o", "july")
    assert error["where"] == "july"
    assert (tmp_path / "july" / "run.json").read_bytes() == before


def test_a_run_with_a_damaged_ledger_is_not_pulled(
    command: Command, url: str, tmp_path: Path
) -> None:
    submit(command)
    drain(command)
    with psycopg.connect(url) as database:
        database.execute("DELETE FROM bulklink.segment WHERE kind = 'ledger' AND seq = 1")
    result = command("cluster", "pull", "july", "-o", "pulled", "--json")
    assert result.code == 3
    assert "Segment 1 of the ledger is missing" in result.error["message"]
    assert "backup" in result.error["advice"]
    assert not (tmp_path / "pulled").exists(), "half a run would look like a whole one"


def test_a_file_that_no_run_folder_has_is_not_written(
    command: Command, url: str, tmp_path: Path
) -> None:
    submit(command)
    with psycopg.connect(url) as database:
        database.execute("UPDATE bulklink.file SET name = '../stolen' WHERE name = 'plan.parquet'")
    error = refused(command, "cluster", "pull", "july", "-o", "pulled")
    assert "'../stolen'" in error["message"]
    assert not (tmp_path / "pulled").exists()
    assert not (tmp_path / "stolen").exists()


# Driving


def save_profile(folder: Path, name: str, url: str) -> None:
    config = folder / "config" / "bulklink"
    profile = Profile("demo", SecretBackend.FILE, api_url=url, accounts_url=url)
    Profiles(config).save(name, profile)
    secrets = {"client_id": "demo", "client_secret": "demo", "refresh_token": "demo"}
    FileSecretStore(config).save(name, Credentials(**secrets))


def without_connection(command: Command) -> Command:
    names = {name for name in command.env if name != "BULKLINK_CLUSTER_URL"}
    return Command(
        command.folder, {name: text for name, text in command.env.items() if name not in names}
    )


def test_a_run_whose_profile_no_worker_has_is_named(
    command: Command, crm: Emulator, tmp_path: Path
) -> None:
    save_profile(tmp_path, "acme", crm.url)
    plain = without_connection(command)
    submit(plain, "--profile", "acme")
    (run,) = shown_runs(plain)
    assert (run["state"], run["profile"]) == ("no-worker", "acme")
    assert "no worker has the profile acme" in " ".join(plain("status", "--cluster").out.split())
    (tmp_path / "config").rename(tmp_path / "away")
    with database_of(plain) as database:
        assert [row[0] for row in database.query("SELECT state FROM run")] == ["queued"]
    (tmp_path / "away").rename(tmp_path / "config")
    assert drain(plain)["finished"] == 1


def submit_with_lost_profile(command: Command, crm: Emulator) -> Command:
    """Submit a run that needs a profile, and take it away; return the command without any."""
    save_profile(command.folder, "acme", crm.url)
    plain = without_connection(command)
    submit(plain, "--profile", "acme")
    (command.folder / "config").rename(command.folder / "away")
    return plain


def test_a_worker_that_drains_does_not_wait_for_a_profile(command: Command, crm: Emulator) -> None:
    plain = submit_with_lost_profile(command, crm)
    result = drain(plain)
    assert (result["left"], result["exit_code"]) == (["july"], 3)


def test_a_profile_that_is_added_to_a_working_machine_is_used(
    command: Command, crm: Emulator, tmp_path: Path
) -> None:
    plain = submit_with_lost_profile(command, crm)
    with ensure_terminated(plain.start("cluster", "worker")) as worker:
        assert worker.stderr is not None
        assert worker.stderr.readline().startswith("Worker ")
        while not plain("status", "--cluster", "--json").object["workers"]:
            time.sleep(0.05)
        (tmp_path / "away").rename(tmp_path / "config")
        while "finished" not in (line := worker.stderr.readline()):
            assert line, "the worker ended"
        worker.terminate()
        wait_for_exit(worker)


def test_a_failed_canary_is_given_back_only_with_its_acceptance(
    command: Command, database: ClusterDatabase
) -> None:
    submit(command)
    database.query("UPDATE run SET state = 'left', left_code = 'canary', left_message = 'No.'")
    assert "cluster resume july --accept-canary" in command("status", "--cluster").out
    error = refused(command, "cluster", "resume", "july")
    assert "--accept-canary" in error["advice"]
    assert command("cluster", "resume", "july", "--accept-canary").code == 0


def test_a_run_that_is_being_stopped_is_not_given_back(
    command: Command, database: ClusterDatabase
) -> None:
    submit(command)
    database.query("UPDATE run SET state = 'running', cancel = true")
    assert "being stopped" in refused(command, "cluster", "resume", "july")["message"]


def test_old_runs_are_removed_by_whole_jobs(database: ClusterDatabase) -> None:
    table, job = RunTable(database), uuid4()
    table.add_org("org")
    database.query("INSERT INTO job VALUES (%(job)s, 'job', '')", {"job": job})
    for name in ("one", "two", "single"):
        run = new_run("org", name)
        run = msgspec.structs.replace(run, job=None if name == "single" else job, state="finished")
        table.add(run)
    age = "UPDATE run SET ended_at = clock_timestamp() - interval '40 days' WHERE name = %(name)s"
    for name in ("one", "single"):
        database.query(age, {"name": name})
    database.query("UPDATE run SET ended_at = clock_timestamp() WHERE name = 'two'")
    assert table.delete_ended(30) == 1
    assert [run.name for run in table.all()] == ["one", "two"]
    database.query(age, {"name": "two"})
    assert table.delete_ended(30) == 2
    assert database.query("SELECT 1 FROM job") == []


def test_a_run_whose_profile_leads_to_another_org_is_left_unsent(
    command: Command, crm: Emulator, world: Path, tmp_path: Path
) -> None:
    save_profile(tmp_path, "acme", crm.url)
    plain = without_connection(command)
    submit(plain, "--profile", "acme")
    content = json.loads((world / "world.json").read_text("utf-8"))
    content["org"]["id"] = "111"
    other = tmp_path / "other.json"
    other.write_text(json.dumps(content), "utf-8")
    with serve_world_file(other) as wrong:
        save_profile(tmp_path, "acme", wrong.url)
        result = drain(plain)
        assert (result["finished"], result["left"], result["exit_code"]) == (0, ["july"], 3)
        calls = wrong.state()["calls"]
        assert not any("link_record" in call for call in calls), calls
    (run,) = shown_runs(plain)
    assert run["state"] == "left"
    assert run["message"]
    save_profile(tmp_path, "acme", crm.url)
    assert plain("cluster", "resume", "july").code == 0
    assert drain(plain)["finished"] == 1


def test_a_run_that_stops_is_left_with_its_own_reason(command: Command) -> None:
    submit(command, "--max-credits", "5")
    assert drain(command)["left"] == ["july"]
    (run,) = shown_runs(command)
    assert (run["state"], run["code"]) == ("left", "max-credits")
    assert command("cluster", "resume", "july").code == 0
    assert [each["state"] for each in shown_runs(command)] == ["ready"]


@pytest.mark.parametrize("years", [1, -1])
def test_a_worker_whose_clock_is_a_year_off_drives_and_records_the_time_of_the_database(
    command: Command, tmp_path: Path, years: int
) -> None:
    (tmp_path / "clock").mkdir()
    (tmp_path / "clock" / "sitecustomize.py").write_text(
        f"import time\nreal = time.time\ntime.time = lambda: real() + {years * YEAR}\n"
    )
    submit(command, "--credits-per-day", "1000")
    shifted = command.with_env(PYTHONPATH=str(tmp_path / "clock"))
    result = drain(shifted)
    assert (result["finished"], result["left"]) == (1, [])
    assert command("cluster", "pull", "july", "-o", "pulled").code == 0
    folder = RunFolder(tmp_path / "pulled")
    (invocation,) = folder.read().invocations
    assert invocation.ended is not None
    for moment in (invocation.started, invocation.ended):
        assert abs(parse_time(moment).timestamp() - time.time()) < 60
    times = [line["ts"] for line in read_lines(folder.ledger)]
    assert times
    assert all(abs(parse_time(each).timestamp() - time.time()) < 60 for each in times)
    with database_of(command) as database:
        spent = database.query("SELECT minute FROM spent")
    assert spent
    assert all(abs(minute - time.time() / 60) < 2 for (minute,) in spent)


def database_of(command: Command) -> closing[ClusterDatabase]:
    return closing(ClusterDatabase(conninfo_from(command.env)))


# Clocks


@pytest.mark.parametrize("offset", [0.0, YEAR, -YEAR])
def test_the_clock_of_the_database_does_not_depend_on_that_of_the_machine(offset: float) -> None:
    clock = DatabaseClock()
    here = clock.wall()
    asked, answered = Moment(1000.0, 5e8 + offset), Moment(1000.4, 5e8 + offset + 0.4)
    clock.set(2e9, asked, answered)
    # The answer is from the middle of the question; only the monotonic clock counts on from there.
    assert clock.wall() == pytest.approx(2e9 + here - 1000.2, abs=1.0)


@pytest.mark.parametrize("offset", [0.0, YEAR, -YEAR])
def test_a_lease_lasts_as_long_on_a_machine_whose_clock_is_a_year_off(offset: float) -> None:
    lease = Lease(1, Moment(100.0, 5e8 + offset), ttl=30.0, margin=5.0)
    assert lease.may_send(Moment(124.9, 5e8 + offset + 24.9))
    assert not lease.may_send(Moment(125.0, 5e8 + offset + 25.0))


def test_a_clock_that_is_set_ends_a_lease_early_and_never_late() -> None:
    lease = Lease(1, Moment(100.0, 5e8), ttl=30.0, margin=5.0)
    assert not lease.may_send(Moment(101.0, 5e8 + YEAR))
    assert lease.may_send(Moment(124.9, 5e8 - YEAR))
    assert not lease.may_send(Moment(125.0, 5e8 - YEAR))
    assert not lease.may_send(Moment(101.0, 5e8 + 25.0)), "it slept, and boot did not count"


# Removal


async def test_old_runs_are_removed_every_hour(database: ClusterDatabase) -> None:
    waits: list[float] = []

    class EndError(Exception):
        pass

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            raise EndError

    with pytest.raises(EndError):
        await remove_old_runs(database, 30, sleep)
    assert waits == [3600.0] * 3
