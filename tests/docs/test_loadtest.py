"""The load test of docs/loadtest.md prints what the page shows, apart from its figures."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from bulklink.load_analysis.comparison import LoadVerdict
from tests.docs.reference import ROOT
from tests.e2e.command import Command

PAGE = (ROOT / "docs" / "loadtest.md").read_text("utf-8")
SMALL = ("--world-messages", "400", "--world-contacts", "20", "--duration", "1s")
_BUSY = "This machine may"
"""Beginning of a line that a busy machine prints."""


def first_words(printed: str) -> list[str]:
    """Return the first word of each line; a busy machine may miss a threshold."""
    lines = [line for line in printed.splitlines() if not line.startswith(_BUSY)]
    return [line.split()[0].replace("✗", "✓") for line in lines]


def test_the_load_test_of_the_page_prints_what_the_page_shows(tmp_path: Path) -> None:
    block, *_ = re.findall(r"^```console\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    shown = re.fullmatch(r"\$ bulklink (.*?)\n(.*)", block, re.DOTALL)
    assert shown is not None
    command, printed = shown.groups()
    result = Command(tmp_path)(*shlex.split(command), *SMALL, "--quiet")
    assert result.code in (0, 1), result
    assert first_words(result.out) == first_words(printed)
    (figures,) = (tmp_path / "runs").glob("*/loadtest.json")
    files = set(re.findall(r"^\| `([\w.]+)` \| ", PAGE.partition("## Keep")[2], re.MULTILINE))
    assert {path.name for path in figures.parent.iterdir()} >= files - {"report.html"}


def test_the_page_explains_every_verdict() -> None:
    table = PAGE.partition("| verdict on B |")[2].partition("\n\n")[0]
    verdicts = re.findall(r"^\| ([a-z, ]+) \| ", table, re.MULTILINE)
    assert ", ".join(verdicts).split(", ") == list(LoadVerdict)


def test_the_local_crm_has_credits_for_any_number_of_calls(tmp_path: Path) -> None:
    costly = ("--emulator", "--link-credits 10000000")
    result = Command(tmp_path)("loadtest", *SMALL, "--messages", "100", *costly, "--json")
    assert (result.code, result.object["messages"], result.object["errors"]) == (0, 100, {})
