"""Every command refuses a folder that was tampered with, and changes nothing outside of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import pytest

from bulklink.errors import ExitCode
from tests.hostile.folders import COMMANDS, RUN, GoodFolders, contents
from tests.hostile.tamperings import TAMPERINGS, Tampering

_CODES = {ExitCode.OK, ExitCode.ROWS_NOT_DONE, ExitCode.REFUSED, ExitCode.STOPPED, ExitCode.CREDITS}
_OUTSIDE = b"mine\n"
_COMMANDS_EACH = int(os.environ.get("BULKLINK_TEST_COMMANDS", "4"))
"""Number of commands that are run on each tampering, in turn; `make soak` runs all."""


def _with_commands() -> Iterator[tuple[Tampering, list[str]]]:
    turn = cycle(COMMANDS)
    for tampering in TAMPERINGS:
        names = list(islice(turn, min(_COMMANDS_EACH, len(COMMANDS))))
        next(turn)  # otherwise the same commands would run on the same kinds of tampering
        yield tampering, names


@pytest.mark.parametrize("kind", ["planned", "stopped", "killed", "finished"])
def test_no_reader_refuses_a_valid_folder(
    good_folders: GoodFolders, kind: str, tmp_path: Path
) -> None:
    for name in ("status", "check", "list", "export", "report", "history", "plan-undo"):
        command = good_folders.copy(kind, tmp_path / name)
        result = good_folders.run(command, name)
        assert result.code in (0, 1), (name, result)


@pytest.mark.parametrize(
    ("tampering", "names"),
    [pytest.param(*pair, id=pair[0].name) for pair in _with_commands()],
)
def test_a_folder_that_was_tampered_with_is_refused_clearly(
    good_folders: GoodFolders,
    tampering: Tampering,
    names: list[str],
    tmp_path: Path,
) -> None:
    for name in names:
        folder = tmp_path / name
        command = good_folders.copy(tampering.kind, folder)
        outside = folder / "outside" / "file"
        outside.parent.mkdir()
        outside.write_bytes(_OUTSIDE)
        tampering.change(folder / RUN, outside)
        before, outside_before = contents(folder / RUN), contents(outside.parent)
        result = good_folders.run(command, name)
        output = " ".join(result.output.lower().split())
        assert "bug in bulklink" not in output, (name, result)
        assert result.code in _CODES, (name, result)
        assert contents(outside.parent) == outside_before, (name, result)
        if name in tampering.refused_by:
            assert result.code, (name, result)
            assert tampering.named in result.output, (name, result)
            if tampering.untouched:
                assert contents(folder / RUN) == before, (name, result)
