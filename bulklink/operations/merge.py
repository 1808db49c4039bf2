"""`merge`: prove that the shards of a job are the whole job, and state what became of it."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import msgspec

from bulklink.atomic_files import write_json
from bulklink.counts import count_of
from bulklink.errors import BulklinkError, ExitCode
from bulklink.mapping.shard_check import OriginRows, misplaced_contacts
from bulklink.mapping.sharding import HASH_NAME
from bulklink.operations.check import check_run
from bulklink.runs.folder import RunFolder
from bulklink.runs.job_folder import JobFolder, JobRecord, ShardEntry
from bulklink.runs.record import RunState
from bulklink.runs.status import RunResult, build_job_result, status

MERGE_FILE = "merge.json"


class MergedShard(msgspec.Struct, frozen=True):
    """A shard of a merged job.

    Args:
        number: its number, from 1.
        state: state of its run.
        rows: its rows.
        counts: rows by status.
        plan_sha256: SHA-256 of its plan, in hex.
        ledger_sha256: SHA-256 of the whole lines of its ledger, in hex.
        ledger_bytes: their length in bytes.
    """

    number: int
    state: RunState
    rows: int
    counts: dict[str, int]
    plan_sha256: str | None
    ledger_sha256: str | None
    ledger_bytes: int | None


class MergeResult(msgspec.Struct, frozen=True):
    """Proof that the shards of a job are disjoint, complete and unchanged.

    Args:
        run_dir: the folder of the job.
        digest: digest over all shards.
        faults: what contradicts the proof, one sentence each; empty if it holds.
        state: state of the job; None if a shard cannot be read.
        rows: rows of the job.
        counts: rows by status.
        shards: the shards, by number; those that cannot be read are left out.
        exit_code: 0 if the proof holds, else 2.
    """

    run_dir: str
    digest: str
    faults: tuple[str, ...]
    state: RunState | None
    rows: int
    counts: dict[str, int]
    shards: tuple[MergedShard, ...]
    exit_code: int


def merge(run: str | PathLike[str]) -> MergeResult:
    """Prove that the shards of a job are disjoint, complete and unchanged.

    Each contact is in the shard that its hash names, each row of the mapping in one shard, plans
    and ledgers are as they were sealed and left, results match the plans, and the counts add up. If
    so, `merge.json` in the folder of the job lists counts and hashes. Works at any time. Blocks.

    Args:
        run: the folder of a job.

    Returns:
        The proof, or what contradicts it.

    Raises:
        RunDirError: if it is not the folder of a job, or cannot be written.
        DigestError: if its `job.json` was changed.
    """
    job = JobFolder(Path(run))
    record = job.read()
    merging = _Merging(job, record)
    for entry in record.entries:
        merging.add(entry)
    result = merging.result()
    if not result.faults:
        write_json(job.path / MERGE_FILE, result)
    return result


class _Merging:
    """Shards of a job that are checked one after another."""

    def __init__(self, job: JobFolder, record: JobRecord) -> None:
        self._job = job
        self._record = record
        self._origins = OriginRows(record.rows + record.left_out)
        self._faults = [
            f"{path.name}: this folder is no shard of the job."
            for path in job.foreign_folders(record)
        ]
        if record.hash != HASH_NAME:
            self._faults.append(f"This version does not know how {record.hash} assigns contacts.")
        self._results: list[RunResult] = []
        self._shards: list[MergedShard] = []

    def add(self, entry: ShardEntry) -> None:
        """Check a shard."""
        folder = self._job.shard(entry.number, self._record.shards)
        try:
            run_record = self._job.open_shard(self._record, entry)
            self._faults += [f"{folder.path.name}: {fault}" for fault in self._check(folder, entry)]
            result = status(folder)
        except BulklinkError as error:
            self._faults.append(f"{folder.path.name}: {error.message}")
            return
        self._results.append(result)
        self._shards.append(
            MergedShard(
                entry.number,
                result.state,
                result.rows,
                result.counts,
                run_record.plan_sha256,
                run_record.ledger_sha256,
                run_record.ledger_bytes,
            )
        )

    def _check(self, folder: RunFolder, entry: ShardEntry) -> list[str]:
        checked = check_run(folder)
        items = {
            "plan": checked.plan,
            "names": checked.names,
            "ledger": checked.ledger,
            "rows": checked.accounting,
        }
        faults = [
            f"{name}: {item.verdict}{f' ({item.detail})' if item.detail else ''}."
            for name, item in items.items()
            if not item.is_ok
        ]
        if not checked.plan.is_ok or not folder.plan.is_file():
            return faults  # a shard of an undo that can undo nothing has no plan
        if misplaced := misplaced_contacts(folder.plan, entry.number, self._record.shards):
            faults.append(f"{count_of(misplaced, 'contact is', 'contacts are')} of other shards.")
        return faults + self._origins.add(folder.plan)

    def result(self) -> MergeResult:
        """Return the proof."""
        record, state, counts = self._record, None, {}
        if len(self._results) == len(record.entries):
            job_result = build_job_result(self._job, record, self._results)
            state, counts = job_result.state, job_result.counts
            if sum(counts.values()) != record.rows:
                counted = sum(counts.values())
                rows = count_of(record.rows, "row")
                self._faults.append(f"The job has {rows}, its shards have {counted:,}.")
        faults = tuple(self._faults)
        return MergeResult(
            run_dir=str(self._job.path),
            digest=record.digest,
            faults=faults,
            state=state,
            rows=record.rows,
            counts=counts,
            shards=tuple(self._shards),
            exit_code=ExitCode.REFUSED if faults else ExitCode.OK,
        )
