"""Blocking planning: its callbacks and interruption."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from bulklink import (
    InterruptedPlanningError,
    InvalidRowsError,
    PlanningStage,
    RunCallbacks,
    StopController,
    plan,
)
from bulklink.mapping.interrupt import PlanningStop
from bulklink.operations.cancellation import run_blocking_planning
from tests.operations.local_crm import job


class RecordingCallbacks(RunCallbacks):
    """Records its calls and their threads; `on_planning` calls `action`."""

    def __init__(self, action: Callable[[], object] = lambda: None) -> None:
        self.action = action
        self.calls: list[str] = []
        self.threads: set[int] = set()

    def on_warning(self, text: str) -> None:
        self.calls.append(text)
        self.threads.add(threading.get_ident())

    def on_planning(self, stage: PlanningStage) -> None:
        self.calls.append(stage.name)
        self.threads.add(threading.get_ident())
        self.action()


class EndlessPlanning:
    """Planning that runs until it is interrupted."""

    def __init__(self) -> None:
        self.ended = False

    def __call__(self, stop: PlanningStop, warn: Callable[[str], None]) -> None:
        stop.begin_stage("Reading")
        try:
            while True:
                stop.check()
                threading.Event().wait(0.01)
        finally:
            self.ended = True


def test_callbacks_are_called_in_the_thread_of_the_caller() -> None:
    reported = threading.Event()
    callbacks = RecordingCallbacks(reported.set)

    def work(stop: PlanningStop, warn: Callable[[str], None]) -> int:
        warn("first")
        stop.begin_stage("Reading")
        assert reported.wait(20)
        warn("last")
        return threading.get_ident()

    thread = run_blocking_planning(work, callbacks, None)
    assert thread != threading.get_ident()
    assert callbacks.threads == {threading.get_ident()}
    assert {"first", "Reading"} <= set(callbacks.calls)
    assert callbacks.calls[-1] == "last"


def test_warnings_are_reported_before_the_error_that_ends_the_planning() -> None:
    callbacks = RecordingCallbacks()

    def work(stop: PlanningStop, warn: Callable[[str], None]) -> None:
        warn("look")
        raise InvalidRowsError("refused")

    with pytest.raises(InvalidRowsError, match="refused"):
        run_blocking_planning(work, callbacks, None)
    assert callbacks.calls == ["look"]


def interrupt_from_another_thread(stop: StopController) -> None:
    threading.Thread(target=stop.interrupt).start()


def interrupt_from_a_signal_handler(stop: StopController) -> None:
    previous = signal.signal(signal.SIGTERM, lambda *_: stop.interrupt())
    signal.raise_signal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, previous)


@pytest.mark.parametrize(
    "interrupt", [interrupt_from_another_thread, interrupt_from_a_signal_handler]
)
def test_planning_can_be_interrupted(interrupt: Callable[[StopController], None]) -> None:
    stop, work = StopController(), EndlessPlanning()
    with pytest.raises(InterruptedPlanningError):
        run_blocking_planning(work, RecordingCallbacks(lambda: interrupt(stop)), stop)
    assert work.ended


class MistakeError(Exception):
    """Raised by callbacks of these tests."""


def make_mistake() -> None:
    raise MistakeError


@pytest.mark.parametrize(
    ("action", "error"),
    [
        (make_mistake, MistakeError),
        (lambda: signal.raise_signal(signal.SIGINT), KeyboardInterrupt),
    ],
    ids=["callback", "ctrl-c"],
)
def test_an_exception_in_the_calling_thread_ends_the_planning(
    action: Callable[[], object], error: type[BaseException]
) -> None:
    work = EndlessPlanning()
    with pytest.raises(error):
        run_blocking_planning(work, RecordingCallbacks(action), None)
    assert work.ended


def test_a_signal_handler_may_interrupt_while_the_stage_is_read() -> None:
    stop = PlanningStop()
    with stop._lock:
        stop.interrupt()
    with pytest.raises(InterruptedPlanningError):
        stop.check()


def test_planning_stopped_before_it_began_leaves_no_file(tmp_path: Path) -> None:
    stop = StopController()
    stop.interrupt()
    with pytest.raises(InterruptedPlanningError):
        plan(job(tmp_path, run_dir=tmp_path / "run"), stop=stop)
    assert list((tmp_path / "run").iterdir()) == []
