"""Kinds of OLE files: old workbooks, workbooks with a password, old documents."""

from __future__ import annotations

from typing import BinaryIO

from bulklink.mapping.input.signatures import SAVE_AS_WORKBOOK, UnreadFormat

OLE_MAGIC = b"\xd0\xcf\x11\xe0"
_HEADER_BYTES = 512
_DIRECTORY_BYTES = 1 << 14
_WITHOUT_PASSWORD = "Open it in a spreadsheet and save it without a password, as .xlsx or as CSV."  # noqa: S105 - no password
_KINDS = (
    ("EncryptedPackage", "a workbook that is protected by a password", _WITHOUT_PASSWORD),
    ("Workbook", "an old .xls workbook", SAVE_AS_WORKBOOK),
    ("Book", "an old .xls workbook", SAVE_AS_WORKBOOK),
    ("WordDocument", "an old Word document", SAVE_AS_WORKBOOK),
)
_UNKNOWN_KIND = "an old .xls workbook or one with a password"


def find_ole_format(file: BinaryIO) -> UnreadFormat:
    """Return what an OLE file is, by the names in the first sectors of its directory.

    Args:
        file: the file, which begins with `OLE_MAGIC`.
    """
    start = file.read(_HEADER_BYTES)
    shift, sector = int.from_bytes(start[30:32], "little"), int.from_bytes(start[48:52], "little")
    directory = b""
    if shift in (9, 12) and sector < 1 << 31:
        file.seek((sector + 1) << shift)
        directory = file.read(_DIRECTORY_BYTES)
    for entry, description, advice in _KINDS:
        if f"{entry}\0".encode("utf-16-le") in directory:
            return UnreadFormat.of(description, advice)
    return UnreadFormat.of(_UNKNOWN_KIND, _WITHOUT_PASSWORD)
