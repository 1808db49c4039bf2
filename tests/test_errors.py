"""Every error says what is wrong, where, and what to do, as checked in the source code."""

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
"""Error for the stop of a run: its place may be the run, which the summary names, and a user who
stops it needs no advice."""
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


def test_the_calls_that_make_errors_are_found() -> None:
    assert len(KINDS) > 12
    assert len(ERROR_CALLS) > 80


@pytest.mark.parametrize("node", ERROR_CALLS)
def test_an_error_says_where_and_what_to_do(node: ast.Call) -> None:
    assert isinstance(node.func, ast.Name)
    if any(STOP_MESSAGE in ast.unparse(arg) for arg in node.args):
        return
    keywords = {keyword.arg: keyword.value for keyword in node.keywords}
    for name in ("advice",) if node.func.id == RUN_ALONE else ("where", "advice"):
        assert name in keywords, ast.unparse(node)
        value = keywords[name]
        assert not (isinstance(value, ast.Constant) and not value.value), ast.unparse(node)
