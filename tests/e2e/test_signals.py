"""Signals finish and record calls in flight, or stop the run immediately."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.audit import assert_crm_matches, audit_run
from tests.e2e.command import (
    Command,
    ensure_terminated,
    free_rows,
    interrupt,
    wait_for_exit,
    write_mapping,
)
from tests.e2e.servers import StandIn, hold_calls
from tests.e2e.terminals import start_watched
from tests.e2e.world import World

SIGHUP = getattr(signal, "SIGHUP", signal.SIGTERM)

HELD = 5
_TICKS_PER_SECOND = 100
"""Unit of CPU times in /proc, the same on every Linux."""


@contextmanager
def run_held_in_flight(
    bulklink: Command, standin: StandIn, world: World, *options: str
) -> Iterator[subprocess.Popen[str]]:
    """Start a link run of 60 contacts and yield it once its link calls are held in flight."""
    world_contacts = [world.add(free=20) for _ in range(60)]
    standin.script = hold_calls(standin, "link")
    write_mapping(bulklink.folder / "m.csv", free_rows(world_contacts))
    command = bulklink.with_env(**standin.env())
    with ensure_terminated(
        command.start("link", "m.csv", "--json", "--canary", "0", "--run-dir", "here", *options)
    ) as process:
        standin.wait_until(lambda: standin.in_flight["link"] == HELD)
        yield process


@pytest.mark.parametrize(
    ("sent", "code", "stopped_by"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "terminated"),
        (SIGHUP, 143, "terminated"),
    ],
    ids=["SIGINT", "SIGTERM", "SIGHUP"],
)
def test_calls_in_flight_are_finished_and_recorded(
    bulklink: Command,
    standin: StandIn,
    world: World,
    sent: signal.Signals,
    code: int,
    stopped_by: str,
) -> None:
    with run_held_in_flight(bulklink, standin, world, "--concurrency", str(HELD)) as process:
        process.send_signal(sent)
        standin.gate.set()
        result = wait_for_exit(process)
    assert result.code == code, result
    run = audit_run(result, bulklink.folder, 1200)
    assert run.summary["stopped_by"] == stopped_by
    assert run.counts["pending"] > 0
    assert run.counts["done"] >= HELD * 20
    assert run.counts["done"] == 20 * len(standin.requests_of("link"))
    assert standin.most_in_flight <= HELD
    assert {line["message_id"] for line in run.results.values()} == {
        message for call in standin.requests_of("link") for message in call.messages
    }
    assert_crm_matches(run, world.links(), standin.links())
    assert bulklink("status", "here", "--json").object == run.summary


def test_a_closed_terminal_stops_the_run_gracefully(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    standin.script = hold_calls(standin, "link")
    write_mapping(bulklink.folder / "m.csv", free_rows([world.add(free=20) for _ in range(60)]))
    arguments = ("link", "m.csv", "--canary", "0", "--run-dir", "here", "--concurrency", str(HELD))
    watched = start_watched(bulklink.with_env(**standin.env()), 80, *arguments)
    with ensure_terminated(watched.process) as process:
        standin.wait_until(lambda: standin.in_flight["link"] == HELD)
        os.close(watched.master)
        process.send_signal(SIGHUP)
        process.send_signal(SIGHUP)  # the shell's, and the system's
        standin.gate.set()
        assert process.wait(30) == 143
    shown = bulklink("status", "here", "--json").object
    assert shown["stopped_by"] == "terminated"
    assert shown["counts"]["done"] == 20 * len(standin.requests_of("link"))


def test_a_second_ctrl_c_stops_immediately(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    with run_held_in_flight(bulklink, standin, world, "--concurrency", str(HELD)) as process:
        started = time.monotonic()
        while process.poll() is None and time.monotonic() - started < 10:
            interrupt(process)
            standin.gate.wait(0.3)
        took = time.monotonic() - started
        result = wait_for_exit(process, timeout=5)
    assert took < 5
    assert result.code == 130, result
    assert len(standin.requests_of("link")) == HELD
    shown = bulklink("status", "here", "--json").object
    assert shown["state"] == "stopped"
    assert shown["counts"]["done"] == 0
    assert shown["rows"] == sum(shown["counts"].values()) == 1200


def test_status_is_correct_during_a_run_and_after_a_kill(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    with run_held_in_flight(bulklink, standin, world, "--concurrency", str(HELD)) as process:
        going = bulklink("status", "here", "--json")
        assert going.code == 0
        assert (going.object["state"], going.object["stopped_by"]) == ("running", None)
        assert going.object["rows"] == 1200
        assert going.object["counts"]["pending"] == 1200
        other = bulklink.with_env(**standin.env())("link", "m.csv", "--run-dir", "here", "--json")
        assert other.code == 2
        assert other.error["code"] in {"locked", "run-dir"}
        assert process.poll() is None
        process.kill()
        process.wait(10)
    after = bulklink("status", "here", "--json")
    assert after.code == 0
    assert (after.object["state"], after.object["stopped_by"]) == ("stopped", "killed")
    assert after.object["calls"]["link"] == HELD
    assert after.object["rows"] == sum(after.object["counts"].values()) == 1200


def test_a_call_is_on_disk_before_it_is_sent(
    bulklink: Command, standin: StandIn, world: World
) -> None:
    with run_held_in_flight(bulklink, standin, world, "--concurrency", str(HELD)):
        ledger = (bulklink.folder / "here" / "ledger.jsonl").read_text("utf-8")
        lines = [json.loads(line) for line in ledger.splitlines()]
        calls = [line for line in lines if line["event"] == "call" and line["op"] == "link"]
        on_disk = {row for line in calls for row in line["rows"]}
        assert len(calls) >= HELD
        assert len(on_disk) >= HELD * 20
        assert {line["contact_id"] for line in calls} >= {
            call.contact for call in standin.requests_of("link")
        }


@pytest.fixture(scope="module")
def million_row_mapping(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a mapping of a million shuffled messages, every tenth of them duplicated."""
    path = tmp_path_factory.mktemp("million") / "m.csv"
    with path.open("w", encoding="utf-8") as file:
        file.write("contact_id,owner_id,message_id,deal_id\n")
        for n in range(1_000_000):
            message = (n - n % 10) * 7919 % 1_000_000 + n % 9
            file.write(f"{4150868000000000001 + message // 8},1,{message:064x},5\n")
    return path


