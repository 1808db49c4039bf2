"""Screenshots for the documentation: report, review page, sample to check, and `bulklink ui`.

The report is about a run against the emulator: at times other programs use some of the calls in
flight, calls for some contacts are refused, and some emails are on another deal. Review and sample
are those of the tutorial. The page of `bulklink ui` is led from a mapping with faults to a run that
is verified. This takes about four minutes, and needs Chromium on the system.

    python benchmarks/pictures.py [report] [audit] [ui]
"""

from __future__ import annotations

import argparse
import csv
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Browser, FloatRect, Page, ViewportSize, expect, sync_playwright
from servers import BULKLINK, emulator_environment, serve

_DOCS = Path(__file__).parents[1] / "docs"
_WORLD = (
    *("--messages", "16000", "--contacts", "600", "--owners-per-contact", "2", "--users", "9"),
    *("--linked-wrong", "0.02", "--linked-right", "0.03", "--duplicates", "0.01"),
    *("--invalid", "0.004", "--seed", "4"),
)
_CRM = ("--latency", "0.4", "--concurrency", "20", "--background-plan", "12=9,24=0,36=5,48=0")
_REFUSING_CONTACTS = 12
"""Number of contacts whose emails cannot be linked to their deals."""
_TUTORIAL = ("--kind", "conversations", "--messages", "1500", "--seed", "400")
_SUBJECT = "Training Days 2025: Your proposal"
_HIDDEN_PARTS = (
    "nav, footer, #refused, #calls, #plan, #settings, #failures h3 ~ h3, #failures h3 ~ h3 ~ *"
)
_UI_WORLD = (
    *("--messages", "2400", "--contacts", "240", "--users", "7", "--linked-right", "0.03"),
    *("--names-missing", "1", "--seed", "7"),
)
_UI_CRM = ("--latency", "1.2", "--concurrency", "20")
_EARLIER_EMAILS = 240
"""Emails of each run that the page shows from before."""
_SHOWN_TITLE = re.compile("^[3-9][0-9]%")
"""Title of the page once the run has come so far that its picture is taken."""
_REST_OF_PLAN = "[aria-labelledby=faults], [aria-labelledby=settings], tr:nth-child(n+4)"
_PHONE = ViewportSize(width=390, height=844)
_MARGIN = 24
"""Pixels below what a screenshot shows."""


def run_bulklink(folder: Path, *words: str, env: dict[str, str] | None = None) -> None:
    """Run a command in a folder; ignore its exit code, as the screenshot shows failed rows."""
    subprocess.run([*BULKLINK, *words], cwd=folder, env=env, stdout=subprocess.DEVNULL, check=False)


@contextmanager
def serve_crm(folder: Path) -> Iterator[dict[str, str]]:
    """Serve the world in a folder; yield an environment that connects to it."""
    world = folder / "world.json"
    contacts = [contact["id"] for contact in json.loads(world.read_text("utf-8"))["contacts"]]
    faults = [
        f"NOT_ALLOWED,op=link,contact_id={contact}"
        for contact in contacts[::50][:_REFUSING_CONTACTS]
    ]
    words = [word for fault in faults for word in ("--fault", fault)]
    with serve([*BULKLINK, "emulator", "--world", str(world), *_CRM, *words]) as url:
        yield emulator_environment(url)


