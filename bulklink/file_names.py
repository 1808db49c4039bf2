"""File names as text, for JSON, pages and messages."""

from __future__ import annotations

import re
from os import PathLike, fspath

#: Bytes of a name that the locale's encoding cannot decode, as Python represents them.
_UNDECODED_BYTES = re.compile("[\udc80-\udcff]+")


def file_name_text(name: str | PathLike[str]) -> str:
    r"""Return a file name, or a text with file names, as text that UTF-8 can encode.

    Bytes that the locale's encoding cannot decode are decoded as UTF-8; all others become escapes
    such as `\xff`.
    """
    return _UNDECODED_BYTES.sub(_decode, fspath(name))


def _decode(undecoded: re.Match[str]) -> str:
    return undecoded[0].encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
