"""Screenshots for the documentation: a report, a review page and a sample to check.

The report is about a run against the emulator: at times other programs use some of the calls in
flight, calls for some contacts are refused, and some emails are on another deal. The other pages
are those of the tutorial. This takes about three minutes, and needs Chromium on the system.

    python benchmarks/pictures.py [report] [audit]
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright
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
def open_tab(page: Path, width: int, height: int) -> Iterator[Page]:
    """Open a page in a browser."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"))
        tab = browser.new_page(viewport={"width": width, "height": height}, color_scheme="light")
        tab.goto(page.as_uri())
        yield tab
        browser.close()


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


_PICTURES = {"report": picture_report, "audit": picture_audit}


def main() -> None:
    """Take the screenshots."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", nargs="*", choices=_PICTURES, default=list(_PICTURES))
    for page in parser.parse_args().pages:
        with tempfile.TemporaryDirectory() as folder:
            _PICTURES[page](Path(folder))


if __name__ == "__main__":
    main()
