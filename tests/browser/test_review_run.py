"""The mapping that a review page offers is what `bulklink run` takes, once and again."""

from __future__ import annotations

import json
from pathlib import Path

from playwright.sync_api import Browser

from tests.browser.open_page import OpenPage
from tests.e2e.command import Command
from tests.e2e.mixed_up import all_contacts, deal_id, message_id, mixed_up_world
from tests.e2e.servers import serve_world_file

CONTACTS = 2
QUICK = ("--rate", "off", "--json")


def test_what_is_accepted_is_sent_and_a_second_time_changes_nothing(
    chromium: Browser, tmp_path: Path
) -> None:
    world = tmp_path / "world.json"
    world.write_text(json.dumps(mixed_up_world(CONTACTS)), "utf-8")
    with serve_world_file(world, "--tokens-per-window", "0") as emulator:
        bulklink = Command(tmp_path).with_env(**emulator.env())
        audited = bulklink.run_in_subprocess(
            "audit", *all_contacts(CONTACTS), "-o", "m.csv", *QUICK
        )
        assert audited.code == 1, audited
        tab = OpenPage(chromium.new_page(), tmp_path / audited.object["files"]["review"]).tab
        tab.wait_for_selector("#app:not([hidden])")
        tab.click("#accept-sure")
        for name in ("first.csv", "second.csv"):
            with tab.expect_download() as caught:
                tab.click("#download")
            caught.value.save_as(tmp_path / name)
        tab.close()
        assert (tmp_path / "first.csv").read_bytes() == (tmp_path / "second.csv").read_bytes()

        def run(*words: str) -> dict[str, int]:
            result = bulklink.run_in_subprocess("run", *words, *QUICK)
            return {name: n for name, n in result.object["counts"].items() if n}

        assert run("first.csv", "second.csv", "--run-dir", "r1") == {"done": 4, "duplicate": 4}
        deals = emulator.links()
        for number in range(CONTACTS):
            for place in (0, 2):
                assert deals[message_id(number, place)] == deal_id(number, 0)
        again = run("second.csv", "--run-dir", "r2")
        assert again.get("done", 0) == 0
        assert emulator.links() == deals
