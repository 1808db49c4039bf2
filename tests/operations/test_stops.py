"""Errors that end a run from inside its tasks reach the user unchanged."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import msgspec
import pytest

from bulklink import RunStoppedError, StopController, apply, plan
from bulklink.errors import StoppedBy
from bulklink.mapping.plan_digest import read_plan_content
from bulklink.operations.seal import plan_digest
from bulklink.runs.folder import RunFolder
from bulklink.runs.hashes import sha256_of
from tests.operations.local_crm import CONTACT, DEAL, OWNER, job, local_crm, message

SECOND = str(int(CONTACT) + 1)


@pytest.fixture
def reversed_plan(tmp_path: Path) -> RunFolder:
    """A sealed plan of two contacts with its rows in the wrong order and a matching hash."""
    mapping = tmp_path / "two.csv"
    rows = [
        f"{contact},{OWNER},{message(n)},{DEAL},n,o\n"
        for contact in (CONTACT, SECOND)
        for n in range(15)
    ]
    mapping.write_text(
        "contact_id,owner_id,message_id,deal_id,deal_name,owner_name\n" + "".join(rows)
    )
    plan(msgspec.structs.replace(job(tmp_path), mappings=(str(mapping),)))
    folder = RunFolder(tmp_path / "run")
    turned = tmp_path / "turned.parquet"
    with duckdb.connect() as database:
        metadata = database.execute(
            f"SELECT decode(key), decode(value) FROM parquet_kv_metadata('{folder.plan}')"
        ).fetchall()
        kept = ", ".join(
            f"{key}: '{value}'" for key, value in metadata if not key.startswith(("ARROW", "duck"))
        )
        database.execute(
            f"COPY (SELECT * FROM read_parquet('{folder.plan}', file_row_number=true)"
            f" ORDER BY file_row_number DESC) TO '{turned}'"
            f" (FORMAT parquet, KV_METADATA {{{kept}}})"
        )
    turned.replace(folder.plan)
    content = json.loads((folder.path / "run.json").read_bytes())
    content["plan_sha256"] = sha256_of(folder.plan)
    content["digest"] = plan_digest(folder.read(), read_plan_content(folder.plan))
    (folder.path / "run.json").write_text(json.dumps(content))
    return folder


async def test_a_plan_out_of_order_stops_the_run_with_its_own_error(
    reversed_plan: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    stop = StopController()
    async with local_crm() as crm:
        result = await apply(str(reversed_plan.path), crm.connection, stop=stop)
    assert result.stopped_by == StoppedBy.LEDGER
    assert isinstance(stop.reason, RunStoppedError)
    assert "out of order at row" in stop.reason.message
