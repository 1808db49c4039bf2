"""File types, recognised by their first bytes."""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import NamedTuple

from bulklink.advice import Advice, Keyword

#: Bytes that identify the type of a file.
SIGNATURE_BYTES = 1024


class Packing(Enum):
    """Packing of a file."""

    GZIP = auto()
    ZSTD = auto()
    ZIP = auto()


class UnreadFormat(NamedTuple):
    """An unsupported format.

    Args:
        problem: sentence that says what the file is.
        advice: how to turn it into a mapping.
    """

    problem: str
    advice: str | Advice

    @classmethod
    def of(cls, description: str, advice: str | Advice) -> UnreadFormat:
        """Return the unsupported format with a description.

        Args:
            description: noun for a file of this format.
            advice: how to turn it into a mapping.
        """
        return cls(f"The file is {description}, which is not supported.", advice)


_PACKINGS = (
    (re.compile(rb"\x1f\x8b"), Packing.GZIP),
    (re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18"), Packing.ZSTD),
    (re.compile(rb"PK(?:\x03\x04|\x05\x06|\x07\x08|00PK\x03\x04)"), Packing.ZIP),
)
#: The mark of a Parquet file is followed by bytes that no CSV header has.
_PARQUET = re.compile(rb"PAR1[\x00-\x08\x0e-\x1f\x80-\xff]")
_EXPORT = "Export the table as CSV from the program that made it."
SAVE_AS_WORKBOOK = "Open it in a spreadsheet and save it as .xlsx or as CSV."
_UNPACK = "Unpack it, and use the file inside."


def _unpack_by(command: str) -> str:
    return f"Unpack it, for example with `{command} FILE`, and use the file inside."


_UNREAD = (
    (rb"\x09\x08[\x00-\x10][\x00\x05\x06]", "an old workbook", SAVE_AS_WORKBOOK),
    (rb"ID;P[^\r\n]*+[\r\n]++[BCEFOP];", "a SYLK spreadsheet", SAVE_AS_WORKBOOK),
    (rb"BZh[1-9](?:1AY&SY|\x17rE8P\x90)", "a file compressed with bzip2", _unpack_by("bunzip2")),
    (rb"\xfd7zXZ\x00", "a file compressed with xz", _unpack_by("unxz")),
    (rb"\x5d\x00\x00[\x00-\xff]{2}[\x00\xff]", "a file compressed with lzma", _unpack_by("unlzma")),
    (rb"\x04\x22\x4d\x18|\x02\x21\x4c\x18", "a file compressed with lz4", _unpack_by("unlz4")),
    (rb"\x89LZO\x00", "a file compressed with lzop", _unpack_by("lzop -d")),
    (rb"\xff\x06\x00\x00sNaPpY", "a file compressed with Snappy", _UNPACK),
    (rb"\x1f[\x9d\xa0]", "a file compressed with compress", _unpack_by("uncompress")),
    (rb"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (rb"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (rb"MSCF\x00", "a cabinet archive", _UNPACK),
    (rb"[\x00-\xff]{257}ustar", "a tar archive", _unpack_by("tar -xf")),
    (
        rb"PARE[\x00-\xff]{2}\x00",
        "an encrypted Parquet file",
        "Write it without encryption, or export it as CSV.",
    ),
    (rb"ARROW1|\xff\xff\xff\xff[\x00-\xff]{2}\x00\x00", "an Arrow file", "Save it as Parquet."),
    (rb"FEA1\x00", "a Feather file", "Save it as Parquet or as CSV."),
    (rb"ORC[\x00-\x1f]", "an ORC file", "Save it as Parquet or as CSV."),
    (rb"Obj\x01", "an Avro file", "Save it as Parquet or as CSV."),
    (rb"SQLite format 3\x00", "an SQLite database", _EXPORT),
    (rb"[\x00-\xff]{4}Standard (?:Jet|ACE) DB", "an Access database", _EXPORT),
    (rb"[\x00-\xff]{8}DUCK", "a DuckDB database", _EXPORT),
    (rb"\x80[\x02-\x05][}\]\x95c]", "a Python pickle", _EXPORT),
    (rb"\x89HDF\r\n\x1a\n", "an HDF5 file", _EXPORT),
    (rb"%PDF-", "a PDF document", _EXPORT),
    (rb"\{\\rtf", "an RTF document", _EXPORT),
    (rb"\x89PNG|\xff\xd8\xff|GIF8|II\*\x00|MM\x00\*|BM[\x00-\xff]{4}\x00{4}", "an image", _EXPORT),
    (
        rb"-----BEGIN |\x85\x01|\x85\x02|age-encryption\.org",
        "an encrypted file",
        "Decrypt it first.",
    ),
    (
        rb"version https://git-lfs\.github\.com/",
        "a Git LFS pointer instead of the file itself",
        "Fetch the file, for example with `git lfs pull`.",
    ),
    (
        rb"(?i)\s*+(?:<!--.*?-->\s*+)*+<(?:!doctype\s+html|html|head|body|table|meta|div|script)\b",
        "an HTML page, perhaps a sign-in page",
        "Download the file again and check it in an editor. If it is a table saved as a web page,"
        " open it in a spreadsheet and save it as CSV.",
    ),
    (rb"(?i)\s*+<\?xml|\s*+<[a-z][\w:.-]*+[^,;\t|>]*+>", "an XML document", SAVE_AS_WORKBOOK),
)
_UNREAD_FORMATS = tuple(
    (
        re.compile(pattern, re.DOTALL),
        UnreadFormat.of(description, advice),
    )
    for pattern, description, advice in _UNREAD
)
_BOM = b"\xef\xbb\xbf"
#: Control characters that hardly any header has; some programs delimit cells with others.
_CONTROLS = bytes([*range(0x09), *range(0x0E, 0x1B)])
#: A first line with a larger share of them is not text.
_MAX_CONTROL_SHARE = 0.1
_NUL_BYTES = UnreadFormat(
    "The file has only NUL bytes: it was not written or copied completely.",
    "Export or copy it again.",
)
_UNKNOWN_BYTES = UnreadFormat(
    "The file is neither text nor in a known format.",
    Advice(
        "Export the table as CSV in UTF-8. If it is text in another encoding, set {}.",
        Keyword("encoding"),
    ),
)


def find_packing(start: bytes) -> Packing | None:
    """Return the packing of a file; None if it is not packed.

    Args:
        start: its first `SIGNATURE_BYTES`.
    """
    return next((packing for pattern, packing in _PACKINGS if pattern.match(start)), None)


def is_parquet(start: bytes) -> bool:
    """Return whether a file is Parquet."""
    return _PARQUET.match(start) is not None


def find_unread_format(start: bytes) -> UnreadFormat | None:
    """Return the unsupported format of a file; None if it is not one of the known ones."""
    text = start.removeprefix(_BOM)
    return next((format_ for pattern, format_ in _UNREAD_FORMATS if pattern.match(text)), None)


def find_binary_content(start: bytes) -> UnreadFormat | None:
    """Return the format of a file whose first line cannot be text; None if it can be."""
    if start and not start.strip(b"\0"):
        return _NUL_BYTES
    first_line = re.split(rb"[\r\n]", start, maxsplit=1)[0]
    controls = len(first_line) - len(first_line.translate(None, _CONTROLS))
    return _UNKNOWN_BYTES if controls > _MAX_CONTROL_SHARE * len(first_line) else None
