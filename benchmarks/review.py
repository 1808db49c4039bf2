"""Review page of a large audit: time to write it, its size, and what a browser does with it.

The file of verdicts is written as an audit writes it: conversations of two emails to change and one
that stays, each with four candidates, half of them sure. A long task is one in which the page
cannot answer for more than 50 ms, as Chromium reports it; "reading" is from the opening of the page
until it can be used, "using" is moving through the list, filters, and a bulk decision. Chromium is
the system's own.

    python benchmarks/review.py [--proposals 20000 200000] [--write]
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import NamedTuple

import msgspec
from playwright.sync_api import Page, sync_playwright
from tables import put_table, table

from bulklink.finding.link_origin import LinkFacts, LinkOrigin
from bulklink.finding.values import ContactFacts, DealFacts, EmailFacts, Person
from bulklink.finding.verdicts import CandidateScore, ChangeKind, EmailVerdict, Evidence, Tier
from bulklink.operations.auditing.files import AuditFiles, plan_audit_files
from bulklink.operations.auditing.judging import AuditNotes, HoldOutResult
from bulklink.operations.auditing.review import write_review
from bulklink.operations.auditing.rows import ContactRows

assert sys.platform != "win32", "Windows does not report the memory of child processes"
_KB = 1 if sys.platform == "darwin" else 1024
HEADER = (
    *("emails to change", "on the page", "written in", "memory", "page", "usable after"),
    *("long tasks reading", "longest", "long tasks using", "longest"),
)
_WORDS = ("offer", "delivery", "invoice", "visit", "prices", "cranes", "pumps", "contract", "plan")
_REASONS = (
    Evidence("named", 4.2, "its name is in the subject"),
    Evidence("owner", 2.6, "in the mailbox of its owner"),
    Evidence("alive", 0.5, "open"),
    Evidence("over", -1.4, "closed long before"),
)
_LONG_TASKS = """
window.longTasks = [];
new PerformanceObserver((list) => {
  window.longTasks.push(...list.getEntries().map((entry) => entry.duration));
}).observe({ entryTypes: ["longtask"] });
"""
_TAKE_LONG_TASKS = "window.longTasks.splice(0)"
_KEYS = "jjjjajjrjj2j"


class LongTasks(NamedTuple):
    """Long tasks of a page.

    Args:
        number: how many.
        longest: duration of the longest in milliseconds; 0 without any.
    """

    number: int
    longest: float


def conversation(number: int, random: Random) -> tuple[ContactFacts, list[EmailVerdict]]:
    """Return a contact with three deals and the verdicts on a conversation of three emails."""
    deals = tuple(
        DealFacts(
            str(5843104000030000000 + 3 * number + n),
            name=" ".join(random.sample(_WORDS, 2)) + f" {number}",
        )
        for n in range(3)
    )
    right, wrong, other = (deal.id for deal in deals)
    tail = tuple(random.sample(_REASONS, 3))
    scores = (
        CandidateScore(right, 0.99, _REASONS[:3]),
        CandidateScore(wrong, 0.006, tail),
        CandidateScore(None, 0.003, (Evidence("none", 1.7, "no deal of the contact"),)),
        CandidateScore(other, 0.001, tail),
    )
    subject = f"{' '.join(random.sample(_WORDS, 4))} {number}"
    tier = (Tier.SURE, Tier.LIKELY, Tier.SURE, Tier.LOOK)[number % 4]
    verdicts = []
    for place, deal_id in enumerate((wrong, right, None)):
        email = EmailFacts(
            f"{random.getrandbits(256):064x}",
            str(5843104000020000000 + number % 50),
            subject,
            1_770_000_000.0 + 3600 * number + 60 * place,
            "received",
            deal_id=deal_id,
            sender=Person(f"person{number}@customer{number % 999}.example", f"Person {number}"),
            owner_name=f"Owner {number % 50}",
        )
        kind = (ChangeKind.MOVE, None, ChangeKind.ATTACH)[place]
        link = LinkFacts(LinkOrigin.NONE if deal_id is None else LinkOrigin.RULE)
        verdict = EmailVerdict(email, 0, link, None, scores, confidence=0.99)
        if kind is not None:
            verdict = msgspec.structs.replace(verdict, kind=kind, deal_id=right, tier=tier)
        verdicts.append(verdict)
    emails = tuple(verdict.email for verdict in verdicts)
    return ContactFacts(str(5843104000010000000 + number), emails, deals), verdicts


def write_verdicts(proposals: int, folder: Path) -> AuditFiles:
    """Write mapping and verdicts of an audit with a number of proposals."""
    files = plan_audit_files(folder / "m.csv", None, spreadsheet=False, force=True)
    random = Random(proposals)
    notes = msgspec.json.encode(AuditNotes("strict", HoldOutResult()))
    with files.open(lambda: notes) as (mapping, verdict_table):
        for number in range(proposals // 2):
            rows = ContactRows(*conversation(number, random))
            mapping.write(rows.mapping_rows())
            verdict_table.write(rows.verdict_rows())
    return files


def make_page(files: AuditFiles) -> tuple[float, int]:
    """Write the page in a process; return the seconds taken and its peak memory in bytes."""
    started_at = time.perf_counter()
    child = os.fork()
    if child == 0:
        write_review(files.mapping)
        os._exit(0)
    _, status, usage = os.wait4(child, 0)
    if status:
        raise SystemExit("Writing the page failed.")
    return time.perf_counter() - started_at, usage.ru_maxrss * _KB


def use_page(page: Path) -> tuple[float, int, LongTasks, LongTasks]:
    """Return seconds until the page is usable, emails on it, and long tasks reading and using."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"))
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        tab.add_init_script(_LONG_TASKS)
        started_at = time.perf_counter()
        tab.goto(page.as_uri(), timeout=120_000)
        tab.wait_for_selector("#app:not([hidden])", timeout=120_000)
        seconds = time.perf_counter() - started_at
        reading = _long_tasks(tab)
        emails = sum(_numbers(tab.inner_text("#totals")))
        for key in _KEYS:
            tab.keyboard.press(key)
        tab.fill("input[name=text]", "cranes")
        tab.wait_for_timeout(400)
        tab.click("#accept-likely")
        tab.wait_for_timeout(400)
        tab.keyboard.press("Escape")
        tab.keyboard.press("End")
        tab.wait_for_timeout(400)
        using = _long_tasks(tab)
        browser.close()
    return seconds, emails, reading, using


