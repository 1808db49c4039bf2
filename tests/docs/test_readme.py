"""README.md is a short front page, and the index of the documentation leads to every page.

tests/docs/test_walk.py runs the README's blocks.
"""

from __future__ import annotations

import re

from tests.docs.reference import ROOT
from tests.docs.test_walk import README

INDEX = (ROOT / "docs" / "README.md").read_text("utf-8")
PAGES = {path.name for path in (ROOT / "docs").glob("*.md")}


def links_of(text: str) -> set[str]:
    return set(re.findall(r"\]\(([^)#\s]+)", text))


def test_the_readme_is_a_front_page() -> None:
    assert len(README.split()) < 1200


def test_the_readme_shows_a_terminal_and_a_report() -> None:
    assert set(re.findall(r"!\[[^\]]+\]\((\S+)\)", README)) == {
        "docs/terminal.svg",
        "docs/report.png",
    }


def test_the_picture_of_the_terminal_loads_nothing() -> None:
    picture = (ROOT / "docs" / "terminal.svg").read_text("utf-8")
    addresses = set(re.findall(r"https?:[^\s\"'<)]+", re.sub(r"<!--.*?-->", "", picture)))
    assert addresses == {"http://www.w3.org/2000/svg"}
    assert "@import" not in picture


def test_the_index_lists_every_page_once() -> None:
    listed = re.findall(r"^\| \[[^\]]+\]\(([a-z-]+\.md)\) \|", INDEX, re.MULTILINE)
    assert sorted(listed) == sorted(PAGES - {"README.md"})


def test_the_readme_leads_to_the_index_and_to_the_pages_for_users() -> None:
    reached = links_of(README)
    assert "docs/README.md" in reached
    assert "(docs/README.md#how-to-guides)" in README
    for_users = INDEX.partition("## For developers")[0]
    whole_jobs = for_users.partition("## How-to guides")[2].partition("Then single steps:")[0]
    through_the_index = links_of(whole_jobs) | {"ledger.md"}
    pages = links_of(for_users) & PAGES - through_the_index
    assert {f"docs/{page}" for page in pages} - reached == set()
