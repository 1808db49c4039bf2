"""Shared strings: those that do not fit into memory are read from a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from bulklink.errors import BadFileError
from bulklink.mapping.input.shared_strings import MEMORY_BYTES, SharedStrings, unescape_text
from tests.mapping.input.workbook import shared_strings

if TYPE_CHECKING:
    from pathlib import Path

_CHARS = 100_000
_COUNT = MEMORY_BYTES // (2 * _CHARS) + 50


def test_strings_beyond_the_memory_limit_are_read_from_disk(tmp_path: Path) -> None:
    texts = [f"{number}\u00e4" + "x" * _CHARS for number in range(_COUNT)]
    strings = SharedStrings("m.xlsx", tmp_path)
    part = shared_strings(*(f"<t>{text}</t>" for text in texts)).encode()
    strings.load(part[start : start + 65_536] for start in range(0, len(part), 65_536))
    assert len(list(tmp_path.iterdir())) == 2
    for number in (0, 1, _COUNT - 1, _COUNT - 50, _COUNT - 2, _COUNT // 2):
        assert strings[number] == texts[number]
    for number in (-1, _COUNT):
        with pytest.raises(BadFileError, match="no shared string"):
            strings[number]
    strings.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("escaped", "text"),
    [
        ("a_x000D_b", "a\rb"),
        ("_x005F_x0041_", "_x0041_"),
        ("_xD83D__xDE00_", "\U0001f600"),
        ("_xD83D_", "\ufffd"),
        ("_x12_", "_x12_"),
    ],
    ids=["return", "underscore", "halves", "half", "none"],
)
def test_escaped_characters_are_decoded(escaped: str, text: str) -> None:
    assert unescape_text(escaped) == text
