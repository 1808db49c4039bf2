"""Content of packed files: gzip, zstd, and the one mapping in a zip."""

from __future__ import annotations

import lzma
import struct
import sys
import zipfile
import zlib
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, NoReturn

from bulklink.advice import Advice, Keyword
from bulklink.errors import BadFileError
from bulklink.file_names import file_name_text
from bulklink.mapping.input.files import InputFormat, format_of_name
from bulklink.mapping.input.signatures import SAVE_AS_WORKBOOK, UnreadFormat

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BLOCK_BYTES = 1 << 20
_GZIP_MARK = b"\x1f\x8b"
_WITH_GZIP_HEADER = 16 + zlib.MAX_WBITS
_ZSTD_MARK = b"\x28\xb5\x2f\xfd"
_ZSTD_HEADER_BYTES = 18
_ANY_WINDOW = {int(zstd.DecompressionParameter.window_log_max): 31}
#: The memory limit must be this many times the window of a frame.
_WINDOW_SHARE = 2
#: Maximum size of a zip's list of files, which takes some 15 times as much memory.
_MAX_ZIP_LIST_BYTES = 1 << 20
_ZIP_END = struct.Struct("<4s4H2LH")
_ZIP_END_MARK = b"PK\x05\x06"
_MAX_ZIP_COMMENT_BYTES = 0xFFFF
_ENCRYPTED = 1
#: Parts that identify packages other than .xlsx workbooks.
_OTHER_PACKAGES = {
    "xl/workbook.bin": "an .xlsb workbook",
    "content.xml": "an OpenDocument file such as .ods",
    "index/document.iwa": "a Numbers document",
    "index.zip": "a Numbers document",
    "word/document.xml": "a Word document",
    "ppt/presentation.xml": "a presentation",
}
_CONTENT_TYPES = "[content_types].xml"
_JUNK = ("__MACOSX/", "META-INF/")
_MAX_NAMES = 10


def gzip_blocks(file: BinaryIO, name: str) -> Iterator[bytes]:
    """Unpack the members of a gzip file, one after the other.

    Args:
        file: the packed file.
        name: the file as the user named it.

    Raises:
        BadFileError: if it is damaged or cut off, or other bytes follow its last member.
    """
    data = file.read(BLOCK_BYTES)
    position = len(data)
    while data:
        if not _GZIP_MARK.startswith(data[:2]):
            raise _bytes_after(position - len(data), name)
        decompressor = zlib.decompressobj(wbits=_WITH_GZIP_HEADER)
        while not decompressor.eof:
            try:
                block = decompressor.decompress(data, BLOCK_BYTES)
            except zlib.error:
                raise _damaged(name) from None
            data = decompressor.unconsumed_tail
            if block:
                yield block
            elif not data and not decompressor.eof:
                data = file.read(BLOCK_BYTES)
                position += len(data)
                if not data:
                    raise _cut_off(name)
        data = decompressor.unused_data.lstrip(b"\0")
        while len(data) < len(_GZIP_MARK) and (more := file.read(BLOCK_BYTES)):
            position += len(more)
            data = (data + more).lstrip(b"\0")  # tapes and tar leave NUL bytes after the end


def zstd_blocks(file: BinaryIO, name: str, memory_bytes: int) -> Iterator[bytes]:
    """Unpack the frames of a zstd file, one after the other.

    Args:
        file: the packed file.
        name: the file as the user named it.
        memory_bytes: memory limit; the window of a frame is held in memory.

    Raises:
        BadFileError: if it is damaged or cut off, a window is too large, or other bytes follow its
            last frame.
    """
    data = file.read(BLOCK_BYTES)
    position = len(data)
    while data:
        if not _is_zstd_mark(data[: len(_ZSTD_MARK)]):
            raise _bytes_after(position - len(data), name)
        _check_window(data, name, memory_bytes)
        decompressor = zstd.ZstdDecompressor(options=_ANY_WINDOW)
        while not decompressor.eof:
            try:
                block = decompressor.decompress(data, BLOCK_BYTES)
            except zstd.ZstdError:
                raise _damaged(name) from None
            data = b""
            if block:
                yield block
            if decompressor.needs_input and not decompressor.eof:
                data = file.read(BLOCK_BYTES)
                position += len(data)
                if not data:
                    raise _cut_off(name)
        data = decompressor.unused_data
        while len(data) < _ZSTD_HEADER_BYTES and (more := file.read(BLOCK_BYTES)):
            position += len(more)
            data += more


def _is_zstd_mark(mark: bytes) -> bool:
    skippable = (
        len(mark) == len(_ZSTD_MARK) and 0x50 <= mark[0] <= 0x5F and mark[1:] == b"\x2a\x4d\x18"
    )
    return skippable or _ZSTD_MARK.startswith(mark)


def _check_window(frame: bytes, name: str, memory_bytes: int) -> None:
    """Refuse a frame whose header asks for too much memory (RFC 8878, 3.1.1.1)."""
    if not frame.startswith(_ZSTD_MARK) or len(frame) < _ZSTD_HEADER_BYTES:
        return
    descriptor = frame[4]
    single_segment = descriptor >> 5 & 1
    if single_segment:
        start = 5 + (0, 1, 2, 4)[descriptor & 3]
        window = int.from_bytes(frame[start : start + (1, 2, 4, 8)[descriptor >> 6]], "little")
    else:
        base = 1 << 10 + (frame[5] >> 3)
        window = base + base // 8 * (frame[5] & 7)
    if window > memory_bytes // _WINDOW_SHARE:
        raise BadFileError(
            f"The file was compressed with a window of {window >> 20:,} MiB; unpacking it needs"
            " more memory than the limit allows.",
            where=name,
            advice=Advice(
                "Use {} or more, or compress the file again with a smaller window.",
                Keyword("memory", f"{-(-window * _WINDOW_SHARE >> 20)}MiB"),
            ),
        )


