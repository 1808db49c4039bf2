"""Folder of a job: one mapping, sealed as several plans, each in a run folder of its own."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import msgspec

from bulklink.advice import Advice, Keyword, NextCall
from bulklink.atomic_files import write_error, write_json
from bulklink.counts import count_of
from bulklink.decoding import decode_json
from bulklink.errors import DigestError, RunDirError
from bulklink.folder_files import check_folder_file, create_file, read_small_file
from bulklink.ledger.records import parse_time
from bulklink.private_files import make_folder_private
from bulklink.runs.folder import RunFolder, exclusive_lock, is_locked, list_run_folders
from bulklink.runs.record import JOB_RECORD, RunRecord, UndoneBy

MAX_SHARDS = 10_000
MAX_JOB_ROWS = 1_000_000_000
"""Maximum rows of a job; `merge` keeps a bit for each."""
_LOCK = "lock"
_ADVICE = "Restore the folder from a copy, or plan the mapping again in another folder."
_Rows = Annotated[int, msgspec.Meta(ge=0, le=MAX_JOB_ROWS)]
_ShardNumber = Annotated[int, msgspec.Meta(ge=1, le=MAX_SHARDS)]


class ShardEntry(msgspec.Struct, frozen=True):
    """A shard of a job, as it was sealed.

    Args:
        number: its number, from 1.
        rows: its rows.
        messages: rows that are sent.
        digest: digest of its plan.
        plan_sha256: SHA-256 of the sealed file, in hex.
    """

    number: _ShardNumber
    rows: _Rows
    messages: _Rows
    digest: str
    plan_sha256: str

    @classmethod
    def of(cls, run: RunRecord) -> ShardEntry:
        """Return the entry of a sealed shard; one of which nothing can be sent has no plan."""
        number = 0 if run.shard is None else run.shard.number
        return cls(number, run.rows, run.messages, run.digest or "", run.plan_sha256 or "")


class JobRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Content of `job.json`, written once.

    Args:
        version: version of bulklink that sealed it.
        id: random id of the job, which its shards name too.
        op: operation of the job.
        created: time, RFC 3339 in UTC.
        hash: how contacts are assigned to shards.
        shards: number of shards; those without rows have no folder.
        rows: rows of all shards.
        left_out: rows excluded by `--only`.
        messages: rows that are sent.
        digest: digest over all shards.
        entries: the shards with rows, by number.
    """

    version: str
    id: str
    op: str
    created: str
    hash: str
    shards: _ShardNumber
    rows: _Rows
    left_out: _Rows = 0
    messages: _Rows
    digest: str
    entries: tuple[ShardEntry, ...]

    @classmethod
    def of(
        cls, runs: Sequence[RunRecord], shards: int, hash_name: str, *, left_out: int = 0
    ) -> JobRecord:
        """Return the record of a job whose shards are sealed.

        Args:
            runs: records of its shards with rows, by number; at least one.
            shards: number of shards.
            hash_name: how contacts are assigned to shards.
            left_out: rows excluded by `--only`.
        """
        first, entries = runs[0], tuple(map(ShardEntry.of, runs))
        return cls(
            version=first.version,
            id="" if first.shard is None else first.shard.job,
            op=first.op,
            created=first.created,
            hash=hash_name,
            shards=shards,
            rows=sum(entry.rows for entry in entries),
            left_out=left_out,
            messages=sum(entry.messages for entry in entries),
            digest=job_digest(hash_name, shards, entries),
            entries=entries,
        )


def job_digest(hash_name: str, shards: int, entries: tuple[ShardEntry, ...]) -> str:
    """Return the digest over all shards, a SHA-256 in hex.

    Args:
        hash_name: how contacts are assigned to shards.
        shards: number of shards.
        entries: the shards with rows, by number.
    """
    content = [hash_name, shards, [[entry.number, entry.digest] for entry in entries]]
    return hashlib.sha256(msgspec.json.encode(content)).hexdigest()


