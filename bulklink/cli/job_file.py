"""Where in a TOML file a key stands: tomllib reads values and forgets their lines."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

_TABLE_HEADER = re.compile(r"\s*\[")


def key_location(path: str, key: str, table: str = "") -> str:
    """Return `FILE:LINE, key KEY`, without the line where it cannot be told.

    Args:
        path: the file; it can be read as TOML.
        key: a key of it.
        table: the table that it stands in; empty for none.
    """
    try:
        line = find_key_line(Path(path).read_text(encoding="utf-8"), key, table)
    except (OSError, UnicodeDecodeError):
        line = None
    return f"{path}:{line}, key {key}" if line else f"{path}, key {key}"


def find_key_line(text: str, key: str, table: str = "") -> int | None:
    """Return the line on which a key begins, counted from 1; None if it is written unusually.

    A line that only looks like the key, in a text of several lines or another table, is not it: the
    file is read up to there, with a short value in its place, to see what it means.
    """
    lines = text.splitlines()
    key_pattern = re.compile(rf"""\s*\[*\s*["']?{re.escape(key)}["']?\s*[=.\]]""")
    for number, line in enumerate(lines, 1):
        if key_pattern.match(line):
            candidate = line if _TABLE_HEADER.match(line) else f'"{key}" = 0'
            content_before, content_with_key = (
                _parse_lines(lines[: number - 1]),
                _parse_lines([*lines[: number - 1], candidate]),
            )
            if (
                content_with_key is not None
                and _has_key(content_with_key, key, table)
                and not _has_key(content_before or {}, key, table)
            ):
                return number
    return None


def _parse_lines(lines: list[str]) -> dict[str, Any] | None:
    try:
        return tomllib.loads("\n".join(lines))
    except tomllib.TOMLDecodeError:
        return None


def _has_key(content: dict[str, Any], key: str, table: str) -> bool:
    table_content = content.get(table, {}) if table else content
    return isinstance(table_content, dict) and key in table_content
