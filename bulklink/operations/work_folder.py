"""What the working folders of unfinished commands have in common: lock, record, damaged files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from bulklink.atomic_files import atomic_replace, write_error
from bulklink.errors import RunDirError
from bulklink.folder_files import advise_removal, check_folder_file, check_subfolder, create_file
from bulklink.runs.folder import exclusive_lock

_GITIGNORE = ".gitignore"
REMOVE_WORK_FOLDER = "Remove its folder and run the command again."


@contextmanager
def locked_work_folder(
    path: Path, files: Iterable[Path], *, message: str, advice: str
) -> Iterator[None]:
    """Create a working folder and hold its lock.

    The folder may not be a link either: what is in it is removed at the end. Links and files that
    are not regular are refused before any file is opened.

    Args:
        path: path of the folder.
        files: files that may be in it.
        message: message if another process holds the lock.
        advice: advice for that case.

    Raises:
        LockedError: if another process holds the lock.
        RunDirError: if the folder cannot be created, or holds a link or another file that is not
            regular.
    """
    lock, gitignore = path / "lock", path / _GITIGNORE
    with advise_removal():
        check_subfolder(path)
        for file_path in (*files, lock, gitignore):
            check_folder_file(file_path, one_name=True)
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        if not check_folder_file(gitignore):
            with create_file(gitignore) as file:
                file.write(b"*\n")
    except OSError as error:
        raise write_error(path, error) from None
    with exclusive_lock(lock, message, advice=advice):
        yield


def write_work_record(path: Path, record: msgspec.Struct) -> None:
    """Replace the record of a working folder."""
    with atomic_replace(path) as temporary:
        temporary.write_bytes(msgspec.json.encode(record))


def damaged_error(path: Path | str) -> RunDirError:
    """Return the error about a file of a working folder that is damaged."""
    return RunDirError(
        "The file is damaged, or was changed.", where=str(path), advice=REMOVE_WORK_FOLDER
    )
