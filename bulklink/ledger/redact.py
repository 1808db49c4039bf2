"""Dropping from a ledger what belongs to the user: names and texts; ids, codes and times stay."""

from __future__ import annotations

from pathlib import Path

import orjson

from bulklink.atomic_files import replacing
from bulklink.ledger.records import broken_line

_NAME = "previous_deal_name"
_BUFFER = 1 << 20


def forget_texts(path: Path) -> None:
    """Replace a ledger by one whose lines tell no deal's name and no message.

    Messages are dropped too: those of refused rows quote their cells.

    Args:
        path: the ledger; a missing one is left so.

    Raises:
        LedgerError: if a line is damaged; the ledger is as it was then.
        RunDirError: if it cannot be written.
    """
    if not path.exists():
        return
    with (
        replacing(path) as temporary,
        path.open("rb") as file,
        temporary.open("wb", buffering=_BUFFER) as out,
    ):
        for number, line in enumerate(file, 1):
            try:
                out.write(_without_texts(line))
            except orjson.JSONDecodeError as error:
                raise broken_line(path, number, error) from None


def _without_texts(line: bytes) -> bytes:
    if b'"message":' not in line and _NAME.encode() not in line:
        return line
    told = orjson.loads(line)
    told.pop(_NAME, None)
    if "message" in told:
        told["message"] = ""
    return orjson.dumps(told, option=orjson.OPT_APPEND_NEWLINE)
