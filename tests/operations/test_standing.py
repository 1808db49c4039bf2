"""Where a run or job stands by its records alone is where it stands by its ledger."""

from __future__ import annotations

from pathlib import Path

from bulklink import Connection, RunResult, apply, plan, resume, status
from bulklink.errors import ExitCode
from bulklink.runs.record import RunState
from bulklink.runs.standing import read_standing
from tests.guard import off_loop
from tests.operations.local_crm import LocalCrm, job, serve_crm
from tests.operations.sharded_jobs import ROWS, seal, sharded_world, shards


async def check_standing(run: Path) -> RunResult:
    """Compare where a run stands with its status, which is returned."""
    standing, by_ledger = await off_loop(read_standing, run), await off_loop(status, run)
    assert (standing.state, standing.stopped_by) == (by_ledger.state, by_ledger.stopped_by)
    assert (standing.resume_at, standing.op) == (by_ledger.resume_at, by_ledger.op)
    assert standing.exit_code == by_ledger.exit_code
    assert standing.was_sent == (by_ledger.state != "planned")
    return by_ledger


async def test_a_run_stands_where_its_ledger_says(tmp_path: Path, connection: Connection) -> None:
    await off_loop(plan, job(tmp_path))
    run = tmp_path / "run"
    assert (await check_standing(run)).state == "planned"
    await apply(run, connection, max_credits=3)
    assert (await check_standing(run)).stopped_by == "max-credits"
    await resume(run, connection)
    assert (await check_standing(run)).exit_code == ExitCode.OK


async def test_a_job_stands_where_its_ledgers_say(tmp_path: Path) -> None:
    crm = LocalCrm(sharded_world())
    async with serve_crm(crm):
        sealed = await seal(tmp_path)
        assert (await check_standing(sealed.path)).state == "planned"
        await apply(sealed, crm.connection, max_credits=5)
        assert (await check_standing(sealed.path)).state == "stopped"
        await resume(sealed, crm.connection)
    assert (await check_standing(sealed.path)).counts["done"] == ROWS
    folder, record = shards(sealed)[-1]
    folder.write(record.replace(state=RunState.REFUSED))
    refused = await check_standing(sealed.path)
    assert (refused.state, refused.exit_code) == ("finished", ExitCode.ROWS_NOT_DONE)
