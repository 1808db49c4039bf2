"""The programs in docs/library.md run as written, and the page names every public name."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import inspect
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, is_typeddict

import pytest

import bulklink
from bulklink import ExitCode, RunCallbacks, RunResult
from tests.operations.local_crm import EMAILS, LocalCrm, job, local_crm

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "library.md").read_text("utf-8")
PROGRAM, CONNECTIONS, NOTEBOOK = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
VALUES = {name: getattr(bulklink, name) for name in bulklink.__all__}
INIT = Path(bulklink.__file__)


def fields_of(value: Any) -> list[str]:
    """Return the fields of a value type; empty for any other class."""
    if is_typeddict(value):
        return list(value.__annotations__)
    if dataclasses.is_dataclass(value):
        return [field.name for field in dataclasses.fields(value)]
    return [*getattr(value, "__struct_fields__", getattr(value, "_fields", ()))]


def doc_of(value: Any) -> str:
    """Return the docstring of a type; for a group of options, with those of its bases."""
    if is_typeddict(value):
        groups = (bulklink.PaceOptions, bulklink.LimitOptions, bulklink.SendOptions)
        return "".join(group.__doc__ or "" for group in groups)
    return value.__doc__ or ""


VALUE_TYPES = {name: doc_of(value) for name, value in VALUES.items() if fields_of(value)}
FUNCTIONS = {name: value for name, value in VALUES.items() if inspect.isfunction(value)}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder, without the developer's settings."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


def connected(crm: LocalCrm, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("API_URL", "ACCOUNTS_URL"):
        monkeypatch.setenv(f"BULKLINK_{name}", crm.url)
    for name in ("CLIENT_ID", "CLIENT_SECRET", "REFRESH_TOKEN"):
        monkeypatch.setenv(f"BULKLINK_{name}", "demo")


def example() -> ModuleType:
    """Return the program of the page, whose types `make check` checks too."""
    file = DOCS / "examples" / "move.py"
    assert file.read_text("utf-8") == PROGRAM
    spec = importlib.util.spec_from_file_location("move", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_the_program_does_the_whole_job(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "move")
    async with local_crm() as crm:
        connected(crm, monkeypatch)
        mapping = job(folder).mapping_names[0]
        assert await example().move(mapping, folder) == ExitCode.OK
        assert crm.linked == EMAILS
    messages = [record.getMessage() for record in caplog.records]
    assert messages[0] == f"{EMAILS} emails, 12 credits at most"
    assert "Sending …" in messages
    assert any(line.startswith(f"{EMAILS} of {EMAILS} rows, ") for line in messages)
    assert messages[-1] == f"{EMAILS} of {EMAILS} as recorded"
    assert (folder / "results.csv").read_text().count(",done,") == EMAILS


def test_the_program_tells_what_is_wrong(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("BULKLINK_DC", "eu")
    monkeypatch.setenv("BULKLINK_ACCESS_TOKEN", "x")
    (folder / "bad.csv").write_text("contact_id,owner_id,message_id,deal_id\nx,2,m,3\n")
    program = example()
    for mapping, expected_text in (("bad.csv", "row 1: bad-id"), ("none.csv", "no such file")):
        monkeypatch.setattr(sys, "argv", ["move.py", mapping, str(folder)])
        assert program.main() == ExitCode.REFUSED
        assert expected_text in caplog.records[-1].getMessage()


async def test_the_cell_runs_inside_the_loop_of_a_notebook(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(job(folder).mapping_names[0], folder / "mapping.csv")
    names: dict[str, object] = {}
    cell = compile(NOTEBOOK, "cell", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    async with local_crm() as crm:
        connected(crm, monkeypatch)
        await eval(cell, names)
    summary = names["result"]
    assert isinstance(summary, RunResult)
    assert (summary.run_dir, summary.counts["done"]) == ("first", EMAILS)
    assert (folder / "results.parquet").is_file()


def test_the_connections_are_made_as_they_stand(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BULKLINK_DC", "eu")
    monkeypatch.setenv("BULKLINK_ACCESS_TOKEN", "x")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder))
    known, _, of_a_profile = CONNECTIONS.partition("load_connection(")
    exec(known, {})
    with pytest.raises(bulklink.ConfigError, match="no profile 'test'"):
        exec(f"from bulklink import load_connection\nload_connection({of_a_profile}", {})


def test_every_public_name_is_documented_and_can_be_imported() -> None:
    assert bulklink.__all__ == sorted(bulklink.__all__) == dir(bulklink)
    documented = set(re.findall(r"[A-Za-z_]\w*", TEXT))
    assert set(bulklink.__all__) <= documented, set(bulklink.__all__) - documented
    for name, value in VALUES.items():
        assert value.__name__ == name
        assert value.__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        bulklink.nothing  # type: ignore[attr-defined]  # noqa: B018 - it is what raises


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_argument_result_and_error_of_a_function_is_documented(name: str) -> None:
    function, doc = FUNCTIONS[name], FUNCTIONS[name].__doc__ or ""
    arguments = doc.partition("Args:")[2].partition("Raises:")[0]
    for argument in inspect.signature(function).parameters:
        assert f" {argument}: " in arguments or f"**{argument}: " in arguments, argument
    assert "Raises:" in doc
    assert f"`{name}(" in TEXT


@pytest.mark.parametrize("name", VALUE_TYPES)
def test_every_field_of_a_value_type_is_documented(name: str) -> None:
    arguments = VALUE_TYPES[name].partition("Args:")[2]
    missing = {field for field in fields_of(VALUES[name]) if f" {field}: " not in arguments}
    assert missing == set()


def test_type_checkers_see_the_names_that_can_be_had() -> None:
    imported = re.findall(r"from (\S+) import (\w+) as \2$", INIT.read_text("utf-8"), re.MULTILINE)
    assert {name: module for module, name in imported} == bulklink._MODULE_BY_NAME


def test_every_callback_is_documented() -> None:
    section = TEXT.partition("## Callbacks")[2].partition("## Stopping")[0]
    names = {name for name, value in vars(RunCallbacks).items() if inspect.isfunction(value)}
    assert {name for name in names if f"`{name}(" not in section} == set()


def test_every_error_is_documented() -> None:
    documented = re.findall(r"^\| `(\w+Error)` \|", TEXT, re.MULTILINE)
    errors = [name for name in bulklink.__all__ if name.endswith("Error")]
    assert sorted([*documented, "BulklinkError", "RunStoppedError"]) == errors
