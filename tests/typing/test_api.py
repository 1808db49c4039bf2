"""The type-checked program uses every public name."""

from __future__ import annotations

import ast
from pathlib import Path

import bulklink

PROGRAM = ast.parse(Path(__file__).with_name("api.py").read_text("utf-8"))


def test_every_public_name_is_used() -> None:
    used = {node.id for node in ast.walk(PROGRAM) if isinstance(node, ast.Name)}
    used |= {
        node.attr
        for node in ast.walk(PROGRAM)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "bulklink"
    }
    assert set(bulklink.__all__) - used == set()
