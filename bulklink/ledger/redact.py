"""Redaction of deal names and messages in a ledger; ids, codes and times are kept."""

from __future__ import annotations

from pathlib import Path

import orjson

from bulklink.atomic_files import atomic_replace
from bulklink.ledger.records import decode_lines, json_line

_DEAL_NAME_KEY = "previous_deal_name"
_BUFFER = 1 << 20


def redact_ledger(path: Path) -> None:
    """Rewrite a ledger without deal names and messages.

    Messages are dropped because the messages of refused rows quote cells.

    Args:
        path: the ledger, without a torn last line; a missing one is not created.

    Raises:
        LedgerError: if a line is damaged; the ledger is then unchanged.
        RunDirError: if it cannot be written.
    """
    if not path.exists():
        return
    with atomic_replace(path) as temporary, temporary.open("wb", buffering=_BUFFER) as out:
        for _, line in decode_lines(path, _redact_line):
            out.write(line)


def _redact_line(line: bytes) -> bytes:
    if b'"message":' not in line and _DEAL_NAME_KEY.encode() not in line:
        return line + b"\n"
    fields = orjson.loads(line)
    fields.pop(_DEAL_NAME_KEY, None)
    if "message" in fields:
        fields["message"] = ""
    return json_line(fields)
