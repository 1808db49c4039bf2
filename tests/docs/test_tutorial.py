"""The tutorial is followed from top to bottom, and every command prints what the page shows."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright

from tests.browser.open_page import find_chromium, in_thread
from tests.docs.tutorial import PAGE, Follower, mask


def answer_the_sample(folder: Path) -> None:
    """Write the verdicts of somebody who knows the right deal of every email."""
    truth = json.loads((folder / "crm" / "truth.json").read_text("utf-8"))
    right = {(row["contact_id"], row["message_id"]): row["deal_id"] for row in truth}
    sample = folder / "mapping.check.csv"
    with sample.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        headers, rows = list(reader.fieldnames or ()), list(reader)
    for row in rows:
        contact_id, message_id, deal_id = (
            row[name].strip('="') for name in ("contact_id", "message_id", "deal_id")
        )
        row["verdict"] = "right" if right[contact_id, message_id] == deal_id else "wrong"
    with sample.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, headers)
        writer.writeheader()
        writer.writerows(rows)


def accept_the_sure_proposals(folder: Path) -> None:
    """Accept the sure proposals on the review page, and download the mapping."""
    program = find_chromium()

    def accept() -> None:
        with sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=program)
            tab = browser.new_page()
            tab.goto((folder / "mapping.review.html").as_uri())
            tab.click("#accept-sure")
            with tab.expect_download() as download:
                tab.click("#download")
            name = download.value.suggested_filename
            assert name == "mapping.reviewed.csv"
            download.value.save_as(folder / name)
            browser.close()

    in_thread(accept)


ACTIONS: dict[str, Callable[[Path], None]] = {
    "answer the sample": answer_the_sample,
    "accept the sure proposals": accept_the_sure_proposals,
}
"""What the user does outside the terminal."""


@pytest.mark.timeout(300)  # a thousand calls, of which the command makes 50 a second at most
def test_the_tutorial_is_followed_word_for_word(tmp_path: Path) -> None:
    text = PAGE.read_text("utf-8")
    with Follower(tmp_path, ACTIONS) as follower:
        assert mask(follower.follow(text)) == mask(text)
