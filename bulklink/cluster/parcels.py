"""Run folders as parcels in the database: put in by `submit`, taken out by drivers and `pull`."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Mapping
from contextlib import closing
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

from bulklink.atomic_files import write_error
from bulklink.cluster.database import ClusterDatabase
from bulklink.cluster.runs import gone_error
from bulklink.cluster.segments import ANSWERS, LEDGER, TIMELINE, parts_of, segment_columns
from bulklink.errors import LedgerError, RunDirError
from bulklink.folder_files import create_file
from bulklink.private_files import make_folder_private
from bulklink.runs.folder import RunFolder
from bulklink.runs.job_folder import JobFolder

_INSERT_PART = """
INSERT INTO file (run, name, part, bytes) VALUES (%(run)s, %(name)s, %(part)s, %(bytes)s)
"""
_INSERT_SEGMENT = """
INSERT INTO segment (run, kind, seq, epoch, bytes, sha256)
VALUES (%(run)s, %(kind)s, %(seq)s, 0, %(bytes)s, %(sha256)s)
"""
_INSERT_JOB_REJECTS = """
INSERT INTO job_rejects (job, part, bytes) VALUES (%(job)s, %(part)s, %(bytes)s)
"""
_JOB_REJECTS = "SELECT bytes FROM job_rejects WHERE job = %(job)s ORDER BY part"
_PARTS = "SELECT name, part, bytes FROM file WHERE run = %(run)s ORDER BY name, part"
_SEGMENTS = """
SELECT seq, epoch, bytes, sha256 FROM segment WHERE run = %(run)s AND kind = %(kind)s ORDER BY seq
"""


def store_files(database: ClusterDatabase, run: UUID, folder: RunFolder) -> None:
    """Store the files of a sealed run, apart from `run.json`; blocks.

    Its ledger has the results of refused rows: they become the first segments, of no driver.

    Args:
        database: the database, within a transaction.
        run: id of the run.
        folder: its folder.
    """
    for path in _stored_files(folder):
        if path.exists():
            for part, content in enumerate(parts_of(path)):
                values = {"run": run, "name": path.name, "part": part, "bytes": content}
                database.query(_INSERT_PART, values)
    if folder.ledger.exists():
        for seq, content in enumerate(filter(None, parts_of(folder.ledger))):
            values = {"run": run, "kind": LEDGER, "seq": seq, **segment_columns(content)}
            database.query(_INSERT_SEGMENT, values)


def store_job_rejects(database: ClusterDatabase, job: UUID, folder: JobFolder) -> None:
    """Store the refused rows of a job, if it has any; blocks.

    Args:
        database: the database, within a transaction.
        job: id of the job.
        folder: its folder.
    """
    if folder.rejects.exists():
        for part, content in enumerate(parts_of(folder.rejects)):
            values = {"job": job, "part": part, "bytes": content}
            database.query(_INSERT_JOB_REJECTS, values)


def unpack_job_rejects(database: ClusterDatabase, job: UUID, folder: JobFolder) -> None:
    """Write the refused rows of a job, if it has any; blocks.

    Raises:
        OSError: if they cannot be written.
    """
    with closing(database.stream(_JOB_REJECTS, {"job": job})) as parts:
        first = next(parts, None)
        if first is not None:
            with create_file(folder.rejects) as file:
                for (content,) in chain([first], parts):
                    file.write(content)


def _stored_files(folder: RunFolder) -> tuple[Path, ...]:
    return folder.plan, folder.names, folder.rejects


def unpack(database: ClusterDatabase, run: UUID, folder: RunFolder) -> dict[str, int]:
    """Write a run folder as it is in the database; blocks.

    Args:
        database: the database.
        run: id of the run.
        folder: the folder, which must be missing or empty.

    Returns:
        The number of the next segment of each kind.

    Raises:
        RunDirError: if the folder is in use or cannot be written, or the run is gone.
        LedgerError: if segments of its ledger are missing or damaged.
    """
    try:
        refuse_used_folder(folder.path)
        folder.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        make_folder_private(folder.path)
        with database.snapshot():
            next_seqs = _unpack(database, run, folder)
    except OSError as error:
        raise write_error(folder.path, error) from None
    return next_seqs


def refuse_used_folder(path: Path) -> None:
    """Refuse to write a run into a folder in which anything is.

    Raises:
        RunDirError: if anything is in it.
        OSError: if that cannot be found out.
    """
    if path.exists() and any(path.iterdir()):
        raise RunDirError(
            "The folder is in use.",
            where=str(path),
            advice="Use a folder that is missing or empty.",
        )


def _unpack(database: ClusterDatabase, run: UUID, folder: RunFolder) -> dict[str, int]:
    with create_file(folder.path / ".gitignore") as file:
        file.write(b"*\n")
    _write_files(database, run, {path.name: path for path in _stored_files(folder)})
    row = database.query_one("SELECT record FROM run WHERE run = %(run)s", {"run": run})
    if row is None:
        raise gone_error(run)
    paths = {LEDGER: folder.ledger, ANSWERS: folder.answers, TIMELINE: folder.timeline}
    next_seqs = {kind: _join(database, run, kind, path) for kind, path in paths.items()}
    with create_file(folder.record) as file:
        file.write(row[0])
    return next_seqs


def _write_files(database: ClusterDatabase, run: UUID, allowed: Mapping[str, Path]) -> None:
    """Write the stored files of a run, part after part."""
    with closing(database.stream(_PARTS, {"run": run})) as parts:
        for name, parts_of_file in groupby(parts, key=itemgetter(0)):
            if name not in allowed:
                raise RunDirError(
                    f"The database has a file {name!r} for this run, which no run folder has.",
                    where=str(run),
                    advice="Find out who wrote it: only bulklink should write to this database.",
                )
            with create_file(allowed[name]) as file:
                for _, _, content in parts_of_file:
                    file.write(content)


def _join(database: ClusterDatabase, run: UUID, kind: str, path: Path) -> int:
    """Write the segments of a kind one after another, and return how many there are.

    Only a ledger is written where there are none.
    """
    with closing(database.stream(_SEGMENTS, {"run": run, "kind": kind})) as segments:
        first = next(segments, None)
        if first is None and kind != LEDGER:
            return 0
        with create_file(path) as file:
            return _write_segments(chain([first] if first else (), segments), file, run, kind)


def _write_segments(segments: Iterable[Any], file: BinaryIO, run: UUID, kind: str) -> int:
    expected, last_epoch = 0, 0
    for seq, epoch, compressed, sha256 in segments:
        content = _decompressed(compressed)
        if seq != expected or epoch < last_epoch or hashlib.sha256(content).digest() != sha256:
            raise LedgerError(
                f"Segment {expected} of the {kind} is missing or damaged in the database.",
                where=str(run),
                advice="Restore the database from a backup of a later time. `bulklink verify` shows"
                " what is on which deal.",
            )
        file.write(content)
        expected, last_epoch = expected + 1, epoch
    return expected


def _decompressed(compressed: bytes) -> bytes:
    """Return the content of a segment; nothing if it is damaged."""
    try:
        return zlib.decompress(compressed)
    except zlib.error:
        return b""