@contextmanager
def start_browser() -> Iterator[Browser]:
    """Start a browser."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"))
        yield browser
        browser.close()


@contextmanager
def open_tab(page: Path, width: int, height: int) -> Iterator[Page]:
    """Open a page in a browser."""
    with start_browser() as browser:
        tab = browser.new_page(viewport={"width": width, "height": height}, color_scheme="light")
        tab.goto(page.as_uri())
        yield tab


def picture_report(folder: Path) -> None:
    """Run, create the report, and take a screenshot without the parts that do not fit."""
    run_bulklink(folder, "generate", *_WORLD, "--out", str(folder), "--force")
    with serve_crm(folder) as env:
        link = ("link", "mapping.csv", "--run-dir", "change", "--on-invalid", "skip")
        options = ("--max-failures", "off", "--canary", "0", "--progress", "none")
        run_bulklink(folder, *link, *options, env=env)
    run_bulklink(folder, "report", "change")
    with open_tab(folder / "change" / "report.html", 1000, 700) as tab:
        tab.eval_on_selector_all(_HIDDEN_PARTS, "es => es.forEach(e => e.remove())")
        tab.screenshot(path=_DOCS / "report.png", full_page=True)


def picture_audit(folder: Path) -> None:
    """Audit the world of the tutorial, and take screenshots of its pages."""
    run_bulklink(folder, "generate", *_TUTORIAL, "--out", str(folder), "--force")
    world = folder / "world.json"
    with serve([*BULKLINK, "emulator", "--world", str(world)]) as url:
        audit = ("audit", "--contacts-where", "Last_Name != ''", "-o", "mapping.csv", "--force")
        run_bulklink(
            folder, *audit, "--check", "30", "--progress", "none", env=emulator_environment(url)
        )
    with open_tab(folder / "mapping.review.html", 1240, 1000) as tab:
        tab.locator("#rows [role=option]").first.wait_for()
        tab.fill("input[name=text]", "your proposal")
        tab.locator("#rows").get_by_text(_SUBJECT).first.click()
        tab.locator("#app").screenshot(path=_DOCS / "review.png")
    with open_tab(folder / "mapping.check.html", 1000, 760) as tab:
        tab.screenshot(path=_DOCS / "sample.png")


def write_ui_world(folder: Path) -> None:
    """Write a world with plain names, mappings of earlier runs, and one with faults."""
    run_bulklink(folder, "generate", *_UI_WORLD, "--out", str(folder), "--force")
    path = folder / "world.json"
    world = json.loads(path.read_text("utf-8"))
    world["org"]["company_name"] = "Zylker"
    for record, name in [(user, "full_name") for user in world["users"]] + [
        (deal, "name") for deal in world["deals"]
    ]:
        record[name] = re.sub(r" \d+$", "", record[name])
    path.write_text(json.dumps(world), "utf-8")
    with (folder / "mapping.csv").open(encoding="utf-8", newline="") as file:
        rows = [
            [row[name] for name in ("contact_id", "owner_id", "message_id", "deal_id")]
            for row in csv.DictReader(file)
        ]
    header = ["contact_id", "owner_id", "message_id", "deal_id"]
    earlier, rest = rows[: 2 * _EARLIER_EMAILS], rows[2 * _EARLIER_EMAILS :]
    write_rows(folder / "first-batch.csv", header, earlier[:_EARLIER_EMAILS])
    write_rows(folder / "second-batch.csv", header, earlier[_EARLIER_EMAILS:])
    rest[11][3], rest[40][3], rest[77][2] = "Fleet Renewal", "", "n/a"
    write_rows(folder / "renewals.csv", [*header[:3], "Opportunity"], rest)


def write_rows(path: Path, header: list[str], rows: list[list[str]]) -> None:
    """Write a CSV file."""
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])


@contextmanager
def serve_ui(folder: Path) -> Iterator[str]:
    """Serve the page of a folder with two earlier runs, one of them undone; yield its address."""
    world = ("--world", str(folder / "world.json"))
    with serve([*BULKLINK, "emulator", *world, *_UI_CRM]) as crm:
        env = emulator_environment(crm) | {
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_CONFIG_HOME": str(folder / "config"),
        }
        for name in ("first-batch", "second-batch"):
            link = ("link", f"{name}.csv", "--run-dir", f"runs/{name}", "--progress", "none")
            run_bulklink(folder, *link, "--canary", "0", env=env)
        undo = ("undo", "runs/first-batch", "--run-dir", "runs/undo-first-batch")
        run_bulklink(folder, *undo, "--progress", "none", env=env)
        ui = [*BULKLINK, "ui", "--no-browser", "--runs-dir", "runs"]
        with serve(ui, cwd=folder, env=env) as url:
            yield url


def picture_ui(folder: Path) -> None:
    """Lead the page from a mapping with faults to a verified run, and take screenshots."""
    write_ui_world(folder)
    with serve_ui(folder) as url, start_browser() as browser:
        tab = browser.new_page(viewport={"width": 1000, "height": 720}, color_scheme="light")
        tab.goto(url)
        tab.get_by_role("link", name="New mapping").click()
        tab.get_by_label("CSV, JSON").set_input_files(folder / "renewals.csv")
        tab.get_by_role("button", name="Check the mapping").click()
        check_draft(tab, "3 rows are refused")
        take(tab, "fault", hidden="[aria-labelledby=plan], main > form")
        tab.reload()
        tab.get_by_label("Invalid rows").select_option("Leave them out")
        tab.get_by_label("Look up missing names").select_option(index=1)
        check_draft(tab, "looked up in Zylker")
        take(tab, "plan", hidden=f"{_REST_OF_PLAN}, main > form")
        tab.reload()
        tab.get_by_role("button", name="Seal this plan").click()
        tab.get_by_role("link", name="Runs").click()
        tab.get_by_role("heading", name="Runs").wait_for()
        take(tab, "runs")
        tab.locator(".card a").first.click()
        tab.get_by_role("button", name="Approve and start").click()
        picture_active_run(tab)
        expect(tab.locator("h1 .badge")).to_contain_text("finished", timeout=120_000)
        tab.get_by_role("button", name="Verify").click()
        expect(tab.get_by_text("as recorded")).to_be_visible(timeout=120_000)
        take(tab, "ended")


def check_draft(tab: Page, text: str) -> None:
    """Check a mapping again if it was not, until its page shows a text."""
    again = tab.get_by_role("button", name="Check again")
    again.wait_for()
    again.click()
    expect(tab.get_by_text(text).first).to_be_visible(timeout=60_000)


def picture_active_run(tab: Page) -> None:
    """Take screenshots of a run that goes on, in the dark and on a phone."""
    expect(tab).to_have_title(_SHOWN_TITLE, timeout=120_000)
    size = tab.viewport_size
    assert size is not None
    tab.emulate_media(color_scheme="dark")
    take(tab, "running")
    tab.emulate_media(color_scheme="light")
    tab.set_viewport_size(_PHONE)
    take(tab, "phone")
    tab.set_viewport_size(size)


def take(tab: Page, name: str, hidden: str = "") -> None:
    """Take a screenshot of the whole page, without the parts that would not fit."""
    if hidden:
        tab.eval_on_selector_all(hidden, "es => es.forEach(e => e.remove())")
    box = tab.locator("main").bounding_box()
    assert box is not None
    assert tab.viewport_size is not None
    height = box["y"] + box["height"] + _MARGIN
    clip = FloatRect(x=0, y=0, width=tab.viewport_size["width"], height=height)
    tab.screenshot(path=_DOCS / f"ui-{name}.png", full_page=True, clip=clip)


_PICTURES = {"report": picture_report, "audit": picture_audit, "ui": picture_ui}


def main() -> None:
    """Take the screenshots."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", nargs="*", choices=[*_PICTURES, "all"], default="all")
    pages = parser.parse_args().pages
    for page in _PICTURES if "all" in pages else pages:
        with tempfile.TemporaryDirectory() as folder:
            _PICTURES[page](Path(folder))


if __name__ == "__main__":
    main()
