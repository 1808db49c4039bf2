"""A folder of packages, so that tests install bulklink without an index."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from filelock import FileLock

from tests.docs.dists import ROOT


@pytest.fixture(scope="session")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Return a folder with whatever bulklink needs, to be built and to run."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "wheelhouse"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            _download(folder.with_name("downloaded")).rename(folder)
    return folder


def _download(folder: Path) -> Path:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    needed = [*project["project"]["dependencies"], *project["build-system"]["requires"]]
    command = (sys.executable, "-m", "pip", "download", "--quiet", "--dest", folder)
    process = subprocess.run(
        [*command, "--constraint", ROOT / "requirements.lock", *needed],
        capture_output=True,
        timeout=240,
    )
    if process.returncode != 0 and not os.environ.get("CI"):
        pytest.skip(f"the registry of packages cannot be reached: {process.stderr.decode()}")
    assert process.returncode == 0, process.stderr.decode()
    return folder
