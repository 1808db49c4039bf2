"""docs/ledger.md names a test for each fault, and these tests exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_test_that_the_docs_name_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", (ROOT / "docs" / "ledger.md").read_text("utf-8")))
    files = (ROOT / "tests").rglob("test_*.py")
    exist = {name for file in files for name in re.findall(r"def (test_\w+)", file.read_text())}
    assert len(named) > 30
    assert named <= exist, named - exist


def test_every_row_of_the_faults_names_its_tests() -> None:
    text = (ROOT / "docs" / "ledger.md").read_text("utf-8")
    faults = text.partition("\n## Faults\n")[2].partition("\n## ")[0]
    rows = [line for line in faults.splitlines() if line.startswith("| ")]
    rows = [row for row in rows if not row.startswith("| fault |")]
    assert len(rows) > 40
    assert [row for row in rows if "`test_" not in row.split("|")[-2]] == []
