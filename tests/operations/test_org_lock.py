"""One run at a time is sent to an org from one machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from bulklink import (
    Connection,
    Job,
    LockedError,
    RunCallbacks,
    RunResult,
    StopController,
    plan,
    run,
)
from bulklink.operations.probe import probe
from bulklink.operations.resume import apply, resume
from bulklink.runs.status import status
from tests.guard import off_loop
from tests.operations.local_crm import CONTACT, EMAILS, LocalCrm, job
from tests.operations.test_run import RecordingCallbacks


class WaitingCallbacks(RunCallbacks):
    """Tells when a run begins to wait for its org.

    Attributes:
        waiting: set then.
        text: what it says then.
    """

    def __init__(self) -> None:
        self.waiting = anyio.Event()
        self.text = ""

    def on_phase(self, text: str) -> None:
        """Look for the phase."""
        if text.startswith("Waiting until"):
            self.text = text
            self.waiting.set()


def other_job(tmp_path: Path, **options: Any) -> Job:
    """Return a job of the same emails in another folder."""
    return job(tmp_path, run_dir=tmp_path / "other", **options)


async def test_a_second_run_of_an_org_is_refused_and_names_both(
    tmp_path: Path, crm: LocalCrm, connection: Connection
) -> None:
    crm.gate.clear()
    async with anyio.create_task_group() as group:
        group.start_soon(run, job(tmp_path), connection)
        await crm.arrived.wait()
        with pytest.raises(LockedError) as refused:
            await run(other_job(tmp_path), connection)
        crm.gate.set()
    assert str(tmp_path / "run") in refused.value.message
    assert refused.value.where == str(tmp_path / "other")
    assert (await off_loop(status, tmp_path / "run")).counts["done"] == EMAILS
    other = await off_loop(status, tmp_path / "other")
    assert (other.state, other.counts["pending"]) == ("planned", EMAILS)
    applied = await apply(tmp_path / "other", connection)
    assert (applied.state, applied.counts["unchanged"]) == ("finished", EMAILS)


async def test_a_sealed_plan_that_was_refused_can_be_sent_later(
    tmp_path: Path, crm: LocalCrm, connection: Connection
) -> None:
    await off_loop(plan, other_job(tmp_path))
    crm.gate.clear()
    async with anyio.create_task_group() as group:
        group.start_soon(run, job(tmp_path, rows=10), connection)
        await crm.arrived.wait()
        with pytest.raises(LockedError):
            await apply(tmp_path / "other", connection)
        with pytest.raises(LockedError):
            await apply(tmp_path / "other", connection)
        crm.gate.set()
    applied = await resume(tmp_path / "other", connection)
    assert (applied.state, crm.linked) == ("finished", EMAILS)


async def test_a_run_waits_for_the_org_if_asked_to(
    tmp_path: Path, crm: LocalCrm, connection: Connection
) -> None:
    callbacks, results = WaitingCallbacks(), list[RunResult]()

    async def wait() -> None:
        waiting = other_job(tmp_path, wait_for_org=True)
        results.append(await run(waiting, connection, callbacks=callbacks))

    crm.gate.clear()
    async with anyio.create_task_group() as group:
        group.start_soon(run, job(tmp_path, rows=10), connection)
        await crm.arrived.wait()
        group.start_soon(wait)
        await callbacks.waiting.wait()
        crm.gate.set()
    assert (results[0].state, crm.linked) == ("finished", EMAILS)
    assert str(tmp_path / "run") in callbacks.text


async def test_a_run_that_waits_can_be_stopped(
    tmp_path: Path, crm: LocalCrm, connection: Connection
) -> None:
    callbacks, stop, ended = WaitingCallbacks(), StopController(), anyio.Event()
    results: list[RunResult] = []

    async def wait() -> None:
        waiting = other_job(tmp_path, wait_for_org=True)
        results.append(await run(waiting, connection, callbacks=callbacks, stop=stop))
        ended.set()

    crm.gate.clear()
    async with anyio.create_task_group() as group:
        group.start_soon(run, job(tmp_path, rows=10), connection)
        await crm.arrived.wait()
        group.start_soon(wait)
        await callbacks.waiting.wait()
        stop.interrupt()
        await ended.wait()
        crm.gate.set()
    assert (results[0].state, results[0].stopped_by) == ("stopped", "interrupted")
    assert crm.linked == 10
    resumed = await resume(tmp_path / "other", connection)
    assert (resumed.state, crm.linked) == ("finished", EMAILS)


async def test_without_a_state_folder_a_run_is_sent_with_a_warning(
    tmp_path: Path, crm: LocalCrm, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "no-folder"
    state.write_text("a file")
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    callbacks = RecordingCallbacks()
    result = await run(job(tmp_path), connection, callbacks=callbacks)
    assert (result.state, crm.linked) == ("finished", EMAILS)
    assert any("cannot be locked" in warning for warning in callbacks.warnings)


async def test_a_probe_does_not_change_an_org_that_a_run_is_sent_to(
    tmp_path: Path, crm: LocalCrm, connection: Connection
) -> None:
    crm.gate.clear()
    async with anyio.create_task_group() as group:
        group.start_soon(run, job(tmp_path, rows=10), connection)
        await crm.arrived.wait()
        with pytest.raises(LockedError) as refused:
            await probe(CONTACT, tmp_path / "answers.json", connection)
        crm.gate.set()
    assert str(tmp_path / "run") in refused.value.message
    assert crm.linked == 10
