"""Ledger of a clustered run: committed to the database before it is on this machine's disk.

A ledger is one sequence of segments, without a gap; a segment is never changed. Each is inserted by
a statement that sees the lease of its driver: once another driver may have the org, nothing is
inserted, and so no call is made, because no call leaves before its line is committed.
"""

from __future__ import annotations

import hashlib
import os
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio.to_thread
import msgspec
import psycopg

from bulklink.cluster.clocks import now
from bulklink.cluster.database import ClusterDatabase, first_line
from bulklink.cluster.lease import LeaseOverError, Moment
from bulklink.folder_files import open_to_append, open_to_read, read_small_file
from bulklink.ledger.writer import DiskLedgerFiles
from bulklink.runs.folder import RunFolder

LEDGER, ANSWERS, TIMELINE = "ledger", "answers", "timeline"
UNSHIPPED = "ledger.unshipped"
"""Lines that may not have been committed any more: evidence only, for a person."""
PART_BYTES = 1 << 20
_TIMELINE_SECONDS = 5.0
_FIRST_WAIT, _LONGEST_WAIT = 0.05, 1.0
_HELD = """
WITH held AS MATERIALIZED (
    SELECT 1 FROM org WHERE org_key = %(org_key)s AND epoch = %(epoch)s
        AND until > clock_timestamp() FOR SHARE
)"""
_COMMIT = f"""{_HELD}, inserted AS (
    INSERT INTO segment (run, kind, seq, epoch, bytes, sha256)
    SELECT %(run)s, kind, seq, %(epoch)s, bytes, sha256
    FROM held, unnest(%(kinds)s::text[], %(seqs)s::bigint[], %(contents)s::bytea[],
        %(hashes)s::bytea[]) AS new (kind, seq, bytes, sha256)
    ON CONFLICT DO NOTHING RETURNING 1
), recorded AS (
    UPDATE run SET record = %(record)s FROM held
    WHERE run.run = %(run)s AND %(record)s::bytea IS NOT NULL
        AND (cardinality(%(kinds)s::text[]) = 0 OR EXISTS (SELECT FROM inserted))
)
SELECT (SELECT count(*) FROM held), (SELECT count(*) FROM inserted)
"""  # noqa: S608 - constants
_ARE_MINE = """
SELECT count(*) FROM segment JOIN unnest(%(kinds)s::text[], %(seqs)s::bigint[], %(hashes)s::bytea[])
    AS new (kind, seq, sha256) USING (kind, seq, sha256)
WHERE run = %(run)s AND epoch = %(epoch)s
"""
_PUT_PART = f"""{_HELD}, dropped AS (
    DELETE FROM file USING held WHERE run = %(run)s AND name = %(name)s AND part > %(part)s
)
INSERT INTO file (run, name, part, bytes) SELECT %(run)s, %(name)s, %(part)s, %(bytes)s FROM held
ON CONFLICT (run, name, part) DO UPDATE SET bytes = excluded.bytes RETURNING 1
"""  # noqa: S608 - constants


class Segment(msgspec.Struct, frozen=True):
    """A part of what a driver appends.

    Args:
        kind: ledger, answers or timeline.
        seq: its number, from 0 for each kind.
        content: its bytes, not compressed.
    """

    kind: str
    seq: int
    content: bytes


