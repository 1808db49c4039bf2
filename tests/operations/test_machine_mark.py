"""The mark of a machine is a random number in its state folder."""

from __future__ import annotations

import re
import stat
import sys
from pathlib import Path

import pytest

from bulklink.operations.machine_mark import load_machine_mark


def test_the_mark_is_written_once_and_readable_only_by_its_owner(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    mark = load_machine_mark(here)
    assert mark is not None
    assert re.fullmatch("[0-9a-f]{32}", mark)
    assert load_machine_mark(here) == mark
    assert load_machine_mark(there) != mark
    if sys.platform != "win32":
        assert stat.S_IMODE((here / "machine-mark").stat().st_mode) == 0o600


@pytest.mark.parametrize("content", [b"", b"somebody's", b"0" * 33])
def test_an_invalid_mark_is_replaced(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "machine-mark").write_bytes(content)
    mark = load_machine_mark(tmp_path)
    assert mark is not None
    assert load_machine_mark(tmp_path) == mark


def test_an_unwritable_state_folder_has_no_mark(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert load_machine_mark(tmp_path / "file") is None
