"""Plans that wait for approval on the page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio

from bulklink import plan
from bulklink.runs.folder import RunFolder
from bulklink.ui.activity import Activity, PageQuestion
from bulklink.ui.commands import Commands
from tests.guard import off_loop
from tests.operations.local_crm import job

SECONDS = 20


async def seal_plan(runs: Path, name: str = "march", **options: Any) -> RunFolder:
    """Seal a plan in the folder of runs."""
    await off_loop(plan, job(runs.parent, run_dir=runs / name, **options))
    return RunFolder(runs / name)


def digest_of(run: RunFolder) -> str:
    """Return the digest that the page shows."""
    digest = run.read().digest
    assert digest is not None
    return digest


def activity_of(commands: Commands, run: RunFolder) -> Activity:
    """Return the command of the page on a run."""
    activity = commands.activity_of(run.path.name)
    assert activity is not None
    return activity


async def wait_for_end(commands: Commands, run: RunFolder) -> Activity:
    """Wait for the end of the command on a run."""
    activity = activity_of(commands, run)
    with anyio.fail_after(SECONDS):
        await anyio.to_thread.run_sync(activity.join, abandon_on_cancel=True)
    return activity


async def wait_for_question(commands: Commands, run: RunFolder) -> PageQuestion:
    """Wait until the command on a run asks."""
    activity, version = activity_of(commands, run), -1
    while (question := activity.progress.question) is None:
        assert activity.is_active, activity.error
        version = await anyio.to_thread.run_sync(activity.wait_for_change, version, SECONDS)
    return question
