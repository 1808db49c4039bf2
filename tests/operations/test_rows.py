"""Jobs whose mapping is rows of the program: the run folder stands alone, as that of a file."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pandas as pd
import polars as pl
import pytest

from bulklink import (
    InvalidRowsError,
    Job,
    Op,
    RunState,
    StopController,
    apply,
    check_run,
    export,
    forget,
    history,
    plan,
    report,
    resume,
    run,
    status,
    undo,
    verify,
)
from bulklink.operations.job_options import serialize_job
from tests.guard import off_loop
from tests.mapping.forms import FORMS
from tests.operations.local_crm import CONTACT, DEAL, EMAILS, OWNER, LocalCrm, job, message

ROWS = [
    {"contact_id": CONTACT, "owner_id": OWNER, "message_id": message(n), "deal_id": DEAL, "Nr": n}
    for n in range(EMAILS)
]


def rows_job(rows: Any, folder: Path, **options: Any) -> Job:
    return Job(mappings=rows, op=Op.LINK, run_dir=folder / "run", **options)


@pytest.mark.parametrize("form", FORMS)
def test_the_plan_of_rows_has_the_digest_of_the_same_file(tmp_path: Path, form: str) -> None:
    expected = plan(job(tmp_path, run_dir=None))
    planned = plan(Job(mappings=FORMS[form](ROWS), op=Op.LINK))
    assert (planned.digest, planned.messages) == (expected.digest, expected.messages)


@pytest.mark.parametrize("form", ["iterator", "pandas", "polars", "batches"])
async def test_a_run_of_rows_links_the_emails_and_names_the_rows(
    crm: LocalCrm, tmp_path: Path, form: str
) -> None:
    result = await run(rows_job(FORMS[form](ROWS), tmp_path), crm.connection)
    assert (result.state, result.counts["done"], crm.linked) == ("finished", EMAILS, EMAILS)
    record = orjson.loads((tmp_path / "run" / "run.json").read_bytes())
    (source,) = record["inputs"]
    assert record["asked"]["mappings"] == [source["name"]]
    assert source["name"] in ("rows", "pandas.DataFrame", "polars.DataFrame") or form == "batches"
    assert (source["records"], source["sha256"], source["bytes"]) == (EMAILS, None, None)


async def test_a_stopped_run_of_rows_is_resumed_from_its_folder(
    crm: LocalCrm, tmp_path: Path
) -> None:
    stop = StopController()
    crm.gate.clear()
    task = asyncio.create_task(
        run(rows_job(iter(ROWS), tmp_path, concurrency=1), crm.connection, stop=stop)
    )
    await crm.arrived.wait()
    stop.interrupt()
    crm.gate.set()
    assert (await task).state is RunState.STOPPED
    resumed = await resume(tmp_path / "run", crm.connection)
    assert (resumed.state, crm.linked) == (RunState.FINISHED, EMAILS)


async def test_every_function_works_on_a_run_of_rows(crm: LocalCrm, tmp_path: Path) -> None:
    sealed = await off_loop(plan, rows_job(pl.DataFrame(ROWS), tmp_path))
    folder = tmp_path / "run"
    await apply(folder, crm.connection, expect=sealed.digest)
    assert (await off_loop(status, folder)).counts["done"] == EMAILS
    checked = await off_loop(check_run, folder)
    assert checked.ok
    assert checked.mappings["polars.DataFrame"].detail == "it was rows of a program"
    await off_loop(report, folder)
    page = await off_loop((folder / "report.html").read_text, encoding="utf-8")
    assert "rows of a program" in page
    await off_loop(export, folder, tmp_path / "results.csv")
    with (tmp_path / "results.csv").open(newline="", encoding="utf-8") as file:
        assert [row["Nr"] for row in csv.DictReader(file)] == [str(n) for n in range(EMAILS)]
    assert len(await off_loop(history, message(0), tmp_path)) > 0
    assert (await verify(folder, crm.connection, settle_after=0)).as_recorded == EMAILS
    undone = await undo(folder, crm.connection, settle_after=0)
    assert undone is not None
    assert undone.counts["done"] == EMAILS
    await off_loop(forget, folder)


def test_refused_rows_of_a_frame_are_a_mapping_to_fix(tmp_path: Path) -> None:
    frame = pd.DataFrame([*ROWS, {**ROWS[0], "message_id": "x-"}])
    with pytest.raises(InvalidRowsError) as raised:
        plan(rows_job(frame, tmp_path))
    assert raised.value.where == "pandas.DataFrame"
    assert raised.value.faults[0].startswith(f"pandas.DataFrame: row {EMAILS + 1}: bad-id")
    rejects = tmp_path / "run" / "rejects.csv"
    rejects.write_text(rejects.read_text().replace("x-", "x"))
    assert plan(Job(mappings=(str(rejects),), op=Op.LINK)).messages == 1


def failing_rows() -> Iterator[dict[str, Any]]:
    yield from ROWS
    raise LookupError("the source is gone")


async def test_an_iterator_that_fails_leaves_nothing(crm: LocalCrm, tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="the source is gone"):
        await run(rows_job(failing_rows(), tmp_path), crm.connection)
    with pytest.raises(LookupError, match="the source is gone"):
        await off_loop(plan, rows_job(failing_rows(), tmp_path))
    assert not (tmp_path / "run").exists() or not any((tmp_path / "run").iterdir())
    assert crm.linked == 0


def test_planning_from_an_endless_iterator_can_be_stopped(tmp_path: Path) -> None:
    stop = StopController()

    def rows() -> Iterator[dict[str, Any]]:
        while True:
            yield from ROWS
            stop.interrupt()

    with pytest.raises(Exception, match="interrupted"):
        plan(rows_job(rows(), tmp_path), stop=stop)
    assert not (tmp_path / "run").exists() or not any((tmp_path / "run").iterdir())


def test_a_job_shows_and_keeps_names_in_place_of_rows() -> None:
    rows = Job(mappings=pl.DataFrame(ROWS), op=Op.LINK)
    assert rows.mapping_names == ("polars.DataFrame",)
    assert serialize_job(rows)["mappings"] == ("polars.DataFrame",)
    assert CONTACT not in repr(rows)
