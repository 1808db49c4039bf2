"""Search for the lines of a large ledger that concern given rows, without decoding the others."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import orjson

from bulklink.decoding import json_decoder
from bulklink.errors import LedgerError
from bulklink.folder_files import line_blocks, split_lines
from bulklink.ledger.checkpoint import NO_CHECKPOINT, LedgerCheckpoint, LedgerDigest
from bulklink.ledger.records import Count, RowNumber, UtcTime

_CALL_EVENTS = ("call", "unsent")
_RESULT = b'{"event":"result"'


def find_message_lines(
    path: Path,
    message_id: str,
    rows: Collection[int],
    checkpoint: LedgerCheckpoint = NO_CHECKPOINT,
) -> Iterator[dict[str, Any]]:
    """Yield the lines of a ledger that concern an email, in order.

    Torn lines, and damaged ones after the checkpoint, are skipped.

    Args:
        path: the ledger; a missing one has none.
        message_id: message id of the email.
        rows: its rows in the plan; refused rows need not be among them.
        checkpoint: start that the ledger must have.

    Raises:
        LedgerError: if it does not begin with the checkpoint; at the end, if lines are missing.
    """
    needles = [f'"message_id":"{message_id}"'.encode()]
    row_needles = []
    for row in rows:
        row_needles += [f'"row":{row}{end}'.encode() for end in ",}"]
        row_needles += [f"{begin}{row}{end}".encode() for begin in "[," for end in ",]"]
    for line in _decode_lines(path, needles, row_needles, checkpoint):
        if line.get("event") in _CALL_EVENTS:
            is_relevant = not set(rows).isdisjoint(line.get("rows", ()))
        elif line.get("event") == "result":
            is_relevant = line.get("message_id") == message_id
        else:
            is_relevant = line.get("row") in rows
        if is_relevant:
            yield line


def find_answers(path: Path, calls: Collection[int]) -> Iterator[dict[str, Any]]:
    """Yield the stored answers to some calls, in order.

    Args:
        path: `answers.jsonl`; a missing one has none.
        calls: numbers of the calls.
    """
    needles = [f'"call":{call},'.encode() for call in calls]
    for line in _decode_lines(path, needles):
        if line.get("call") in calls:
            yield line


class _SearchedLine(msgspec.Struct):
    """Types of the fields used, whatever the event."""

    ts: UtcTime
    event: str = ""
    row: RowNumber | None = None
    rows: list[RowNumber] = []
    call: Count | None = None
    attempt: Count = 1
    attempts: Count = 0
    op: str | None = None
    contact_id: str | None = None
    deal_id: str | None = None
    message_id: str | None = None
    status: str | None = None
    code: str | None = None
    http_status: Count | None = None
    message: str = ""
    body: str = ""
    previous_deal_id: str | None = None
    previous_deal_name: str | None = None
    current_deal_id: str | None = None
    duplicate_of: RowNumber | None = None


def _decode_lines(
    path: Path,
    needles: Sequence[bytes],
    row_needles: Sequence[bytes] = (),
    checkpoint: LedgerCheckpoint = NO_CHECKPOINT,
) -> Iterator[dict[str, Any]]:
    check_types = json_decoder(_SearchedLine).decode
    for raw in _find_lines(path, needles, row_needles, checkpoint):
        try:
            check_types(raw)
            line = orjson.loads(raw)
        except (ValueError, RecursionError):
            continue
        yield line


def _find_lines(
    path: Path,
    needles: Sequence[bytes],
    row_needles: Sequence[bytes],
    checkpoint: LedgerCheckpoint,
) -> Iterator[bytes]:
    """Yield the whole lines that contain any of some byte strings.

    Args:
        path: the file.
        needles: byte strings of any line.
        row_needles: byte strings of lines other than results; these are few, and many byte strings
            take long to find.
        checkpoint: start that the file must have.
    """
    digest = LedgerDigest(path, checkpoint)
    for block in line_blocks(path, error_class=LedgerError):
        if checkpoint.length is not None:
            digest.add(block)
        starts = {start for needle in needles for start in _line_starts(block, needle)}
        if row_needles:
            other_lines = b"\n".join(_other_lines(block))
            if any(needle in other_lines for needle in row_needles):
                starts.update(s for needle in row_needles for s in _line_starts(block, needle))
        for start in sorted(starts):
            yield block[start : block.index(b"\n", start)]
    digest.end()


def _other_lines(block: bytes) -> list[bytes]:
    """Return the lines of a block that are not results."""
    return [line for line in split_lines(block) if not line.startswith(_RESULT)]


def _line_starts(block: bytes, needle: bytes) -> Iterator[int]:
    """Yield the start of each line that contains a byte string."""
    position = block.find(needle)
    while position >= 0:
        yield block.rfind(b"\n", 0, position) + 1
        position = block.find(needle, block.index(b"\n", position))
