"""Random marks in the user's state folder: the mark of this machine, the key of approvals."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

from bulklink.atomic_files import atomic_replace
from bulklink.errors import RunDirError
from bulklink.folder_files import read_small_file

_MARK = re.compile(rb"[0-9a-f]{32}")


def load_random_mark(path: Path) -> str | None:
    """Return a mark of 128 random bits in hex, written once; None if it cannot be stored.

    It reveals nothing about the machine.

    Args:
        path: its file, in bulklink's folder for state.
    """
    mark = _read_mark(path)
    if mark is None:
        with suppress(OSError, RunDirError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with atomic_replace(path) as temporary:
                temporary.write_bytes(token_hex(16).encode())
        mark = _read_mark(path)  # another process may have written one at the same time
    return mark


def _read_mark(path: Path) -> str | None:
    try:
        content = read_small_file(path)
    except (OSError, RunDirError):
        return None
    return content.decode() if _MARK.fullmatch(content) else None
