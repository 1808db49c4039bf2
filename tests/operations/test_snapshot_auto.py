"""The cost of a run is forecast as a range, and links are read first if that is cheaper."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bulklink import (
    Connection,
    Job,
    Op,
    PlanResult,
    RunResult,
    fetch,
    plan,
    plan_verify,
    resume,
    run,
)
from bulklink.emulator.generate import generate
from bulklink.emulator.server import Emulator
from bulklink.emulator.synthetic import Recipe
from bulklink.emulator.worldfile import load_world
from bulklink.operations.undo import plan_undo
from bulklink.operations.verify import verify
from bulklink.runs.folder import RunFolder
from bulklink.runs.record import RunRecord
from tests.guard import off_loop

EMAILS = 600


@asynccontextmanager
async def generated_world(folder: Path, **recipe: Any) -> AsyncIterator[tuple[Connection, Job]]:
    """Serve a generated world; yield the connection and the job that links its emails."""
    sizes: dict[str, Any] = {"messages": EMAILS, "contacts": 12, "skew": 0.5, "seed": 3}
    await off_loop(generate, Recipe(**(sizes | recipe)), folder)
    world = await off_loop(load_world, folder / "world.json")
    async with Emulator(world) as emulator:
        connection = Connection.from_values(
            api_url=emulator.url,
            accounts_url=emulator.url,
            client_id="demo",
            client_secret="demo",
            refresh_token="demo",
        )
        yield (
            connection,
            Job(
                mappings=(str(folder / "mapping.csv"),),
                op=Op.LINK,
                rate=None,
                settle_after=0,
                run_dir=folder / "run",
            ),
        )


async def plan_of(job: Job) -> PlanResult:
    return await off_loop(plan, msgspec.structs.replace(job, run_dir=None))


def credits_used(result: RunResult) -> int:
    return result.calls.link + result.calls.unlink + result.calls.read + result.calls.lookup


def record_of(job: Job) -> RunRecord:
    assert job.run_dir is not None
    return RunFolder(job.run_dir).read()


@pytest.mark.parametrize("linked", [0.0, 0.5, 1.0])
async def test_the_credits_of_a_run_lie_within_its_forecasts(tmp_path: Path, linked: float) -> None:
    recipe = {"linked_right": linked, "owners_per_contact": 2}
    async with generated_world(tmp_path, **recipe) as (connection, job):
        planned = await plan_of(job)
        used = credits_used(await run(job, connection))
    record = record_of(job)
    assert planned.credits.least <= used <= planned.credits.most
    assert record.renewed is not None
    renewed = record.renewed.credits
    assert renewed.least <= used <= renewed.most
    assert renewed.most - renewed.least <= 0.25 * renewed.likely
    seconds = record.renewed.seconds
    assert seconds.most - seconds.least <= 0.25 * seconds.likely + 0.1


@pytest.mark.parametrize("snapshot", [True, False, None])
async def test_a_run_with_nothing_to_change_does_not_undercut_the_minimum(
    tmp_path: Path, snapshot: bool | None
) -> None:
    async with generated_world(tmp_path, linked_right=1.0) as (connection, job):
        job = msgspec.structs.replace(job, snapshot=snapshot)
        planned = await plan_of(job)
        assert planned.credits.least <= credits_used(await run(job, connection))


async def test_links_are_read_first_if_many_are_already_linked(tmp_path: Path) -> None:
    async with generated_world(tmp_path, linked_right=0.5) as (connection, job):
        assert (await plan_of(job)).estimate.may_read_first > 0
        auto = credits_used(await run(job, connection))
    choice = record_of(job).snapshot_choice
    assert choice is not None
    assert choice.reads_first
    assert "already linked" in choice.reason
    unread_folder = tmp_path / "unread"
    unread_folder.mkdir()
    async with generated_world(unread_folder, linked_right=0.5) as (connection, job):
        job = msgspec.structs.replace(job, snapshot=False)
        assert auto < credits_used(await run(job, connection))
        assert record_of(job).snapshot_choice is None


async def test_links_are_sent_unread_if_none_is_linked(tmp_path: Path) -> None:
    async with generated_world(tmp_path) as (connection, job):
        await run(job, connection)
    choice = record_of(job).snapshot_choice
    assert choice is not None
    assert not choice.reads_first
    assert b'"event":"snapshot"' not in (tmp_path / "run" / "ledger.jsonl").read_bytes()


async def test_a_resume_keeps_the_choice_of_the_first_command(tmp_path: Path) -> None:
    async with generated_world(tmp_path, linked_right=0.5) as (connection, job):
        first = msgspec.structs.replace(job, max_credits=60)
        assert (await run(first, connection)).stopped_by == "max-credits"
        chosen = record_of(job).snapshot_choice
        assert chosen is not None
        assert chosen.reads_first
        sent_before = (tmp_path / "run" / "ledger.jsonl").read_bytes().count(b'"op":"link"')
        result = await resume(tmp_path / "run", connection)
    assert result.state == "finished"
    assert record_of(job).snapshot_choice == chosen
    ledger = (tmp_path / "run" / "ledger.jsonl").read_bytes()
    assert ledger.count(b'"op":"link"') > sent_before
    assert ledger.count(b'"event":"snapshot"') > EMAILS // 4


async def test_the_digest_distinguishes_snapshot_auto_on_and_off(tmp_path: Path) -> None:
    async with generated_world(tmp_path) as (_, job):
        digests = {
            (await plan_of(msgspec.structs.replace(job, snapshot=snapshot))).digest
            for snapshot in (None, True, False)
        }
    assert len(digests) == 3


async def test_an_undo_and_a_verification_are_forecast_from_the_pages_of_the_run(
    tmp_path: Path,
) -> None:
    async with generated_world(tmp_path, linked_right=0.1) as (connection, job):
        await run(job, connection)
        verification = await off_loop(plan_verify, tmp_path / "run")
        undone = await off_loop(plan_undo, tmp_path / "run")
        verified = await verify(tmp_path / "run", connection, settle_after=0)
    assert sum(verified.calls[kind] for kind in ("read", "lookup")) >= verification.credits.least
    assert sum(verified.calls[kind] for kind in ("read", "lookup")) <= verification.credits.most
    assert undone.credits.least < undone.credits.likely <= undone.credits.most


async def test_a_verification_stores_its_displayed_forecast(tmp_path: Path) -> None:
    async with generated_world(tmp_path, contacts=100, skew=0) as (connection, job):
        await run(job, connection)
        verified = await verify(tmp_path / "run", connection, settle_after=0, max_credits=40)
    assert verified.stopped_by == "max-credits"
    last_line = (tmp_path / "run" / "verify.jsonl").read_bytes().splitlines()[-1]
    credit_range = msgspec.json.decode(last_line)["credits"]
    assert 40 < credit_range["least"] <= credit_range["likely"] <= credit_range["most"]
    assert credit_range["most"] - credit_range["least"] <= 0.25 * credit_range["likely"]


async def test_a_stopped_fetch_stores_its_displayed_forecast(tmp_path: Path) -> None:
    async with generated_world(tmp_path, contacts=100, skew=0) as (connection, job):
        mapping = job.mapping_names[0]
        output = tmp_path / "emails.csv"
        fetched = await fetch((), output, connection, from_mapping=[mapping], max_credits=40)
    assert fetched.stopped_by == "max-credits"
    kept = msgspec.json.decode((tmp_path / "emails.csv.fetching" / "fetch.json").read_bytes())
    assert 40 < kept["credits"]["least"] <= kept["credits"]["likely"] <= kept["credits"]["most"]
