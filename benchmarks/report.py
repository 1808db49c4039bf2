"""HTML report of a large run: time to generate it, its size, and time until a browser shows it.

Each run folder is sealed by bulklink; its this script writes a ledger and a timeline like those of
a run of some hours with a pause of two days. Chromium is the system's own.

    python benchmarks/report.py [--messages 1000000] [--write]
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from playwright.sync_api import sync_playwright
from processes import measure
from tables import put_table, table

from bulklink.ledger.records import Result, result_line, timestamp
from bulklink.models import Op, Status
from bulklink.runs.folder import RunFolder
from bulklink.runs.record import Invocation, RunState
from bulklink.runs.timeline import TimelineInterval, append_interval

_STARTED_AT = 1_763_800_000.0
_PER_SECOND = 400
_DEALS, _OWNERS = 5_000, 500
_CODES = ("INVALID_DATA", "NOT_ALLOWED", "ALREADY_LINKED", "CANNOT_PROCESS", "not-listed")
_LOADS = 3
_OPENED = "performance.getEntriesByType('navigation')[0].loadEventEnd"


def cells(row: int) -> tuple[str, str, str, str]:
    """Return contact, owner, message and deal of a row, with ids as long as Zoho's."""
    contact = 5843104000010000000 + row // 8
    owner = 5843104000020000000 + contact % _OWNERS
    deal = 5843104000030000000 + contact % _DEALS
    return str(contact), str(owner), f"{row * 2654435761:064x}", str(deal)


def seal(messages: int, folder: Path) -> RunFolder:
    """Seal a plan of links for a number of messages."""
    mapping, run = folder / "mapping.csv", folder / "run"
    with mapping.open("w") as file:
        file.write("contact_id,owner_id,message_id,deal_id,owner_name,deal_name\n")
        for row in range(1, messages + 1):
            ids = cells(row)
            file.write(f"{','.join(ids)},Owner {ids[1][-3:]},Deal of a customer {ids[3][-4:]}\n")
    plan = [sys.executable, "-m", "bulklink", "plan", "--op", "link", "--run-dir", str(run)]
    subprocess.run([*plan, str(mapping)], check=True, stdout=subprocess.DEVNULL)
    return RunFolder(run)


def write_run(run: RunFolder, messages: int, failing: float) -> None:
    """Write the files of a finished run, in which a share of the messages failed."""
    with run.ledger.open("ab") as ledger:
        for row in range(1, messages + 1):
            ledger.write(result_line(timestamp(_settled_at(row)), _result(row, failing)))
    for interval in _make_intervals(messages):
        append_interval(run.timeline, interval)
    started, ended = timestamp(_STARTED_AT), timestamp(_settled_at(messages))
    invocation = Invocation(started, ended, messages / _PER_SECOND, None, 1)
    run.write(run.read().replace(state=RunState.FINISHED, invocations=(invocation,)))


def _settled_at(row: int) -> float:
    """Return when a row was settled; later rows are settled after a pause of two days."""
    return _STARTED_AT + row / _PER_SECOND + (2 * 86_400 if row / _PER_SECOND > 1250 else 0)


def _result(row: int, failing: float) -> Result:
    contact, owner, message, deal = cells(row)
    ids = (row, Op.LINK, contact, owner, message, deal)
    if row * 7919 % 1000 >= failing * 1000:
        return Result(*ids, Status.DONE, None, 200, "record linked successfully", 1, row // 20)
    code = _CODES[row * 31 % len(_CODES)]
    status = Status.IN_DOUBT if code == "not-listed" else Status.FAILED
    return Result(*ids, status, code, 400, f"the given data seems to be invalid ({row})", 1)


def _make_intervals(messages: int) -> Iterator[TimelineInterval]:
    for second in range(1, messages // _PER_SECOND + 1):
        yield TimelineInterval(
            ts=timestamp(_settled_at(second * _PER_SECOND)),
            seconds=1.0,
            settled={"done": 300, "failed": 100},
            calls={"link": 20, "unlink": 0, "read": 0, "lookup": 0},
            answered_429=int(second % 97 == 0),
            in_flight=9.5,
            most_in_flight=10.0,
            latency={0.25 + position / 50: 20 - position for position in range(20)},
            credits_left=None,
            waited=0.0,
            limited_by="calls in flight",
        )


def make_report(run: RunFolder) -> tuple[float, int]:
    """Generate the page; return the seconds taken and the peak resident memory in bytes."""
    figures = measure([sys.executable, "-m", "bulklink", "report", str(run.path)])
    return figures.seconds, figures.memory


def load_page(page: Path) -> tuple[float, float]:
    """Return the seconds until the page with its charts is loaded, and until rows are shown."""
    program = shutil.which("chromium")
    if program is None:
        raise SystemExit("Cannot find chromium.")
    loads, opens = [], []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program)
        for _ in range(_LOADS):
            tab = browser.new_page(viewport={"width": 1100, "height": 800})
            tab.goto(page.as_uri())
            assert tab.locator(".chart").count() == 4
            loads.append(tab.evaluate(_OPENED) / 1000)
            started_at = time.perf_counter()
            tab.click("details[data-field] > summary >> nth=0")
            tab.wait_for_selector("details[open] .rows tr >> nth=1")
            opens.append(time.perf_counter() - started_at)
            tab.close()
        browser.close()
    return median(loads), median(opens)


def main() -> None:
    """Measure runs in which few or all messages failed, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--write", action="store_true", help="write the table to README.md")
    arguments = parser.parse_args()
    lines = []
    for failing in (0.01, 1.0):
        with tempfile.TemporaryDirectory() as folder:
            run = seal(arguments.messages, Path(folder))
            write_run(run, arguments.messages, failing)
            seconds, memory = make_report(run)
            loaded, opened = load_page(run.html_report)
            size = run.html_report.stat().st_size
        lines.append(
            (
                f"{arguments.messages:,}",
                f"{failing:.0%}",
                f"{seconds:.1f} s",
                f"{memory / 1e6:.0f} MB",
                f"{size / 1e6:.2f} MB",
                f"{loaded:.2f} s",
                f"{opened:.2f} s",
            )
        )
    header = (
        "messages",
        "failed",
        "generated in",
        "memory",
        "page",
        "loaded in",
        "1,000 rows opened in",
    )
    text = table(header, lines)
    print(text)
    if arguments.write:
        put_table("report", text)


if __name__ == "__main__":
    main()
