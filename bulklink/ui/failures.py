"""Failures of runs as the page shows them: staged once for each state of a run."""

from __future__ import annotations

import os
import tempfile
import threading
from contextlib import suppress
from pathlib import Path

import msgspec

from bulklink.errors import BulklinkError
from bulklink.mapping.interrupt import PlanningStop
from bulklink.operations.report.failure_pages import FailedRow, FailureCode, FailureStage
from bulklink.runs.folder import RunFolder

_MAX_STAGES = 4
"""Maximum runs whose failures are staged at a time."""
_SMALL_LEDGER_BYTES = 8 << 20
"""Size of a ledger up to which staging takes no noticeable time."""
_State = tuple[tuple[int, int, int] | None, ...]


class FailurePage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of failures.

    Args:
        stage: what names the moment that it shows.
        codes: the most frequent codes.
        other_codes: codes that are not listed.
        code: the code whose rows it shows; None for none.
        page: its number, from 1; 0 without a code.
        rows: its rows.
    """

    stage: str
    codes: tuple[FailureCode, ...]
    other_codes: int
    code: FailureCode | None = None
    page: int = 0
    rows: tuple[FailedRow, ...] = ()


class _Staged(msgspec.Struct, frozen=True):
    """A stage with the state of the run that it shows."""

    name: str
    state: _State
    stage: FailureStage


class Failures:
    """Failures of the runs of a folder, in temporary files. All methods block.

    One thread at a time uses the files: staging takes memory, reading a page takes none.
    """

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._staged: dict[Path, _Staged] = {}
        self._count = 0
        self._lock = threading.Lock()
        self._stop = PlanningStop()

    def page(
        self, folder: RunFolder, *, key: str = "", page: int = 1, stage: str = ""
    ) -> FailurePage | None:
        """Return a page of failures; None if there is no such code.

        Args:
            folder: the run folder.
            key: key of the code whose rows are shown; empty for none.
            page: number of the page; the nearest one is returned if there is none.
            stage: moment to show, if it is still known; empty for now.

        Raises:
            RunDirError: if a file of the run cannot be read.
            LedgerError: if its ledger is damaged.
        """
        with self._lock:
            staged = self._stage(folder, stage)
            codes, other_codes = staged.stage.codes, staged.stage.other_codes
            shown = FailurePage(stage=staged.name, codes=codes, other_codes=other_codes)
            if not key:
                return shown
            code = next((each for each in codes if each.key == key), None)
            if code is None:
                return None
            number = min(max(page, 1), code.pages)
            rows = tuple(staged.stage.rows(code, number))
            return msgspec.structs.replace(shown, code=code, page=number, rows=rows)

    def glance(self, folder: RunFolder) -> FailurePage | None:
        """Return the codes of a run; None if that would take a while, or fails.

        Args:
            folder: the run folder.
        """
        with self._lock:
            staged = self._staged.get(folder.path)
            is_current = staged is not None and staged.state == _state(folder)
        size = 0
        with suppress(OSError):
            size = folder.ledger.lstat().st_size
        if not is_current and size > _SMALL_LEDGER_BYTES:
            return None
        try:
            return self.page(folder)
        except BulklinkError:
            return None  # the page of the failures says so

    def close(self) -> None:
        """Interrupt what is being staged, and remove all files."""
        self._stop.interrupt()
        with self._lock:
            self._staged.clear()
            if self._folder is not None:
                self._folder.cleanup()
                self._folder = None

    def _stage(self, folder: RunFolder, name: str) -> _Staged:
        """Return the stage of a moment if there is one, else that of now."""
        staged, state = self._staged.get(folder.path), _state(folder)
        if staged is not None and (staged.name == name or staged.state == state):
            return staged
        self._stop.check()
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="bulklink-")
        self._count += 1
        path = Path(self._folder.name, f"{self._count}.parquet")
        stage = FailureStage(folder, path, self._stop)
        if staged is not None:
            self._drop(folder.path)
        while len(self._staged) >= _MAX_STAGES:
            self._drop(next(iter(self._staged)))
        staged = self._staged[folder.path] = _Staged(str(self._count), state, stage)
        return staged

    def _drop(self, path: Path) -> None:
        self._staged.pop(path).stage.remove()


def _state(folder: RunFolder) -> _State:
    """Return what changes whenever the failures of a run may have changed."""
    return tuple(map(_file_state, (folder.record, folder.ledger, folder.rejects)))


def _file_state(path: Path) -> tuple[int, int, int] | None:
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
