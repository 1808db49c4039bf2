"""Screenshot of a report for the README, taken from a run against the emulator.

At times other programs use some of the calls in flight, calls for some contacts are refused, and
some emails are on another deal. This takes about two minutes, and needs Chromium on the system.

    python benchmarks/picture.py [docs/report.png]
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

from playwright.sync_api import sync_playwright
from servers import BULKLINK, emulator_environment, serve

_PICTURE = Path(__file__).parents[1] / "docs" / "report.png"
_WORLD = (
    *("--messages", "16000", "--contacts", "600", "--owners-per-contact", "2", "--users", "9"),
    *("--linked-wrong", "0.02", "--linked-right", "0.03", "--duplicates", "0.01"),
    *("--invalid", "0.004", "--seed", "4"),
)
_CRM = ("--latency", "0.4", "--concurrency", "20", "--background-plan", "12=9,24=0,36=5,48=0")
_REFUSING_CONTACTS = 12
"""Number of contacts whose emails cannot be linked to their deals."""
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


def take_picture(page: Path, picture: Path) -> None:
    """Take a screenshot of a page, without the parts that do not fit."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"))
        tab = browser.new_page(viewport={"width": 1000, "height": 700}, color_scheme="light")
        tab.goto(page.as_uri())
        tab.eval_on_selector_all(_HIDDEN_PARTS, "es => es.forEach(e => e.remove())")
        tab.screenshot(path=picture, full_page=True)
        browser.close()


def main() -> None:
    """Run, create the report and take the screenshot."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", type=Path, nargs="?", default=_PICTURE, help="file to write")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run_bulklink(folder, "generate", *_WORLD, "--out", str(folder), "--force")
        with serve_crm(folder) as env:
            link = ("link", "mapping.csv", "--run-dir", "change", "--on-invalid", "skip")
            options = ("--max-failures", "off", "--canary", "0", "--progress", "none")
            run_bulklink(folder, *link, *options, env=env)
        run_bulklink(folder, "report", "change")
        take_picture(folder / "change" / "report.html", arguments.picture)


if __name__ == "__main__":
    main()
