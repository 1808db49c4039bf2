"""Every error says what is wrong, where, and what to do, as checked in the source code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

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


def missing_keywords(call: ast.Call) -> list[str]:
    """Return what an error does not say: `where`, `advice` or both."""
    assert isinstance(call.func, ast.Name)
    if any(STOP_MESSAGE in ast.unparse(arg) for arg in call.args):
        return []
    values = {keyword.arg: keyword.value for keyword in call.keywords}
    names = ("advice",) if call.func.id == RUN_ALONE else ("where", "advice")
    return [name for name in names if _is_empty(values.get(name))]


def _is_empty(value: ast.expr | None) -> bool:
    return value is None or (isinstance(value, ast.Constant) and not value.value)


def test_every_error_says_where_and_what_to_do() -> None:
    calls = [
        (f"{path.relative_to(CODE)}:{call.lineno}", call)
        for path in sorted(CODE.rglob("*.py"))
        for call in find_error_calls(path)
    ]
    assert len(KINDS) > 12
    assert len(calls) > 80
    missing = {place: missing_keywords(call) for place, call in calls}
    assert {place: names for place, names in missing.items() if names} == {}
