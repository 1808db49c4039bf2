"""Guarantees for programs that run jobs: cancellation, callbacks that raise, threads, signals."""

from __future__ import annotations

import asyncio
import io
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bulklink import (
    InterruptedPlanningError,
    Job,
    MaxFailures,
    Result,
    RunCallbacks,
    RunProgress,
    RunResult,
    RunState,
    Status,
    StopController,
    StoppedBy,
    apply,
    plan,
    resume,
    run,
    status,
    statuses,
    undo,
    verify,
)
from bulklink.operations.callbacks import ConfirmationRequest
from bulklink.operations.cancellation import GuardedCallbacks
from bulklink.runs.folder import RunFolder
from tests.guard import off_loop
from tests.operations.local_crm import DEAL, EMAILS, FOREIGN, LocalCrm, job, local_crm, message


def two_calls(folder: Path, deal: str = DEAL) -> Job:
    """Return a job of two consecutive calls."""
    return job(folder, deal=deal, concurrency=1)


async def start_run(crm: LocalCrm, folder: Path, **options: Any) -> asyncio.Task[RunResult]:
    """Start a run and return its task once its first link call is executed but not answered."""
    crm.gate.clear()
    task = asyncio.create_task(run(two_calls(folder), crm.connection, **options))
    await crm.arrived.wait()
    return task


async def assert_stopped(folder: Path) -> RunResult:
    """Return the result of a run that was stopped and is no longer running."""
    result = await off_loop(status, folder)
    assert (result.state, result.stopped_by) == (RunState.STOPPED, StoppedBy.INTERRUPTED)
    assert sum(result.counts.values()) == result.rows == EMAILS
    with RunFolder(folder).run_lock():
        pass
    return result


async def test_a_graceful_stop_records_calls_in_flight_and_the_run_can_be_resumed(
    crm: LocalCrm, tmp_path: Path
) -> None:
    stop = StopController()
    task = await start_run(crm, tmp_path, stop=stop)
    stop.interrupt()
    crm.gate.set()
    summary = await task
    assert summary == await assert_stopped(tmp_path / "run")
    assert summary.exit_code == 130
    assert summary.counts[Status.DONE] == crm.linked == 20
    finished = await resume(summary.run_dir, crm.connection)
    assert (finished.counts[Status.DONE], finished.calls.link) == (EMAILS, 2)


async def cancelled_by_the_program(task: asyncio.Task[RunResult]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def cancelled_by_a_time_out(task: asyncio.Task[RunResult]) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await task


async def cancelled_twice(task: asyncio.Task[RunResult]) -> None:
    task.cancel()
    await asyncio.sleep(0)
    await cancelled_by_the_program(task)


@pytest.mark.parametrize(
    "cancelled", [cancelled_by_the_program, cancelled_by_a_time_out, cancelled_twice]
)
async def test_resume_settles_the_calls_in_flight_of_a_cancelled_run(
    crm: LocalCrm, tmp_path: Path, cancelled: Callable[[asyncio.Task[RunResult]], Any]
) -> None:
    before = asyncio.all_tasks()
    task = await start_run(crm, tmp_path)
    await cancelled(task)
    ours = {task for task in asyncio.all_tasks() - before if "bulklink" in repr(task)}
    assert {task for task in ours if "local_crm" not in repr(task)} == set()
    result = await assert_stopped(tmp_path / "run")
    assert (result.counts[Status.DONE], result.counts["pending"]) == (0, EMAILS)
    crm.gate.set()
    finished = await resume(tmp_path / "run", crm.connection, settle_after=0)
    assert finished.counts[Status.DONE] == EMAILS == crm.linked
    assert finished.calls.link == 2, "what was in flight is read back, not sent again"


class BlockingStdin(io.BytesIO):
    """Standard input that blocks until the test ends it."""

    def __init__(self) -> None:
        super().__init__(b"contact_id,owner_id,message_id,deal_id\n1,2,a,3\n")
        self.read_started = threading.Event()
        self.may_end = threading.Event()

    def read(self, size: int | None = -1, /) -> bytes:
        self.read_started.set()
        assert self.may_end.wait(20)
        return super().read(size)


@pytest.mark.parametrize("gentle", [True, False], ids=["interrupted", "cancelled"])
async def test_a_stop_during_planning_leaves_nothing_behind(
    crm: LocalCrm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gentle: bool
) -> None:
    given, stop = BlockingStdin(), StopController()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(given))

    class Ends(RunCallbacks):
        def on_phase(self, text: str) -> None:
            stop.on_stop(given.may_end.set)  # behind that which interrupts the check

    planned_job = Job(mappings=("-",), format="csv", runs_dir=tmp_path / "runs")
    task = asyncio.create_task(run(planned_job, crm.connection, callbacks=Ends(), stop=stop))
    await asyncio.to_thread(given.read_started.wait, 20)
    if gentle:
        stop.interrupt()
    else:
        task.cancel()
    with pytest.raises(InterruptedPlanningError if gentle else asyncio.CancelledError):
        await task
    assert given.may_end.is_set(), "the check was interrupted, and waited for"
    assert list((tmp_path / "runs").iterdir()) == []
    assert crm.state.calls.total() == 0


