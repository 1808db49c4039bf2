"""Run folders out of a cluster: what `pull` writes is an ordinary run folder, or that of a job."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

from bulklink.atomic_files import write_error
from bulklink.cluster.database import ClusterDatabase
from bulklink.cluster.parcels import refuse_used_folder, unpack, unpack_job_rejects
from bulklink.cluster.runs import ClusterRun, gone_error
from bulklink.decoding import decode_json
from bulklink.folder_files import create_file
from bulklink.runs.folder import RunFolder
from bulklink.runs.job_folder import JobFolder, JobRecord


def pull(database: ClusterDatabase, runs: Sequence[ClusterRun], folder: Path) -> Path:
    """Write a run, or the runs of a job, to a folder; blocks.

    Args:
        database: the database of the cluster.
        runs: the run, or all runs of one job.
        folder: the folder, which must be missing or empty.

    Returns:
        The folder.

    Raises:
        RunDirError: if the folder is in use or cannot be written.
        LedgerError: if a ledger is incomplete in the database.
    """
    try:
        refuse_used_folder(folder)
    except OSError as error:
        raise write_error(folder, error) from None
    try:
        if runs[0].job is None:
            unpack(database, runs[0].run, RunFolder(folder))
        else:
            _pull_job(database, runs[0].job, runs, JobFolder(folder))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)  # half a run would look like a whole one
        raise
    return folder


def _pull_job(
    database: ClusterDatabase, job_id: UUID, runs: Sequence[ClusterRun], job: JobFolder
) -> None:
    row = database.query_one("SELECT record FROM job WHERE job = %(job)s", {"job": job_id})
    if row is None:
        raise gone_error(job_id)
    record = decode_json(row[0], JobRecord)
    for run in runs:
        unpack(database, run.run, job.shard(run.shard or 0, record.shards))
    try:
        unpack_job_rejects(database, job_id, job)
        with create_file(job.record) as file:
            file.write(row[0])
    except OSError as error:
        raise write_error(job.path, error) from None
