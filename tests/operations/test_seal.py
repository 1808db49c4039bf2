"""Only what was sealed is sent: a changed plan, option, count, name or ledger is refused."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from bulklink import Connection, Job, RunCallbacks, apply, plan, plan_undo, report, resume, run
from bulklink.duckdb_sql import literal
from bulklink.errors import DigestError, LedgerError
from bulklink.operations.check import check_run
from bulklink.operations.job import OnInvalid
from bulklink.runs.folder import RunFolder
from bulklink.runs.hashes import sha256_of
from tests.guard import off_loop
from tests.operations.local_crm import CONTACT, DEAL, FOREIGN, OWNER, LocalCrm, job, message

HEADER = ("op", "contact_id", "owner_id", "message_id", "deal_id", "deal_name", "owner_name")
COLUMNS = (*HEADER, "from_deal_id", "Note")


def _seal(tmp_path: Path, **options: Any) -> RunFolder:
    """Seal a plan of links and relinks, with a guard and a duplicate."""
    path = tmp_path / "m.csv"
    row = [CONTACT, OWNER, message(0), DEAL, "Travel", "Ann", "", "mine"]
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(
            ["relink" if n % 2 else "link", CONTACT, OWNER, message(n), DEAL, "", "Ann"]
            + (["none", "mine"] if n == 1 else ["", "mine"])
            for n in range(6)
        )
        writer.writerow(["link", *row])
        writer.writerow(["link", "x", *row[1:]])
    plan(Job(mappings=(str(path),), run_dir=tmp_path / "run", on_invalid=OnInvalid.SKIP, **options))
    return RunFolder(tmp_path / "run")


def _rewrite(folder: RunFolder, select: str) -> None:
    """Replace the plan by a query over it, and record the new file's hash in run.json."""
    changed = folder.path.parent / "changed.parquet"
    source = f"read_parquet({literal(str(folder.plan))}, file_row_number=true)"
    with duckdb.connect() as database:
        metadata = database.execute(
            f"SELECT decode(key), decode(value) FROM parquet_kv_metadata('{folder.plan}')"
        ).fetchall()
        kept = ", ".join(
            f"{key}: {literal(value)}"
            for key, value in metadata
            if key in ("headers", "known", "elsewhere")
        )
        database.execute(
            f"COPY (SELECT * EXCLUDE (file_row_number) FROM ({select.format(plan=source)}))"
            f" TO '{changed}' (FORMAT parquet, KV_METADATA {{{kept}}})"
        )
    changed.replace(folder.plan)
    _edit(folder, lambda record: record.update(plan_sha256=sha256_of(folder.plan)))


def _edit(folder: RunFolder, change: Callable[[dict[str, Any]], object]) -> None:
    record = json.loads(folder.record.read_bytes())
    change(record)
    folder.record.write_text(json.dumps(record), "utf-8")


def _cell(column: str, value: str, row: int = 3) -> str:
    return (
        f"SELECT * REPLACE (CASE WHEN bulklink_row = {row} THEN {value} ELSE {column} END"
        f" AS {column}) FROM {{plan}}"
    )


PLANS = {
    "nothing but its bytes": None,
    "row": _cell("bulklink_row", "60"),
    "op": _cell("bulklink_op", "'unlink'"),
    "contact": _cell("contact_id", f"'{int(CONTACT) + 1}'"),
    "owner": _cell("owner_id", "'1'"),
    "message": _cell("message_id", f"'{message(20)}'"),
    "deal": _cell("bulklink_deal_id", f"'{FOREIGN}'"),
    "name of a deal": _cell("bulklink_deal_name", "'Another'"),
    "a name that is empty and not missing": _cell("bulklink_deal_name", "''", 1),
    "name of an owner": _cell("owner_name", "'Bob'"),
    "a guard taken off": _cell("bulklink_from_deal_id", "NULL", 2),
    "a guard put on": _cell("bulklink_from_deal_id", "'none'", 4),
    "a duplicate that is sent": _cell("bulklink_duplicate_of", "NULL", 7),
    "a message that is not": _cell("bulklink_duplicate_of", "1"),
    "order": "SELECT * FROM {plan} ORDER BY bulklink_row DESC",
    "a row twice": "SELECT * FROM {plan} UNION ALL SELECT * FROM {plan} WHERE bulklink_row = 6",
    "a row fewer": "SELECT * FROM {plan} WHERE bulklink_row <> 3",
    "cells of two columns swapped": "SELECT * REPLACE (owner_id AS contact_id, contact_id AS"
    " owner_id) FROM {plan}",
    "text moved from one row to the next": "SELECT * REPLACE (CASE bulklink_row WHEN 3 THEN 'An'"
    " WHEN 5 THEN 'nAnn' ELSE owner_name END AS owner_name) FROM {plan}",
}