class MistakeError(Exception):
    """Raised by callbacks of these tests."""


class RaisingCallbacks(RunCallbacks):
    """Raises in one of its callbacks, and records the calls."""

    def __init__(self, name: str) -> None:
        self.calls: list[str] = []
        for callback in ("on_start", "on_phase", "on_warning", "on_progress", "on_failure"):
            setattr(self, callback, self._raiser(callback, name))

    def _raiser(self, callback: str, name: str) -> Callable[..., None]:
        def call_back(*_: object) -> None:
            self.calls.append(callback)
            if callback == name:
                raise MistakeError(name)

        return call_back


@pytest.mark.parametrize("name", ["on_start", "on_progress", "on_failure"])
async def test_a_callback_that_raises_stops_the_run_gracefully_and_its_error_is_raised(
    crm: LocalCrm, tmp_path: Path, name: str
) -> None:
    callbacks = RaisingCallbacks(name)
    planned_job = two_calls(tmp_path, FOREIGN if name == "on_failure" else DEAL)
    with pytest.raises(MistakeError, match=name):
        await run(planned_job, crm.connection, callbacks=callbacks)
    result = await assert_stopped(tmp_path / "run")
    assert callbacks.calls.count(name) == 1
    assert callbacks.calls[-1] == name, "no other is called"
    assert (result.counts["pending"] == 0) is (crm.state.calls["link"] == 2)
    assert result.counts[Status.DONE] == crm.linked
    record = RunFolder(tmp_path / "run").read()
    assert record.reason == f"The callback `{name}` raised MistakeError('{name}')."
    assert (await resume(tmp_path / "run", crm.connection)).state is RunState.FINISHED


@pytest.mark.parametrize("name", ["on_phase", "on_warning"])
async def test_a_callback_that_raises_during_planning_leaves_nothing_behind(
    crm: LocalCrm, tmp_path: Path, name: str
) -> None:
    planned_job = job(tmp_path, runs_dir=tmp_path / "runs", run_dir=None, only=(("deal_id", "1"),))
    with pytest.raises(MistakeError, match=name):
        await run(planned_job, crm.connection, callbacks=RaisingCallbacks(name))
    assert list((tmp_path / "runs").iterdir()) == []


def test_a_confirmation_whose_callback_raises_is_declined() -> None:
    class Asked(RunCallbacks):
        can_ask = True

        def confirm(self, question: ConfirmationRequest) -> bool:
            raise MistakeError

    stop = StopController()
    call_backs = GuardedCallbacks(Asked(), stop)
    assert call_backs.can_ask
    assert not call_backs.confirm(ConfirmationRequest(None, None, "link", 1))
    assert stop.reason is not None


async def test_callbacks_are_called_on_the_event_loop(crm: LocalCrm, tmp_path: Path) -> None:
    class Notes(RunCallbacks):
        def __init__(self) -> None:
            self.threads = set[int]()
            self.warned = list[str]()

        def on_warning(self, text: str) -> None:
            self.threads.add(threading.get_ident())
            self.warned.append(text)

        def on_progress(self, progress: RunProgress) -> None:
            self.threads.add(threading.get_ident())

    callbacks = Notes()
    await run(
        job(tmp_path, only=(("message_id", message(1)),)), crm.connection, callbacks=callbacks
    )
    assert "only leaves out 29 rows." in callbacks.warned
    assert callbacks.threads == {threading.get_ident()}


