"""Real processes killed at a random moment of a long run and resumed, compared with the CRM."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.crash.agreement import compare_with_the_crm, read_lines
from tests.e2e.servers import connection

MESSAGES = 20_000
KILLS = int(os.environ.get("BULKLINK_TEST_KILLS", "2"))
_BULKLINK = [sys.executable, "-m", "bulklink"]

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    command = [*_BULKLINK, "generate", "--messages", str(MESSAGES), "--contacts", "1600"]
    subprocess.run([*command, "--out", folder, "--seed", "7", "--force"], check=True, timeout=60)
    return folder


@pytest.fixture(scope="module")
def env(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    command = [*_BULKLINK, "emulator", "--world", str(world / "world.json")]
    command += ["--latency", "0.005", "--credits", "10000000", "--concurrency", "100"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as emulator:
        assert emulator.stdout is not None
        url = orjson.loads(emulator.stdout.readline())["url"]
        inherited_env = {k: v for k, v in os.environ.items() if not k.startswith("BULKLINK")}
        try:
            yield inherited_env | connection(
                url,
                BULKLINK_SETTLE_AFTER="0.5",
                BULKLINK_RATE="off",
                BULKLINK_CONCURRENCY="20",
                BULKLINK_PROGRESS="none",
                BULKLINK_ON_INVALID="skip",
                XDG_STATE_HOME=str(tmp_path_factory.mktemp("state")),
            )
        finally:
            emulator.kill()


@pytest.mark.parametrize("number", range(KILLS))
def test_the_ledger_agrees_with_the_crm_after_a_kill_and_a_resume(
    number: int, world: Path, env: dict[str, str], tmp_path: Path
) -> None:
    op = ("link", "relink", "unlink")[number % 3]
    run, ledger = tmp_path / "run", tmp_path / "run" / "ledger.jsonl"
    command = [*_BULKLINK, op, str(world / "mapping.csv"), "--run-dir", str(run)]
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL) as process:
        _kill_while_sending(process, ledger, random.Random(number + time.time_ns()))
    killed = read_lines(ledger)
    settled_rows = {line["row"] for line in killed if line["event"] == "result"}
    status_output = _run_json([*_BULKLINK, "status", run, "--json"], env)
    assert (status_output["state"], status_output["stopped_by"]) == ("stopped", "killed")

    summary = _run_json([*_BULKLINK, "resume", run, "--json"], env)
    assert (summary["state"], summary["counts"]["pending"]) == ("finished", 0)
    assert sum(summary["counts"].values()) == summary["rows"]
    first, second = orjson.loads((run / "run.json").read_bytes())["invocations"]
    assert (first["stopped_by"], first["ended"] <= second["started"]) == ("killed", True)
    lines = read_lines(ledger)
    new_lines = lines[len(killed) :]
    resent_rows = {row for line in new_lines if line["event"] == "call" for row in line["rows"]}
    assert not resent_rows & settled_rows
    compared = compare_with_the_crm(op, lines, env["BULKLINK_API_URL"])
    assert compared > MESSAGES // 2


def _kill_while_sending(process: subprocess.Popen[Any], ledger: Path, rng: random.Random) -> None:
    """Kill a run after a random share of its calls."""
    size = rng.randint(100_000, 3_200_000)
    deadline = time.monotonic() + 60
    while (not ledger.exists() or ledger.stat().st_size < size) and time.monotonic() < deadline:
        if process.poll() is not None:
            break
        time.sleep(0.005)
    process.kill()
    process.wait(10)


def _run_json(command: list[Any], env: dict[str, str]) -> dict[str, Any]:
    process = subprocess.run(command, env=env, capture_output=True, timeout=120)
    assert b"Traceback" not in process.stderr, process.stderr.decode()
    output: dict[str, Any] = orjson.loads(process.stdout)
    return output
