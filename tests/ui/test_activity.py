"""Commands that the page drives: their questions, stops, errors and ends."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest

from bulklink.advice import Keyword, NextCall
from bulklink.engine.shutdown import StopController
from bulklink.errors import DigestError, StoppedBy
from bulklink.operations.callbacks import ConfirmationRequest, RunCallbacks
from bulklink.runs.forecast import CreditRange
from bulklink.ui.activity import Activity, PageQuestion
from bulklink.ui.wording import page_words

SECONDS = 20
Starter = Callable[..., Activity]


@pytest.fixture
def start() -> Iterator[Starter]:
    """Start commands, which are stopped after the test."""
    started: list[Activity] = []

    def start_it(work: Any) -> Activity:
        activity = Activity(verb="apply", work=work)
        activity.start()
        started.append(activity)
        return activity

    yield start_it
    for activity in started:
        activity.abort()
        activity.join()


def wait_for(activity: Activity, condition: Callable[[], Any]) -> None:
    """Wait for a change after which a condition holds."""
    version = -1
    while not condition():
        before, version = version, activity.wait_for_change(version, SECONDS)
        assert version != before, activity.progress


def question_of(activity: Activity) -> PageQuestion:
    wait_for(activity, lambda: activity.progress.question)
    assert activity.progress.question is not None
    return activity.progress.question


def asking(question: Callable[[RunCallbacks], bool]) -> Any:
    """Return a command that asks one question and returns the answer."""

    async def work(callbacks: RunCallbacks, _: StopController) -> bool:
        return question(callbacks)

    return work


def confirm(org_type: str | None, messages: int = 1200) -> Any:
    request = ConfirmationRequest("Zylker", org_type, "link", messages)
    return asking(lambda callbacks: callbacks.confirm(request))


async def until_stopped(_: RunCallbacks, stop: StopController) -> StoppedBy:
    """Work until the stop, as a run does."""
    stopped = anyio.Event()
    stop.on_stop(stopped.set)
    await stopped.wait()
    assert stop.reason is not None
    return stop.reason.stopped_by


def test_a_command_returns_its_result(start: Starter) -> None:
    async def work(callbacks: RunCallbacks, _: StopController) -> int:
        callbacks.on_phase("Sending")
        return 7

    activity = start(work)
    activity.join()
    assert (activity.result, activity.error, activity.is_active) == (7, None, False)
    assert activity.progress.phase == "Done"


@pytest.mark.parametrize("agrees", [True, False], ids=["yes", "no"])
def test_a_question_waits_for_its_answer(start: Starter, agrees: bool) -> None:
    activity = start(confirm("Sandbox"))
    question = question_of(activity)
    assert question.text == "Link: change 1,200 emails of Zylker (Sandbox)?"
    assert activity.is_active
    assert activity.answer(question.number, "", confirmed=agrees)
    activity.join()
    assert activity.result is agrees
    assert activity.progress.question is None


@pytest.mark.parametrize("kind", ["Production", "production", "Trial", None], ids=str)
@pytest.mark.parametrize("typed", ["", "1", "12000", "yes", "١٢٠٠"])
def test_a_production_org_is_changed_only_after_its_number_was_typed(
    start: Starter, kind: str | None, typed: str
) -> None:
    activity = start(confirm(kind))
    question = question_of(activity)
    assert question.to_type == "1200"
    assert not activity.answer(question.number, typed, confirmed=True)
    assert activity.progress.question == question
    assert activity.answer(question.number, typed, confirmed=False), "no needs nothing typed"


@pytest.mark.parametrize("typed", ["1200", " 1200\n", "1,200"])
def test_the_number_may_be_typed_as_it_is_shown(start: Starter, typed: str) -> None:
    activity = start(confirm("Production"))
    assert activity.answer(question_of(activity).number, typed, confirmed=True)
    activity.join()
    assert activity.result is True


@pytest.mark.parametrize("off", [-1, 1], ids=["earlier", "later"])
def test_an_answer_to_another_question_is_not_one(start: Starter, off: int) -> None:
    activity = start(confirm("Sandbox"))
    question = question_of(activity)
    assert not activity.answer(question.number + off, "", confirmed=True)
    assert activity.progress.question == question


def test_each_question_has_a_number_of_its_own(start: Starter) -> None:
    async def work(callbacks: RunCallbacks, _: StopController) -> list[bool]:
        return [callbacks.confirm_after_canary("5 of 20 moved.", n) for n in (1, 30)]

    activity = start(work)
    first = question_of(activity)
    assert first.text == "5 of 20 moved. Send the 1 other email anyway?"
    assert activity.answer(first.number, "", confirmed=True)
    wait_for(activity, lambda: activity.progress.question not in (None, first))
    second = question_of(activity)
    assert not activity.answer(first.number, "", confirmed=True), "answered in another window"
    assert activity.answer(second.number, "", confirmed=False)
    activity.join()
    assert activity.result == [True, False]


def test_the_cost_of_reading_is_asked_for(start: Starter) -> None:
    credit_range = CreditRange(10, 20, 30)
    activity = start(asking(lambda callbacks: callbacks.confirm_cost("3 contacts", credit_range)))
    assert question_of(activity).text == "Read 3 contacts for about 20 credits?"


def test_without_a_question_there_is_nothing_to_answer(start: Starter) -> None:
    activity = start(until_stopped)
    assert not activity.answer(1, "", confirmed=True)


def test_a_stop_is_gentle(start: Starter) -> None:
    activity = start(until_stopped)
    activity.stop(StoppedBy.TERMINATED)
    activity.join()
    assert activity.result is StoppedBy.TERMINATED
    assert activity.is_stopping


def test_a_stop_is_shown_at_once(start: Starter) -> None:
    async def work(*_: object) -> None:
        await anyio.sleep_forever()

    activity = start(work)
    version = activity.version
    activity.stop()
    assert activity.is_stopping
    assert activity.version > version


def test_a_stop_answers_the_waiting_question_with_no(start: Starter) -> None:
    activity = start(confirm("Sandbox"))
    question_of(activity)
    activity.stop()
    activity.join()
    assert activity.result is False


def test_a_stop_before_a_question_leaves_nothing_to_wait_for(start: Starter) -> None:
    """The stop reaches the command's loop only after the question has blocked it."""
    started: list[Activity] = []

    async def work(callbacks: RunCallbacks, _: StopController) -> bool:
        await anyio.to_thread.run_sync(begun.wait)
        wait_for(started[0], lambda: started[0].is_stopping)
        return callbacks.confirm_after_canary("Not all moved.", 5)

    begun = threading.Event()
    activity = start(work)
    started.append(activity)
    begun.set()
    activity.stop()
    activity.join()
    assert activity.result is False