@pytest.mark.parametrize(
    ("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["SIGINT", "SIGTERM"]
)
@pytest.mark.parametrize("step", ["*", "scratch/planning-*", "plan.parquet.partial"])
def test_planning_stops_soon_at_any_step_and_leaves_no_run_folder(
    bulklink: Command, million_row_mapping: Path, step: str, sent: signal.Signals, code: int
) -> None:
    command = bulklink.with_env(BULKLINK_API_URL="http://127.0.0.1:9", BULKLINK_ACCESS_TOKEN="x")
    before = cpu_of_children()
    with ensure_terminated(command.start("link", million_row_mapping)) as process:
        appeared(bulklink.folder / "runs", f"*/{step}")
        at_signal = cpu_of(process.pid)
        process.send_signal(sent)
        result = wait_for_exit(process)
    assert result.code == code, result
    assert cpu_of_children() - before - at_signal < 2, "of the six seconds that planning takes"
    assert list((bulklink.folder / "runs").iterdir()) == []


def cpu_of(pid: int) -> float:
    """Return the CPU seconds that a running process has used; unlike time, load adds none."""
    statistics = Path(f"/proc/{pid}/stat")
    if not statistics.exists():
        pytest.skip("this system has no /proc, which shows the CPU time of another process")
    user, system = statistics.read_text("utf-8").rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / _TICKS_PER_SECOND


def cpu_of_children() -> float:
    """Return the CPU seconds of all children of this process that have ended."""
    times = os.times()
    return times.children_user + times.children_system


def appeared(folder: Path, pattern: str) -> None:
    """Wait until a file or folder of this name exists."""
    until = time.monotonic() + 40
    while not any(folder.glob(pattern)):
        assert time.monotonic() < until, pattern
        time.sleep(0.01)
