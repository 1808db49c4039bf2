"""Blocking work stays off the event loop, and the tests' guard detects where it does not."""

from __future__ import annotations

import ast
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import anyio.to_thread
import pytest

import bulklink
from bulklink.blocking import run_inline
from bulklink.ledger.index import LedgerIndex
from bulklink.ledger.replay import replay
from bulklink.ledger.search import find_message_lines
from bulklink.ledger.statistics import count_results
from bulklink.mapping.database import Database
from bulklink.mapping.input.dialect import Dialect
from bulklink.mapping.input.scan import FileScanner
from bulklink.mapping.input.xlsx_reader import Workbook
from bulklink.mapping.interrupt import PlanningStop
from bulklink.operations.fetching.folder import FetchFolder
from bulklink.operations.fetching.progress import FetchProgress
from bulklink.runs.hashes import sha256_of
from bulklink.tables import resolve_output
from tests.guard import EventLoopBlockedError


def _use_database(folder: Path) -> None:
    with closing(Database(folder / "spill", PlanningStop())) as database:
        database.execute("SELECT 1")


def _write_table(folder: Path) -> None:
    with resolve_output(folder / "table.xlsx").open(()):
        pass


def _load_workbook(folder: Path) -> None:
    _write_table(folder)
    path = folder / "table.xlsx"
    with Workbook(path, str(path), None, folder, PlanningStop()):
        pass


WORK: dict[str, Callable[[Path], object]] = {
    "replay": lambda folder: replay(folder / "file"),
    "count_results": lambda folder: count_results(folder / "file"),
    "index": lambda folder: LedgerIndex(folder / "file").close(),
    "search": lambda folder: list(find_message_lines(folder / "file", "m", [1])),
    "hash": lambda folder: sha256_of(folder / "file"),
    "scan": lambda folder: FileScanner(
        folder / "file", 0, 1, PlanningStop(), Dialect()
    ).scan_rest(),
    "DuckDB": _use_database,
    "table": _write_table,
    "workbook": _load_workbook,
    "fetch log": lambda folder: FetchProgress(FetchFolder(folder), 1),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with an empty file."""
    (tmp_path / "file").touch()
    return tmp_path


@pytest.mark.parametrize("name", WORK)
async def test_blocking_work_on_the_event_loop_fails_a_test(name: str, folder: Path) -> None:
    with pytest.raises(EventLoopBlockedError):
        WORK[name](folder)


@pytest.mark.parametrize("name", WORK)
async def test_blocking_work_in_a_thread_is_allowed(name: str, folder: Path) -> None:
    await anyio.to_thread.run_sync(WORK[name], folder)


@pytest.mark.parametrize("name", WORK)
async def test_blocking_work_run_inline_on_a_virtual_clock_is_allowed(
    name: str, folder: Path
) -> None:
    await run_inline(lambda: WORK[name](folder))


@pytest.mark.parametrize("name", WORK)
def test_blocking_work_without_an_event_loop_is_allowed(name: str, folder: Path) -> None:
    WORK[name](folder)


async def test_a_query_that_a_thread_started_cannot_be_read_on_the_event_loop(
    folder: Path,
) -> None:
    stop = PlanningStop()
    database = await anyio.to_thread.run_sync(lambda: Database(folder / "spill", stop))
    with closing(database):
        batches = database.batches("SELECT * FROM range(10000)")
        await anyio.to_thread.run_sync(next, batches)
        with pytest.raises(EventLoopBlockedError):
            next(batches)


_THREADS = {
    "operations/environment.py",  # run_blocking
    "ledger/writer.py",  # files of the environment
    "engine/quota/daily_usage.py",  # usage file of the environment
    "cluster/database.py",  # statements, each of which has a time-out
    "cluster/segments.py",  # ledger files of the environment
    "cli/progress.py",  # operations that are not coroutines
    "ui/activity.py",  # its thread ends
    "ui/server.py",  # windows that wait for a change
}


def test_threads_are_started_only_by_listed_modules() -> None:
    assert users_of("anyio.to_thread") == _THREADS


def test_only_warnings_of_planning_call_back_from_a_thread() -> None:
    assert users_of("anyio.from_thread") == {"operations/cancellation.py"}


def users_of(module: str) -> set[str]:
    """Return the modules of the package that import a module."""
    package = Path(bulklink.__file__).parent
    return {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if module in _imported(path)
    }


def _imported(path: Path) -> list[str]:
    tree = ast.parse(path.read_text())
    names = [
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names
