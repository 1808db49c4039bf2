"""Approved runs on the page: a worker sends them, so the page does not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bulklink import Connection
from bulklink.errors import StoppedBy
from bulklink.operations.environment import real_environment
from bulklink.operations.queue_access import open_queue
from bulklink.operations.queue_run import queue_run
from bulklink.runs.folder import RunFolder
from bulklink.runs.queue import LeftRun, RunNotes, RunQueue
from bulklink.runs.record import Invocation, RunState
from bulklink.ui.commands import Commands
from tests.guard import off_loop
from tests.operations.local_crm import LocalCrm
from tests.operations.sharded_jobs import seal
from tests.ui.page_client import PageClient
from tests.ui.planned import digest_of, seal_plan, wait_for_end

IN_QUEUE = "approved, in the queue"
MESSAGE = "The disk is full."


@pytest.fixture
async def run(runs: Path, connection: Connection) -> RunFolder:
    """A plan that was approved for a worker, with a limit of credits."""
    sealed = await seal_plan(runs)
    digest = digest_of(sealed)
    await queue_run(sealed, connection, expect=digest, options=("--max-credits", "10"))
    return sealed


@pytest.fixture
async def queue(run: RunFolder) -> RunQueue:
    """The queue of the folder of runs."""
    return await off_loop(open_queue, run.path.parent, real_environment())


async def leave(queue: RunQueue) -> None:
    """Leave the run to a person, as a worker does."""
    (approval,) = await off_loop(queue.approvals)
    left = LeftRun("disk-full", MESSAGE, invocations=0)
    await off_loop(queue.write_notes, {approval.run: RunNotes(approval.approved, left=left)})


async def test_a_queued_run_is_not_to_be_approved_again(
    page: PageClient, run: RunFolder, runs: Path
) -> None:
    assert IN_QUEUE in (await page.get("/")).text
    shown = (await page.get("/runs/march")).text
    assert IN_QUEUE in shown
    assert "waits for approval" not in shown
    assert "Approve and start" not in shown
    assert "number 1 of 1 in the queue. No worker is running: “bulklink work" in shown
    assert "Take it out of the queue" in shown
    with (await off_loop(open_queue, runs, real_environment())).worker_lock():
        assert "A worker sends it." in (await page.get("/runs/march")).text


async def test_a_queued_run_is_not_sent_by_an_older_window(
    page: PageClient, run: RunFolder, commands: Commands, crm: LocalCrm
) -> None:
    refused = await page.post("/runs/march/apply", digest=digest_of(run))
    assert refused.status == 409
    assert "take it out of the queue first" in refused.text
    assert commands.activity_of("march") is None
    assert crm.linked == 0


async def test_a_run_that_is_taken_out_of_the_queue_is_approved_here(
    page: PageClient, run: RunFolder, queue: RunQueue, commands: Commands
) -> None:
    assert (await page.post("/runs/march/cancel")).status == 303
    assert await off_loop(queue.approvals) == []
    assert "Approve and start" in (await page.get("/runs/march")).text
    await page.post("/runs/march/apply", digest=digest_of(run))
    await wait_for_end(commands, run)
    assert run.read().state is RunState.FINISHED
    again = await page.post("/runs/march/cancel")
    assert again.status == 409
    assert "not in the queue" in again.text


async def test_a_run_that_was_left_says_why_and_can_be_sent_here(
    page: PageClient, run: RunFolder, queue: RunQueue, commands: Commands
) -> None:
    await leave(queue)
    assert "left to you" in (await page.get("/")).text
    shown = (await page.get("/runs/march")).text
    assert "left to you" in shown
    assert MESSAGE in shown
    assert "Take it out of the queue" in shown
    assert "Approve and start" in shown
    await page.post("/runs/march/apply", digest=digest_of(run))
    await wait_for_end(commands, run)
    assert "in the queue" not in (await page.get("/runs/march")).text


@pytest.mark.parametrize(
    ("by", "words", "can_resume"),
    [
        (StoppedBy.CREDITS, "stopped, in the queue", False),
        (StoppedBy.FATAL, "stopped, left to you", True),
    ],
    ids=["waits for credits", "left"],
)
async def test_a_run_that_stopped_is_resumed_by_the_worker_or_here(
    page: PageClient, run: RunFolder, by: StoppedBy, words: str, can_resume: bool
) -> None:
    record = await off_loop(run.read)
    stopped = record.replace(
        state=RunState.STOPPED,
        stopped_by=by,
        reason="It stopped.",
        invocations=(Invocation(record.created, record.created, 1.0, by, 3),),
    )
    await off_loop(run.write, stopped)
    shown = (await page.get("/runs/march")).text
    assert words in shown
    assert ("Resume</button>" in shown) is can_resume


async def test_a_queued_job_is_said_to_be_in_the_queue(
    page: PageClient, runs: Path, connection: Connection
) -> None:
    await off_loop(runs.mkdir)
    sealed_job = await seal(runs)
    digest = (await off_loop(sealed_job.read)).digest
    assert "waits for approval" in (await page.get("/")).text
    await queue_run(sealed_job.path, connection, expect=digest)
    listed = (await page.get("/")).text
    assert IN_QUEUE in listed
    assert "number 1 of 1 in the queue" in listed
    assert "waits for approval" not in listed


async def test_approvals_of_another_machine_are_none(
    page: PageClient, run: RunFolder, runs: Path
) -> None:
    approval = runs / ".queue" / "march.approved"
    content = await off_loop(approval.read_text)
    await off_loop(approval.write_text, content.replace('"--max-credits"', '"--concurrency"'))
    assert "Approve and start" in (await page.get("/runs/march")).text
    await off_loop(shutil.rmtree, runs / ".queue")
    await off_loop((runs / ".queue").symlink_to, runs.parent)
    assert "Approve and start" in (await page.get("/runs/march")).text
