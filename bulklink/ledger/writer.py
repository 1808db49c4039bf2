"""Ledger writer: a single task with group commit."""

from __future__ import annotations

import errno
import os
from collections import Counter
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Protocol, Self

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from bulklink.errors import LedgerError
from bulklink.folder_files import FileSystem, is_open_at, open_to_append
from bulklink.ledger.checkpoint import LedgerDigest
from bulklink.models import Status
from bulklink.task_group import task_group

LAG_SECONDS = 0.1
"""Longest time an uncommitted line stays in memory."""


class LedgerWording(NamedTuple):
    """How an error calls the file that cannot be written.

    Args:
        subject: what it holds.
        where: the file.
        advice: what to do.
    """

    subject: str
    where: str
    advice: str


RUN_LEDGER = LedgerWording(
    "the ledger",
    "ledger.jsonl",
    "Free some space, fix the disk, or move the folder back, then resume. Calls in flight are not"
    " settled yet.",
)


class LedgerFiles(Protocol):
    """The two files a run writes while sending."""

    async def write(self, ledger: bytes, answers: bytes) -> None:
        """Append to both files and return when the ledger's part is on disk.

        Raises:
            OSError: if one of them cannot be written.
        """
        ...

    def close(self) -> None:
        """Close both files."""
        ...


class DiskLedgerFiles:
    """`ledger.jsonl` and `answers.jsonl` of a run folder, written in a worker thread.

    Args:
        ledger: path of the ledger; its writes are flushed to disk.
        answers: path of the stored answers; they may be lost in a power cut.
        sync: False leaves flushing to the system, for load tests.
        system: system calls.

    Raises:
        RunDirError: if one of them is not a regular file, has several names, or cannot be written.
    """

    def __init__(
        self, ledger: Path, answers: Path, *, sync: bool = True, system: FileSystem = os
    ) -> None:
        self._system = system
        self._path = ledger
        self._ledger = open_to_append(ledger, system)
        try:
            self._answers = open_to_append(answers, system)
        except BaseException:
            system.close(self._ledger)
            raise
        self._sync = sync

    async def write(self, ledger: bytes, answers: bytes) -> None:
        """Append to both files and return when the ledger's part is on disk."""
        await anyio.to_thread.run_sync(self.write_blocking, ledger, answers)

    def write_blocking(self, ledger: bytes, answers: bytes) -> None:
        """Append to both files in this thread, like `write`."""
        self._write_all(self._answers, answers)
        self._write_all(self._ledger, ledger)
        if self._sync and ledger:
            self._system.fsync(self._ledger)
        # Checked before the calls of this batch are sent, so that none is sent without a ledger.
        if not is_open_at(self._ledger, self._path, self._system):
            raise FileNotFoundError(errno.ENOENT, "it was moved or deleted while in use")

    def close(self) -> None:
        """Close both files."""
        self._system.close(self._ledger)
        self._system.close(self._answers)

    def _write_all(self, file: int, content: bytes) -> None:
        view = memoryview(content)
        while view:
            view = view[self._system.write(file, view) :]


@dataclass(slots=True)
class _Batch:
    """Lines that are written, and flushed to disk, together."""

    ledger: list[bytes] = field(default_factory=list)
    answers: list[bytes] = field(default_factory=list)
    results: Counter[Status] = field(default_factory=Counter)
    has_lines: anyio.Event = field(default_factory=anyio.Event)
    flush_requested: anyio.Event = field(default_factory=anyio.Event)
    written: anyio.Event = field(default_factory=anyio.Event)


