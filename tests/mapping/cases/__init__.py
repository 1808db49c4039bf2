"""Cases of mappings: content of a file, options, and the expected outcome."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from bulklink.mapping.schema import MappingOptions
from bulklink.models import Op

COLUMNS = ("contact_id", "owner_id", "message_id", "deal_id")
LINK = MappingOptions(op=Op.LINK)
Content = str | bytes | Callable[[], bytes]
"""Content of a file, or the function that makes it, which only the tests of its case call."""


@dataclass(frozen=True, kw_only=True)
class MappingCase:
    """A mapping and its expected outcome.

    Args:
        content: content of the file; text is written as UTF-8.
        name: name of the file.
        options: options for reading it.
        messages: number of planned messages.
        sent: values of the first message by field, such as `contact_id`.
        cells: cells of the first planned row by header.
        lines: physical lines of the planned rows, in order; empty if they are not checked.
        refused: for each refused row its reason, and part of its message.
        warns: part of each warning, in order.
        error: parts of the error and its advice, if the file is refused as a whole.
        fixed_options: options that make the file good, as the advice says.
        fixed_content: content that makes the file good, if the advice is not an option.
    """

    content: Content
    name: str = "mapping.csv"
    options: MappingOptions = LINK
    messages: int = 0
    sent: dict[str, str | None] = field(default_factory=dict)
    cells: dict[str, str | None] = field(default_factory=dict)
    lines: tuple[int | None, ...] = ()
    refused: dict[int, tuple[str, str]] = field(default_factory=dict)
    warns: tuple[str, ...] = ()
    error: tuple[str, ...] = ()
    fixed_options: MappingOptions | None = None
    fixed_content: str | bytes | None = None


def csv_of(*rows: str, header: str = ",".join(COLUMNS)) -> str:
    """Return a header and rows as CSV."""
    return "".join(f"{row}\n" for row in (header, *rows))