def _numbers(text: str) -> Iterator[int]:
    for word in text.replace(",", "").split():
        if word.isdecimal():
            yield int(word)


def _long_tasks(tab: Page) -> LongTasks:
    durations = tab.evaluate(_TAKE_LONG_TASKS)
    return LongTasks(len(durations), max(durations, default=0))


def measure(proposals: int) -> tuple[str, ...]:
    """Return the line of the table for a number of proposals."""
    with tempfile.TemporaryDirectory() as name:
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            files = pool.submit(write_verdicts, proposals, Path(name)).result()
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            seconds, memory = pool.submit(make_page, files).result()
        usable, emails, reading, using = use_page(files.review)
        size = files.review.stat().st_size
    return (
        f"{proposals:,}",
        f"{emails:,}",
        f"{seconds:.1f} s",
        f"{memory / 1e6:.0f} MB",
        f"{size / 1e6:.1f} MB",
        f"{usable:.1f} s",
        *(
            cell
            for tasks in (reading, using)
            for cell in (f"{tasks.number}", f"{tasks.longest:.0f} ms")
        ),
    )


def main() -> None:
    """Measure pages of several sizes, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--proposals", type=int, nargs="+", default=[20_000, 200_000])
    parser.add_argument("--write", action="store_true", help="write the table to README.md")
    arguments = parser.parse_args()
    text = table(HEADER, list(map(measure, arguments.proposals)))
    print(text)
    if arguments.write:
        put_table("review", text)


if __name__ == "__main__":
    main()
