"""Working folders of unfinished commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulklink.errors import RunDirError
from bulklink.operations.work_folder import locked_work_folder


def test_a_link_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "work").symlink_to(elsewhere)
    with (
        pytest.raises(RunDirError, match="a symbolic link, not a folder"),
        locked_work_folder(tmp_path / "work", (), message="", advice=""),
    ):
        raise AssertionError("it was opened")
    assert list(elsewhere.iterdir()) == []
