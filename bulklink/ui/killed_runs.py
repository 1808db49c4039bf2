"""What a killed run had done, from its ledger: its record may be older."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import lru_cache

import msgspec

from bulklink.ledger.checkpoint import LedgerCheckpoint
from bulklink.ledger.replay import replay
from bulklink.operations.wording import RELINK_OPS, list_relinks
from bulklink.runs.folder import RunFolder
from bulklink.runs.record import RunRecord
from bulklink.runs.status import DetachedRelinks, find_detached_relinks, status_counts

_MAX_KEPT = 32
"""Maximum killed runs whose ledgers are not read again for each page."""


class KilledRun(msgspec.Struct, frozen=True):
    """What a killed run had done.

    Args:
        counts: its rows by status, pending ones included.
        may_be_changed: whether it sent a call that changes emails.
        detached: its half-done relinks, in words.
    """

    counts: dict[str, int]
    may_be_changed: bool
    detached: tuple[str, ...] = ()


class _LedgerMark(msgspec.Struct, frozen=True):
    """What changes whenever a ledger does.

    Args:
        inode: its inode.
        size: its length in bytes.
        modified: time of its last change, in nanoseconds.
    """

    inode: int
    size: int
    modified: int


def read_killed_run(folder: RunFolder, record: RunRecord) -> KilledRun:
    """Return what a killed run had done; blocks, for long if its ledger is, and for once.

    Raises:
        LedgerError: if its ledger is damaged.
    """
    try:
        status = os.lstat(folder.ledger)
    except FileNotFoundError:
        mark = None
    else:
        mark = _LedgerMark(status.st_ino, status.st_size, status.st_mtime_ns)
    return _read(folder, record.created, len(record.invocations), mark)


@lru_cache(_MAX_KEPT)
def _read(folder: RunFolder, created: str, invocations: int, mark: _LedgerMark | None) -> KilledRun:
    """Return what a killed run had done; the arguments name that moment."""
    del created, invocations, mark
    record = folder.read()
    ledger_state = replay(folder.ledger, checkpoint=LedgerCheckpoint(record.last_row), hashed=False)
    counts = status_counts(record, ledger_state)
    may_be_changed = ledger_state.calls.link + ledger_state.calls.unlink > 0
    if record.op not in RELINK_OPS:
        return KilledRun(counts, may_be_changed)
    detached = find_detached_relinks(folder, record, ledger_state)
    return KilledRun(counts, may_be_changed, tuple(_describe(detached)))


def _describe(detached: DetachedRelinks) -> Iterator[str]:
    if detached.not_put_back:
        rows = list_relinks(detached.not_put_back)
        yield (
            f"Off its deal, and putting it back failed: {rows}. Link it by hand, or resume the run"
            " and retry what failed."
        )
    if detached.unfinished:
        rows = list_relinks(detached.unfinished)
        yield f"Between the halves of a relink: {rows}. “Resume” finishes these first."