def test_an_abort_does_not_wait(start: Starter) -> None:
    async def work(*_: object) -> None:
        await anyio.sleep_forever()

    activity = start(work)
    activity.abort()
    activity.join()
    assert not activity.is_active


def test_a_command_that_has_ended_can_be_stopped_without_effect(start: Starter) -> None:
    activity = start(confirm("Sandbox"))
    activity.answer(question_of(activity).number, "", confirmed=True)
    activity.join()
    activity.stop()
    activity.abort()
    assert activity.result is True


def test_a_refusal_is_kept_for_the_page(start: Starter) -> None:
    refusal = DigestError("Another plan.", advice="Look at it.")

    async def work(*_: object) -> None:
        raise refusal

    activity = start(work)
    activity.join()
    assert activity.error is refusal
    assert not activity.is_active


def test_a_bug_is_shown_as_one_and_logged(start: Starter, caplog: pytest.LogCaptureFixture) -> None:
    async def work(*_: object) -> None:
        raise ZeroDivisionError("a secret")

    activity = start(work)
    activity.join()
    assert activity.error is not None
    assert (
        activity.error.message == "Unexpected error: ZeroDivisionError. This is a bug in bulklink."
    )
    assert "secret" not in str(activity.error)
    assert "ZeroDivisionError" in caplog.text


def test_the_last_warnings_are_kept(start: Starter) -> None:
    async def work(callbacks: RunCallbacks, _: StopController) -> None:
        for number in range(80):
            callbacks.on_warning(f"warning {number}")

    activity = start(work)
    activity.join()
    warnings = activity.progress.warnings
    assert (len(warnings), warnings[-1]) == (50, "warning 79")


def test_a_warning_about_a_file_whose_name_is_not_utf_8_can_be_sent(start: Starter) -> None:
    async def work(callbacks: RunCallbacks, _: StopController) -> None:
        callbacks.on_warning("runs/caf\udce9 is not read")

    activity = start(work)
    activity.join()
    assert activity.progress.warnings == ("runs/caf\\xe9 is not read",)


def test_a_window_waits_for_the_next_version(start: Starter) -> None:
    proceed = threading.Event()

    async def work(callbacks: RunCallbacks, _: StopController) -> None:
        await anyio.to_thread.run_sync(proceed.wait)
        callbacks.on_phase("Sending")

    activity = start(work)
    seen = activity.version
    assert activity.wait_for_change(seen, 0.0) == seen
    proceed.set()
    assert activity.wait_for_change(seen, SECONDS) > seen


@pytest.mark.parametrize(
    ("part", "word"),
    [(NextCall("resume", "/home/ann/run"), "“resume”"), (Keyword("read_back"), "“read_back”")],
    ids=["next step", "setting"],
)
def test_advice_names_the_buttons_of_the_page(part: Keyword | NextCall, word: str) -> None:
    assert page_words(part) == word
