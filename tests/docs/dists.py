"""Wheel and source distribution of the checkout, built as for a release."""

from __future__ import annotations

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
