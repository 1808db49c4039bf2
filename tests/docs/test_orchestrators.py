"""The steps of docs/orchestrators.md continue where an earlier try stopped.

soak_orchestrators.py runs the orchestrators themselves.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import subprocess
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from bulklink import ExitCode, RunState, status
from tests.docs.orchestrators import FOLDER, PROGRAMS
from tests.docs.reference import ROOT
from tests.docs.test_guides import store_profile
from tests.e2e.command import PROGRAM, Command
from tests.e2e.servers import connection, serve_world_file

PAGE = (ROOT / "docs" / "orchestrators.md").read_text("utf-8")


@pytest.fixture
def run_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the module, in a folder with a world, without the developer's settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    recipe = ["--messages", "100", "--contacts", "10", "--linked-wrong", "0.5", "--out", "crm"]
    assert Command(tmp_path)("generate", *recipe).code == 0
    return load("run_steps")


def load(name: str) -> ModuleType:
    """Return a module of the examples."""
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def connect(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in connection(url).items():
        monkeypatch.setenv(name, value)


def test_a_later_try_continues_after_a_stop_for_credits(
    run_steps: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_steps.seal("crm/mapping.csv", "run")
    world = Path("crm/world.json")
    with serve_world_file(world, "--credits", "5") as crm:
        connect(crm.url, monkeypatch)
        with pytest.raises(run_steps.OutOfCreditsError, match="credits"):
            run_steps.send(run)
    with serve_world_file(world) as crm:
        connect(crm.url, monkeypatch)
        counts = run_steps.send(run_steps.seal("crm/mapping.csv", run))
        assert counts["done"] + counts["unchanged"] == 100
        assert status(run).state is RunState.FINISHED


def test_refused_rows_are_named(run_steps: ModuleType) -> None:
    Path("bad.csv").write_text("contact_id,owner_id,message_id,deal_id\nx,1,2,3\n")
    with pytest.raises(RuntimeError, match="row 1: bad-id"):
        run_steps.seal("bad.csv", "run")
    # The next try plans the mended mapping, and a later one keeps that plan.
    assert status(run_steps.seal("crm/mapping.csv", "run")).state is RunState.PLANNED
    sealed = Path("run/plan.parquet").read_bytes()
    run_steps.seal("crm/mapping.csv", "run")
    assert Path("run/plan.parquet").read_bytes() == sealed


@pytest.fixture
def resume_command(run_steps: ModuleType) -> ModuleType:
    """Return the module, in the same folder."""
    return load("resume_command")


def test_the_command_is_tried_again_after_a_stop_for_credits_and_else_fails(
    run_steps: ModuleType, resume_command: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_steps.seal("crm/mapping.csv", "run")
    world, ticks = Path("crm/world.json"), []
    with serve_world_file(world, "--credits", "5") as crm:
        connect(crm.url, monkeypatch)
        with pytest.raises(resume_command.OutOfCreditsError, match="credits") as stop:
            resume_command.send(run, bulklink=PROGRAM, tick=lambda: ticks.append(1))
        assert stop.value.resume_at.endswith("Z")
        assert ticks
        with pytest.raises(RuntimeError, match="exit code 2"):
            resume_command.send("nowhere", bulklink=PROGRAM)
    with serve_world_file(world) as crm:
        connect(crm.url, monkeypatch)
        counts = resume_command.send(run, bulklink=PROGRAM)
        assert counts["done"] + counts["unchanged"] == 100


def test_a_command_whose_orchestrator_gives_up_is_stopped_gently(
    run_steps: ModuleType, resume_command: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_steps.seal("crm/mapping.csv", "run")

    def give_up() -> None:
        raise TimeoutError

    with serve_world_file(Path("crm/world.json")) as crm:
        connect(crm.url, monkeypatch)
        with pytest.raises(TimeoutError):
            resume_command.send(run, bulklink=PROGRAM, tick=give_up)
        assert status(run).state in (RunState.PLANNED, RunState.STOPPED)
        assert resume_command.send(run, bulklink=PROGRAM)["pending"] == 0


def test_the_pods_of_the_job_send_and_are_tried_again_only_where_that_helps(
    run_steps: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    volume, job = yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text("utf-8"))
    assert volume["spec"]["accessModes"] == ["ReadWriteOnce"]
    _, failure = job["spec"]["podFailurePolicy"]["rules"]
    codes = {ExitCode.ROWS_NOT_DONE, ExitCode.REFUSED, ExitCode.STOPPED}
    assert (failure["action"], set(failure["onExitCodes"]["values"])) == ("FailIndex", codes)
    pod = job["spec"]["template"]["spec"]
    assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == volume["metadata"]["name"]
    (container,) = pod["containers"]
    shell = [word.replace("/runs/", f"{tmp_path}/") for word in container["command"]]
    (tmp_path / "0.profile").write_text("acme\n")
    run_steps.seal("crm/mapping.csv", "0")
    environment = Command(tmp_path).environment() | {
        "JOB_COMPLETION_INDEX": "0",
        "PATH": f"{Path(PROGRAM).parent}{os.pathsep}{os.environ['PATH']}",
    }
    for credit_options, code in ((("--credits", "5"), ExitCode.CREDITS), ((), ExitCode.OK)):
        with serve_world_file(Path("crm/world.json"), *credit_options) as crm:
            store_profile(tmp_path / "config" / "bulklink", "acme", crm.url)
            sent = subprocess.run(shell, env=environment, capture_output=True, check=False)
            assert sent.returncode == code, sent


def test_the_table_has_every_exit_code_of_a_run() -> None:
    cells = re.findall(r"^\| (\d[\d, ]*) \|", PAGE, re.MULTILINE)
    codes = {int(code) for cell in cells for code in cell.split(", ")}
    assert codes == (set(ExitCode) - {ExitCode.OUTPUT_CLOSED}) | {128 + 9}


def test_the_workflow_of_temporal_uses_the_names_of_the_command() -> None:
    tree = ast.parse((FOLDER / "temporal_worker.py").read_text("utf-8"))
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "resume_command"
    }
    assert used == {"send", "OutOfCreditsError"}
    assert used <= vars(load("resume_command")).keys()


def test_the_page_links_every_file() -> None:
    names = sorted(path.name for path in FOLDER.iterdir() if path.is_file())
    assert set(PROGRAMS) < set(names)
    assert [name for name in names if f"orchestrators/{name})" not in PAGE] == []
