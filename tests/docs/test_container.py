"""The Containerfile builds an image that runs bulklink as an unprivileged user.

Skipped, on CI too, where no builder works or the image of Python cannot be pulled. With an image
of your own: BULKLINK_TEST_BUILD="--build-arg PYTHON=localhost/python".
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import orjson
import pytest

from tests.docs.dists import ROOT, copy_checkout

BUILDERS = ("podman", "docker", "buildah")
TAG = "localhost/bulklink-test"
OPTIONS = shlex.split(os.environ.get("BULKLINK_TEST_BUILD", ""))


def works(*command: str | Path, seconds: float = 60) -> bool:
    """Return whether a command succeeds in time."""
    try:
        return subprocess.run(command, capture_output=True, timeout=seconds).returncode == 0
    except subprocess.TimeoutExpired:
        return False


@pytest.fixture
def builder() -> str:
    """Return a program that builds images here, and has the image of Python."""
    name = next((name for name in BUILDERS if shutil.which(name) and works(name, "info")), None)
    if name is None:
        pytest.skip(f"none of {', '.join(BUILDERS)} works here: the Containerfile is not built")
    (image,) = re.findall(r"^ARG PYTHON=(\S+)", (ROOT / "Containerfile").read_text(), re.MULTILINE)
    if not OPTIONS and not works(name, "pull", image):
        pytest.skip(f"{name} cannot pull {image}: the Containerfile is not built")
    return name


def run(*command: str | Path) -> str:
    process = subprocess.run(command, capture_output=True, timeout=600, text=True)
    assert process.returncode == 0, (command, process.stdout, process.stderr)
    return process.stdout


@pytest.mark.timeout(900)
def test_the_image_runs_the_demo_as_an_unprivileged_user(builder: str, tmp_path: Path) -> None:
    checkout = copy_checkout(tmp_path / "checkout")
    work = tmp_path / "work"
    work.mkdir()
    work.chmod(0o777)  # whoever the user of the image is
    run(builder, "build", *OPTIONS, "-f", checkout / "Containerfile", "-t", TAG, checkout)
    command = ["demo", "--json"]
    if builder == "buildah":
        container = run(builder, "from", TAG).strip()
        printed = run(builder, "run", "-v", f"{work}:/work", container, "bulklink", *command)
        run(builder, "rm", container)
    else:
        printed = run(builder, "run", "--rm", "-v", f"{work}:/work", TAG, *command)
    result = orjson.loads(printed)
    assert result["counts"]["done"] == 150
    assert (work / result["run_dir"]).stat().st_uid != 0