async def test_signals_logging_and_standard_output_are_left_to_the_program(
    crm: LocalCrm, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def settings() -> tuple[object, ...]:
        handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
        loggers = [logging.getLogger(name) for name in ("", "bulklink", "bulklink.calls")]
        return (
            *handlers,
            *((logger.level, logger.handlers[:], logger.propagate) for logger in loggers),
        )

    seen = [settings()]

    class Looks(RunCallbacks):
        def on_phase(self, text: str) -> None:
            seen.append(settings())

        def on_failure(self, result: Result) -> None:
            seen.append(settings())

    await run(job(tmp_path, rows=2, deal=FOREIGN), crm.connection, callbacks=Looks())
    await verify(tmp_path / "run", crm.connection)
    seen.append(settings())
    assert len(seen) > 5
    assert all(state == seen[0] for state in seen)
    assert capfd.readouterr() == ("", "")


async def test_two_runs_share_one_event_loop(crm: LocalCrm, tmp_path: Path) -> None:
    linked = msgspec.structs.replace(job(tmp_path, rows=20), run_dir=tmp_path / "runs" / "a")
    failing = job(
        tmp_path,
        rows=30,
        deal=FOREIGN,
        run_dir=tmp_path / "runs" / "b",
        max_failures=MaxFailures(percent=100),
        wait_for_org=True,
    )
    linked = msgspec.structs.replace(linked, wait_for_org=True)
    await asyncio.gather(*(run(each_job, crm.connection) for each_job in (linked, failing)))
    a, b = await off_loop(statuses, tmp_path / "runs")
    assert (a.counts[Status.DONE], b.counts[Status.FAILED]) == (20, 30)
    assert crm.linked == 20


def test_no_thread_outlives_a_cancelled_run(tmp_path: Path) -> None:
    before = set(threading.enumerate())

    async def program() -> None:
        async with local_crm() as crm:
            await cancelled_by_the_program(await start_run(crm, tmp_path))

    asyncio.run(program())
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
    assert set(threading.enumerate()) <= before


def test_ctrl_c_in_a_program_without_signal_handlers_cancels_the_run(tmp_path: Path) -> None:
    class Presses(RunCallbacks):
        def on_phase(self, text: str) -> None:
            if text == "Sending":
                os.kill(os.getpid(), signal.SIGINT)

    async def program() -> None:
        async with local_crm() as crm:
            await run(job(tmp_path), crm.connection, callbacks=Presses())

    with pytest.raises(KeyboardInterrupt):
        asyncio.run(program())
    asyncio.run(assert_stopped(tmp_path / "run"))


async def test_a_resume_keeps_the_options_of_the_run_but_not_those_of_one_command(
    crm: LocalCrm, tmp_path: Path
) -> None:
    planned_job = job(tmp_path, batch_size=3, max_credits=5, yes=True)
    stopped = await run(planned_job, crm.connection)
    assert stopped.stopped_by == StoppedBy.MAX_CREDITS
    finished = await resume(stopped.run_dir, crm.connection)
    assert (finished.state, finished.calls.link) == (RunState.FINISHED, 10)


async def test_options_that_would_change_a_sealed_plan_are_not_accepted(
    crm: LocalCrm, tmp_path: Path
) -> None:
    plan(job(tmp_path))
    with pytest.raises(TypeError, match="batch_size"):
        await apply(tmp_path / "run", crm.connection, batch_size=3)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="single_endpoint"):
        await verify(tmp_path / "run", crm.connection, single_endpoint=True)  # type: ignore[call-arg]


async def test_an_undo_is_a_new_run(crm: LocalCrm, tmp_path: Path) -> None:
    await run(job(tmp_path), crm.connection)
    back = await undo(tmp_path / "run", crm.connection, run_dir=tmp_path / "back")
    assert back is not None
    assert (back.run_dir, back.counts[Status.DONE]) == (str(tmp_path / "back"), EMAILS)
    assert crm.linked == 0


@pytest.mark.parametrize("settled", [False, True], ids=["in flight", "answered"])
def test_a_program_that_fails_beside_a_run_ends_and_the_run_can_be_resumed(
    tmp_path: Path, *, settled: bool
) -> None:
    """The end of `asyncio.run` cancels every task, also those that others wait for.

    The server is not closed before: the run ends after the program does.
    """
    stack = AsyncExitStack()

    async def fail(crm: LocalCrm) -> None:
        await crm.arrived.wait()
        if settled:
            crm.gate.set()
        raise ZeroDivisionError

    async def program() -> None:
        crm = await stack.enter_async_context(local_crm())
        if not settled:
            crm.gate.clear()
        await asyncio.gather(run(job(tmp_path), crm.connection), fail(crm))

    async def finish() -> None:
        async with local_crm() as crm:
            result = await resume(tmp_path / "run", crm.connection)
            assert result.state is RunState.FINISHED

    with pytest.raises(ZeroDivisionError):
        asyncio.run(program())
    asyncio.run(finish())
