"""Digest of a ledger's lines: lost, changed and added bytes are found."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulklink.errors import LedgerError
from bulklink.ledger.checkpoint import LedgerDigest, check_written

LINES = b'{"event":"call"}\n{"event":"result"}\n'


def written(*blocks: bytes) -> LedgerDigest:
    digest = LedgerDigest()
    for block in blocks:
        digest.add(block)
    return digest


def test_the_lines_that_were_written_pass(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    ledger.write_bytes(LINES)
    check_written(ledger, written(LINES[:17], LINES[17:]))


@pytest.mark.parametrize(
    "content",
    [
        LINES[:-1],
        LINES[:17],
        b"",
        LINES.replace(b"call", b"cell"),
        LINES + b'{"event":"call"}\n',
        LINES + b"{",
    ],
    ids=["lost-byte", "lost-line", "empty", "changed-byte", "added-line", "torn-line"],
)
def test_any_other_content_is_refused(tmp_path: Path, content: bytes) -> None:
    ledger = tmp_path / "ledger.jsonl"
    ledger.write_bytes(content)
    with pytest.raises(LedgerError, match="ledger"):
        check_written(ledger, written(LINES))


def test_a_copy_goes_on_by_itself() -> None:
    first = written(LINES)
    second = first.copy()
    second.add(LINES)
    assert (first.length, second.length) == (len(LINES), 2 * len(LINES))
    assert first.sha256 == written(LINES).sha256
    assert second.sha256 == written(LINES, LINES).sha256
