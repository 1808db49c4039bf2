"""Verbs that take a job: verify, undo, history, report and forget, over all shards."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bulklink import (
    Connection,
    RunCallbacks,
    export,
    forget,
    history,
    merge,
    plan_undo,
    plan_verify,
    report,
    status,
    undo,
    verify,
)
from bulklink.engine.failure_limit import MaxFailures
from bulklink.engine.shutdown import StopController
from bulklink.errors import BulklinkError, DigestError, ExitCode, LockedError, RunDirError
from bulklink.hypergeometric import max_wrong
from bulklink.models import Op
from bulklink.operations.check import check_run
from bulklink.operations.forget import forget_in_steps
from bulklink.operations.resume import apply, retry
from bulklink.operations.sampling import draw_sample
from bulklink.operations.verify_share import split_positions
from bulklink.runs.job_folder import JobFolder
from tests.guard import off_loop
from tests.operations.local_crm import OWNER, LocalCrm, local_crm, message
from tests.operations.sharded_jobs import (
    CONTACT_IDS,
    DEAL_OF,
    ROWS,
    SHARDS,
    linked,
    move,
    row_contacts,
    seal,
    sharded_world,
    shards,
    shards_of_rows,
)

TS = "2026-11-22T10:15:00.000Z"


class Warnings(RunCallbacks):
    """Records the warnings."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def on_warning(self, text: str) -> None:
        self.texts.append(text)


@pytest.fixture
async def crm() -> AsyncIterator[LocalCrm]:
    """Serve a CRM with several contacts."""
    async with local_crm(sharded_world()) as running_crm:
        yield running_crm


@pytest.fixture
async def job(tmp_path: Path, connection: Connection) -> JobFolder:
    """A job that was sent."""
    folder = await seal(tmp_path)
    result = await apply(folder.path, connection)
    assert (result.state, result.counts["done"]) == ("finished", ROWS)
    return folder


def file_contents(folder: Path) -> dict[Path, bytes]:
    """Return the content of all files in a folder but locks."""
    files = (path for path in folder.rglob("*") if path.is_file() and "lock" not in path.name)
    return {path: path.read_bytes() for path in files}


def verify_lines(job: JobFolder) -> list[list[dict[str, Any]]]:
    """Return the findings of each shard."""
    return [
        [
            line
            for line in map(json.loads, folder.verification.read_text().splitlines())
            if line["event"] == "finding"
        ]
        if folder.verification.exists()
        else []
        for folder, _ in shards(job)
    ]


def test_positions_are_split_by_part_and_none_is_lost() -> None:
    sizes = [3, 0, 4, 1, 0]
    for size in range(9):
        drawn = draw_sample(sum(sizes), size, seed=size)
        parts = split_positions(drawn, sizes)
        starts = [0, 3, 3, 7, 8]
        assert {s + p for s, part in zip(starts, parts, strict=True) for p in part} == drawn
        assert sum(map(len, parts)) == size
        assert all(p < n for part, n in zip(parts, sizes, strict=True) for p in part)


async def test_one_sample_is_drawn_over_all_shards_with_one_bound(
    job: JobFolder, connection: Connection
) -> None:
    sizes = [record.rows for _, record in shards(job)]
    assert len(sizes) == SHARDS
    result = await verify(job.path, connection, sample=9, seed=4, settle_after=0)
    parts = split_positions(draw_sample(ROWS, 9, 4), sizes)
    assert result.checked == result.as_recorded == 9
    assert result.sample is not None
    assert (result.sample.population, result.sample.drawn, result.sample.seed) == (ROWS, 9, 4)
    assert result.sample.wrong_at_most == max_wrong(ROWS, 9, 0)
    assert result.exit_code == ExitCode.OK
    for (folder, _), part in zip(shards(job), parts, strict=True):
        assert folder.verification.exists() == bool(part)
        if part:
            lines = [json.loads(line) for line in folder.verification.read_text().splitlines()]
            assert (lines[0]["event"], lines[0]["emails"]) == ("verify", len(part))
            assert lines[-1]["counts"] == {"as-recorded": len(part)}
    planned = await off_loop(plan_verify, job.path, sample=9, seed=4)
    assert (planned.emails, planned.run_dir) == (9, str(job.path))
    assert planned.credits.least <= result.calls["read"] + result.calls["lookup"]


