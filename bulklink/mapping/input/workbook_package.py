"""Zip package of a workbook: its parts in small blocks, and errors for damaged packages."""

from __future__ import annotations

import io
import posixpath
import struct
import zipfile
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bulklink.errors import BadFileError
from bulklink.mapping.input.xml_parts import XmlPartError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from bulklink.mapping.interrupt import PlanningStop

#: Maximum unpacked size of a part; no spreadsheet writes larger ones.
MAX_PART_BYTES = 4 << 30
_BLOCK_BYTES = 1 << 16
#: Maximum size of a package's list of parts, which is held in memory: some 60,000 parts.
_MAX_READ_BYTES = 4 << 20
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED_FLAG = 0x1
_PACKAGE_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, KeyError),
    *(NotImplementedError, RuntimeError, OverflowError),
)


def damaged_workbook_error(name: str, detail: str = "") -> BadFileError:
    """Build the error of a workbook that cannot be read."""
    return BadFileError(
        f"The workbook cannot be read: {detail or 'it is damaged'}.",
        where=name,
        advice="Open it in a spreadsheet and save it again as .xlsx or CSV, or download it again.",
    )


@contextmanager
def translate_package_errors(name: str) -> Iterator[None]:
    """Turn the errors of damaged packages and parts into `BadFileError`."""
    try:
        yield
    except XmlPartError as error:
        raise damaged_workbook_error(name, str(error)) from None
    except _PACKAGE_ERRORS:
        raise damaged_workbook_error(name) from None


class _BoundedReader(io.BufferedReader):
    """A file that is read in small pieces, whatever sizes it claims."""

    def read(self, size: int | None = -1, /) -> bytes:
        requested_size = _MAX_READ_BYTES + 1 if size is None or size < 0 else size
        content = super().read(min(requested_size, _MAX_READ_BYTES + 1))
        if len(content) > _MAX_READ_BYTES:
            raise XmlPartError("it has too many parts")
        return content


class WorkbookPackage:
    """Parts of a workbook, by name; close it when done.

    Args:
        path: the file.
        name: the file as the user named it.
        stop: stops the work.

    Raises:
        BadFileError: if the file is damaged.
    """

    def __init__(self, path: Path, name: str, stop: PlanningStop) -> None:
        self.name = name
        self._stop = stop
        self._file = _BoundedReader(io.FileIO(path))
        try:
            with translate_package_errors(name):
                self._archive = zipfile.ZipFile(self._file)
            # The names of parts are case-insensitive.
            self._parts = {
                entry.filename.replace("\\", "/").lower(): entry
                for entry in self._archive.infolist()
            }
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._archive.close()
        self._file.close()

    def __contains__(self, part: str) -> bool:
        return part.lower() in self._parts

    def size(self, part: str) -> int:
        """Return the size of a part, unpacked, in bytes, as the package claims it."""
        return self._parts[part.lower()].file_size

    def blocks(self, part: str) -> Iterator[bytes]:
        """Yield the content of a part.

        Raises:
            BadFileError: if the part is too large, encrypted or compressed in an unsupported way.
        """
        entry = self._parts[part.lower()]
        if entry.flag_bits & _ENCRYPTED_FLAG:
            raise damaged_workbook_error(self.name, "one of its parts is protected by a password")
        if entry.compress_type not in _COMPRESSIONS:
            raise damaged_workbook_error(self.name)
        if entry.file_size > MAX_PART_BYTES:
            raise too_large_error(self.name)
        with self._archive.open(entry) as file:
            while block := file.read(_BLOCK_BYTES):
                self._stop.check()
                yield block


def too_large_error(name: str) -> BadFileError:
    """Build the error of a workbook that unpacks to more than any real one."""
    return BadFileError(
        f"The workbook unpacks to more than {MAX_PART_BYTES >> 30} GiB.",
        where=name,
        advice="Copy the rows into a new workbook, or save the sheet as CSV.",
    )


def resolve_target(source: str, target: str) -> str:
    """Return the part that a relationship of another part points to."""
    target = target.replace("\\", "/")
    return posixpath.normpath(posixpath.join("/", posixpath.dirname(source), target)).lstrip("/")


def relations_part(part: str) -> str:
    """Return the part that holds the relationships of another."""
    folder, name = posixpath.split(part)
    return posixpath.join(folder, "_rels", f"{name}.rels")
