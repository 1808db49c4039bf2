"""File names: as text, for JSON, pages and messages; and without the suffixes of formats."""

from __future__ import annotations

import re
from os import PathLike, fspath
from pathlib import Path

#: Bytes of a name that the locale's encoding cannot decode, as Python represents them.
_UNDECODED_BYTES = re.compile("[\udc80-\udcff]+")
_SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".xlsx")
_PACKED = (".gz", ".zst")


def file_name_text(name: str | PathLike[str]) -> str:
    r"""Return a file name, or a text with file names, as text that UTF-8 can encode.

    Bytes that the locale's encoding cannot decode are decoded as UTF-8; all others become escapes
    such as `\xff`.
    """
    return _UNDECODED_BYTES.sub(_decode, fspath(name))


def _decode(undecoded: re.Match[str]) -> str:
    return undecoded[0].encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def table_stem(path: Path) -> str:
    """Return the name of a file without the suffixes of its format and its compression."""
    name = path.name
    for suffixes in (_PACKED, _SUFFIXES):
        suffix = next((one for one in suffixes if name.lower().endswith(one)), "")
        name = name[: len(name) - len(suffix)] or name
    return name