async def test_differences_name_the_rows_of_the_mapping(
    job: JobFolder, crm: LocalCrm, connection: Connection
) -> None:
    rows = [shards_of_rows().index(number) + 1 for number in range(1, SHARDS + 1)]
    for row in rows:
        move(crm, row, None)
    result = await verify(job.path, connection, settle_after=0)
    assert (result.different, result.exit_code) == (SHARDS, ExitCode.ROWS_NOT_DONE)
    assert {(d.expected.row, d.expected.message_id) for d in result.shown} == {
        (row, message(row)) for row in rows
    }
    different = [
        [line["message_id"] for line in lines if line["finding"] == "different"]
        for lines in verify_lines(job)
    ]
    assert different == [[message(row)] for row in rows]
    assert all(
        len(lines) == record.rows
        for lines, (_, record) in zip(verify_lines(job), shards(job), strict=True)
    )
    shard = await verify(shards(job)[1][0], connection, settle_after=0)
    assert [detail.expected.row for detail in shard.shown] == [rows[1]]


async def test_credits_of_a_verification_are_those_of_all_shards(
    job: JobFolder, connection: Connection
) -> None:
    whole = await verify(job.path, connection, settle_after=0)
    spent = whole.calls["read"] + whole.calls["lookup"]
    enough = await verify(job.path, connection, max_credits=spent, settle_after=0)
    assert enough.checked == ROWS
    stop = StopController()
    result = await verify(
        job.path, connection, max_credits=spent - 1, sample=ROWS, settle_after=0, stop=stop
    )
    assert (result.stopped_by, result.exit_code) == ("max-credits", ExitCode.CREDITS)
    assert result.calls["read"] + result.calls["lookup"] == spent - 1
    assert 0 < result.checked < ROWS
    assert result.sample is None
    assert stop.reason is not None
    assert f"({spent - 1})" in stop.reason.message


async def test_shards_that_were_not_sent_are_left_out(
    tmp_path: Path, connection: Connection
) -> None:
    job = await seal(tmp_path)
    with pytest.raises(RunDirError, match="Nothing of this run was sent"):
        await verify(job.path, connection)
    await apply(job.path, connection, max_credits=5)
    sent = [record for _, record in shards(job) if record.invocations]
    assert 0 < len(sent) < SHARDS
    warnings = Warnings()
    result = await verify(job.path, connection, callbacks=warnings, settle_after=0)
    assert result.checked == (await off_loop(status, job.path)).counts["done"]
    assert f"{SHARDS - len(sent)} " in warnings.texts[0]
    assert "left out" in warnings.texts[0]


async def test_the_undo_of_a_job_is_a_job(
    tmp_path: Path, job: JobFolder, crm: LocalCrm, connection: Connection
) -> None:
    result = await undo(job.path, connection, runs_dir=tmp_path / "runs")
    assert result is not None
    assert (result.state, result.counts["done"], linked(crm)) == ("finished", ROWS, 0)
    assert (result.shown_op, result.undo_of) == ("undo", str(job.path))
    undo_job = JobFolder(Path(result.run_dir))
    assert undo_job.path.parent == tmp_path / "runs"
    assert [p.name for p in undo_job.path.parent.iterdir()] == [undo_job.path.name]
    assert [entry.number for entry in undo_job.read().entries] == [1, 2, 3]

    source = await off_loop(status, job.path)
    assert source.undone
    for (folder, record), (undo_folder, _) in zip(shards(job), shards(undo_job), strict=True):
        assert record.effective_undo is not None
        assert record.effective_undo.run_dir == str(undo_folder.path)
        assert (await off_loop(check_run, folder)).ok
    assert (await off_loop(merge, undo_job.path)).faults == ()
    await off_loop(export, undo_job.path, tmp_path / "undone.csv")
    with (tmp_path / "undone.csv").open(newline="") as file:
        exported = list(csv.DictReader(file))
    assert sorted(int(row["bulklink_row"]) for row in exported) == list(range(1, ROWS + 1))
    assert {int(row["source_row"]): row["message_id"] for row in exported} == {
        row: message(row) for row in range(1, ROWS + 1)
    }
    again = await undo(undo_job.path, connection, runs_dir=tmp_path / "runs")
    assert again is not None
    assert (again.counts["done"], linked(crm)) == (ROWS, ROWS)
    assert not (await off_loop(status, job.path)).undone


