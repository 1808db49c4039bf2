"""Every benchmark shows its options instead of taking them for the name of a file."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
SCRIPTS = sorted(
    path.name for path in BENCHMARKS.glob("*.py") if "__main__" in path.read_text(encoding="utf-8")
)


@pytest.mark.skipif(sys.platform == "win32", reason="some measure what Windows does not report")
@pytest.mark.parametrize("script", SCRIPTS)
def test_a_benchmark_shows_its_help_and_writes_nothing(
    script: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Run it in this process, which has imported most of what it imports."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [script, "--help"])
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    with pytest.raises(SystemExit) as exiting:
        runpy.run_path(str(BENCHMARKS / script), run_name="__main__")
    assert exiting.value.code == 0
    assert capsys.readouterr().out.lower().startswith("usage:")
    assert not list(tmp_path.iterdir())
