"""Names of files as text: for JSON, pages and messages."""

from __future__ import annotations

import re
from os import PathLike, fspath

#: Bytes of a name that the locale's encoding has no characters for, as Python keeps them.
_UNDECODED_BYTES = re.compile("[\udc80-\udcff]+")


def file_name_text(name: str | PathLike[str]) -> str:
    r"""Return the name of a file, or a text with such names, as text that UTF-8 can hold.

    Bytes that the locale's encoding has no characters for are decoded as UTF-8, which most names
    are; the others become escapes such as `\xff`.
    """
    return _UNDECODED_BYTES.sub(_decode, fspath(name))


def _decode(undecoded: re.Match[str]) -> str:
    return undecoded[0].encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
