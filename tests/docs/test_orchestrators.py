"""The steps of docs/orchestrators.md continue where an earlier try stopped.

soak_orchestrators.py runs the orchestrators themselves.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from bulklink import RunState, status
from tests.docs.orchestrators import FOLDER, PROGRAMS
from tests.docs.reference import ROOT
from tests.e2e.command import Command
from tests.e2e.servers import connection, serve_world_file

PAGE = (ROOT / "docs" / "orchestrators.md").read_text("utf-8")


@pytest.fixture
def run_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Return the module, in a folder with a world, without the developer's settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    recipe = ["--messages", "100", "--contacts", "10", "--linked-wrong", "0.5", "--out", "crm"]
    assert Command(tmp_path)("generate", *recipe).code == 0
    spec = importlib.util.spec_from_file_location("run_steps", FOLDER / "run_steps.py")
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


def test_the_page_links_every_file() -> None:
    assert [
        name for name in ("run_steps.py", *PROGRAMS) if f"orchestrators/{name})" not in PAGE
    ] == []
