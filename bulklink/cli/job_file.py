"""Where in a TOML file a key stands: tomllib reads values and forgets their lines."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

_HEADER = re.compile(r"\s*\[")


def place_of(path: str, key: str, table: str = "") -> str:
    """Return `FILE:LINE, key KEY`, without the line where it cannot be told.

    Args:
        path: the file; it can be read as TOML.
        key: a key of it.
        table: the table that it stands in; empty for none.
    """
    try:
        line = line_of(Path(path).read_text(encoding="utf-8"), key, table)
    except (OSError, UnicodeDecodeError):
        line = None
    return f"{path}:{line}, key {key}" if line else f"{path}, key {key}"


def line_of(text: str, key: str, table: str = "") -> int | None:
    """Return the line on which a key begins, counted from 1; None if it is written unusually.

    A line that only looks like the key, in a text of several lines or another table, is not it: the
    file is read up to there, with a short value in its place, to see what it means.
    """
    lines = text.splitlines()
    wanted = re.compile(rf"""\s*\[*\s*["']?{re.escape(key)}["']?\s*[=.\]]""")
    for number, line in enumerate(lines, 1):
        if wanted.match(line):
            probe = line if _HEADER.match(line) else f'"{key}" = 0'
            before, then = _read(lines[: number - 1]), _read([*lines[: number - 1], probe])
            if then is not None and _has(then, key, table) and not _has(before or {}, key, table):
                return number
    return None


def _read(lines: list[str]) -> dict[str, Any] | None:
    try:
        return tomllib.loads("\n".join(lines))
    except tomllib.TOMLDecodeError:
        return None


def _has(content: dict[str, Any], key: str, table: str) -> bool:
    inner = content.get(table, {}) if table else content
    return isinstance(inner, dict) and key in inner
