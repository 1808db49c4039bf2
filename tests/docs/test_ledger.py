"""What docs/ledger.md says of faults is held by the tests that it names."""

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


def test_every_row_of_the_faults_is_held_by_a_test() -> None:
    text = (ROOT / "docs" / "ledger.md").read_text("utf-8")
    _, _, rest = text.partition("| fault | what happens |")
    rows = [line for line in rest.partition("\n\n")[0].splitlines()[2:] if line]
    assert len(rows) > 25
    for row in rows:
        assert "`test_" in row.split("|")[-2], row
