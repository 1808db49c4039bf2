"""Atomic file replacement."""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import msgspec

from bulklink.errors import RefusedError, RunDirError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: On Windows, a file that another program has open cannot be replaced: retry for a while.
_REPLACE_ATTEMPTS = 10
_RETRY_DELAY_SECONDS = 0.1
#: Names are limited to 255 bytes; a longer one leaves no room for the suffix.
_MAX_NAME_BYTES = 240


def temporary_path(folder: Path, suffix: str = "") -> Path:
    """Return an unused path in a folder of temporary files."""
    return folder / (secrets.token_hex(8) + suffix)


@contextmanager
def atomic_replace(path: Path, error_class: type[RefusedError] = RunDirError) -> Iterator[Path]:
    """Yield a temporary path that replaces `path` on success.

    Args:
        path: the file to replace; only its owner can read the new one.
        error_class: class of the error if it cannot be written.

    Raises:
        RunDirError: if it cannot be written; `error_class` if given.
    """
    temporary = None
    try:
        temporary = _create_temporary(path)
        yield temporary
        _replace(temporary, path)
    except OSError as error:
        raise write_error(path, error, error_class) from None
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def write_json(path: Path, content: object) -> None:
    """Replace a file by JSON to be read by people too.

    Args:
        path: the file.
        content: what msgspec encodes.

    Raises:
        RunDirError: if it cannot be written.
    """
    with atomic_replace(path) as temporary:
        text = msgspec.json.format(msgspec.json.encode(content), indent=2)
        temporary.write_bytes(text + b"\n")


def _create_temporary(path: Path) -> Path:
    """Create an empty file next to a path, named after it; existing files are not touched."""
    encoded = os.fsencode(path.name)
    name = hashlib.sha256(encoded).hexdigest() if len(encoded) > _MAX_NAME_BYTES else path.name
    temporary = path.with_name(f"{name}.partial")
    if os.path.lexists(temporary):  # the user's file, or left behind by a killed process
        temporary = temporary_path(path.parent, ".partial")
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    return temporary


def write_error(
    path: Path, error: OSError, error_class: type[RefusedError] = RunDirError
) -> RefusedError:
    """Return the error for a file or folder that cannot be written.

    Args:
        path: the file or folder.
        error: error of the operating system.
        error_class: class of the error to return.
    """
    return error_class(
        f"Cannot write: {error.strerror or error}.",
        where=str(path),
        advice="Check that the folder exists, that you may write there, and that there is space.",
    )


def _replace(temporary: Path, path: Path) -> None:
    """Rename a file, and flush content and name to disk."""
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
    """Flush the names in a folder to disk; Windows cannot open folders and does not need it."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