@dataclass(slots=True)
class LedgerWriter:
    """Queue of lines from many tasks, and the task that writes them while its block runs.

    All queued lines are written at the end of the block, even after errors.

    Args:
        files: the files.
        digest: digest of the ledger's lines before the block; those that are written are added.
        results: counts the `result` lines that are written, by status.
        wording: how an error calls the first file.

    Raises:
        LedgerError: at the end, if something could not be written; also in place of an error that
            ended the block.
    """

    _files: LedgerFiles
    digest: LedgerDigest = field(default_factory=LedgerDigest)
    results: Counter[Status] = field(default_factory=Counter)
    wording: LedgerWording = RUN_LEDGER
    _batch: _Batch = field(default_factory=_Batch, init=False)
    _closing: bool = field(default=False, init=False)
    _write_error: OSError | None = field(default=None, init=False)
    _group: AbstractAsyncContextManager[TaskGroup] = field(default_factory=task_group, init=False)
    _done: anyio.Event = field(default_factory=anyio.Event, init=False)

    async def __aenter__(self) -> Self:
        group = await self._group.__aenter__()
        group.start_soon(self._run_shielded)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        self.close()
        with anyio.CancelScope(shield=True):
            await self._done.wait()
            await self.run()  # writes what is left if the event loop itself cancelled the task
        handled = await self._group.__aexit__(kind, error, trace)
        if error is None or (isinstance(error, Exception) and not isinstance(error, LedgerError)):
            self._raise_write_error()
        return handled

    async def _run_shielded(self) -> None:
        """Write until `close`: a cancelled run still has results to record.

        No shield holds when an event loop cancels all its tasks, as at the end of `asyncio.run`.
        """
        try:
            with anyio.CancelScope(shield=True):
                await self.run()
        finally:
            self._done.set()

    def append(self, *lines: bytes) -> None:
        """Queue lines, which reach the disk about 100 ms later.

        Raises:
            LedgerError: if an earlier write failed.
        """
        self._raise_write_error()
        self._batch.ledger.extend(lines)
        self._batch.has_lines.set()

    def append_results(self, status: Status, lines: bytes) -> None:
        """Queue `result` lines of one status, which are counted once they are written.

        Raises:
            LedgerError: if an earlier write failed.
        """
        self.append(lines)
        self._batch.results[status] += lines.count(b"\n")

    def append_answer(self, line: bytes) -> None:
        """Queue a line of `answers.jsonl`."""
        self._batch.answers.append(line)

    async def commit(self, *lines: bytes, at_once: bool = True) -> None:
        """Queue lines and return when they, and all before them, are on disk.

        Args:
            lines: the lines.
            at_once: whether to write them now; otherwise with the next lines that are, or about
                100 ms later.

        Raises:
            LedgerError: if the ledger cannot be written.
        """
        self.append(*lines)
        batch = self._batch
        if at_once:
            batch.flush_requested.set()
        await batch.written.wait()
        self._raise_write_error()

    async def run(self) -> None:
        """Write queued lines until `close` is called; run it as a task."""
        while not self._closing or self._batch.ledger or self._batch.answers:
            await self._batch.has_lines.wait()
            with anyio.move_on_after(LAG_SECONDS):
                await self._batch.flush_requested.wait()
            await self._write()

    def close(self) -> None:
        """Make `run` write the remaining lines and return."""
        self._closing = True
        self._batch.has_lines.set()
        self._batch.flush_requested.set()

    async def _write(self) -> None:
        batch, self._batch = self._batch, _Batch()
        if self._closing:
            self.close()
        try:
            if self._write_error is None:
                lines = b"".join(batch.ledger)
                await self._files.write(lines, b"".join(batch.answers))
                self.digest.add(lines)
                self.results.update(batch.results)
        except OSError as error:
            self._write_error = error
        except BaseException:  # it is unknown how much of it was written
            self._write_error = OSError(errno.ECANCELED, "the event loop was closed meanwhile")
            raise
        finally:
            batch.written.set()

    def _raise_write_error(self) -> None:
        if self._write_error is not None:
            raise LedgerError(
                f"Cannot write {self.wording.subject}:"
                f" {self._write_error.strerror or self._write_error}.",
                where=self.wording.where,
                advice=self.wording.advice,
            ) from self._write_error
