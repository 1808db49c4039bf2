"""Files and folders that only their owner can read, if the file system has modes."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def is_private(path: Path) -> bool:
    """Return whether the mode of a file or folder keeps others out; on Windows modes do not count.

    FAT and many network file systems have no modes: all their files have the same, and a change
    fails or is forgotten.
    """
    return os.name == "nt" or not path.stat().st_mode & _OTHERS


def make_folder_private(folder: Path) -> bool:
    """Make a folder inaccessible to other users, and return whether that worked."""
    with suppress(OSError):  # some file systems refuse it
        folder.chmod(0o700)
    return is_private(folder)
