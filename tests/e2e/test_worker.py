"""`apply --queue`, `work`, `cancel` and `status` of a runs folder."""

from __future__ import annotations

import json
import signal
from pathlib import Path

from bulklink.errors import ExitCode
from tests.e2e.command import (
    Command,
    ensure_terminated,
    free_rows,
    wait_for_exit,
    write_mapping,
)
from tests.e2e.servers import StandIn, hold_calls
from tests.e2e.world import World

EMAILS = 6


def approve(bulklink: Command, world: World, name: str, *options: str) -> str:
    """Plan a run below `runs`, approve it, and return its digest."""
    write_mapping(bulklink.folder / "m.csv", free_rows([world.add(free=3) for _ in range(2)]))
    planned = bulklink("plan", "--op", "link", "m.csv", "--run-dir", f"runs/{name}", "--json")
    assert planned.code == 0, planned
    digest = str(planned.object["digest"])
    queued = bulklink("apply", f"runs/{name}", "--queue", "--expect", digest, "--json", *options)
    assert queued.code == 0, queued
    assert queued.object["queued"]["messages"] == EMAILS
    return digest


def errors_of_child(worker: int) -> str:
    """Return what the child process of a worker wrote to its standard error so far."""
    (child,) = Path(f"/proc/{worker}/task/{worker}/children").read_text().split()
    return Path(f"/proc/{child}/fd/2").read_text()


def test_approved_runs_are_sent_and_others_are_not(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    command = bulklink.with_env(**standin.env())
    for name in ("one", "two"):
        approve(command, world, name, "--rate", "off", "--max-failures", "5%")
    command("plan", "--op", "link", "m.csv", "--run-dir", "runs/not-approved")
    assert not standin.requests
    shown = command("status", "runs")
    assert "Queue: 2 approved runs; no worker is running: `bulklink work runs`" in shown.out
    assert "after one" in shown.out

    worked = command("work", "runs", "--drain", "--json")
    assert worked.code == 0, worked
    assert (worked.object["finished"], worked.object["left"]) == (2, [])
    assert worked.err.startswith("2 approved runs; up to 8 are sent at the same time.\n")
    empty = command("work", "runs", "--drain")
    assert "No approved runs yet; up to 8 are sent at the same time." in empty.err
    assert len(world.links()) == len(standin.links())
    linked = {message for call in standin.requests_of("link") for message in call.messages}
    assert len(linked) == 2 * EMAILS
    listed = command("status", "runs", "--json").object
    states = {Path(run["run_dir"]).name: run["state"] for run in listed["runs"]}
    assert states == {"one": "finished", "two": "finished", "not-approved": "planned"}
    assert listed["queue"] == {"worker": False, "runs": [], "problems": []}
    record = json.loads((bulklink.folder / "runs" / "one" / "run.json").read_bytes())
    assert record["settings"]["rate"] is None
    assert record["settings"]["max_failures"] == {"count": None, "percent": 5.0}


def test_a_run_whose_profile_is_missing_is_named_and_the_others_go_on(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    command = bulklink.with_env(**standin.env())
    digest = approve(command, world, "fine")
    write_mapping(bulklink.folder / "m.csv", free_rows([world.add(free=3)]))
    planned = command("plan", "--op", "link", "m.csv", "--run-dir", "runs/lost", "--json")
    lost = planned.object["digest"]
    refused = bulklink("apply", "runs/lost", "--queue", "--expect", lost, "--profile", "acme")
    assert refused.code == ExitCode.REFUSED
    config = bulklink.folder / "config" / "bulklink" / "profiles"
    config.mkdir(parents=True)
    (config / "acme.toml").write_text(
        f'api_url = "{standin.url}"\naccounts_url = "{standin.url}"\n'
        'client_id = "demo"\nsecrets = "file"\n'
    )
    queued = command("apply", "runs/lost", "--queue", "--expect", lost, "--profile", "acme")
    assert queued.code == 0, queued
    (config / "acme.toml").unlink()
    worked = command("work", "runs", "--drain")
    assert worked.code == ExitCode.STOPPED, worked
    assert "lost is left to you (config)" in worked.err
    assert "acme" in worked.err
    assert "Finished 1 run; 0 still in the queue, 1 left to you." in worked.out
    assert command("cancel", "runs/lost").code == 0
    assert command("cancel", "runs/lost").code == ExitCode.REFUSED
    assert command("status", "runs/fine", "--json").object["state"] == "finished"
    assert digest != lost


def test_sigterm_stops_worker_and_runs_gently_and_a_second_worker_is_refused(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    command = bulklink.with_env(**standin.env())
    approve(command, world, "one", "--concurrency", "1", "--canary", "0")
    as_documented, standin.script = standin.script, hold_calls(standin, "link")
    with ensure_terminated(command.start("work", "runs", "--json")) as worker:
        standin.wait_until(lambda: standin.in_flight["link"] == 1)
        second = command("work", "runs", "--json")
        assert (second.code, second.error["code"]) == (ExitCode.REFUSED, "locked")
        shown = command("status", "runs", "--json").object["queue"]
        assert shown["worker"] is True
        assert [run["state"] for run in shown["runs"]] == ["running"]
        worker.send_signal(signal.SIGTERM)
        while "Stopping" not in errors_of_child(worker.pid):
            standin.gate.wait(0.05)
        standin.gate.set()
        ended = wait_for_exit(worker)
    assert ended.code == ExitCode.TERMINATED, ended
    assert (ended.object["stopped_by"], ended.object["waiting"]) == ("terminated", ["one"])
    stopped = command("status", "runs/one", "--json").object
    assert (stopped["state"], stopped["stopped_by"]) == ("stopped", "terminated")
    assert stopped["counts"]["done"] == 3
    standin.script = as_documented
    assert command("work", "runs", "--drain").code == 0
    assert command("status", "runs/one", "--json").object["counts"]["done"] == EMAILS


def test_a_queue_needs_a_digest_and_a_folder_of_runs(bulklink: Command, world: World) -> None:
    del world
    refused = bulklink("apply", "runs/one", "--queue", "--json")
    assert (refused.code, refused.error["code"]) == (ExitCode.REFUSED, "usage")
    assert "--expect" in refused.error["advice"]
    refused = bulklink("work", "nowhere", "--drain", "--json")
    assert (refused.code, refused.error["code"]) == (ExitCode.REFUSED, "run-dir")
