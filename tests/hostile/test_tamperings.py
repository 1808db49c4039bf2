"""Every command refuses a folder that was tampered with, in words, and leaves all else alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulklink.errors import ExitCode
from tests.hostile.folders import COMMANDS, RUN, GoodFolders, contents
from tests.hostile.tamperings import TAMPERINGS, Tampering

_CODES = {ExitCode.OK, ExitCode.ROWS_NOT_DONE, ExitCode.REFUSED, ExitCode.STOPPED, ExitCode.CREDITS}
_OUTSIDE = b"mine\n"


@pytest.mark.parametrize("kind", ["planned", "stopped", "killed", "finished"])
def test_a_good_folder_is_refused_by_no_reader(
    good_folders: GoodFolders, kind: str, tmp_path: Path
) -> None:
    for name in ("status", "check", "list", "export", "report", "history", "plan-undo"):
        command = good_folders.copy(kind, tmp_path / name)
        result = good_folders.run(command, name)
        assert result.code in (0, 1), (name, result)


@pytest.mark.parametrize("tampering", TAMPERINGS, ids=lambda tampering: tampering.name)
def test_a_folder_that_was_tampered_with_ends_in_a_clear_refusal(
    good_folders: GoodFolders,
    tampering: Tampering,
    tmp_path: Path,
) -> None:
    for name in COMMANDS:
        folder = tmp_path / name
        command = good_folders.copy(tampering.kind, folder)
        outside = folder / "outside" / "file"
        outside.parent.mkdir()
        outside.write_bytes(_OUTSIDE)
        tampering.change(folder / RUN, outside)
        before, outside_before = contents(folder / RUN), contents(outside.parent)
        result = good_folders.run(command, name)
        assert "mistake in bulklink" not in result.output, (name, result)
        assert result.code in _CODES, (name, result)
        assert contents(outside.parent) == outside_before, (name, result)
        if name in tampering.refused_by:
            assert result.code, (name, result)
            assert tampering.named in result.output, (name, result)
            if tampering.untouched:
                assert contents(folder / RUN) == before, (name, result)
