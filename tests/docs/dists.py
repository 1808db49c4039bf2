"""Wheel and source distribution of the checkout, built as for a release."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
UV = Path(sys.executable).parent / ("uv.exe" if sys.platform == "win32" else "uv")


@dataclass(frozen=True, slots=True)
class Dists:
    """Paths of the built files."""

    wheel: Path
    sdist: Path


def build_dists(folder: Path, source: Path = ROOT) -> Dists:
    """Build both from a folder with the sources, without access to a registry."""
    process = subprocess.run(
        [
            *(UV, "build", "--quiet", "--offline", "--no-build-isolation", "--sdist", "--wheel"),
            *("--python", sys.executable, "--out-dir", folder, source),
        ],
        cwd=folder.parent,
        capture_output=True,
        timeout=50,
    )
    assert process.returncode == 0, process.stderr.decode()
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    return Dists(wheel, sdist)


def bare_environment(folder: Path) -> dict[str, str]:
    """Return an environment without the developer's settings."""
    strange = ("BULKLINK", "COVERAGE", "PIPX", "PYTHON", "VIRTUAL_ENV")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(strange)
    }
    return environment | {
        "XDG_STATE_HOME": str(folder / "state"),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
    }


def copy_checkout(folder: Path) -> Path:
    """Copy the checkout to a new folder, without what tools have made in it."""
    made = (".venv", ".git", ".*_cache", "__pycache__", ".hypothesis", "build", "dist")
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*made))
    return folder
