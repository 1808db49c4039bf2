"""Safe access to the files of run and fetch folders.

A folder may come from someone else, so nothing in it is trusted. Links in it are not followed (the
path of the folder itself may be one), only regular files are opened, a file that is changed in
place must have a single name, and lines and small files have a size limit.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import BinaryIO, Protocol

from bulklink.advice import Advice
from bulklink.blocking import blocks
from bulklink.counts import count_of
from bulklink.errors import BulklinkError, RunDirError

MAX_LINE_BYTES = 1 << 20
"""Maximum length of a line of a ledger, a timeline, a log, or a verification."""
MAX_SMALL_FILE_BYTES = 16 << 20
"""Maximum size of a file that is read as a whole."""
_BLOCK_BYTES = 256 << 10
#: Windows has only O_BINARY, other systems only the first two. On Windows, a link created between
#: the check and the opening is therefore followed.
_FLAGS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_REPARSE_POINT = getattr(stat, "FILE_ATTRIBUTE_REPARSE_POINT", 0)
_COPY_THE_FOLDER = (
    "Copy the folder with its files instead of links (`cp -RL`), and use the copy. A folder"
    " from someone else may contain such files on purpose."
)


class OddFileError(RunDirError):
    """Raised when a file of a folder is not a regular file, or a subfolder is not a folder."""


@contextmanager
def advise_removal() -> Iterator[None]:
    """Advise to remove an odd file beside the output of a command, rather than to copy a folder."""
    try:
        yield
    except OddFileError as error:
        error.guidance = Advice.of("Remove it and run the command again, or use another output.")
        raise


class FileSystem(Protocol):
    """System calls for files that are appended to; replaced in tests."""

    def open(self, path: Path, flags: int, mode: int, /) -> int:
        """Open a file and return its descriptor."""
        ...

    def fstat(self, file: int, /) -> os.stat_result:
        """Return the status of an open file."""
        ...

    def lstat(self, path: Path, /) -> os.stat_result:
        """Return the status of a path, without following a link."""
        ...

    def write(self, file: int, content: memoryview, /) -> int:
        """Write and return the number of bytes written."""
        ...

    def fsync(self, file: int, /) -> None:
        """Flush a file to disk."""
        ...

    def close(self, file: int, /) -> None:
        """Close a file."""
        ...


def check_folder_file(path: Path, *, one_name: bool = False) -> bool:
    """Return whether a file of a folder exists; nothing is opened.

    Args:
        path: the file.
        one_name: whether to refuse a file with several names, because it is changed in place.

    Raises:
        RunDirError: if it is not a regular file, or has several names.
    """
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _unreadable_error(path, error) from None
    _check_status(path, status, one_name=one_name)
    return True


def check_subfolder(path: Path) -> None:
    """Refuse a subfolder of a folder that is a link or a file.

    Raises:
        RunDirError: if it is.
    """
    try:
        status = os.lstat(path)
    except OSError:
        return  # missing; any other error is raised on use
    if not stat.S_ISDIR(status.st_mode) or _is_reparse_point(status):
        raise OddFileError(
            f"This is {_describe(status)}, not a folder.", where=str(path), advice=_COPY_THE_FOLDER
        )


def make_scratch(path: Path) -> None:
    """Create an empty subfolder for temporary files; remove an existing one.

    Raises:
        RunDirError: if it cannot be created, or is a link or a file.
    """
    check_subfolder(path)
    shutil.rmtree(path, ignore_errors=True)
    try:
        path.mkdir(mode=0o700)
    except OSError as error:
        raise _unwritable_error(path, error) from None


def open_to_read(path: Path) -> FileIO:
    """Open a file of a folder to read it, without a buffer.

    Raises:
        FileNotFoundError: if it is missing.
        RunDirError: if it is not a regular file, or cannot be read.
    """
    return FileIO(_open_checked(path, os.O_RDONLY, one_name=False), "r")


def open_to_append(path: Path, system: FileSystem = os) -> int:
    """Open a file of a folder to append to it, and return its descriptor; it is created if missing.

    Args:
        path: the file.
        system: system calls.

    Raises:
        RunDirError: if it is not a regular file, has several names, or cannot be written.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT
    return _open_checked(path, flags, one_name=True, system=system)


def open_to_repair(path: Path) -> FileIO:
    """Open a file of a folder to truncate it.

    Raises:
        FileNotFoundError: if it is missing.
        RunDirError: if it is not a regular file, has several names, or cannot be written.
    """
    return FileIO(_open_checked(path, os.O_RDWR, one_name=True), "r+")


