"""What the page starts: commands on runs of one folder, one at a time for each run."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from bulklink import Connection, resume
from bulklink.errors import BulklinkError, ConfigError, DigestError, LockedError, StoppedBy
from bulklink.models import Op
from bulklink.operations.environment import real_environment
from bulklink.runs.folder import RunFolder, list_run_folders
from bulklink.runs.record import RunState
from bulklink.runs.status import status
from bulklink.ui.commands import Commands, PageError
from bulklink.ui.run_view import view_run
from tests.guard import off_loop
from tests.operations.local_crm import EMAILS, FOREIGN, LocalCrm
from tests.ui.planned import (
    activity_of,
    digest_of,
    seal_plan,
    wait_for_end,
    wait_for_question,
)
from tests.ui.remote_connection import RemoteConnection


async def apply(commands: Commands, run: RunFolder) -> None:
    await commands.start("apply", run, digest=digest_of(run))


async def test_an_approved_plan_is_sent(commands: Commands, runs: Path, crm: LocalCrm) -> None:
    run = await seal_plan(runs)
    await apply(commands, run)
    activity = await wait_for_end(commands, run)
    assert activity.error is None
    assert run.read().state is RunState.FINISHED
    assert crm.linked == EMAILS


@pytest.mark.parametrize("digest", [None, ""], ids=["none", "empty"])
async def test_nothing_starts_without_a_digest(
    commands: Commands, runs: Path, crm: LocalCrm, digest: str | None
) -> None:
    run = await seal_plan(runs)
    with pytest.raises(PageError, match="Nothing was approved") as raised:
        await commands.start("apply", run, digest=digest)
    assert raised.value.status == 400
    assert commands.activity_of("march") is None
    assert crm.linked == 0


async def test_another_plan_than_the_one_shown_is_refused(
    commands: Commands, runs: Path, crm: LocalCrm
) -> None:
    run, other = await seal_plan(runs), await seal_plan(runs, "april", rows=2)
    await commands.start("apply", run, digest=digest_of(other))
    activity = await wait_for_end(commands, run)
    assert isinstance(activity.error, DigestError)
    assert run.read().state is RunState.PLANNED
    assert crm.linked == 0


async def test_two_windows_start_one_command(commands: Commands, runs: Path, crm: LocalCrm) -> None:
    run, refused = await seal_plan(runs), []
    crm.gate.clear()

    async def approve() -> None:
        try:
            await apply(commands, run)
        except PageError as error:
            refused.append(error.message)

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(approve)
    assert refused == ["A command of this page works on this run already."] * 4
    crm.gate.set()
    await wait_for_end(commands, run)
    assert len(run.read().invocations) == 1


async def test_a_run_that_a_terminal_works_on_is_left_alone(commands: Commands, runs: Path) -> None:
    run = await seal_plan(runs)
    with run.run_lock():
        await apply(commands, run)
        assert isinstance((await wait_for_end(commands, run)).error, LockedError)


async def test_commands_at_a_time_are_bounded(
    commands: Commands, runs: Path, crm: LocalCrm
) -> None:
    crm.gate.clear()
    several = [await seal_plan(runs, f"run-{number}", rows=1) for number in range(9)]
    for run in several[:8]:
        await apply(commands, run)
    with pytest.raises(PageError, match="8 runs are active"):
        await apply(commands, several[8])
    crm.gate.set()
    await wait_for_end(commands, several[0])
    await apply(commands, several[8])


async def test_without_a_connection_nothing_starts(runs: Path) -> None:
    def connect(profile: str | None) -> Connection:
        del profile
        raise ConfigError("There is no profile.")

    commands = Commands(runs, connect, real_environment())
    with pytest.raises(BulklinkError, match="no profile"):
        await apply(commands, await seal_plan(runs))
    assert commands.activity_of("march") is None


async def stop_in_the_middle(commands: Commands, runs: Path, crm: LocalCrm) -> RunFolder:
    """Stop a run of the page while calls are in flight, and wait for its end."""
    run = await seal_plan(runs, batch_size=1, concurrency=2)
    crm.gate.clear()
    await apply(commands, run)
    await crm.arrived.wait()
    await anyio.to_thread.run_sync(commands.stop, "march")
    crm.gate.set()
    await wait_for_end(commands, run)
    return run


async def test_a_stop_leaves_a_run_that_a_terminal_resumes(
    commands: Commands, runs: Path, crm: LocalCrm, connection: Connection
) -> None:
    run = await stop_in_the_middle(commands, runs, crm)
    record = run.read()
    assert (record.state, record.stopped_by) == (RunState.STOPPED, StoppedBy.INTERRUPTED)
    assert 0 < record.counts["done"] < EMAILS
    assert (await resume(run, connection)).counts["done"] == EMAILS


async def test_what_was_stopped_the_page_resumes(
    commands: Commands, runs: Path, crm: LocalCrm
) -> None:
    run = await stop_in_the_middle(commands, runs, crm)
    await commands.start("resume", run)
    await wait_for_end(commands, run)
    assert run.read().state is RunState.FINISHED
    assert crm.linked == EMAILS


async def test_the_end_of_the_page_stops_its_runs_gently(
    commands: Commands, runs: Path, crm: LocalCrm
) -> None:
    run = await seal_plan(runs, batch_size=1, concurrency=2)
    crm.gate.clear()
    await apply(commands, run)
    await crm.arrived.wait()
    async with anyio.create_task_group() as group:
        group.start_soon(commands.close, StoppedBy.TERMINATED)
        while not activity_of(commands, run).is_stopping:
            await anyio.lowlevel.checkpoint()
        crm.gate.set()
    assert run.read().stopped_by == StoppedBy.TERMINATED


async def test_the_end_of_the_page_can_be_hurried(
    commands: Commands, runs: Path, crm: LocalCrm
) -> None:
    run = await seal_plan(runs)
    crm.gate.clear()
    await apply(commands, run)
    await crm.arrived.wait()
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(commands.close)
            while not activity_of(commands, run).is_stopping:
                await anyio.lowlevel.checkpoint()
            scope.cancel()
    await wait_for_end(commands, run)
    assert run.read().state is RunState.STOPPED


async def test_failures_are_retried(commands: Commands, runs: Path) -> None:
    run = await seal_plan(runs, rows=2, deal=FOREIGN)
    await apply(commands, run)
    await wait_for_end(commands, run)
    assert run.read().counts["failed"] == 2
    await commands.start("retry", run)
    await wait_for_end(commands, run)
    assert len(run.read().invocations) == 2


async def test_a_verification_says_what_it_found(commands: Commands, runs: Path) -> None:
    run = await seal_plan(runs)
    await apply(commands, run)
    await wait_for_end(commands, run)
    assert commands.outcome_of("march") is None
    await commands.start("verify", run)
    await wait_for_end(commands, run)
    assert commands.outcome_of("march") == "Verified 30 emails: 30 as recorded."


async def test_an_undo_is_planned_approved_and_sent(
    commands: Commands, runs: Path, crm: LocalCrm
) -> None:
    run = await seal_plan(runs)
    await apply(commands, run)
    await wait_for_end(commands, run)
    undo = commands.find(await commands.plan_undo(run))
    assert undo is not None
    assert undo.read().state is RunState.PLANNED
    assert crm.linked == EMAILS, "a plan changes nothing"
    await apply(commands, undo)
    await wait_for_end(commands, undo)
    assert crm.linked == 0
    assert run.read().effective_undo is not None


async def test_a_run_that_changed_nothing_has_no_undo(commands: Commands, runs: Path) -> None:
    run = await seal_plan(runs, rows=1, deal=FOREIGN)
    await apply(commands, run)
    await wait_for_end(commands, run)
    with pytest.raises(PageError, match="nothing to undo"):
        await commands.plan_undo(run)
    assert len(await off_loop(list_run_folders, runs)) == 1


async def test_a_plan_of_which_all_rows_are_refused_is_approved(
    commands: Commands, runs: Path
) -> None:
    run = await seal_plan(runs, rows=2, deal="no id", on_invalid="skip")
    assert (await off_loop(view_run, run)).can_apply
    await apply(commands, run)
    await wait_for_end(commands, run)
    view = await off_loop(view_run, run)
    assert (view.state, view.counts["rejected"]) == ("finished, not all done", 2)
    assert (await off_loop(status, run)).credits == 0


async def test_an_undo_of_nothing_but_unknown_deals_shows_why(
    commands: Commands, runs: Path
) -> None:
    linked = await seal_plan(runs)
    await apply(commands, linked)
    await wait_for_end(commands, linked)
    run = await seal_plan(runs, "unlinked", op=Op.UNLINK, snapshot=False)
    await apply(commands, run)
    await wait_for_end(commands, run)
    undo = commands.find(await commands.plan_undo(run))
    assert undo is not None
    view = await off_loop(view_run, undo)
    assert (view.messages, view.counts["rejected"], view.can_apply) == (0, EMAILS, False)


async def test_a_change_to_a_remote_org_is_asked_for(
    runs: Path, connection: Connection, crm: LocalCrm
) -> None:
    commands = Commands(runs, lambda profile: RemoteConnection.of(connection), real_environment())
    run = await seal_plan(runs)
    await apply(commands, run)
    question = await wait_for_question(commands, run)
    assert crm.linked == 0
    with pytest.raises(PageError, match="Nothing was confirmed"):
        commands.answer("march", question="7", typed="", confirmed=True)
    typed = question.to_type or ""
    commands.answer("march", question=str(question.number), typed=typed, confirmed=True)
    await wait_for_end(commands, run)
    assert crm.linked == EMAILS


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../runs/march", "march/", "march/.", "/march", "MARCH", "march\0", "other"],
)
async def test_only_a_listed_run_is_found(commands: Commands, runs: Path, name: str) -> None:
    await seal_plan(runs)
    assert (await off_loop(commands.find, "march")) is not None
    assert (await off_loop(commands.find, name)) is None


@pytest.mark.parametrize(
    ("number", "typed"), [("", ""), ("-1", ""), ("²", ""), ("9" * 5000, ""), ("x", "1")]
)
async def test_an_answer_without_a_question_is_refused(
    commands: Commands, number: str, typed: str
) -> None:
    with pytest.raises(PageError, match="Nothing was confirmed"):
        commands.answer("march", question=number, typed=typed, confirmed=True)


async def test_a_run_without_a_command_is_not_stopped(commands: Commands) -> None:
    with pytest.raises(PageError, match="No command of this page"):
        commands.stop("march")
