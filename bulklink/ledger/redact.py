"""Dropping from a ledger what belongs to the user: names and texts; ids, codes and times stay."""

from __future__ import annotations

from pathlib import Path

import orjson

from bulklink.atomic_files import atomic_replace
from bulklink.ledger.records import damaged_line_error, json_line

_DEAL_NAME_KEY = "previous_deal_name"
_BUFFER = 1 << 20


def redact_ledger(path: Path) -> None:
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
        atomic_replace(path) as temporary,
        path.open("rb") as file,
        temporary.open("wb", buffering=_BUFFER) as out,
    ):
        for number, line in enumerate(file, 1):
            try:
                out.write(_redact_line(line))
            except orjson.JSONDecodeError as error:
                raise damaged_line_error(path, number, error) from None


def _redact_line(line: bytes) -> bytes:
    if b'"message":' not in line and _DEAL_NAME_KEY.encode() not in line:
        return line
    fields = orjson.loads(line)
    fields.pop(_DEAL_NAME_KEY, None)
    if "message" in fields:
        fields["message"] = ""
    return json_line(fields)