def create_file(path: Path) -> BinaryIO:
    """Create a file of a folder, readable only by its owner.

    Raises:
        OSError: if it exists, or cannot be created.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, flags, 0o600), "wb")


def is_open_at(file: int, path: Path, system: FileSystem = os) -> bool:
    """Return whether a path still names an open file.

    Args:
        file: descriptor of the file.
        path: path at which it was opened.
        system: system calls.
    """
    try:
        return os.path.samestat(system.fstat(file), system.lstat(path))
    except OSError:
        return False


def read_small_file(path: Path) -> bytes:
    """Return the content of a file of a folder.

    Raises:
        FileNotFoundError: if it is missing.
        RunDirError: if it is too large, is not a regular file, or cannot be read.
    """
    with open_to_read(path) as file:
        content = _read(file, MAX_SMALL_FILE_BYTES + 1, path)
    if len(content) > MAX_SMALL_FILE_BYTES:
        raise RunDirError(
            f"The file is larger than {MAX_SMALL_FILE_BYTES >> 20} MiB.",
            where=str(path),
            advice="bulklink does not write such files: restore it from a backup.",
        )
    return content


def line_blocks(
    path: Path, *, start: int = 0, error_class: type[BulklinkError] = RunDirError
) -> Iterator[bytes]:
    """Yield blocks of whole lines of a file, about 256 KiB each; none if the file is missing.

    A last line without a newline is left out.

    Args:
        path: the file.
        start: offset of the first line, in bytes.
        error_class: class of the error about a long line.

    Raises:
        RunDirError: if it is not a regular file, or cannot be read.
        BulklinkError: of `error_class`, if a line is longer than `MAX_LINE_BYTES`.
    """
    blocks("a pass over a file of lines")
    try:
        file = open_to_read(path)
    except FileNotFoundError:
        return
    rest = b""
    with file:
        file.seek(start)
        while part := _read(file, _BLOCK_BYTES, path):
            end = part.rfind(b"\n") + 1
            block, rest = (rest + part[:end], part[end:]) if end else (b"", rest + part)
            first_line_length = block.find(b"\n") if block else len(rest)
            if first_line_length > MAX_LINE_BYTES:
                offset = file.tell() - len(block) - len(rest)
                raise error_class(
                    f"The line is longer than {MAX_LINE_BYTES >> 20} MiB.",
                    where=f"{path}:{line_number(path, offset)}",
                    advice="bulklink does not write such lines: restore the file from a backup.",
                )
            if block:
                yield block


def line_number(path: Path, offset: int) -> int:
    """Return the number of the line that begins at an offset, from 1.

    Raises:
        RunDirError: if the file is not a regular file, or cannot be read.
    """
    number = 1
    with open_to_read(path) as file:
        while offset > 0 and (part := _read(file, min(offset, _BLOCK_BYTES), path)):
            number += part.count(b"\n")
            offset -= len(part)
    return number


def split_lines(block: bytes) -> list[bytes]:
    r"""Return the lines of a block, each without its `\n`."""
    lines = block.split(b"\n")
    lines.pop()
    return lines


def _open_checked(path: Path, flags: int, *, one_name: bool, system: FileSystem = os) -> int:
    """Open a file and return its descriptor; only regular files are opened at all."""
    try:
        try:
            _check_status(path, system.lstat(path), one_name=one_name)
        except FileNotFoundError:
            if not flags & os.O_CREAT:
                raise
        file = system.open(path, flags | _FLAGS, 0o600)
        try:
            _check_status(path, system.fstat(file), one_name=one_name)
        except BaseException:
            system.close(file)
            raise
    except (FileNotFoundError, NotADirectoryError) as error:
        if flags & os.O_CREAT:
            raise _unwritable_error(path, error) from None
        raise FileNotFoundError(error.errno, error.strerror, str(path)) from None
    except OSError as error:
        error_of = _unreadable_error if flags == os.O_RDONLY else _unwritable_error
        raise error_of(path, error) from None
    return file


def _check_status(path: Path, status: os.stat_result, *, one_name: bool) -> None:
    if not stat.S_ISREG(status.st_mode) or _is_reparse_point(status):
        raise OddFileError(
            f"This is {_describe(status)}, not a regular file.",
            where=str(path),
            advice=_COPY_THE_FOLDER,
        )
    if one_name and status.st_nlink > 1:
        raise RunDirError(
            f"The file has {count_of(status.st_nlink, 'name')} (hard links), and would be changed"
            " under all of them.",
            where=str(path),
            advice="Copy the folder and use the copy.",
        )


def _is_reparse_point(status: os.stat_result) -> bool:
    """Return whether it is a Windows link of any kind."""
    return bool(getattr(status, "st_file_attributes", 0) & _REPARSE_POINT)


def _describe(status: os.stat_result) -> str:
    if stat.S_ISLNK(status.st_mode) or _is_reparse_point(status):
        return "a symbolic link"
    kinds = {
        stat.S_IFDIR: "a folder",
        stat.S_IFIFO: "a named pipe",
        stat.S_IFSOCK: "a socket",
        stat.S_IFREG: "a file",
    }
    return kinds.get(stat.S_IFMT(status.st_mode), "a device")


def _read(file: FileIO, size: int, path: Path) -> bytes:
    """Read the given number of bytes; fewer only at the end of the file."""
    parts = []
    try:
        while size > 0 and (part := file.read(size)):
            parts.append(part)
            size -= len(part)
    except OSError as error:
        raise _unreadable_error(path, error) from None
    return b"".join(parts)


def _unreadable_error(path: Path, error: OSError) -> RunDirError:
    return RunDirError(
        f"Cannot read: {error.strerror or error}.",
        where=str(path),
        advice="Check that you may read it, or restore it from a backup.",
    )


def _unwritable_error(path: Path, error: OSError) -> RunDirError:
    return RunDirError(
        f"Cannot write: {error.strerror or error}.",
        where=str(path),
        advice="Check that the folder exists, that you may write there, and that there is space.",
    )