def find_member(path: Path, name: str) -> zipfile.ZipInfo | None:
    """Find the one mapping in a zip file.

    Args:
        path: the zip file.
        name: the file as the user named it.

    Returns:
        The member; None if the file is an .xlsx workbook.

    Raises:
        BadFileError: if there is none, or there are several, or the file is damaged.
    """
    with _open_zip(path, name) as archive:
        members = archive.infolist()
    # The names of parts are case-insensitive.
    parts = {member.filename.replace("\\", "/").lower() for member in members}
    for part, description in _OTHER_PACKAGES.items():
        if part in parts:
            other = UnreadFormat.of(description, SAVE_AS_WORKBOOK)
            raise BadFileError(other.problem, where=name, advice=other.advice)
    if _CONTENT_TYPES in parts or any(part.endswith("workbook.xml") for part in parts):
        return None
    files = [member for member in members if not _is_junk(member)]
    mappings = [member for member in files if _format_of(member) is not None]
    candidates = [member for member in mappings if _format_of(member) is InputFormat.CSV]
    candidates = candidates if len(mappings) > 1 else mappings or files
    if len(mappings) > 1 or len(candidates) != 1:
        _refuse_members(name, [member.filename for member in mappings or files])
    if candidates[0].flag_bits & _ENCRYPTED:
        raise BadFileError(
            "The zip file is protected by a password.",
            where=name,
            advice="Unpack it, and use the file inside.",
        )
    return candidates[0]


def _is_junk(member: zipfile.ZipInfo) -> bool:
    base = PurePosixPath(member.filename).name
    return member.is_dir() or member.filename.startswith(_JUNK) or base.startswith(".")


def _format_of(member: zipfile.ZipInfo) -> InputFormat | None:
    return format_of_name(PurePosixPath(member.filename))


def _refuse_members(name: str, members: list[str]) -> NoReturn:
    if not members:
        raise BadFileError(
            "The zip file is empty.", where=name, advice="Check the export that made it."
        )
    shown = ", ".join(repr(file_name_text(member)) for member in members[:_MAX_NAMES])
    more = f" and {len(members) - _MAX_NAMES:,} more" if len(members) > _MAX_NAMES else ""
    raise BadFileError(
        f"The zip file has {len(members):,} files, but must hold exactly one mapping: "
        f"{shown}{more}.",
        where=name,
        advice="Unpack it, and use the files that are mappings.",
    )


def zip_blocks(path: Path, member: zipfile.ZipInfo, name: str) -> Iterator[bytes]:
    """Unpack one file of a zip file.

    Raises:
        BadFileError: if it is damaged, or compressed in an unsupported way.
    """
    with _open_zip(path, name) as archive, archive.open(member) as file:
        while block := file.read(BLOCK_BYTES):
            yield block


@contextmanager
def _open_zip(path: Path, name: str) -> Iterator[zipfile.ZipFile]:
    try:
        _check_list_size(path, name)
        with zipfile.ZipFile(path) as archive:
            yield archive
    except NotImplementedError:
        raise BadFileError(
            "The zip file is compressed in an unsupported way.",
            where=name,
            advice="Unpack it, and use the file inside.",
        ) from None
    except EOFError:
        raise _cut_off(name) from None
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, ValueError, RuntimeError, struct.error):
        raise BadFileError(
            "The file cannot be read as a workbook or zip file: it is damaged or cut off.",
            where=name,
            advice="Copy it again, or save it again as .xlsx or CSV.",
        ) from None


def _check_list_size(path: Path, name: str) -> None:
    """Refuse a zip file whose list of files is too long to be held in memory."""
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - _ZIP_END.size - _MAX_ZIP_COMMENT_BYTES))
        end = file.read()
    place = end.rfind(_ZIP_END_MARK)
    if place < 0 or len(end) - place < _ZIP_END.size:
        raise zipfile.BadZipFile
    list_bytes = _ZIP_END.unpack_from(end, place)[5]
    if min(list_bytes, size) > _MAX_ZIP_LIST_BYTES:
        raise BadFileError(
            "The zip file has too many files to search.",
            where=name,
            advice="Unpack it, and use the files that are mappings.",
        )


def _bytes_after(offset: int, name: str) -> BadFileError:
    return BadFileError(
        f"The compressed data ends at byte {offset:,}, but other bytes follow.",
        where=name,
        advice="Copy the file again. If the data before them is complete, unpack it with `gzip -dc`"
        " or `zstd -dc`, which ignore them with a warning, and use the result.",
    )


def _cut_off(name: str) -> BadFileError:
    return BadFileError(
        "The compressed file is cut off.",
        where=name,
        advice="Copy it again, or compress it again.",
    )


def _damaged(name: str) -> BadFileError:
    return BadFileError(
        "The compressed file is damaged.",
        where=name,
        advice="Copy it again, or compress it again.",
    )