class DriverStore:
    """What the driver of a run writes to the database.

    Args:
        database: the database, for this object alone.
        org_key: key of the org.
        run: id of the run.
        epoch: epoch of the driver's lease.
        seconds_left: returns for how many seconds the driver has the lease for certain.
        sleep: sleeps some seconds in this thread.
    """

    def __init__(
        self,
        database: ClusterDatabase,
        *,
        org_key: str,
        run: UUID,
        epoch: int,
        seconds_left: Callable[[], float],
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._database = database
        self._values: dict[str, Any] = {"org_key": org_key, "run": run, "epoch": epoch}
        self._seconds_left = seconds_left
        self._sleep = sleep

    def commit(self, segments: Sequence[Segment], record: bytes | None = None) -> None:
        """Commit segments, and what `run.json` contains by now; blocks.

        A statement whose answer was lost is repeated, until the lease may be over.

        Args:
            segments: the segments.
            record: content of `run.json`; None if it has not changed.

        Raises:
            LeaseOverError: if another driver may have the org.
        """
        columns = [segment_columns(segment.content) for segment in segments]
        values = self._values | {
            "kinds": [segment.kind for segment in segments],
            "seqs": [segment.seq for segment in segments],
            "contents": [each["bytes"] for each in columns],
            "hashes": [each["sha256"] for each in columns],
            "record": record,
        }
        ((held, inserted),) = self._insist(_COMMIT, values)
        if inserted == len(segments) and held:
            return
        ((committed,),) = self._insist(_ARE_MINE, values)  # by a statement whose answer was lost
        if not held or committed != len(segments):
            raise LeaseOverError

    def put_file(self, name: str, path: Path) -> None:
        """Store a file of the run folder, in parts; blocks.

        Raises:
            LeaseOverError: if another driver may have the org.
        """
        for part, content in enumerate(parts_of(path)):
            values = self._values | {"name": name, "part": part, "bytes": content}
            if not self._insist(_PUT_PART, values):
                raise LeaseOverError

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

    def _insist(self, statement: str, values: dict[str, Any]) -> list[Any]:
        """Execute a statement that may be repeated, until the lease may be over."""
        wait = _FIRST_WAIT
        while (seconds := self._seconds_left()) > 0.0:
            try:
                return self._database.query(statement, values, within=seconds)
            except (psycopg.OperationalError, psycopg.InterfaceError):
                pass  # it is unknown whether it was carried out
            except psycopg.Error as error:
                raise OSError(f"the database refused it: {first_line(error)}") from None
            self._sleep(min(wait, seconds))
            wait = min(2 * wait, _LONGEST_WAIT)
        raise LeaseOverError


def segment_columns(content: bytes) -> dict[str, bytes]:
    """Return what the table of segments has of a content: compressed, and its SHA-256."""
    return {"bytes": zlib.compress(content, 1), "sha256": hashlib.sha256(content).digest()}


def parts_of(path: Path) -> Iterator[bytes]:
    """Yield the content of a file in parts; an empty file has one."""
    with open_to_read(path) as file:
        yield file.read(PART_BYTES)
        while content := file.read(PART_BYTES):
            yield content


class ShippedFolder:
    """The run folder of a driver, and what of it is in the database.

    Args:
        folder: the folder.
        store: the database.
        next_seqs: number of the next segment of each kind.
        clocks: returns the current moment.
    """

    def __init__(
        self,
        folder: RunFolder,
        store: DriverStore,
        next_seqs: dict[str, int],
        clocks: Callable[[], Moment] = now,
    ) -> None:
        self._folder = folder
        self._store = store
        self._next_seqs = dict(next_seqs)
        self._clocks = clocks
        self._timeline_bytes = _size(folder.timeline)
        self._timeline_at = clocks().boot
        self._record_mark = _mark(folder.record)
        self._names_mark = _mark(folder.names)

    def ship(self, ledger: bytes, answers: bytes, *, is_last: bool = False) -> None:
        """Commit lines, and what else has changed in the folder; blocks.

        What the lines refer to is committed with them or before: the looked-up names, then
        `run.json`.

        Args:
            ledger: lines of the ledger.
            answers: lines of the stored answers.
            is_last: whether nothing follows.

        Raises:
            LeaseOverError: if another driver may have the org; the lines are in the folder then, as
                evidence.
        """
        names, record = _mark(self._folder.names), _mark(self._folder.record)
        contents = {LEDGER: ledger, ANSWERS: answers, TIMELINE: self._new_timeline(is_last)}
        segments = [
            Segment(kind, self._next_seqs.get(kind, 0), content)
            for kind, content in contents.items()
            if content
        ]
        has_record = record != self._record_mark
        try:
            if names is not None and names != self._names_mark:
                self._store.put_file(self._folder.names.name, self._folder.names)
            if segments or has_record:
                content = read_small_file(self._folder.record) if has_record else None
                self._store.commit(segments, content)
        except LeaseOverError:
            _append(self._folder.path / UNSHIPPED, ledger)
            raise
        self._names_mark, self._record_mark = names, record
        for segment in segments:
            self._next_seqs[segment.kind] = segment.seq + 1
        self._timeline_bytes += len(contents[TIMELINE])

    def _new_timeline(self, is_last: bool) -> bytes:  # noqa: FBT001 - of one caller
        """Return the whole lines of the timeline that were not committed yet, now and then."""
        if not is_last and self._clocks().boot - self._timeline_at < _TIMELINE_SECONDS:
            return b""
        self._timeline_at = self._clocks().boot
        try:
            with open_to_read(self._folder.timeline) as file:
                file.seek(self._timeline_bytes)
                new = file.readall()
        except FileNotFoundError:
            return b""
        return new[: new.rfind(b"\n") + 1]


class SegmentFiles:
    """Ledger files that are committed to the database, then written to this machine's disk.

    Args:
        local: the files on this machine.
        folder: what ships them.
    """

    def __init__(self, local: DiskLedgerFiles, folder: ShippedFolder) -> None:
        self._local = local
        self._folder = folder

    async def write(self, ledger: bytes, answers: bytes) -> None:
        """Append to both files and return when the ledger's part is committed.

        Raises:
            LeaseOverError: if another driver may have the org; nothing is written then.
            OSError: if they cannot be written.
        """
        await anyio.to_thread.run_sync(self._write, ledger, answers)

    def _write(self, ledger: bytes, answers: bytes) -> None:
        self._folder.ship(ledger, answers)
        self._local.write_blocking(ledger, answers)

    def close(self) -> None:
        """Close the files on this machine."""
        self._local.close()


def _append(path: Path, content: bytes) -> None:
    file, rest = open_to_append(path), memoryview(content)
    try:
        while rest:
            rest = rest[os.write(file, rest) :]
    finally:
        os.close(file)


def _mark(path: Path) -> tuple[int, int, int] | None:
    """Return what changes when a file is replaced; None without the file."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
