"""SHA-256 of run files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from bulklink.blocking import blocks
from bulklink.folder_files import open_to_read

_BLOCK = 1 << 20


def sha256_of(path: Path, length: int | None = None) -> str:
    """Return the SHA-256 of a file in hex.

    Args:
        path: the file.
        length: hash only this many bytes from the start; None for the whole file.
    """
    blocks("hashing a file")
    digest = hashlib.sha256()
    with open_to_read(path) as file:
        if length is None:
            return hashlib.file_digest(file, "sha256").hexdigest()
        while length > 0 and (block := file.read(min(length, _BLOCK))):
            digest.update(block)
            length -= len(block)
    return digest.hexdigest()


def whole_lines_length(path: Path) -> int:
    """Return the length in bytes of a file's whole lines; 0 if the file is missing."""
    try:
        file = open_to_read(path)
    except FileNotFoundError:
        return 0
    with file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - _BLOCK)
            file.seek(start)
            newline = file.read(end - start).rfind(b"\n")
            if newline >= 0:
                return start + newline + 1
            end = start
    return 0


def ledger_hash(path: Path) -> dict[str, str | int]:
    """Return the fields of `run.json` for a ledger: SHA-256 and length of its whole lines."""
    length = whole_lines_length(path)
    if length == 0:
        return {"ledger_sha256": hashlib.sha256().hexdigest(), "ledger_bytes": 0}
    return {"ledger_sha256": sha256_of(path, length), "ledger_bytes": length}