async def test_a_planned_undo_is_sealed_as_the_dry_run_says(
    tmp_path: Path, job: JobFolder, crm: LocalCrm, connection: Connection
) -> None:
    before = file_contents(tmp_path)
    planned = await off_loop(plan_undo, job.path)
    assert (planned.rows, planned.messages, planned.run_dir) == (ROWS, ROWS, None)
    assert file_contents(tmp_path) == before
    sealed = await off_loop(plan_undo, job.path, run_dir=tmp_path / "undo", canary=2)
    assert (sealed.digest, sealed.calls, sealed.shards) == (planned.digest, planned.calls, SHARDS)
    undo_job = JobFolder(tmp_path / "undo")
    records = [record for _, record in shards(undo_job)]
    assert [record.asked["canary"] for record in records] == [2, 0, 0]
    assert {r.shard.job_messages for r in records if r.shard} == {ROWS}
    result = await apply(undo_job.path, connection, expect=planned.digest)
    assert (result.counts["done"], linked(crm)) == (ROWS, 0)
    assert sealed.credits.least <= result.credits <= sealed.credits.most
    assert (await off_loop(status, job.path)).undone
    empty = await off_loop(plan_undo, (await seal(_new(tmp_path))).path)
    assert empty.rows == 0


def _new(tmp_path: Path) -> Path:
    folder = tmp_path / "other"
    folder.mkdir()
    return folder


async def test_only_shards_that_changed_something_are_undone(
    tmp_path: Path, crm: LocalCrm, connection: Connection
) -> None:
    job = await seal(tmp_path)
    assert await undo(job.path, connection, runs_dir=tmp_path / "runs") is None
    await apply(job.path, connection, max_credits=5)
    done = linked(crm)
    assert 0 < done < ROWS
    changed = [record.shard for _, record in shards(job) if record.counts.get("done")]
    result = await undo(job.path, connection, runs_dir=tmp_path / "runs")
    assert result is not None
    assert (result.counts["done"], linked(crm)) == (done, 0)
    entries = JobFolder(Path(result.run_dir)).read().entries
    assert [entry.number for entry in entries] == [shard.number for shard in changed if shard]
    assert (await off_loop(status, job.path)).undone
    assert (await off_loop(merge, result.run_dir)).faults == ()


async def test_rows_that_are_not_undone_are_listed_once_for_the_whole_job(
    tmp_path: Path, crm: LocalCrm, connection: Connection
) -> None:
    first = shards_of_rows()[0]
    ops = {
        contact: Op.RELINK if number == first else Op.LINK
        for contact, number in zip(row_contacts(), shards_of_rows(), strict=True)
    }
    relinked = [row for row, number in enumerate(shards_of_rows(), 1) if number == first]
    job = await seal(tmp_path, ops, snapshot=False, accept_no_put_back=True)
    await apply(job.path, connection)
    assert linked(crm) == ROWS
    warnings = Warnings()
    result = await undo(job.path, connection, callbacks=warnings, run_dir=tmp_path / "undo")
    assert result is not None
    assert (result.counts["rejected"], linked(crm)) == (len(relinked), len(relinked))
    assert result.exit_code == ExitCode.ROWS_NOT_DONE
    named = next(text for text in warnings.texts if "not undone" in text)
    first_rows = named.partition(": row ")[2].partition(".")[0]
    assert sorted(map(int, first_rows.split(", "))) == relinked
    undo_job = JobFolder(tmp_path / "undo")
    with undo_job.rejects.open(newline="") as file:
        refused = list(csv.DictReader(file))
    assert sorted(int(row["source_row"]) for row in refused) == relinked
    assert not (await off_loop(status, job.path)).undone

    assert (await off_loop(merge, undo_job.path)).faults == ()
    await off_loop(export, undo_job.path, tmp_path / "undone.csv")
    with (tmp_path / "undone.csv").open(newline="") as file:
        exported = {int(row["bulklink_row"]): row for row in csv.DictReader(file)}
    assert sorted(exported) == list(range(1, ROWS + 1))
    assert {int(row["bulklink_row"]) for row in refused} == {
        row for row, cells in exported.items() if cells["bulklink_status"] == "rejected"
    }
    assert sorted(int(row["source_row"]) for row in exported.values()) == list(range(1, ROWS + 1))
    retried = await retry(undo_job.path, connection)
    assert retried.counts == result.counts


