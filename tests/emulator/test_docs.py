"""The documents name every option and fault, and every test they name exists."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click
import pytest

from bulklink.cli.commands.emulator import emulator
from bulklink.cli.commands.generate import generate
from bulklink.emulator.faults import FaultKind

DOCS = Path(__file__).parents[2] / "docs"
HERE = Path(__file__).parent


def named_tests() -> list[tuple[str, str]]:
    text = (DOCS / "conformance.md").read_text("utf-8")
    return re.findall(r"`(test_\w+\.py)::(test_\w+)`", text)


def test_every_row_of_the_conformance_table_names_tests() -> None:
    lines = (DOCS / "conformance.md").read_text("utf-8").splitlines()
    rows = [line for line in lines if re.match(r"\| (D|T|\?|) ?\|", line)]
    facts = [row for row in rows if " Fact " not in row]
    assert len(facts) > 70
    assert [row for row in facts if "`test_" not in row] == []


@pytest.mark.parametrize("name", sorted({file for file, _ in named_tests()}))
def test_each_test_named_in_the_conformance_table_exists(name: str) -> None:
    existing = set(re.findall(r"def (test_\w+)\(", (HERE / name).read_text("utf-8")))
    assert {test for file, test in named_tests() if file == name} <= existing


@pytest.mark.parametrize("command", [emulator, generate], ids=["emulator", "generate"])
def test_every_option_is_in_the_guide(command: click.Command) -> None:
    text = (DOCS / "emulator.md").read_text("utf-8")
    options = [option.opts[0] for option in command.params if option.opts[0] != "--host"]
    assert [option for option in options if not re.search(rf"{option}\b", text)] == []


def test_every_fault_is_in_the_guide() -> None:
    text = (DOCS / "emulator.md").read_text("utf-8")
    assert [kind.value for kind in FaultKind if f"`{kind.value}`" not in text] == []


async def test_the_example_in_the_guide_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (DOCS / "emulator.md").read_text("utf-8")
    example = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert example is not None
    namespace: dict[str, Any] = {}
    exec(compile(example.group(1), "docs/emulator.md", "exec"), namespace)
    monkeypatch.chdir(DOCS.parent)
    await namespace["rehearse"]()
    assert capsys.readouterr().out.startswith("http://127.0.0.1:")
