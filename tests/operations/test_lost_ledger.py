"""A run stops if its ledger disappears while it sends."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from bulklink import Connection, resume, retry, run
from bulklink.errors import ExitCode, LedgerError
from bulklink.runs.folder import RunFolder
from tests.operations.local_crm import EMAILS, LocalCrm, job

READY = 4
"""Emails whose call is in flight or has its line on disk, when one is sent at a time.

How many calls are made ready while the first is in flight depends on the machine.
"""


async def run_until(path: Path, crm: LocalCrm, take_away: Callable[[], object]) -> LedgerError:
    """Send one email at a time; remove the ledger while the first call is in flight."""
    crm.gate.clear()
    errors: list[LedgerError] = []

    async def send() -> None:
        with pytest.raises(LedgerError) as caught:
            await run(job(path, batch_size=1, concurrency=1, canary=0), crm.connection)
        errors.append(caught.value)

    async with anyio.create_task_group() as group:
        group.start_soon(send)
        await crm.arrived.wait()
        take_away()
        crm.gate.set()
    return errors[0]


async def test_a_run_whose_folder_is_moved_stops_before_another_call(
    crm: LocalCrm, connection: Connection, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    error = await run_until(tmp_path, crm, lambda: folder.rename(tmp_path / "moved"))
    assert "moved or deleted" in error.message
    assert crm.linked <= READY
    assert not folder.exists()
    (tmp_path / "moved").rename(folder)
    result = await resume(folder, connection)
    assert (result.state, crm.linked) == ("finished", EMAILS)


async def test_a_run_whose_folder_is_deleted_stops_before_another_call(
    crm: LocalCrm, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    error = await run_until(tmp_path, crm, lambda: shutil.rmtree(folder))
    assert "moved or deleted" in error.message
    assert crm.linked <= READY
    assert not folder.exists()


async def test_a_run_whose_ledger_was_deleted_is_not_continued(
    crm: LocalCrm, connection: Connection, tmp_path: Path
) -> None:
    """Its results are unknown, and an empty ledger would send everything twice."""
    await run_until(tmp_path, crm, (tmp_path / "run" / "ledger.jsonl").unlink)
    record = RunFolder(tmp_path / "run").read()
    assert (record.state, record.stopped_by) == ("stopped", "ledger")
    sent = crm.linked
    for operation in (resume, retry):
        with pytest.raises(LedgerError, match="no ledger"):
            await operation(tmp_path / "run", connection)
    assert crm.linked == sent <= READY


async def test_a_line_that_was_changed_while_the_run_sent_is_found_at_its_end(
    crm: LocalCrm, tmp_path: Path
) -> None:
    ledger = tmp_path / "run" / "ledger.jsonl"

    def change_a_byte() -> None:
        with ledger.open("r+b") as file:
            file.seek(ledger.read_bytes().index(b'"call"') + 1)
            file.write(b"C")

    error = await run_until(tmp_path, crm, change_a_byte)
    assert "changed" in error.message
    assert error.exit_code is ExitCode.STOPPED
