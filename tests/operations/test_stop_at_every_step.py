"""A stop is handled while any thread works."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import anyio.from_thread
import anyio.to_thread
import msgspec
import pytest

from bulklink import (
    Connection,
    Job,
    RunCallbacks,
    RunResult,
    RunState,
    StopController,
    fetch,
    plan,
    resume,
    undo,
    verify,
)
from bulklink.errors import InterruptedPlanningError, StoppedError
from bulklink.ledger.replay import replay
from bulklink.operations.environment import Environment, real_environment
from bulklink.operations.send import send
from bulklink.runs.folder import RunFolder
from bulklink.runs.timeline import append_interval
from tests.guard import off_loop
from tests.operations.local_crm import CONTACT, EMAILS, job, local_crm

T = TypeVar("T")
_CALLS = 9
"""Calls to threads of a run: the org is locked, names are found, compared, written and checked, the
plan is read in two, and the ledger and the result at the end. Writes of the timeline and recounts
of the commands that contact the org are not among them, as they depend on how long a run takes."""
_NOT_INTERRUPTED = (1, 7)
"""The calls that lock the org, and that find that all of the plan was read."""
_ENDING = 2
"""Calls at the end of a run, for the counts and hash of its ledger, and for its figures."""


class StoppingThreads:
    """Threads, one of which works until the event loop has handled a stop.

    Args:
        stop: stopped while the thread works.
        number: number of the call, from 1, during which the stop comes; 0 for none.

    Attributes:
        calls: calls so far.
        interrupted: whether the stop interrupted that call.
    """

    def __init__(self, stop: StopController, number: int) -> None:
        self.calls = 0
        self.interrupted = False
        self.stop = stop
        self._number = number
        self._answered = threading.Event()

    async def __call__(self, function: Callable[[], T]) -> T:
        is_timeline = getattr(function, "func", None) is append_interval
        self.calls += not is_timeline
        if is_timeline or self.calls != self._number:
            return await anyio.to_thread.run_sync(function)
        return await anyio.to_thread.run_sync(self._work_until_stopped, function)

    def _work_until_stopped(self, function: Callable[[], T]) -> T:
        anyio.from_thread.run_sync(self._answer)
        assert self._answered.wait(20)
        try:
            return function()
        except (InterruptedPlanningError, StoppedError):
            self.interrupted = True
            raise

    def _answer(self) -> None:
        self.stop.interrupt()
        self._answered.set()


@asynccontextmanager
async def sample_once(sample: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
    """Call `sample` once before the block, so that each run makes the same calls."""
    await sample()
    yield


async def send_plan(
    folder: RunFolder,
    planned_job: Job,
    connection: Connection,
    threads: StoppingThreads | None = None,
) -> RunResult:
    """Send the rest of a sealed plan."""
    environment: Environment = real_environment()
    stop = StopController()
    if threads is not None:
        stop = threads.stop
        environment = msgspec.structs.replace(
            environment, run_blocking=threads, sample_periodically=sample_once, org_shares=None
        )
    return await send(
        folder,
        await off_loop(replay, folder.ledger),
        job=planned_job,
        connection=connection,
        callbacks=RunCallbacks(),
        stop=stop,
        environment=environment,
    )


def _seal(path: Path) -> Job:
    path.mkdir()
    planned_job = job(path)
    plan(planned_job)
    return planned_job


async def _stop_at(number: int, path: Path) -> tuple[StoppingThreads, RunResult]:
    """Send a plan, stop it at a call to a thread, and send the rest."""
    planned_job = await off_loop(_seal, path)
    threads = StoppingThreads(StopController(), number)
    async with local_crm() as crm:
        result = await send_plan(RunFolder(path / "run"), planned_job, crm.connection, threads)
        if result.state is RunState.STOPPED:
            finished = await send_plan(RunFolder(path / "run"), planned_job, crm.connection)
            assert finished.state is RunState.FINISHED
        assert crm.linked == EMAILS
    return threads, result


async def test_passes_over_plan_and_ledger_run_in_threads(tmp_path: Path) -> None:
    threads, result = await _stop_at(0, tmp_path / "run")
    assert (threads.calls, result.state) == (_CALLS, RunState.FINISHED)


@pytest.mark.parametrize("number", range(1, _CALLS - _ENDING + 1))
async def test_a_stop_is_handled_while_names_are_looked_up_or_the_plan_is_read(
    number: int, tmp_path: Path
) -> None:
    threads, result = await _stop_at(number, tmp_path / "run")
    assert (result.state, result.stopped_by) == (RunState.STOPPED, "interrupted")
    assert threads.interrupted is (number not in _NOT_INTERRUPTED)


@pytest.mark.parametrize("number", range(_CALLS - _ENDING + 1, _CALLS + 1))
async def test_a_stop_is_handled_after_everything_was_sent(number: int, tmp_path: Path) -> None:
    _, result = await _stop_at(number, tmp_path / "run")
    assert result.state is RunState.FINISHED


async def _verify(path: Path, connection: Connection, **options: Any) -> bool:
    result = await verify(path / "run", connection, settle_after=0, **options)
    return result.stopped_by is None


async def _undo(path: Path, connection: Connection, **options: Any) -> bool:
    folder = path / "undo"
    if RunFolder(folder).record.exists():
        return (await resume(folder, connection, **options)).state is RunState.FINISHED
    result = await undo(path / "run", connection, run_dir=folder, settle_after=0, **options)
    return result is not None and result.state is RunState.FINISHED


async def _fetch(path: Path, connection: Connection, **options: Any) -> bool:
    result = await fetch([CONTACT], path / "emails.csv", connection, **options)
    return result.stopped_by is None


async def _stop_verb_at(
    number: int, verb: Callable[..., Awaitable[bool]], path: Path
) -> tuple[int, bool]:
    """Send a plan, stop an operation at a call to a thread, and call it again.

    Returns:
        Calls to threads, and whether the stop was too late to end the operation.
    """
    planned_job = await off_loop(_seal, path)
    threads = StoppingThreads(StopController(), number)
    environment = msgspec.structs.replace(
        real_environment(),
        run_blocking=threads,
        sample_periodically=sample_once,
        org_shares=None,
    )
    async with local_crm() as crm:
        await send_plan(RunFolder(path / "run"), planned_job, crm.connection)
        try:
            complete = await verb(path, crm.connection, stop=threads.stop, environment=environment)
        except InterruptedPlanningError:
            complete = False
        assert complete or await verb(path, crm.connection)
    return threads.calls, complete


@pytest.mark.parametrize("verb", [_verify, _undo, _fetch], ids=["verify", "undo", "fetch"])
async def test_an_operation_can_be_stopped_at_any_thread_and_called_again(
    verb: Callable[..., Awaitable[bool]], tmp_path: Path
) -> None:
    calls, complete = await _stop_verb_at(0, verb, tmp_path / "0")
    assert complete
    stopped = 0
    for number in range(1, calls + 1):
        stopped += not (await _stop_verb_at(number, verb, tmp_path / str(number)))[1]
    assert stopped > 0