async def test_a_job_that_is_being_sent_is_not_undone(
    job: JobFolder, connection: Connection
) -> None:
    with job.lock(), pytest.raises(LockedError, match="sending this job"):
        await undo(job.path, connection)


async def test_a_shard_is_not_undone_or_forgotten_without_its_job(
    job: JobFolder, connection: Connection
) -> None:
    shard = shards(job)[1][0]
    with pytest.raises(RunDirError, match="shard 2 of 3") as undone:
        await undo(shard, connection)
    assert f"undo({str(job.path)!r})" in undone.value.advice
    with pytest.raises(RunDirError, match="shard 2 of 3") as planned:
        await off_loop(plan_undo, shard)
    assert str(job.path) in planned.value.advice
    with pytest.raises(RunDirError, match="shard 2 of 3") as forgotten:
        await off_loop(forget, shard)
    assert f"forget({str(job.path)!r})" in forgotten.value.advice


def _remove(job: JobFolder) -> None:
    shutil.rmtree(shards(job)[1][0].path)


def _swap_plan(job: JobFolder) -> None:
    folder, record = shards(job)[1]
    folder.write(record.replace(digest="0" * 64))


def _other_job(job: JobFolder) -> None:
    folder, record = shards(job)[1]
    assert record.shard is not None
    shard = msgspec.structs.replace(record.shard, job="f" * 32)
    folder.write(record.replace(shard=shard))


def _own_run(job: JobFolder) -> None:
    folder, record = shards(job)[1]
    folder.write(record.replace(shard=None))


def _exchange(job: JobFolder) -> None:
    (first, _), (second, _) = shards(job)[:2]
    aside = job.path / "aside"
    first.path.rename(aside)
    second.path.rename(first.path)
    aside.rename(second.path)


def _change_record(job: JobFolder) -> None:
    text = job.record.read_text()
    job.record.write_text(text.replace(f'"rows": {ROWS}', f'"rows": {ROWS + 1}', 1))


@pytest.mark.parametrize(
    ("damage", "error", "named"),
    [
        (_remove, RunDirError, "shard-2"),
        (_swap_plan, DigestError, "shard-2"),
        (_other_job, RunDirError, "shard-2"),
        (_own_run, RunDirError, "shard-2"),
        (_exchange, RunDirError, "shard-1"),
        (_change_record, DigestError, "job.json"),
    ],
)
async def test_a_damaged_job_is_named_and_nothing_is_done(
    damage: Callable[[JobFolder], None],
    error: type[BulklinkError],
    named: str,
    tmp_path: Path,
    job: JobFolder,
    crm: LocalCrm,
    connection: Connection,
) -> None:
    damage(job)
    requests = crm.state.change_count
    files = file_contents(tmp_path)
    runs = tmp_path / "runs"
    verbs = [
        verify(job.path, connection, settle_after=0),
        undo(job.path, connection, runs_dir=runs),
        off_loop(plan_verify, job.path),
        off_loop(plan_undo, job.path, run_dir=tmp_path / "undo"),
        off_loop(forget, job.path),
        off_loop(report, job.path),
    ]
    for verb in verbs:
        with pytest.raises(error) as raised:
            await verb
        assert named in raised.value.where
    assert file_contents(tmp_path) == files
    assert (crm.state.change_count, linked(crm)) == (requests, ROWS)
    warnings = Warnings()
    events = await off_loop(history, message(1), tmp_path, callbacks=warnings)
    assert any(named in text for text in warnings.texts)
    assert all("shard-2" not in event.run_dir for event in events)


async def test_history_names_the_shard_and_the_row_of_the_mapping(
    tmp_path: Path, crm: LocalCrm, connection: Connection
) -> None:
    contact = CONTACT_IDS[0]
    repeated = f"{contact},{OWNER},{message(1)},{DEAL_OF[contact]},again\n"
    refused = f"{contact},{OWNER},{message(7)},x,bad\n"
    job = await seal(tmp_path, extra=repeated + refused, on_invalid="skip")
    await apply(job.path, connection)
    events = await off_loop(history, message(1), tmp_path)
    folder = job.shard(shards_of_rows()[0], SHARDS)
    assert {event.run_dir for event in events} == {str(folder.path)}
    assert {event.row for event in events} == {1, ROWS + 1}
    (duplicate,) = [event for event in events if event.details.get("status") == "duplicate"]
    assert (duplicate.row, duplicate.details["duplicate_of"]) == (ROWS + 1, 1)
    found = await off_loop(history, message(7), tmp_path)
    assert {event.row for event in found} == {7, ROWS + 2}
    (rejected,) = [event for event in found if event.details.get("status") == "rejected"]
    assert rejected.row == ROWS + 2
    folder.rejects.unlink()
    (rejected,) = [
        event
        for event in await off_loop(history, message(7), tmp_path)
        if event.details.get("status") == "rejected"
    ]
    assert rejected.row is None


