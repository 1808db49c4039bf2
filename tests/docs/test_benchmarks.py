"""Every benchmark shows its options instead of taking them for the name of a file."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = sorted(
    path.name for path in BENCHMARKS.glob("*.py") if "__main__" in path.read_text(encoding="utf-8")
)


@pytest.mark.skipif(sys.platform == "win32", reason="some measure what Windows does not report")
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_benchmark_shows_its_help_and_writes_nothing(script: str, tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / script), "--help"]
    result = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.lower().startswith("usage:")
    assert not list(tmp_path.iterdir())
