"""The guides that show output are followed, and every command prints what the page shows.

python -m tests.docs.test_guides    # writes what the commands print today
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import pytest

from tests.docs import tutorial
from tests.docs.reference import ROOT
from tests.e2e.command import Command

PAGES = ("correct-with-approval", "migrate-over-days", "shards")
WORLD = ("--messages", "240", "--contacts", "4", "--linked-wrong", "0.5", "--linked-right", "0.1")
_COUNTS_SO_FAR = re.compile(r"(?<=: stopped \(credits\)\n)(?:  \w+ +\d+\n)+")
"""What is done when credits run out depends on the calls that are in flight together."""


def mask(text: str) -> str:
    """Return a page without what differs between two runs."""
    return _COUNTS_SO_FAR.sub("", tutorial.mask(text))


def follow(text: str, folder: Path) -> str:
    """Follow a page with a mapping and a local CRM; return it with what the commands printed."""
    assert Command(folder)("generate", *WORLD, "--out", "crm").code == 0
    (folder / "crm" / "mapping.csv").rename(folder / "mapping.csv")
    with tutorial.Follower(folder) as follower:
        follower.start_crm()
        return follower.follow(text)


@pytest.mark.parametrize("name", PAGES)
def test_the_guide_is_followed_word_for_word(name: str, tmp_path: Path) -> None:
    text = (ROOT / "docs" / f"{name}.md").read_text("utf-8")
    assert mask(follow(text, tmp_path)) == mask(text)


def main() -> None:
    """Write into the guides what their commands print, unless only times differ."""
    for name in PAGES:
        page = ROOT / "docs" / f"{name}.md"
        shown = page.read_text("utf-8")
        with tempfile.TemporaryDirectory() as folder:
            text = follow(shown, Path(folder))
        if mask(text) != mask(shown):
            page.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