async def test_the_report_of_a_job_sums_its_shards(
    tmp_path: Path, crm: LocalCrm, connection: Connection
) -> None:
    job = await seal(tmp_path)
    rows = [shards_of_rows().index(number) + 1 for number in (1, 2)]
    for row in rows:
        move(crm, row, DEAL_OF[CONTACT_IDS[row % 2]])  # a link is refused then
    await apply(job.path, connection, max_failures=MaxFailures(percent=100))
    counts = (await off_loop(status, job.path)).counts
    assert counts["failed"] == len(rows)
    written = await off_loop(report, job.path)
    page = (job.path / "report.html").read_text("utf-8")
    assert written.path == str(job.path / "report.html")
    for number in range(1, SHARDS + 1):
        assert f'<th scope="row">shard-{number}</th><td>finished</td>' in page
    assert page.count("<summary") == 0
    assert f"{len(rows)} rows failed or are in doubt." in page
    assert job.read().digest in page
    assert "http" not in page.replace(connection.api_url, "").replace("http-equiv", "").replace(
        "HTTP", ""
    ).replace("http://www.w3.org", "")
    assert "src=" not in page.replace("-src ", "")

    shared = tmp_path / "shared.html"
    await off_loop(report, job.path, shared, counts_only=True)
    text = shared.read_text("utf-8")
    secrets = [*CONTACT_IDS, *DEAL_OF.values(), OWNER, "mapping.csv", str(tmp_path), "Secret"]
    assert [secret for secret in secrets if secret in text] == []
    assert f"{len(rows)} rows failed or are in doubt." in text
    await off_loop(report, shards(job)[0][0], tmp_path / "shard.html")
    assert (tmp_path / "shard.html").exists()


async def test_the_report_of_a_planned_job_is_for_its_approval(tmp_path: Path) -> None:
    job = await seal(tmp_path)
    await off_loop(report, job.path)
    page = (job.path / "report.html").read_text("utf-8")
    assert f"bulklink apply {job.path} --expect {job.read().digest}" in page
    plan_file = shards(job)[1][0].plan
    plan_file.write_bytes(plan_file.read_bytes() + b"x")
    with pytest.raises(DigestError):
        await off_loop(report, job.path)


async def test_all_shards_of_a_job_are_forgotten(
    tmp_path: Path, crm: LocalCrm, connection: Connection
) -> None:
    job = await seal(tmp_path, extra="x,x,x,x,Secret 0\n", on_invalid="skip")
    with pytest.raises(RunDirError, match="not finished") as unfinished:
        await off_loop(forget, job.path)
    assert f"({str(job.path)!r}" in unfinished.value.advice
    await apply(job.path, connection)
    await off_loop(report, job.path)
    folder = shards(job)[0][0]
    assert await off_loop(next, forget_in_steps(folder, TS)) == "begun"
    with pytest.raises(RunDirError, match="not completed") as half:
        await off_loop(export, job.path, tmp_path / "out.csv")
    assert f"forget({str(job.path)!r})" in half.value.advice
    with pytest.raises(RunDirError, match="Forgetting"):
        await retry(job.path, connection)
    assert (await off_loop(forget, job.path)).complete
    assert [path for path, text in file_contents(job.path).items() if b"Secret" in text] == []
    assert not job.rejects.exists()
    assert not job.html_report.exists()
    exported = await off_loop(export, job.path, tmp_path / "out.csv")
    assert exported.ids_only
    assert (await off_loop(merge, job.path)).faults == ()
    verified = await verify(job.path, connection, settle_after=0)
    assert verified.as_recorded == ROWS
    undone = await undo(job.path, connection, runs_dir=tmp_path / "runs")
    assert undone is not None
    assert linked(crm) == 0


async def test_a_run_where_a_job_cannot_be_says_so(job: JobFolder) -> None:
    with pytest.raises(RunDirError, match="folder of a job") as raised:
        await off_loop(check_run, job.path)
    assert "shards" in raised.value.advice
