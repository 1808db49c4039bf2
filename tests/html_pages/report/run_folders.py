"""Run folders for reports, without a CRM: a sealed plan and the lines of a ledger."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from bulklink.html_pages.report.model import Report
from bulklink.html_pages.report.render import render_report
from bulklink.ledger.records import CallLine, Result, call_line, result_line, timestamp
from bulklink.models import Op, Status
from bulklink.operations.job import Job, OnInvalid
from bulklink.operations.plan import plan
from bulklink.operations.report.collect import collect_report
from bulklink.runs.folder import RunFolder
from bulklink.runs.hashes import ledger_hash
from bulklink.runs.record import Invocation, OrgRecord, RunState
from bulklink.runs.timeline import TimelineInterval, append_interval

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
NOW = NOON.timestamp() + 3600
OWNERS = {"71": "Patricia Boyle", "72": "Jacob Lindner", "73": "Ana Salas"}
HEADER = ("contact_id", "owner_id", "message_id", "deal_id", "owner_name", "deal_name", "Note")


def mapping_rows(count: int, *, deals: int = 5, name: str = "Deal") -> list[tuple[str, ...]]:
    """Return rows of a mapping: ten emails a contact, deals and owners in turn."""
    owners = list(OWNERS.items())
    return [
        (
            str(100 + n // 10),
            owners[n % 3][0],
            f"m{n + 1:05}",
            str(500 + n % deals),
            owners[n % 3][1],
            f"{name} {n % deals}",
            "seen",
        )
        for n in range(count)
    ]


def plan_run(folder: Path, rows: Sequence[tuple[str, ...]], **options: Any) -> RunFolder:
    """Seal the plan of a mapping in a run folder."""
    mapping = folder / options.pop("file", "mapping.csv")
    with mapping.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([options.pop("header", HEADER), *rows])
    run = RunFolder(folder / options.pop("run", "run"))
    options = {"op": Op.LINK, "on_invalid": OnInvalid.SKIP} | options
    plan(Job(mappings=(str(mapping),), run_dir=run.path, **options))
    return run


def result(
    row: int, cells: tuple[str, ...], status: Status, code: str | None = None, **changes: Any
) -> Result:
    """Return the result of a row of `mapping_rows`."""
    contact, owner, message, deal = cells[:4]
    http_status = 200 if status is Status.DONE else 400
    fields: dict[str, Any] = {
        "http_status": http_status,
        "message": f"said of row {row}",
        "attempts": 1,
    }
    return Result(row, Op.LINK, contact, owner, message, deal, status, code, **(fields | changes))


def write_results(
    run: RunFolder,
    results: Iterable[Result],
    *,
    state: RunState = RunState.FINISHED,
    stopped_by: str | None = None,
    seconds: float = 60.0,
    per_second: int = 20,
) -> RunFolder:
    """Add results to a run's ledger, n per second from noon on, and end the run."""
    with run.ledger.open("ab") as ledger:
        first = CallLine(1, "link", 1, "100", (1,))
        ledger.write(call_line(timestamp(NOON.timestamp()), first))
        for number, item in enumerate(results):
            ledger.write(result_line(timestamp(NOON.timestamp() + number / per_second), item))
    started, ended = timestamp(NOON.timestamp()), timestamp(NOON.timestamp() + seconds)
    record = run.read()
    run.write(
        record.replace(
            state=state,
            stopped_by=stopped_by,
            org=OrgRecord("60001", "Harbour Insurance", "Sandbox"),
            api_url="https://www.zohoapis.eu",
            data_centre="eu",
            invocations=(
                *record.invocations,
                Invocation(started, ended, seconds, stopped_by, 3 if stopped_by else 1),
            ),
            **ledger_hash(run.ledger),
        )
    )
    return run


def write_timeline(
    run: RunFolder, seconds: int, *, after: timedelta = timedelta(), **changes: Any
) -> None:
    """Add n seconds to a run's timeline, from noon on or later."""
    for second in range(1, seconds + 1):
        moment = NOON + after + timedelta(seconds=second)
        fields: dict[str, Any] = {
            "ts": timestamp(moment.timestamp()),
            "seconds": 1.0,
            "settled": {"done": 18, "failed": 2},
            "calls": {"link": 1, "unlink": 0, "read": 0, "lookup": 0},
            "answered_429": 0,
            "in_flight": 8.0,
            "most_in_flight": 10.0,
            "latency": {"0.25": 18, "0.5": 1, "1.5": 1},
            "credits_left": None,
            "waited": 0.0,
            "limited_by": "calls in flight",
        }
        append_interval(
            run.timeline, msgspec.convert(fields | changes, TimelineInterval, strict=False)
        )


def gather_report(run: RunFolder, **options: Any) -> Report:
    """Return the report of a run."""
    return collect_report(run, NOW, **({"zone": UTC} | options))


def render_page(run: RunFolder, **options: Any) -> str:
    """Return the page of a run."""
    return render_report(gather_report(run, **options), UTC)
