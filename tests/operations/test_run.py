"""Jobs run by a program against the emulator over a socket."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest

from bulklink import (
    BulklinkError,
    ConfirmationRequest,
    Connection,
    Job,
    Result,
    RunCallbacks,
    RunProgress,
    plan,
    run,
)
from bulklink.errors import (
    DigestError,
    InvalidRowsError,
    LedgerError,
    NotConfirmedError,
    RefusedError,
    RunDirError,
    WrongOrgError,
)
from bulklink.ledger.done_batch import DoneBatch, done_lines
from bulklink.operations.invocation import with_end_state
from bulklink.operations.preflight import check_same_host, check_same_org, confirm_changes
from bulklink.operations.resume import apply, retry
from bulklink.runs.folder import RunFolder
from bulklink.runs.record import OrgRecord, RunRecord, RunState
from bulklink.runs.status import CallCounts
from bulklink.runs.timeline import read_timeline
from bulklink.zoho.lookup_responses import Org
from tests.guard import off_loop
from tests.operations.local_crm import CONTACT, DEAL, FOREIGN, OWNER, LocalCrm, job, message


def sum_of(calls: CallCounts) -> int:
    """Return the calls of all kinds."""
    return calls.link + calls.unlink + calls.read + calls.lookup


class RecordingCallbacks(RunCallbacks):
    """Records its calls."""

    def __init__(self, answer: bool | None = None) -> None:
        self.can_ask = answer is not None
        self.answer = answer
        self.phases: list[str] = []
        self.warnings: list[str] = []
        self.progress_calls: list[RunProgress] = []
        self.failed: list[Result] = []
        self.questions: list[ConfirmationRequest] = []

    def on_phase(self, text: str) -> None:
        self.phases.append(text)

    def on_warning(self, text: str) -> None:
        self.warnings.append(text)

    def on_progress(self, progress: RunProgress) -> None:
        self.progress_calls.append(progress)

    def on_failure(self, result: Result) -> None:
        self.failed.append(result)

    def confirm(self, question: ConfirmationRequest) -> bool:
        self.questions.append(question)
        return bool(self.answer)


async def test_callbacks_report_the_progress_of_a_run(
    tmp_path: Path, connection: Connection
) -> None:
    callbacks = RecordingCallbacks()
    summary = await run(job(tmp_path), connection, callbacks=callbacks)
    assert (summary.counts["done"], summary.exit_code) == (30, 0)
    assert callbacks.phases == [
        "Checking the mapping",
        "Looking up the org",
        "Looking up names",
        "Sending",
    ]
    settled = [progress.settled for progress in callbacks.progress_calls]
    assert settled == sorted(settled)
    assert settled[-1] == callbacks.progress_calls[-1].rows == 30
    metrics = callbacks.progress_calls[-1].metrics
    assert (metrics.credits_spent, metrics.max_in_flight) == (sum_of(summary.calls), 20)
    # The run ended before its rate was known.
    assert (metrics.rate, metrics.seconds_left) == (None, None)


async def test_the_timeline_covers_all_results_and_calls_of_all_commands(
    tmp_path: Path, connection: Connection
) -> None:
    summary = await run(job(tmp_path, rows=2, deal=FOREIGN), connection)
    folder = RunFolder(tmp_path / "run")
    first = await off_loop(list, read_timeline(folder.timeline))
    assert sum(stretch.settled.get("failed", 0) for stretch in first) == 2
    assert {str(k): sum(stretch.calls[k] for stretch in first) for k in first[0].calls} == {
        kind: getattr(summary.calls, kind) for kind in ("link", "unlink", "read", "lookup")
    }
    assert sum(sum(stretch.latency.values()) for stretch in first) == sum_of(summary.calls)
    summary = await retry(folder, connection)
    stretches = await off_loop(list, read_timeline(folder.timeline))
    assert stretches[: len(first)] == first
    assert sum(stretch.settled.get("failed", 0) for stretch in stretches) == 4
    assert sum(sum(stretch.calls.values()) for stretch in stretches) == sum_of(summary.calls)


async def test_earlier_failures_are_counted_by_code_unless_they_are_retried(
    tmp_path: Path, connection: Connection
) -> None:
    first_job = job(tmp_path, rows=2, deal=FOREIGN)
    with (tmp_path / f"mapping-2-{FOREIGN}.csv").open("a", encoding="utf-8") as file:
        file.write(f"{CONTACT},{OWNER},{'f' * 64},{DEAL}\n")
    await run(first_job, connection)
    callbacks = RecordingCallbacks()
    await retry(tmp_path / "run", connection, code="NOT_ALLOWED", callbacks=callbacks)
    first, last = callbacks.progress_calls[0], callbacks.progress_calls[-1]
    (other,) = first.failure_codes
    assert other != "NOT_ALLOWED"
    assert (first.settled, first.failure_codes) == (1, {other: 1})
    assert (last.settled, last.failure_codes) == (3, {other: 1, "NOT_ALLOWED": 2})


async def test_rows_for_another_contacts_deal_cause_a_warning_and_fail(
    tmp_path: Path, connection: Connection
) -> None:
    callbacks = RecordingCallbacks()
    summary = await run(job(tmp_path, rows=2, deal=FOREIGN), connection, callbacks=callbacks)
    assert summary.counts["failed"] == 2
    assert {result.code for result in callbacks.failed} == {"NOT_ALLOWED"}
    foreign = "2 rows link an email to a deal of another contact (row 1, 2)"
    assert any(foreign in warning for warning in callbacks.warnings)


async def test_a_sealed_plan_is_sent_as_it_was_approved(
    tmp_path: Path, connection: Connection, crm: LocalCrm
) -> None:
    report = plan(job(tmp_path))
    assert crm.state.calls.total() == 0
    (tmp_path / "mapping-30-5843104000004382122.csv").unlink()  # the folder is all it takes
    moved = RunFolder(tmp_path / "moved")
    shutil.move(tmp_path / "run", moved.path)
    summary = await apply(moved, connection, expect=report.digest)
    assert (summary.counts["done"], summary.calls.link) == (30, report.calls.link)
    with pytest.raises(RunDirError, match="applied before"):
        await apply(moved, connection)


async def test_a_plan_other_than_the_approved_one_is_refused(
    tmp_path: Path, connection: Connection, crm: LocalCrm
) -> None:
    plan(job(tmp_path))
    with pytest.raises(DigestError, match="not 9f86"):
        await apply(tmp_path / "run", connection, expect="9f86")
    other = plan(job(tmp_path, rows=20, run_dir=tmp_path / "other"))
    assert other.run_dir is not None
    shutil.copy(Path(other.run_dir) / "plan.parquet", tmp_path / "run" / "plan.parquet")
    with pytest.raises(DigestError, match="changed since it was sealed"):
        await apply(tmp_path / "run", connection)
    assert crm.state.calls.total() == 0


async def test_a_result_that_was_counted_but_not_written_is_noticed(
    tmp_path: Path, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def all_but_the_first(ts: str, batch: DoneBatch, message_ids: Sequence[str]) -> bytes:
        return b"".join(done_lines(ts, batch, message_ids).splitlines(keepends=True)[1:])

    monkeypatch.setattr("bulklink.engine.contact.done_lines", all_but_the_first)
    with pytest.raises(LedgerError, match="does not add up"):
        await run(job(tmp_path, rows=3), connection)


async def test_a_ledger_of_another_plan_is_refused(tmp_path: Path, connection: Connection) -> None:
    await run(job(tmp_path, rows=2, deal=FOREIGN), connection)
    folder = RunFolder(tmp_path / "run")
    content = folder.ledger.read_bytes().replace(message(0).encode(), message(9).encode())
    folder.ledger.write_bytes(content)
    with pytest.raises(LedgerError, match="have changed since the run last stopped"):
        await retry(folder, connection)
    record = orjson.loads(folder.record.read_bytes())
    folder.record.write_bytes(
        orjson.dumps(record | {"ledger_sha256": hashlib.sha256(content).hexdigest()})
    )
    with pytest.raises(DigestError, match="differ at row 1"):
        await retry(folder, connection)


UNREACHABLE = Connection.from_environment({"BULKLINK_DC": "eu", "BULKLINK_ACCESS_TOKEN": "x"})
RECORD = RunRecord(
    version="1", op="link", asked={}, inputs=(), created="", messages=12_040, rows=12_040
)
LIVE = Org("1", "Acme", "Production")


@pytest.mark.parametrize(
    ("org", "yes", "answer"),
    [(LIVE, True, None), (LIVE, False, True), (Org("1", "Acme", "Sandbox"), False, None)],
    ids=["--yes", "a person says yes", "a sandbox with nobody to ask"],
)
def test_an_org_may_be_changed(org: Org, yes: bool, answer: bool | None) -> None:
    callbacks = RecordingCallbacks(answer)
    confirm_changes(org, RECORD, Job(mappings=("m",), yes=yes), UNREACHABLE, callbacks)
    if answer:
        assert callbacks.questions == [ConfirmationRequest("Acme", "Production", "link", 12_040)]


@pytest.mark.parametrize(
    ("org", "answer"),
    [(LIVE, False), (LIVE, None), (Org(), None)],
    ids=["a person says no", "nobody to ask", "an org of which nothing is known"],
)
def test_an_org_is_not_changed(org: Org, answer: bool | None) -> None:
    with pytest.raises(NotConfirmedError):
        confirm_changes(org, RECORD, Job(mappings=("m",)), UNREACHABLE, RecordingCallbacks(answer))


@pytest.mark.parametrize(
    ("refusal", "state"),
    [
        (NotConfirmedError("no"), RunState.PLANNED),
        (WrongOrgError("other"), RunState.PLANNED),
        (InvalidRowsError("rows"), RunState.REFUSED),
    ],
    ids=["not confirmed", "another org", "refused rows"],
)
def test_a_plan_that_was_not_confirmed_can_still_be_sent(
    refusal: RefusedError, state: RunState
) -> None:
    planned = RECORD.replace(state=RunState.PLANNED)
    ended = with_end_state(planned.replace(state=RunState.RUNNING), planned, None, refusal)
    assert ended.state is state


def raises_with(error: type[BulklinkError], *texts: str) -> Any:
    return pytest.raises(error, match="(?s)" + ".*".join(texts))


def test_a_run_continues_only_on_its_own_host() -> None:
    began = RECORD.replace(
        api_url=UNREACHABLE.api_url, data_centre="eu", org=OrgRecord("1", "Acme")
    )
    check_same_host(began, UNREACHABLE)
    check_same_org(began, Org("1", "Acme"))
    check_same_org(began, Org())  # where it cannot be read
    with raises_with(WrongOrgError, "Acme", "Other"):
        check_same_org(began, Org("2", "Other"))
    us = Connection.from_environment({"BULKLINK_DC": "us", "BULKLINK_ACCESS_TOKEN": "x"})
    with raises_with(WrongOrgError, "zohoapis.eu", "zohoapis.com"):
        check_same_host(began, us)


def test_loopback_ports_may_differ() -> None:
    began = RECORD.replace(api_url="http://127.0.0.1:1234", data_centre=None)
    local = {"BULKLINK_API_URL": "http://127.0.0.1:4321", "BULKLINK_ACCESS_TOKEN": "x"}
    check_same_host(began, Connection.from_environment(local))
