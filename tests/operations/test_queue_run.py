"""Approving a run for the worker: the digest, the org, the question; nothing is sent."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from bulklink import Connection, DigestError, NotConfirmedError, plan, run
from bulklink.errors import ConfigError, RunDirError, RunStoppedError, WrongOrgError
from bulklink.operations.environment import real_environment
from bulklink.operations.queue_access import open_queue
from bulklink.operations.queue_run import queue_run
from bulklink.operations.resume import apply, resume
from bulklink.runs.queue import Approval
from tests.guard import off_loop
from tests.operations.local_crm import EMAILS, LocalCrm, job
from tests.operations.sharded_jobs import ROWS, SHARDS, seal
from tests.operations.test_run import RecordingCallbacks
from tests.ui.remote_connection import RemoteConnection


async def sealed(tmp_path: Path) -> str:
    """Seal a plan in the folder `run`, and return its digest."""
    return (await off_loop(plan, job(tmp_path))).digest


async def approved(tmp_path: Path) -> list[Approval]:
    """Return what is in the queue."""
    return await off_loop(open_queue(tmp_path, real_environment()).approvals)


async def queue(tmp_path: Path, connection: Connection, digest: str, **options: Any) -> Approval:
    return await queue_run(tmp_path / "run", connection, expect=digest, **options)


async def test_the_question_names_the_org_and_the_worker_is_held_to_it(
    tmp_path: Path, crm: LocalCrm, connection: Connection
) -> None:
    digest, callbacks = await sealed(tmp_path), RecordingCallbacks(answer=True)
    remote = RemoteConnection.of(connection)
    approval = await queue(tmp_path, remote, digest, callbacks=callbacks)
    (question,) = callbacks.questions
    assert (question.op, question.messages) == ("link", EMAILS)
    assert approval.org is not None
    assert approval.org.name == question.org_name
    assert approval.org.id is not None
    assert approval.org_key.endswith(approval.org.id)
    assert await approved(tmp_path) == [approval]
    assert crm.linked == 0
    with pytest.raises(WrongOrgError, match="is expected"):
        await apply(tmp_path / "run", connection, expect=digest, expect_org="1")
    sent = await apply(tmp_path / "run", connection, expect=digest, expect_org=approval.org.id)
    assert sent.counts["done"] == EMAILS


async def test_without_a_yes_nothing_is_queued(tmp_path: Path, connection: Connection) -> None:
    digest = await sealed(tmp_path)
    with pytest.raises(NotConfirmedError):
        await queue(
            tmp_path,
            RemoteConnection.of(connection),
            digest,
            callbacks=RecordingCallbacks(answer=False),
        )
    assert await approved(tmp_path) == []


async def test_yes_asks_nothing_but_still_fixes_the_org(
    tmp_path: Path, connection: Connection
) -> None:
    digest, callbacks = await sealed(tmp_path), RecordingCallbacks(answer=False)
    remote = RemoteConnection.of(connection)
    approval = await queue(tmp_path, remote, digest, yes=True, callbacks=callbacks)
    assert approval.org is not None
    assert callbacks.questions == []
    with pytest.raises(WrongOrgError, match="is expected"):
        await queue(tmp_path, remote, digest, yes=True, expect_org="1")


async def test_a_local_crm_is_not_contacted(tmp_path: Path) -> None:
    digest = await sealed(tmp_path)
    closed = Connection.from_values(
        api_url="http://127.0.0.1:9", accounts_url="http://127.0.0.1:9", access_token="x"
    )
    approval = await queue(tmp_path, closed, digest)
    assert (approval.org, approval.position) == (None, 1)
    with pytest.raises(RunStoppedError):
        await queue(tmp_path, RemoteConnection.of(closed), digest)


async def test_another_digest_or_a_run_that_cannot_be_sent_is_refused(
    tmp_path: Path, crm: LocalCrm, connection: Connection
) -> None:
    digest = await sealed(tmp_path)
    with pytest.raises(DigestError):
        await queue(tmp_path, connection, "0" * 64)
    with pytest.raises(RunDirError, match="not been sent"):
        await queue(tmp_path, connection, digest, resume=True)
    await apply(tmp_path / "run", connection)
    with pytest.raises(RunDirError, match="applied before"):
        await queue(tmp_path, connection, digest)
    with pytest.raises(RunDirError, match="finished"):
        await queue(tmp_path, connection, digest, resume=True)
    with pytest.raises(RunDirError, match="no such folder"):
        await queue_run(tmp_path / "nowhere", connection, expect=digest)
    assert await approved(tmp_path) == []


async def test_what_was_started_is_queued_to_be_resumed(
    tmp_path: Path, crm: LocalCrm, connection: Connection
) -> None:
    digest = await sealed(tmp_path)
    stopped = await apply(tmp_path / "run", connection, max_credits=3)
    assert stopped.stopped_by == "max-credits"
    with pytest.raises(DigestError):
        await queue(tmp_path, connection, "0" * 64, resume=True)
    with pytest.raises(DigestError):
        await resume(tmp_path / "run", connection, expect="0" * 64)
    approval = await queue(tmp_path, connection, digest, resume=True)
    assert approval.invocations == 1
    finished = await resume(tmp_path / "run", connection, expect=digest)
    assert finished.state == "finished"


async def test_a_job_is_queued_as_a_whole_and_none_of_its_shards_alone(
    tmp_path: Path, connection: Connection
) -> None:
    sealed_job = await seal(tmp_path)
    record = sealed_job.read()
    approval = await queue_run(sealed_job.path, connection, expect=record.digest)
    assert (approval.messages, approval.op) == (ROWS, "link")
    shard = sealed_job.shard(1, SHARDS)
    with pytest.raises(RunDirError, match="shard 1 of 3"):
        await queue_run(shard.path, connection, expect=record.entries[0].digest)


async def test_approvals_keep_the_order_in_which_they_were_given(
    tmp_path: Path, connection: Connection
) -> None:
    digests = {}
    for name in "cab":
        planned = await off_loop(plan, job(tmp_path, run_dir=tmp_path / name))
        digests[name] = planned.digest
    async with anyio.create_task_group() as group:
        for name, digest in digests.items():
            group.start_soon(partial(queue_run, tmp_path / name, connection, expect=digest))
    before = await approved(tmp_path)
    again = await queue_run(tmp_path / "c", connection, expect=digests["c"], accept_canary=True)
    found = await approved(tmp_path)
    assert [approval.position for approval in found] == [1, 2, 3]
    assert [approval.run for approval in found] == [approval.run for approval in before]
    assert again in found


async def test_a_state_folder_that_cannot_be_written_has_its_advice(
    tmp_path: Path, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = await sealed(tmp_path)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(ConfigError, match="XDG_STATE_HOME"):
        await queue(tmp_path, connection, digest)


async def test_a_run_that_is_sent_elsewhere_can_be_approved_meanwhile(
    tmp_path: Path, crm: LocalCrm, connection: Connection
) -> None:
    crm.gate.clear()
    async with anyio.create_task_group() as group:
        group.start_soon(run, job(tmp_path), connection)
        await crm.arrived.wait()
        digest = (await off_loop((tmp_path / "run" / "run.json").read_text)).split('"digest": "')[1]
        approval = await queue(tmp_path, connection, digest[:64], resume=True)
        crm.gate.set()
    assert approval.invocations == 1