class JobFolder(msgspec.Struct, frozen=True):
    """The folder of a job.

    Args:
        path: the folder.
    """

    path: Path

    def __fspath__(self) -> str:
        return str(self.path)

    @property
    def record(self) -> Path:
        """`job.json`."""
        return self.path / JOB_RECORD

    @property
    def rejects(self) -> Path:
        """Refused rows of all shards, numbered over the whole mapping."""
        return self.path / "rejects.csv"

    @property
    def html_report(self) -> Path:
        """The HTML report, if it was written."""
        return self.path / "report.html"

    @property
    def user_data_files(self) -> tuple[Path, ...]:
        """Files that hold the user's columns, names and texts; some may be missing."""
        return self.rejects, self.html_report

    def shard(self, number: int, shards: int) -> RunFolder:
        """Return the run folder of a shard.

        Args:
            number: its number, from 1.
            shards: number of shards.
        """
        return RunFolder(self.path / f"shard-{number:0{len(str(shards))}d}")

    def read(self) -> JobRecord:
        """Read `job.json`.

        Raises:
            RunDirError: if it is missing, damaged or a link.
            DigestError: if it was changed.
        """
        check_folder_file(self.record)
        try:
            record = decode_json(read_small_file(self.record), JobRecord)
            parse_time(record.created)
        except FileNotFoundError:
            raise RunDirError(
                "This is not a job: it has no job.json.", where=str(self.path), advice=_ADVICE
            ) from None
        except (ValueError, RecursionError):
            raise RunDirError(
                "job.json is not valid.", where=str(self.record), advice=_ADVICE
            ) from None
        if not _is_consistent(record):
            raise DigestError(
                "job.json was changed since the job was sealed.",
                where=str(self.record),
                advice=_ADVICE,
            )
        return record

    def write(self, record: JobRecord) -> None:
        """Write `job.json`, the last file of a job.

        Raises:
            RunDirError: if it cannot be written.
        """
        write_json(self.record, record)

    def open_shards(self, record: JobRecord) -> list[tuple[RunFolder, RunRecord]]:
        """Read the shards of the job, and check that they are those that were sealed.

        Args:
            record: the record of the job.

        Raises:
            RunDirError: if a shard is missing, or is another one.
            DigestError: if its plan is another one.
        """
        return [
            (self.shard(entry.number, record.shards), self.open_shard(record, entry))
            for entry in record.entries
        ]

    def open_shard(self, record: JobRecord, entry: ShardEntry) -> RunRecord:
        """Read a shard, and check it as `open_shards` does.

        Args:
            record: the record of the job.
            entry: the shard.
        """
        folder = self.shard(entry.number, record.shards)
        if not folder.path.is_dir() or folder.path.is_symlink():
            raise RunDirError(
                f"Shard {entry.number} of {record.shards} is missing.",
                where=str(folder.path),
                advice=_ADVICE,
            )
        shard_record = folder.read()
        _check_shard(folder, shard_record, record, entry)
        return shard_record

    def foreign_folders(self, record: JobRecord) -> list[Path]:
        """Return the run folders in the folder that are no shards of the job."""
        own = {self.shard(entry.number, record.shards).path for entry in record.entries}
        return [folder.path for folder in list_run_folders(self.path) if folder.path not in own]

    def is_running(self) -> bool:
        """Return whether a process is sending the job."""
        return is_locked(self.path / _LOCK)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lock of the job while its shards are sent.

        Raises:
            LockedError: if another process holds it.
            RunDirError: if the folder cannot be written.
        """
        advice = Advice(
            "Wait until it ends. See where it stands: {}.", NextCall("status", self.path)
        )
        with exclusive_lock(self.path / _LOCK, "Another process drives this job.", advice=advice):
            yield


def _is_consistent(record: JobRecord) -> bool:
    """Return whether the parts of a job's record belong together."""
    entries = record.entries
    numbers = [entry.number for entry in entries]
    return (
        0 < max(numbers, default=0) <= record.shards
        and numbers == sorted(set(numbers))
        and record.rows + record.left_out <= MAX_JOB_ROWS
        and record.rows == sum(entry.rows for entry in entries)
        and record.messages == sum(entry.messages for entry in entries)
        and record.digest == job_digest(record.hash, record.shards, entries)
    )


def _check_shard(
    folder: RunFolder, shard_record: RunRecord, record: JobRecord, entry: ShardEntry
) -> None:
    shard = shard_record.shard
    if shard is None or shard.job != record.id:
        raise RunDirError(
            f"This is not shard {entry.number} of this job, but of another one."
            if shard
            else "This is the folder of a run of its own, and no shard of this job.",
            where=str(folder.path),
            advice=_ADVICE,
        )
    if (shard.number, shard.shards) != (entry.number, record.shards):
        raise RunDirError(
            f"The folder of shard {entry.number} holds shard {shard.number}.",
            where=str(folder.path),
            advice=_ADVICE,
        )
    is_sealed = ShardEntry.of(shard_record) == entry or shard_record.forgotten
    if not is_sealed or shard.job_messages != record.messages:
        raise DigestError(
            f"Shard {entry.number} is not as it was sealed: its digest or its counts differ.",
            where=str(folder.path),
            advice=_ADVICE,
        )


