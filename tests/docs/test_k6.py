"""The k6 script of docs/loadtest.md is a valid module; its comments show commands that exist."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli.command_tree import parse_context
from tests.docs.reference import ROOT

SCRIPT = ROOT / "docs" / "examples" / "link_calls.k6.js"


def node() -> str:
    """Return the program node; without it the test is skipped, and fails on CI."""
    program = shutil.which("node")
    if program is None:
        reason = "there is no node to check the k6 script with: install the package nodejs"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return program


def test_node_can_read_the_script_as_a_module(tmp_path: Path) -> None:
    module = shutil.copy(SCRIPT, tmp_path / "script.mjs")
    checked = subprocess.run([node(), "--check", module], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr


def test_the_comments_of_the_script_show_commands_that_exist() -> None:
    commands = re.findall(r"^//   (bulklink .*)$", SCRIPT.read_text("utf-8"), re.MULTILINE)
    assert len(commands) == 2
    for command in commands:
        assert parse_context(shlex.split(command)).command_path.startswith("bulklink")
