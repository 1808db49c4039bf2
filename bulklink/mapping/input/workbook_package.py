"""Zip package of a workbook: its parts in small blocks, and what a file is that is no workbook."""

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

#: No part that a spreadsheet writes unpacks to more.
MAX_PART_BYTES = 4 << 30
_BLOCK_BYTES = 1 << 16
#: The list of a package's parts is held in memory: some 60,000 of them.
_MAX_READ_BYTES = 4 << 20
_COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED_FLAG = 0x1
_SAVE_AS_XLSX = "Open it in a spreadsheet and save it as .xlsx, or as CSV."
_OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_OLE_HEADER_BYTES = 512
_OLE_DIRECTORY_BYTES = 1 << 14
#: Entries of an OLE file that tell what it is.
_OLE_KINDS = (
    ("EncryptedPackage", "a workbook that is protected by a password"),
    ("Workbook", "an old .xls workbook"),
    ("Book", "an old .xls workbook"),
    ("WordDocument", "a Word document"),
)
#: Parts of packages that are no .xlsx workbook.
_PACKAGE_KINDS = (
    ("xl/workbook.bin", "an .xlsb workbook"),
    ("word/document.xml", "a Word document"),
    ("ppt/presentation.xml", "a presentation"),
    ("index/document.iwa", "a Numbers document"),
    ("index.zip", "a Numbers document"),
)
_OPEN_DOCUMENT = b"application/vnd.oasis.opendocument."
_FIRST_BYTES = 1024
_PACKAGE_ERRORS = (
    *(zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, KeyError),
    *(NotImplementedError, RuntimeError, OverflowError),
)


def damaged_workbook_error(name: str, detail: str = "") -> BadFileError:
    """Build the error of a workbook that cannot be read."""
    return BadFileError(
        f"The workbook cannot be read: {detail or 'it is damaged'}.",
        where=name,
        advice="Open it in a spreadsheet and save it again as .xlsx, or as CSV; or get it anew.",
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
    """A file that is not read in large pieces, whatever sizes it claims."""

    def read(self, size: int | None = -1, /) -> bytes:
        wanted = _MAX_READ_BYTES + 1 if size is None or size < 0 else size
        content = super().read(min(wanted, _MAX_READ_BYTES + 1))
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
        BadFileError: if the file is no .xlsx workbook.
    """

    def __init__(self, path: Path, name: str, stop: PlanningStop) -> None:
        self.name = name
        self._stop = stop
        self._file = _BoundedReader(io.FileIO(path))
        try:
            self._refuse_other_files()
            with translate_package_errors(name):
                self._archive = zipfile.ZipFile(self._file)
            # The names of parts have no case.
            self._parts = {
                entry.filename.replace("\\", "/").lower(): entry
                for entry in self._archive.infolist()
            }
            self._refuse_other_packages()
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
            BadFileError: if the part is too large or packed in another way than workbooks are.
        """
        entry = self._parts[part.lower()]
        if entry.flag_bits & _ENCRYPTED_FLAG:
            raise _other_file_error(self.name, "a zip file that is protected by a password")
        if entry.compress_type not in _COMPRESSIONS:
            raise damaged_workbook_error(self.name)
        if entry.file_size > MAX_PART_BYTES:
            raise too_large_error(self.name)
        with self._archive.open(entry) as file:
            while block := file.read(_BLOCK_BYTES):
                self._stop.check()
                yield block

    def _refuse_other_files(self) -> None:
        start = self._file.read(_FIRST_BYTES)
        if start.startswith(_OLE_MAGIC):
            kind, advice = self._ole_kind(start), _SAVE_AS_XLSX
            if "password" in kind:
                advice = "Save it without a password as .xlsx, or as CSV."
            raise _other_file_error(self.name, kind, advice)
        if not start.startswith(b"PK"):
            raise _not_zip_error(self.name, start)
        self._file.seek(0)

    def _ole_kind(self, start: bytes) -> str:
        """Return what an OLE file is, by the names in the first sectors of its directory."""
        shift, sector = (
            int.from_bytes(start[30:32], "little"),
            int.from_bytes(start[48:52], "little"),
        )
        directory = b""
        if shift in (9, 12) and sector < 1 << 31:
            self._file.seek(_OLE_HEADER_BYTES + (sector << 9) if shift == 9 else sector + 1 << 12)
            directory = self._file.read(_OLE_DIRECTORY_BYTES)
        for entry, kind in _OLE_KINDS:
            if f"{entry}\0".encode("utf-16-le") in directory:
                return kind
        return "an old .xls workbook, or one that is protected by a password"

    def _refuse_other_packages(self) -> None:
        for part, kind in _PACKAGE_KINDS:
            if part in self._parts:
                raise _other_file_error(self.name, kind)
        if "mimetype" in self._parts:
            with translate_package_errors(self.name):
                mimetype = next(self.blocks("mimetype"), b"")
            if mimetype.startswith(_OPEN_DOCUMENT):
                raise _other_file_error(self.name, "an OpenDocument file such as .ods")
        if not any(part.endswith("workbook.xml") or part == "_rels/.rels" for part in self._parts):
            raise _other_file_error(
                self.name, "a zip file with no workbook in it", "Unpack it, and give what is in it."
            )


def _other_file_error(name: str, kind: str, advice: str = _SAVE_AS_XLSX) -> BadFileError:
    return BadFileError(f"This is {kind}, not an .xlsx workbook.", where=name, advice=advice)


def _not_zip_error(name: str, start: bytes) -> BadFileError:
    text = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<html", b"<!doctype html", b"<table", b"<meta")):
        return _other_file_error(name, "a web page")
    if text.startswith(b"<?xml"):
        return _other_file_error(name, "an XML file")
    if b"\0" not in start:
        return _other_file_error(name, "a text file", "Give it a name that ends in .csv or .jsonl.")
    return _other_file_error(name, "another kind of file", "Check the export that made it.")


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
