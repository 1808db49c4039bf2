"""ARCHITECTURE.md names modules that exist, and a row passes through those of its walk."""

from __future__ import annotations

import re
import sys
import threading
from pathlib import Path
from types import FrameType

import pytest

from tests.operations.local_crm import job, local_crm

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
WALK = re.findall(r"^\| \d+ \| `([a-z_/]+)` \|", TEXT, re.MULTILINE)
GLOSSARY = re.findall(r"^\| [^|`]+ \| [^|]+ \|$", TEXT.partition("## Glossary")[2], re.MULTILINE)


def test_every_module_that_is_named_exists() -> None:
    packages = {path.name for path in (ROOT / "bulklink").iterdir() if path.is_dir()}
    named = {
        name
        for name in re.findall(r"`([a-z_]+(?:/[a-z_]+)+)`", TEXT)
        if name.partition("/")[0] in packages
    }
    assert set(WALK) <= named
    assert [
        name
        for name in sorted(named)
        if not any((ROOT / "bulklink" / file).exists() for file in (f"{name}.py", name))
    ] == []


def test_every_package_is_named() -> None:
    packages = {path.parent.name for path in (ROOT / "bulklink").glob("*/__init__.py")}
    assert {package for package in packages if f"`{package}`" not in TEXT} == set()


def test_the_walk_and_the_glossary_are_short() -> None:
    assert 10 < len(WALK) <= 20
    assert 20 <= len(GLOSSARY) - 1 <= 30  # without the header of the table


async def test_a_row_passes_the_modules_of_its_walk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first module is the command itself, which a call of the library does not use."""
    passed: set[str] = set()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            passed.add(frame.f_code.co_filename)

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    from bulklink import run  # noqa: PLC0415 - imported before profiling starts

    async with local_crm() as crm:
        threading.setprofile(note)
        sys.setprofile(note)
        try:
            await run(job(tmp_path), crm.connection)
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
    modules = {
        str(Path(file).relative_to(ROOT / "bulklink").with_suffix(""))
        for file in passed
        if Path(file).is_relative_to(ROOT / "bulklink")
    }
    assert WALK[0] == "cli/commands/send"
    assert [module for module in WALK[1:] if module not in modules] == []