@pytest.fixture(scope="module")
def sealed_plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run folder with a sealed plan, which no test changes."""
    return _seal(tmp_path_factory.mktemp("sealed")).path


@pytest.mark.parametrize("name", PLANS)
async def test_an_edited_plan_is_refused_even_with_an_edited_hash(
    name: str, sealed_plan: Path, tmp_path: Path, connection: Connection, crm: LocalCrm
) -> None:
    folder = RunFolder(Path(shutil.copytree(sealed_plan, tmp_path / "run")))
    select = PLANS[name]
    await off_loop(_rewrite, folder, select or "SELECT * FROM {plan}")
    if select is None:  # the content counts, not how the file is written
        assert (await apply(folder, connection)).counts["done"] == 6
        return
    with pytest.raises(DigestError, match="changed since it was sealed"):
        await apply(folder, connection)
    assert not (await off_loop(check_run, folder)).ok
    with pytest.raises(DigestError):
        await off_loop(report, folder)
    assert (crm.linked, crm.state.calls.total()) == (0, 0)


OPTIONS: dict[str, object] = {
    "batch_size": 1,
    "group_by": "contact",
    "single_endpoint": True,
    "names": False,
    "snapshot": False,
    "accept_no_put_back": True,
}


@pytest.mark.parametrize("option", OPTIONS)
async def test_an_edited_option_that_changes_what_is_sent_is_refused(
    option: str, tmp_path: Path, connection: Connection
) -> None:
    folder = await off_loop(_seal, tmp_path)
    _edit(folder, lambda record: record["asked"].update({option: OPTIONS[option]}))
    with pytest.raises(DigestError, match="changed since it was sealed"):
        await apply(folder, connection)


RECORDS: dict[str, Callable[[dict[str, Any]], object]] = {
    "no hash of the file": lambda record: record.update(plan_sha256=None),
    "no digest": lambda record: record.update(digest=None),
    "fewer messages": lambda record: record.update(messages=1),
    "no messages": lambda record: record.update(messages=0, by_op={}),
    "other ops": lambda record: record.update(by_op={"link": 6}),
    "another op": lambda record: record.update(op="unlink"),
    "more rows": lambda record: record.update(rows=9),
    "finished": lambda record: record.update(state="finished", messages=0),
    "former kind": lambda record: record.pop("digest_version"),
}


@pytest.mark.parametrize("name", RECORDS)
async def test_a_record_of_another_plan_is_refused(
    name: str, tmp_path: Path, connection: Connection, crm: LocalCrm
) -> None:
    folder = await off_loop(_seal, tmp_path)
    _edit(folder, RECORDS[name])
    with pytest.raises((DigestError, LedgerError)) as caught:
        await apply(folder, connection)
    assert caught.type is LedgerError or "Seal it again" in caught.value.advice
    assert crm.state.calls.total() == 0


async def test_a_ledger_that_settles_rows_of_a_plan_not_sent_yet_is_refused(
    tmp_path: Path, connection: Connection
) -> None:
    folder = await off_loop(_seal, tmp_path)
    line = json.loads(folder.ledger.read_text("utf-8").splitlines()[0])
    forged = line | {"row": 1, "status": "done", "code": None, "message_id": message(0)}
    with folder.ledger.open("a", encoding="utf-8") as file:
        file.write(json.dumps(forged) + "\n")
    with pytest.raises(LedgerError, match="bytes were added to the ledger"):
        await apply(folder, connection)


async def _stopped_run(tmp_path: Path, connection: Connection) -> RunFolder:
    """Return a run that looked up names, sent one call and stopped."""
    planned_job = job(tmp_path, batch_size=10, max_credits=5, canary=0, concurrency=1)
    await run(planned_job, connection)
    folder = RunFolder(tmp_path / "run")
    assert folder.names.is_file()
    return folder


NAMES: dict[str, Callable[[RunFolder, Path], object]] = {
    "cut": lambda folder, _: folder.names.write_bytes(folder.names.read_bytes()[:-9]),
    "foreign": lambda folder, other: shutil.copy(other, folder.names),
    "not recorded": lambda folder, _: _edit(folder, lambda it: it.update(names_sha256=None)),
}


@pytest.mark.parametrize("name", NAMES)
async def test_names_that_the_run_did_not_write_are_refused_and_looked_up_again(
    name: str, tmp_path: Path, connection: Connection
) -> None:
    folder = await _stopped_run(tmp_path, connection)
    assert (await off_loop(check_run, folder)).ok
    other = tmp_path / "other.parquet"
    with duckdb.connect() as database:
        database.execute(
            "COPY (SELECT * REPLACE ('Elsewhere' AS deal_name) FROM"
            f" read_parquet('{folder.names}')) TO '{other}' (FORMAT parquet)"
        )
    NAMES[name](folder, other)
    assert (await off_loop(check_run, folder)).names.verdict == "differs"
    with pytest.raises(DigestError, match="names") as caught:
        await resume(folder, connection)
    with pytest.raises(DigestError, match="names"):
        await off_loop(plan_undo, folder)
    assert "Remove the file" in caught.value.advice
    folder.names.unlink()
    assert (await resume(folder, connection)).counts["done"] == 30
    assert (await off_loop(check_run, folder)).ok


async def test_names_planted_in_a_plan_are_not_sent(tmp_path: Path, connection: Connection) -> None:
    stopped = await _stopped_run(tmp_path, connection)
    (tmp_path / "b").mkdir()
    await off_loop(plan, job(tmp_path / "b"))
    planted = RunFolder(tmp_path / "b" / "run")
    shutil.copy(stopped.names, planted.names)
    with pytest.raises(DigestError, match="names"):
        await apply(planted, connection)


async def test_a_finished_run_with_pending_rows_is_refused(
    tmp_path: Path, connection: Connection, crm: LocalCrm
) -> None:
    folder = await _stopped_run(tmp_path, connection)
    linked = crm.linked
    _edit(folder, lambda record: record.update(state="finished", stopped_by=None))
    with pytest.raises(LedgerError, match="says that the run is finished and has 30 rows"):
        await resume(folder, connection)
    assert crm.linked == linked


async def test_an_edited_plan_of_a_started_run_is_neither_resumed_nor_undone(
    tmp_path: Path, connection: Connection
) -> None:
    folder = await _stopped_run(tmp_path, connection)
    recorded = folder.read().plan_sha256
    await off_loop(_rewrite, folder, _cell("deal_id", f"'{FOREIGN}'", 30))
    with pytest.raises(DigestError, match="changed since it was sealed"):
        await resume(folder, connection)
    _edit(folder, lambda record: record.update(plan_sha256=recorded))
    with pytest.raises(DigestError, match="changed since it was sealed"):
        await resume(folder, connection)
    with pytest.raises(DigestError, match="changed since it was sealed"):
        await off_loop(plan_undo, folder)


class _Warnings(RunCallbacks):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def on_warning(self, text: str) -> None:
        self.texts.append(text)


async def test_a_started_run_with_an_older_digest_continues_with_a_warning(
    tmp_path: Path, connection: Connection
) -> None:
    folder = await _stopped_run(tmp_path, connection)

    def make_former(record: dict[str, Any]) -> None:
        del record["digest_version"], record["names_sha256"]
        record["digest"] = "9f86d081"

    _edit(folder, make_former)
    callbacks = _Warnings()
    assert (await resume(folder, connection, callbacks=callbacks)).counts["done"] == 30
    assert "earlier version" in callbacks.texts[0]
    assert (await off_loop(check_run, folder)).ok
