"""Every benchmark shows its options instead of taking them for the name of a file."""

from __future__ import annotations

import re
import runpy
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


@pytest.mark.skipif(sys.platform == "win32", reason="it measures what Windows does not report")
@pytest.mark.timeout(240)
def test_the_results_compare_all_clients_and_show_the_growth(tmp_path: Path) -> None:
    script, page_path = str(BENCHMARKS / "results.py"), str(tmp_path / "results.md")
    options = ["--quick", "--rounds", "1", "--growth", "10000", "20000", "-o", page_path]
    subprocess.run([sys.executable, script, *options], check=True, stdout=subprocess.DEVNULL)
    page = (tmp_path / "results.md").read_text("utf-8")
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| ")]
    clients = [row for row in rows if "(" in row[-1]]
    assert len(clients) == 2 * 7, "rates and CPU of each client"
    for cells in clients:
        spreads = [re.findall(r"[\d.]+", cell.replace(",", "")) for cell in cells if "(" in cell]
        assert all(float(median) > 0 for median, _, _ in spreads), cells
    assert {row[0].removeprefix("| ") for row in rows if len(row) == 5} >= {"100", "200"}
    assert "polyline" in (tmp_path / "results.svg").read_text("utf-8")
