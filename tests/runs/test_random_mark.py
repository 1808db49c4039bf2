"""A mark is a random number in the state folder."""

from __future__ import annotations

import re
import stat
import sys
from pathlib import Path

import pytest

from bulklink.runs.random_mark import load_random_mark


def test_the_mark_is_written_once_and_readable_only_by_its_owner(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    mark = load_random_mark(here / "machine-mark")
    assert mark is not None
    assert re.fullmatch("[0-9a-f]{32}", mark)
    assert load_random_mark(here / "machine-mark") == mark
    assert load_random_mark(there / "machine-mark") != mark
    if sys.platform != "win32":
        assert stat.S_IMODE((here / "machine-mark").stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"somebody's", b"0" * 33])
def test_an_invalid_mark_is_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "machine-mark").write_bytes(content)
    mark = load_random_mark(tmp_path / "machine-mark")
    assert mark is not None
    assert load_random_mark(tmp_path / "machine-mark") == mark


def test_an_unwritable_state_folder_has_no_mark(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert load_random_mark(tmp_path / "file" / "machine-mark") is None
