"""What parts the cells of a CSV file."""

from __future__ import annotations

import msgspec

from bulklink.errors import UsageError

#: What is found without being told; any other character has to be given.
COMMON = (",", ";", "\t", "|")
_NAMES = {"tab": "\t"}
_NEVER = "\"'\r\n\v\f\0\1 "


class Dialect(msgspec.Struct, frozen=True):
    """How a CSV file is written.

    `told` says that its first line is `sep=` and the delimiter, as Excel writes and reads it;
    that line is no header and no record.
    """

    delimiter: str = ","
    told: bool = False

    @property
    def blank(self) -> bytes:
        """What a line may consist of to be blank: white space, but never the delimiter."""
        return b" \t\r\n\v\f".replace(self.delimiter.encode(), b"")


def is_delimiter(text: str) -> bool:
    """Tell whether a text is one character that can part cells."""
    return len(text) == 1 and text.isascii() and not text.isalnum() and text not in _NEVER


def delimiter_of(said: str) -> str:
    """Return the delimiter that `--delimiter` names: a character, or `tab`.

    Raises:
        UsageError: if it cannot part cells.
    """
    found = _NAMES.get(said.strip().lower(), said)
    if not is_delimiter(found):
        raise UsageError(
            f"{said!r} cannot part the cells of a CSV file.",
            where="--delimiter",
            advice="Give one character: ',' ';' tab '|' or another sign.",
        )
    return found


def shown(delimiter: str) -> str:
    """Write a delimiter as `--delimiter` takes it at a command line."""
    return "tab" if delimiter == "\t" else f"'{delimiter}'"
