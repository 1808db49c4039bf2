"""Blocks for PowerShell are valid, and set the variables that the blocks for POSIX shells set."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise

import pytest
import tree_sitter_powershell
from tree_sitter import Language, Parser

from tests.docs.test_reference import DOCS

_BLOCK = re.compile(r"^```(sh|powershell)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
BLOCKS = [(page, *block) for page, text in DOCS.items() for block in _BLOCK.findall(text)]
SETTING = [
    pytest.param(page, text, following, id=page)
    for (page, _, text), (_, _, following) in pairwise(BLOCKS)
    if "export " in text
]
POWERSHELL = [pytest.param(text, id=page) for page, kind, text in BLOCKS if kind == "powershell"]


@pytest.mark.parametrize("text", POWERSHELL)
def test_a_block_for_powershell_is_valid(text: str) -> None:
    parser = Parser(Language(tree_sitter_powershell.language()))
    assert not parser.parse(text.encode()).root_node.has_error


@pytest.mark.parametrize(("page", "text", "following"), SETTING)
def test_variables_are_set_in_powershell_too(page: str, text: str, following: str) -> None:
    exports = [line for line in text.splitlines() if line.startswith("export ")]
    words = [word for line in exports for word in shlex.split(line, comments=True)[1:]]
    assert powershell_variables(following) == dict(word.split("=", 1) for word in words), page


def powershell_variables(text: str) -> dict[str, str]:
    """Return the variables that lines such as `$env:A = $env:B = "x"` set, and their values."""
    variables: dict[str, str] = {}
    for line in text.splitlines():
        names, values = re.findall(r"\$env:(\w+)", line), re.findall(r'"([^"]*)"', line)
        variables |= dict(zip(names, values * len(names), strict=False))
    return variables


def test_several_pages_set_variables() -> None:
    assert len(SETTING) >= 4
