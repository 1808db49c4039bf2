"""Uniform results: the `result` lines of one call, if they differ only in row and message id.

Nearly all lines of a large ledger are such lines. Since the `call` line has the rows, they are
recognised by their text, without decoding more than the first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import accumulate

import msgspec

#: Without a backslash, no key is escaped and no text contains a quote.
_RESULT = re.compile(
    rb'(\{"event":"result","ts":"[^"\\]*","row":)[1-9][0-9]*'
    rb'(,"op":"[^"\\]*","contact_id":"[^"\\]*","owner_id":"[^"\\]*","message_id":")'
    rb'([0-9A-Za-z]+)("[^\\]*)'
)
_ROW, _MESSAGE_ID = b'"row":', b'"message_id":'


class UniformResults(msgspec.Struct, frozen=True, gc=False):
    """What differs between uniform results.

    Args:
        message_ids: message id of each line.
        starts: offset of each line in its block.
        end: offset after the last one.
    """

    message_ids: list[bytes]
    starts: list[int]
    end: int


def match_uniform_results(
    block: bytes, start: int, first: bytes, rows: Sequence[int]
) -> UniformResults | None:
    """Return the uniform results that begin with a line; None if anything else follows it.

    Args:
        block: whole lines.
        start: offset of the first line.
        first: the first line, a valid one, without its newline.
        rows: row that each line must have.
    """
    match = _RESULT.fullmatch(first)
    if match is None or first.count(_ROW) > 1 or first.count(_MESSAGE_ID) > 1:
        return None
    head, middle, first_id, tail = match.groups()
    tail += b"\n"
    row_texts = [b"%d" % row for row in rows]
    id_end, id_start = len(tail), len(tail) + len(first_id)
    fixed = len(head) + len(middle) + id_start
    *starts, end = accumulate([fixed + len(text) for text in row_texts], initial=start)
    line_ends = (*starts[1:], end)
    message_ids = [block[at - id_start : at - id_end] for at in line_ends]
    varying = map(middle.join, zip(row_texts, message_ids, strict=True))
    lines = b"".join((head, (tail + head).join(varying), tail))
    if block.startswith(lines, start) and b"".join(message_ids).isalnum():
        return UniformResults(message_ids, starts, end)
    return None