def find_job(run: str | os.PathLike[str]) -> JobFolder | None:
    """Return the folder of a job; None if the path is no such folder."""
    folder = JobFolder(Path(run))
    return folder if os.path.lexists(folder.record) else None


def list_folders(runs_dir: Path) -> list[Path]:
    """Return the run folders in a folder and the folders of jobs, sorted by name."""
    jobs = [path.parent for path in runs_dir.glob(f"[!.]*/{JOB_RECORD}")]
    return sorted({*jobs, *(folder.path for folder in list_run_folders(runs_dir))})


@contextmanager
def new_job_folder(path: Path, tag: str) -> Iterator[JobFolder]:
    """Yield a new folder that takes its place once the block has written a job into it.

    If the block raises, nothing is left, but for the refused rows.

    Args:
        path: the folder, missing or empty.
        tag: a few random characters.

    Raises:
        RunDirError: if the folder is in use or cannot be created.
    """
    sealing = JobFolder(path.with_name(f".{path.name}.sealing-{tag}"))
    try:
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise RunDirError(
                "The folder of the job is in use." if path.is_dir() else "The path is a file.",
                where=str(path),
                advice="Use a folder that is missing or empty.",
            )
        sealing.path.mkdir(mode=0o700, parents=True)
        make_folder_private(sealing.path)
        with create_file(sealing.path / ".gitignore") as file:
            file.write(b"*\n")
    except OSError as error:
        raise RunDirError(
            f"Cannot create the folder of the job: {error.strerror or error}.",
            where=str(path),
            advice=Advice("Set a writable folder with {}.", Keyword("run_dir")),
        ) from None
    try:
        yield sealing
    finally:
        try:
            if not sealing.record.exists():
                _remove_all_but(sealing.path, sealing.rejects)
            if sealing.record.exists() or sealing.rejects.exists():
                _take_place(sealing.path, path)
        except OSError as error:
            raise write_error(path, error) from None
        finally:
            shutil.rmtree(sealing.path, ignore_errors=True)


def _take_place(source: Path, target: Path) -> None:
    if target.exists():
        target.rmdir()  # it is empty; Windows replaces no folder
    source.rename(target)


def _remove_all_but(folder: Path, kept: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path != kept:
            path.unlink(missing_ok=True)


def first_record(run: str | os.PathLike[str]) -> RunRecord:
    """Return the record of a run, or of the first shard of a job, whose options are those of all.

    Args:
        run: the run folder, or the folder of a job.

    Raises:
        RunDirError: if it is neither, or the job has no such shard.
    """
    job = find_job(run)
    if job is None:
        return RunFolder(Path(run)).read()
    return job.open_shards(job.read())[0][1]


def commanded_path(folder: RunFolder, record: RunRecord) -> Path:
    """Return the folder that commands about a run name: its own, or that of its job."""
    return folder.path if record.shard is None else _parent(folder.path)


def _parent(path: Path) -> Path:
    """Return the parent of a folder as the user would name it."""
    return (path if path.name not in ("", "..") else path.absolute()).parent


def undoing_path(record: RunRecord, undo: UndoneBy) -> Path:
    """Return the folder that commands about an undo name: the run, or the job of that shard.

    Args:
        record: the run that was undone.
        undo: its undo; the shards of a job are undone by those of another.
    """
    path = Path(undo.run_dir)
    return path if record.shard is None else path.parent


def refuse_shard(record: RunRecord, folder: Path, verb: str) -> None:
    """Refuse to work on a shard where its job is meant.

    Raises:
        RunDirError: if the run is a shard of a job.
    """
    if record.shard is not None:
        number, shards = record.shard.number, record.shard.shards
        raise RunDirError(
            f"This is shard {number} of {count_of(shards, 'shard')} of a job, which is sent as a"
            " whole.",
            where=str(folder),
            advice=Advice("Name the job: {}.", NextCall(verb, _parent(folder))),
        )
