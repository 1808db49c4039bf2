"""docs/migrating.md is followed on its example, and every command prints what the page shows.

python -m tests.docs.test_migrating    # writes what the commands print today
"""

from __future__ import annotations

import csv
import shutil
import tempfile
from pathlib import Path

from tests.docs.reference import ROOT
from tests.docs.tutorial import Follower, mask

PAGE = ROOT / "docs" / "migrating.md"
EXAMPLE = ROOT / "docs" / "examples" / "migration"


def follow(text: str, folder: Path) -> str:
    """Follow the page in a folder; return it with what the commands printed."""
    shutil.copytree(EXAMPLE, folder / "crm")
    with Follower(folder) as follower:
        return follower.follow(text)


def test_the_page_is_followed_word_for_word(tmp_path: Path) -> None:
    text = PAGE.read_text("utf-8")
    assert mask(follow(text, tmp_path)) == mask(text)
    with (tmp_path / "mapping.csv").open(newline="", encoding="utf-8") as file:
        ops = {row["message_id"]: (row["op"], row["deal_name"]) for row in csv.DictReader(file)}
    assert ops == {
        "5d20c1aa": ("link", "Travel Insurance"),
        "77f0be31": ("relink", "House Insurance"),
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        PAGE.write_text(follow(PAGE.read_text("utf-8"), Path(temporary)), "utf-8")
