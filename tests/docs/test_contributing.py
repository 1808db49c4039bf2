"""CONTRIBUTING.md names every target, and its picture is that of the layers."""

from __future__ import annotations

import re

from tests.docs.house import TARGET, WHAT, layers, picture
from tests.docs.reference import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text("utf-8")


def test_every_target_of_the_makefile_has_its_row() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert targets is not None
    assert set(re.findall(r"^\| `make ([\w-]+)` \|", TEXT, re.MULTILINE)) == set(targets[1].split())


def test_it_takes_ten_minutes_to_read() -> None:
    assert len(TEXT.split()) < 2000


def test_the_picture_is_drawn_from_the_contract() -> None:
    assert TARGET.read_text("utf-8") == picture(), "run `make docs`"


def test_every_package_is_in_the_picture() -> None:
    packages = {path.parent.name for path in (ROOT / "bulklink").glob("*/__init__.py")}
    drawn = {name for row in layers() for name in row} | {"emulator"}
    assert packages <= drawn == set(WHAT)


def test_the_folders_that_it_names_exist() -> None:
    named = re.findall(r"`(bulklink/\w+)`", TEXT)
    assert len(named) > 8
    assert [name for name in named if not (ROOT / name).is_dir()] == []
