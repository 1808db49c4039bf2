"""Files that appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulklink.atomic_files import atomic_replace


def test_an_existing_file_with_the_name_of_a_temporary_file_is_kept(tmp_path: Path) -> None:
    (tmp_path / "out.csv.partial").write_text("mine")
    with atomic_replace(tmp_path / "out.csv") as temporary:
        temporary.write_text("new")
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "out.csv": "new",
        "out.csv.partial": "mine",
    }


def test_after_an_error_the_file_is_unchanged_and_nothing_is_left_behind(tmp_path: Path) -> None:
    (tmp_path / "out.csv").write_text("old")
    with pytest.raises(ValueError, match="half"), atomic_replace(tmp_path / "out.csv") as temporary:
        temporary.write_text("half")
        raise ValueError("half")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]
