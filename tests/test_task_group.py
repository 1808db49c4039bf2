"""Only the most important error leaves a task group."""

from __future__ import annotations

import ast
from itertools import permutations
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

import bulklink
from bulklink.errors import ConfigError, LedgerError, RunStoppedError, StoppedBy, StoppedError
from bulklink.task_group import task_group

BY_RANK = (
    KeyboardInterrupt(),
    LedgerError("ledger"),
    ValueError("a mistake"),
    ConfigError("refused"),
    RunStoppedError(StoppedBy.FATAL, "stopped"),
    StoppedError(),
)


async def fail(error: BaseException) -> None:
    await anyio.lowlevel.checkpoint()
    raise error


@pytest.mark.parametrize("pair", list(permutations(range(1, len(BY_RANK)), 2)))
async def test_the_most_important_error_leaves_in_any_order(
    pair: tuple[int, int],
) -> None:
    with pytest.raises(type(BY_RANK[min(pair)])) as raised:
        async with task_group() as group:
            for place in pair:
                group.start_soon(fail, BY_RANK[place])
    assert raised.value is BY_RANK[min(pair)]


async def test_the_error_of_the_block_leaves_unchanged_with_its_cause() -> None:
    error = LedgerError("broken")
    with pytest.raises(LedgerError) as raised:
        async with task_group() as group:
            group.start_soon(anyio.sleep_forever)
            raise error from OSError(28, "No space left")
    assert raised.value is error
    assert isinstance(raised.value.__cause__, OSError)


async def test_one_error_leaves_nested_groups() -> None:
    async def nested() -> None:
        async with task_group() as inner:
            inner.start_soon(fail, ConfigError("inner"))

    with pytest.raises(ConfigError, match="inner"):
        async with task_group() as group, task_group() as second:
            second.start_soon(nested)
            group.start_soon(anyio.sleep_forever)


async def test_a_cancellation_stays_a_cancellation() -> None:
    with anyio.move_on_after(0) as scope:
        async with task_group() as group:
            group.start_soon(anyio.sleep_forever)
    assert scope.cancelled_caught


def test_no_other_module_uses_anyios_task_group() -> None:
    package = Path(bulklink.__file__).parent
    users = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if "create_task_group" in (getattr(node, "attr", ""), getattr(node, "id", ""))
        or (isinstance(node, ast.alias) and node.name == "create_task_group")
    }
    assert users == {"task_group.py"}


def opens_group(node: ast.AsyncWith) -> bool:
    """Return whether a block enters `task_group()`."""
    return any(ast.unparse(item.context_expr) == "task_group()" for item in node.items)


def test_no_generator_yields_inside_a_task_group() -> None:
    """Leaving such a generator early would leave its tasks running (PEP 789)."""
    found = [
        f"{path.name}:{node.lineno}"
        for path in Path(bulklink.__file__).parent.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.AsyncWith)
        and opens_group(node)
        and any(isinstance(inner, ast.Yield | ast.YieldFrom) for inner in ast.walk(node))
    ]
    assert found == []
