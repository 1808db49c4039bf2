"""Every error has a message, a place and advice, checked in the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from bulklink import errors

CODE = Path(errors.__file__).parent
KINDS = {
    name
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.BulklinkError)
}
RUN_ALONE = "RunStoppedError"
"""Why a run stops: its place may be the run, which the summary names; a person who stops it needs
no advice."""
STOP_MESSAGE = "It was asked to stop."


def find_error_calls(path: Path) -> Iterator[ast.Call]:
    """Yield the calls that create an error."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS:
            yield node


ERROR_CALLS = [
    pytest.param(node, id=f"{path.relative_to(CODE)}:{node.lineno}")
    for path in sorted(CODE.rglob("*.py"))
    for node in find_error_calls(path)
]


def test_the_errors_are_found() -> None:
    assert len(KINDS) > 12
    assert len(ERROR_CALLS) > 80


@pytest.mark.parametrize("node", ERROR_CALLS)
def test_every_error_has_a_place_and_advice(node: ast.Call) -> None:
    assert isinstance(node.func, ast.Name)
    if any(STOP_MESSAGE in ast.unparse(arg) for arg in node.args):
        return
    given = {word.arg: word.value for word in node.keywords}
    for part in ("advice",) if node.func.id == RUN_ALONE else ("where", "advice"):
        assert part in given, ast.unparse(node)
        value = given[part]
        assert not (isinstance(value, ast.Constant) and not value.value), ast.unparse(node)
