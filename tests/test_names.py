"""Public names are unique, and names use standard vocabulary."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from pathlib import Path

import pytest

import bulklink

ROOT = Path(bulklink.__file__).parent
TESTS = Path(__file__).parent
TWINS = {"Answer", "Org", "Request", "TokenStore"}
"""What the emulator and the client both have: they are written apart."""
PRIVATE_WORDS = re.compile(
    "_*(desk|tracks?|purse|doubt|lookout|deeds?|claims?|told|said|pacer|surroundings)",
    re.IGNORECASE,
)


def is_command(path: Path) -> bool:
    """Return whether a module holds commands, which are named like their operations."""
    return path.is_relative_to(ROOT / "cli" / "commands")


def public_names(path: Path) -> set[str]:
    return {
        node.name
        for node in ast.parse(path.read_text("utf-8")).body
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and not node.name.startswith("_")
    }


def test_public_names_are_unique() -> None:
    places = defaultdict[str, list[str]](list)
    for path in ROOT.rglob("*.py"):
        if not is_command(path):
            for name in public_names(path):
                places[name].append(str(path.relative_to(ROOT)))
    doubles = {name: found for name, found in places.items() if len(found) > 1}
    assert {name: found for name, found in doubles.items() if name not in TWINS} == {}


def names_given(tree: ast.AST) -> set[str]:
    """Return the names of classes, functions, parameters, variables and attributes."""
    names = set()
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name):
                names.add(name)
            case ast.AsyncFunctionDef(name=name) | ast.arg(arg=name):
                names.add(name)
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                names.add(name)
            case _:
                pass
    return names


@pytest.mark.parametrize("folder", [ROOT, TESTS], ids=["package", "tests"])
def test_names_use_standard_vocabulary(folder: Path) -> None:
    assert {
        f"{path.relative_to(folder)}: {name}"
        for path in folder.rglob("*.py")
        for name in names_given(ast.parse(path.read_text("utf-8")))
        if PRIVATE_WORDS.fullmatch(name)
    } == set()
