"""The report of a run agrees with its folder: counts, rows, names, commands."""

from __future__ import annotations

import shutil
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bulklink.errors import InvalidRowsError, LedgerError, RunDirError
from bulklink.html_pages.report.model import Breakdown, Report
from bulklink.ledger.records import Result, result_line
from bulklink.models import Op, Status
from bulklink.operations.job import OnInvalid
from bulklink.runs.folder import RunFolder
from bulklink.runs.record import CanaryRecord, OrgRecord, RunState, UndoneRun
from tests.html_pages.report.run_folders import (
    HEADER,
    OWNERS,
    gather_report,
    mapping_rows,
    plan_run,
    render_page,
    result,
    write_results,
    write_timeline,
)

MANY = 600
ROWS = mapping_rows(MANY)
BAD = ("x", "71", "m", "500", "", "", "")
CODES = ["INVALID_DATA", "NOT_ALLOWED", "not-listed", None]


def result_of_row(row: int) -> Result:
    """Return the result of a row: a third fail with several codes, some are in doubt."""
    cells = ROWS[row - 1]
    if row % 3:
        return result(row, cells, Status.DONE)
    code = CODES[(row // 3) % 4]
    return result(row, cells, Status.IN_DOUBT if code == "not-listed" else Status.FAILED, code)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run of 600 emails, 200 of which failed, with a refused row and a duplicate."""
    run = plan_run(tmp_path_factory.mktemp("run"), [*ROWS, BAD, ROWS[0]])
    corrected = result(1, ROWS[0], Status.FAILED, "not-applied")
    write_results(run, [*map(result_of_row, range(1, MANY + 1)), corrected])
    write_timeline(run, 30)
    write_timeline(run, 30, after=timedelta(days=2), answered_429=1)
    with run.ledger.open("ab") as ledger:
        ledger.write(result_line("2026-11-22T12:01:00.000Z", result_of_row(1))[:-1])  # torn
    return run


@pytest.fixture(scope="module")
def full_report(run: RunFolder) -> Report:
    return gather_report(run)


def expected_failures() -> list[Result]:
    """Return the rows that failed or are in doubt, computed naively."""
    failures = [result_of_row(row) for row in range(2, MANY + 1) if row % 3 == 0]
    return [result(1, ROWS[0], Status.FAILED, "not-applied"), *failures]


def group_by(report: Report, field: str) -> Breakdown:
    (matching,) = (group for group in report.failures.breakdowns if group.field == field)
    return matching


def read_embedded_rows(report: Report) -> list[dict[str, Any]]:
    """Return the embedded rows as the page reads them."""
    read = msgspec.json.decode(report.embedded_rows or b"null")
    return [
        {
            name: read["texts"][name][cell] if name in read["texts"] and cell is not None else cell
            for name, cell in zip(read["columns"], cells, strict=True)
        }
        for cells in read["rows"]
    ]


def test_every_row_is_counted_once_by_its_last_result(full_report: Report) -> None:
    assert full_report.accounting.rows == MANY + 2
    assert sum(full_report.accounting.by_status.values()) == full_report.accounting.rows
    assert full_report.accounting.by_status == {
        "done": 399,
        "failed": 151,
        "in_doubt": 50,
        "rejected": 1,
        "duplicate": 1,
    }
    assert full_report.failures.rows == 201
    assert full_report.refused.rows == 1


def test_failures_are_counted_by_code_deal_and_owner(full_report: Report) -> None:
    failures = expected_failures()
    codes = Counter(item.code or f"HTTP {item.http_status}" for item in failures)
    assert {item.label: item.count for item in group_by(full_report, "code").groups} == codes
    deals = Counter(item.deal_id for item in failures)
    assert {item.label: item.count for item in group_by(full_report, "deal").groups} == deals
    owners = Counter(item.owner_id for item in failures)
    assert {item.label: item.count for item in group_by(full_report, "owner").groups} == owners
    assert {item.label: item.name for item in group_by(full_report, "owner").groups} == {
        owner: OWNERS[owner or ""] for owner in owners
    }
    assert [item.count for item in group_by(full_report, "deal").groups] == sorted(
        deals.values(), reverse=True
    )
    assert {
        item.in_doubt for item in group_by(full_report, "code").groups if item.label == "not-listed"
    } == {50}


def test_a_group_has_advice_and_an_export_command(full_report: Report) -> None:
    groups = {item.label: item for item in group_by(full_report, "code").groups}
    assert groups["NOT_ALLOWED"].advice.startswith("The contact is not on that deal")
    run = full_report.identity.folder if full_report.identity else ""
    export = f"bulklink export {run} --status"
    assert groups["NOT_ALLOWED"].command == f"{export} failed --code NOT_ALLOWED -o again.csv"
    assert groups["not-listed"].command == f"{export} in_doubt --code not-listed -o again.csv"
    assert groups["HTTP 400"].command == ""  # a row without a code has none to be chosen by
    assert full_report.failures.command == f"{export} failed --status in_doubt -o again.csv"
    (reason,) = full_report.refused.breakdowns[0].groups
    assert (reason.label, reason.command) == (
        "bad-id",
        f"{export} rejected --code bad-id -o again.csv",
    )


def test_each_row_is_embedded_once_with_all_its_fields(full_report: Report) -> None:
    rows = read_embedded_rows(full_report)
    assert [item["row"] for item in rows] == sorted(
        [*(item.row for item in expected_failures()), MANY + 1]
    )
    third = next(item for item in rows if item["row"] == 3)
    assert third == {
        "row": 3,
        "op": "link",
        "contact": "100",
        "owner": "73",
        "message": "m00003",
        "deal": "502",
        "status": "failed",
        "code": "NOT_ALLOWED",
        "text": "said of row 3",
        "time": "2026-11-22 12:00:00+00:00",
    }
    for group in full_report.failures.breakdowns:
        assert [item.embedded for item in group.groups] == [item.count for item in group.groups]


def test_under_a_size_limit_each_group_keeps_some_rows(run: RunFolder) -> None:
    report = gather_report(run, max_bytes=3000)
    rows = read_embedded_rows(report)
    assert 20 < len(rows) < 60
    for group in report.failures.breakdowns:
        for item in group.groups:
            of_class = [row for row in rows if row[group.field] == item.key]
            assert item.embedded == sum(row["status"] != "rejected" for row in of_class)
            assert item.embedded >= min(3, item.count)


def test_rare_late_failures_are_embedded_too(tmp_path: Path) -> None:
    codes = ["INVALID_DATA"] * 290 + ["NOT_ALLOWED"] * 10
    failing = [result(n, ROWS[n - 1], Status.FAILED, code) for n, code in enumerate(codes, start=1)]
    run = write_results(plan_run(tmp_path, ROWS[:300]), failing)
    often, rarely = group_by(gather_report(run, max_bytes=4000), "code").groups
    assert 10 < often.embedded < 60
    assert rarely.embedded == rarely.count == 10


def test_groups_beyond_the_largest_are_summed(tmp_path: Path) -> None:
    rows = mapping_rows(110, deals=100)
    run = write_results(
        plan_run(tmp_path, rows),
        [result(n, cells, Status.FAILED, "X") for n, cells in enumerate(rows, 1)],
    )
    group = group_by(gather_report(run), "deal")
    assert len(group.groups) == 40
    assert [item.count for item in group.groups[:11]] == [2] * 10 + [1]
    assert (group.other_groups, group.other_rows) == (60, 60)


def test_the_timeline_shows_its_pause(full_report: Report) -> None:
    assert full_report.charts is not None
    assert full_report.charts.answered_429 == 30
    assert [pause.length for pause in full_report.charts.pauses] == ["2 d"]
    throughput, in_flight, latency, answered_429 = full_report.charts.charts
    assert len(full_report.charts.middles) == len(throughput.rows) == 60
    assert throughput.rows[0] == ("22 Nov 12:00:00", "18", "2")
    assert in_flight.rows[0][1:] == ("8", "10")
    assert latency.rows[0][1:] == ("0.25", "0.5", "1.5")
    assert [row[1] for row in answered_429.rows] == ["0"] * 30 + ["1"] * 30


def test_the_headline_has_rate_credits_and_latency(full_report: Report) -> None:
    assert [(figure.name, figure.value) for figure in full_report.headline] == [
        ("Rate", "20 emails/s"),
        ("Credits", "1"),
        ("95 % of calls within", "499 ms"),
    ]
    assert full_report.calls.rate == ("Rate: 20 emails/s; calls: p50 250 ms, p95 499 ms, p99 1.5 s")


def test_without_a_timeline_throughput_comes_from_the_ledger(tmp_path: Path) -> None:
    run = write_results(
        plan_run(tmp_path, ROWS[:100]),
        [result(n, ROWS[n - 1], Status.DONE) for n in range(1, 101)],
    )
    report = gather_report(run)
    assert report.charts is not None
    assert report.charts.answered_429 is None
    (throughput,) = report.charts.charts
    assert [row[1:] for row in throughput.rows] == [("20",)] * 5
    assert "were not recorded for this run" in render_page(run)


def test_the_report_of_a_planned_run_is_for_approval(tmp_path: Path) -> None:
    run = plan_run(tmp_path, [*ROWS[:90], BAD, ROWS[0]], op=Op.RELINK)
    report = gather_report(run)
    assert report.plan is not None
    (op,) = report.plan.ops
    assert (op.op, op.emails, op.contacts, op.owners, op.deals) == ("relink", 90, 9, 3, 5)
    assert [(item.record and item.record.name, item.emails) for item in report.plan.deals] == [
        (f"Deal {n}", 18) for n in range(5)
    ]
    assert len(report.plan.sample) == 18
    assert report.accounting.by_status == {"pending": 90, "rejected": 1, "duplicate": 1}
    assert report.calls.credits.forecast is not None
    written = render_page(run)
    command = f"bulklink apply {run.path} --expect {run.read().digest}"
    assert command in written
    assert "<code>bulklink undo</code> puts the email back" in written
    assert "Signature" in written


def test_a_plan_that_cannot_be_undone_says_so(tmp_path: Path) -> None:
    run = plan_run(tmp_path, ROWS[:3], op=Op.UNLINK, snapshot=False)
    assert gather_report(run).undo.startswith("It cannot be undone")


def test_the_report_of_a_refused_run_has_the_reasons(tmp_path: Path) -> None:
    with pytest.raises(InvalidRowsError):
        plan_run(tmp_path, [*ROWS[:5], BAD, BAD], on_invalid=OnInvalid.STOP)
    report = gather_report(RunFolder(tmp_path / "run"))
    assert report.state == "refused"
    (reason,) = report.refused.breakdowns[0].groups
    assert (reason.label, reason.count, reason.embedded, reason.command) == ("bad-id", 2, 2, "")
    assert read_embedded_rows(report)[0]["text"].endswith("mapping.csv:7, contact_id: x")
    assert report.accounting.by_status["rejected"] == 2


def test_a_copy_on_another_machine_has_the_same_report(run: RunFolder, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "copy")
    copied = gather_report(RunFolder(tmp_path / "copy"))
    assert copied.accounting == gather_report(run).accounting
    assert read_embedded_rows(copied) == read_embedded_rows(gather_report(run))


def test_a_damaged_ledger_is_refused(tmp_path: Path) -> None:
    run = plan_run(tmp_path, ROWS[:3])
    with run.ledger.open("ab") as ledger:
        ledger.write(b"{\n")
    with pytest.raises(LedgerError):
        gather_report(run)
    with pytest.raises(RunDirError):
        gather_report(RunFolder(tmp_path))


MARK = "7777777777"
NAME = "Zebra"


@pytest.fixture(scope="module")
def marked_run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run with a marker in all personal data."""
    folder = tmp_path_factory.mktemp(f"{NAME}-host")
    rows = [
        (*(f"{MARK}{n}" for n in range(4)), f"{NAME} owner", f"{NAME} deal", f"{NAME} note"),
        (f"{MARK}0", f"{MARK}1", f"{MARK}9", f"{MARK}3", "", "", ""),
        (f"{NAME}", "71", "m", "500", "", "", ""),
    ]
    run = plan_run(
        folder,
        rows,
        file=f"{NAME}.csv",
        run=f"{NAME}-run",
        header=(*HEADER[:5], f"{NAME} deals", f"{NAME} notes"),
        columns=(("deal_name", f"{NAME} deals"),),
        defaults=(("deal_name", f"{NAME} default"),),
        keep=(f"{NAME} notes",),
    )
    doubtful = [
        result(1, rows[0], Status.FAILED, f"{NAME}_CODE", message=f"{NAME} said {MARK}"),
        result(2, rows[1], Status.IN_DOUBT, "not-listed", previous_deal_id=f"{MARK}8"),
    ]
    write_results(run, doubtful)
    write_timeline(run, 3)
    run.write(
        run.read().replace(
            org=OrgRecord(MARK, f"{NAME} org", "Sandbox"),
            api_url=f"https://{NAME}.example",
            reason=f"{NAME} {MARK}",
            canary=CanaryRecord(2, found=f"{NAME} {MARK}"),
            undo_of=UndoneRun(f"/{NAME}/run", MARK, "d" * 64),
        )
    )
    return run


def test_counts_only_has_no_personal_data(marked_run: RunFolder) -> None:
    everything = render_page(marked_run)
    counts = render_page(marked_run, full=False)
    for mark in (MARK, NAME):
        assert mark in everything
        assert mark.lower() not in counts.lower()
    gathered = msgspec.json.encode(gather_report(marked_run, full=False)).decode().lower()
    assert MARK not in gathered
    assert NAME.lower() not in gathered
    assert 'id="kept"' not in counts
    assert "another code" in counts
    assert "not-listed" in counts


def test_counts_only_has_the_counts_of_the_full_report(run: RunFolder, full_report: Report) -> None:
    counts = gather_report(run, full=False)
    assert counts.accounting == full_report.accounting
    assert counts.calls == full_report.calls
    assert counts.charts == full_report.charts
    assert [[item.count for item in group.groups] for group in counts.failures.breakdowns] == [
        [item.count for item in group.groups] for group in full_report.failures.breakdowns
    ]
    assert counts.commands.retry == "bulklink retry RUN"


def test_texts_of_users_and_the_crm_are_escaped(tmp_path: Path) -> None:
    evil = "</script><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }}"
    rows = [("1", "71", "m1", "500", evil, evil, evil)]
    run = plan_run(tmp_path, rows)
    write_results(
        run, [result(1, rows[0], Status.FAILED, "X", message=evil)], state=RunState.STOPPED
    )
    record = run.read()
    run.write(record.replace(org=OrgRecord("1", evil, evil), stopped_by=evil))
    written = render_page(run)
    assert "<script>alert" not in written
    assert "<img" not in written
    assert written.count("</script>") == 2  # the rows, and the script
    assert "&lt;script&gt;alert(1)" in written
    assert "7*7" in written


def test_an_active_run_is_reported_as_running(tmp_path: Path) -> None:
    run = write_results(plan_run(tmp_path, ROWS[:9]), [result_of_row(1)], state=RunState.RUNNING)
    with run.run_lock():
        report = gather_report(run)
        assert report.state == "running"
        assert report.accounting.by_status == {"done": 1, "pending": 8}
    assert gather_report(run).stopped_by == "killed"
    assert gather_report(run).commands.resume == f"bulklink resume {run.path}"


def test_only_the_last_commands_are_listed(tmp_path: Path) -> None:
    run = write_results(plan_run(tmp_path, ROWS[:3]), [result_of_row(1)], state=RunState.STOPPED)
    record = run.read()
    run.write(record.replace(invocations=record.invocations * 1000))
    report = gather_report(run)
    assert (len(report.invocations), report.total_invocations) == (100, 1000)
    assert "The last 100 of 1,000 commands" in render_page(run)


def test_an_unreadable_timeline_is_named(tmp_path: Path) -> None:
    run = write_results(plan_run(tmp_path, ROWS[:3]), [result_of_row(1)])
    run.timeline.mkdir()
    with pytest.raises(RunDirError, match="This is a folder"):
        gather_report(run)
