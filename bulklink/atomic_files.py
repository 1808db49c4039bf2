"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from bulklink.errors import RunDirError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: On Windows a file that another program has open cannot be replaced; it is tried again.
_REPLACE_ATTEMPTS = 10
_RETRY_DELAY_SECONDS = 0.1


def temporary_path(folder: Path, suffix: str = "") -> Path:
    """Return a path in a folder of temporary files that nothing else uses."""
    return folder / (secrets.token_hex(8) + suffix)


@contextmanager
def atomic_replace(path: Path) -> Iterator[Path]:
    """Give a temporary name to write to; the file takes its own name when all went well.

    Args:
        path: where the file is to be; readable by its owner alone.

    Raises:
        RunDirError: if it cannot be written there.
    """
    temporary = path.with_name(path.name + ".partial")
    try:
        temporary.unlink(missing_ok=True)
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        yield temporary
        _replace(temporary, path)
    except OSError as error:
        raise write_error(path, error) from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_error(path: Path, error: OSError) -> RunDirError:
    """Say that a file or folder cannot be written, and why the system says so."""
    return RunDirError(
        f"It cannot be written: {error.strerror or error}.",
        where=str(path),
        advice="Check that the folder exists, that you may write there, and that it has room.",
    )


def _replace(temporary: Path, path: Path) -> None:
    """Give a file its name, on disk with its content before this returns."""
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    for _ in range(_REPLACE_ATTEMPTS - 1):
        try:
            temporary.replace(path)
        except PermissionError:
            time.sleep(_RETRY_DELAY_SECONDS)
        else:
            break
    else:
        temporary.replace(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Have the names in a folder on disk too; Windows opens no folders and needs no such thing."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
