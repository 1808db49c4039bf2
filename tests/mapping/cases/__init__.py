"""Cases of mappings: what is in a file, the options, and what must come of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from bulklink.mapping.schema import MappingOptions
from bulklink.models import Op

COLUMNS = ("contact_id", "owner_id", "message_id", "deal_id")
LINK = MappingOptions(op=Op.LINK)


@dataclass(frozen=True, kw_only=True)
class MappingCase:
    """A mapping, and what must come of it.

    Args:
        content: content of the file; text is written as UTF-8.
        name: name of the file.
        options: options for reading it.
        messages: number of messages that are planned.
        sent: values of the first message by field, such as `contact_id`.
        kept: cells of the first planned row by header.
        lines: physical lines of the planned rows, in order; empty if they are not looked at.
        refused: for each refused row its reason, and what its message says.
        warns: what the warnings say, one after the other.
        error: what the error says, message and advice, if the file is refused as a whole.
        follow: options with which the cure of the error, or of a refused row, makes the file good.
        mended: content that the cure makes of the file, if it is not an option.
    """

    content: str | bytes
    name: str = "mapping.csv"
    options: MappingOptions = LINK
    messages: int = 0
    sent: dict[str, str | None] = field(default_factory=dict)
    kept: dict[str, str | None] = field(default_factory=dict)
    lines: tuple[int | None, ...] = ()
    refused: dict[int, tuple[str, str]] = field(default_factory=dict)
    warns: tuple[str, ...] = ()
    error: tuple[str, ...] = ()
    follow: MappingOptions | None = None
    mended: str | bytes | None = None


def csv_of(*rows: str, header: str = ",".join(COLUMNS)) -> str:
    """Return a header and rows as CSV."""
    return "".join(f"{row}\n" for row in (header, *rows))
