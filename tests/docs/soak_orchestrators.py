"""The examples of docs/orchestrators.md, each run by its orchestrator in an environment of its own.

pytest collects this module only by name; `make soak` runs it. It downloads the orchestrators.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from bulklink import RunState, StoppedBy, status
from tests.docs.dists import UV, build_dists
from tests.docs.orchestrators import FOLDER, PROGRAMS
from tests.e2e.command import Command
from tests.e2e.servers import serve_world_file

pytestmark = pytest.mark.timeout(900)
SETTINGS = {
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "DAGSTER_DISABLE_TELEMETRY": "1",
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",
}
RETRIED = {
    "airflow_dag.py": "up_for_retry",
    "prefect_flow.py": "Retry 1/336 will start",
    "dagster_job.py": "STEP_UP_FOR_RETRY",
}
"""What each orchestrator prints when a task is to be tried again."""


@dataclass(frozen=True, slots=True)
class Orchestrator:
    """An orchestrator with an example, installed in a virtual environment.

    Args:
        program: file name of the example.
        folder: folder with the example, and the world that it works on.
        binaries: folder of the programs of the environment.
    """

    program: str
    folder: Path
    binaries: Path

    def start(self, url: str, **changed: str) -> subprocess.Popen[str]:
        """Start the example against a local CRM, with all that it prints in one pipe."""
        return subprocess.Popen(
            [self.binaries / "python", self.program, "crm/mapping.csv", "run"],
            cwd=self.folder,
            env={**self.environment(url), **changed},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )

    def environment(self, url: str) -> dict[str, str]:
        """Return an environment that connects to the local CRM, and keeps its state here."""
        names = ("API_URL", "ACCOUNTS_URL")
        return {
            **Command(self.folder).environment(),
            **SETTINGS,
            **{f"BULKLINK_{name}": url for name in names},
            **{f"BULKLINK_{name}": "demo" for name in ("CLIENT_ID", "CLIENT_SECRET")},
            "BULKLINK_REFRESH_TOKEN": "demo",
            "PATH": f"{self.binaries}{os.pathsep}{os.environ['PATH']}",
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.folder),
            "AIRFLOW_HOME": str(self.folder / "airflow"),
            "PREFECT_HOME": str(self.folder / "prefect"),
        }


@pytest.fixture(params=PROGRAMS, scope="module")
def orchestrator(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Orchestrator:
    """Install an orchestrator beside the wheel of this checkout."""
    program: str = request.param
    parent = tmp_path_factory.mktemp(program)
    wheel = build_dists(parent / "dist").wheel
    environment, folder = parent / "venv", parent / "dags"
    folder.mkdir()
    subprocess.run([UV, "venv", "--quiet", "--python", sys.executable, environment], check=True)
    binaries = environment / "bin"
    install = ["pip", "install", "--quiet", "--python", str(binaries / "python")]
    subprocess.run([UV, *install, PROGRAMS[program], wheel], check=True)
    installed = Orchestrator(program, folder, binaries)
    if program == "airflow_dag.py":
        subprocess.run(
            [binaries / "airflow", "db", "migrate"],
            cwd=folder,
            env=installed.environment("http://127.0.0.1"),
            check=True,
        )
    return installed


@pytest.fixture
def prepared(orchestrator: Orchestrator) -> Orchestrator:
    """Copy the example beside a new world, without a run."""
    shutil.rmtree(orchestrator.folder / "run", ignore_errors=True)
    shutil.copytree(FOLDER, orchestrator.folder, dirs_exist_ok=True)
    recipe = ["--messages", "200", "--contacts", "10", "--linked-wrong", "0.5", "--out", "crm"]
    assert Command(orchestrator.folder)("generate", *recipe, "--force").code == 0
    return orchestrator


def kill_with_children(process: subprocess.Popen[str]) -> None:
    """Kill a process and those that it started, such as Prefect's server."""
    if sys.platform == "win32":
        process.kill()
    else:
        os.killpg(process.pid, signal.SIGKILL)


def test_the_flow_seals_sends_and_verifies(prepared: Orchestrator) -> None:
    with (
        serve_world_file(prepared.folder / "crm" / "world.json") as crm,
        prepared.start(crm.url) as process,
    ):
        printed, _ = process.communicate()
        assert process.returncode == 0, printed
        assert "200 of 200 as recorded" in printed
    result = status(prepared.folder / "run")
    assert (result.state, result.counts["done"]) == (RunState.FINISHED, 200)
    assert (prepared.folder / "run.csv").is_file()


def test_a_stop_for_credits_leaves_the_task_to_be_tried_again(prepared: Orchestrator) -> None:
    with (
        serve_world_file(prepared.folder / "crm" / "world.json", "--credits", "40") as crm,
        prepared.start(crm.url) as process,
    ):
        assert process.stdout is not None
        printed = []
        try:
            for line in process.stdout:
                printed.append(line)
                if RETRIED[prepared.program] in line:
                    break
        finally:
            kill_with_children(process)
    assert RETRIED[prepared.program] in printed[-1], "".join(printed)
    result = status(prepared.folder / "run")
    assert (result.state, result.stopped_by) == (RunState.STOPPED, StoppedBy.CREDITS)


def test_what_time_does_not_cure_is_not_tried_again(prepared: Orchestrator) -> None:
    with (
        serve_world_file(prepared.folder / "crm" / "world.json") as crm,
        prepared.start(crm.url, BULKLINK_CLIENT_SECRET="wrong") as process,
    ):
        printed, _ = process.communicate()
    assert "Copy the client secret again from Zoho's API console" in printed, printed
    assert RETRIED[prepared.program] not in printed


def test_a_refused_mapping_fails_the_flow_at_once(prepared: Orchestrator) -> None:
    mapping = prepared.folder / "crm" / "mapping.csv"
    mapping.write_text("contact_id,owner_id,message_id,deal_id\nx,1,2,3\n", encoding="utf-8")
    with (
        serve_world_file(prepared.folder / "crm" / "world.json") as crm,
        prepared.start(crm.url) as process,
    ):
        printed, _ = process.communicate()
        assert crm.state()["calls"] == {}
    assert "bad-id" in printed, printed
    assert not (prepared.folder / "run" / "ledger.jsonl").exists()
