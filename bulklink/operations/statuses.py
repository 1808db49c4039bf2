"""States of all runs in a folder."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from bulklink.errors import BulklinkError
from bulklink.operations.callbacks import RunCallbacks
from bulklink.runs.job_folder import list_folders
from bulklink.runs.status import RunResult, status


def statuses(
    runs_dir: str | PathLike[str] = "runs", *, callbacks: RunCallbacks | None = None
) -> list[RunResult]:
    """Return the states of all runs and jobs in a folder, sorted by folder name.

    Args:
        runs_dir: parent of the run folders.
        callbacks: `on_warning` is called with each run that cannot be read, which is left out;
            None raises instead.

    Raises:
        RunDirError: if a `run.json` is damaged.
        LedgerError: if a ledger is damaged.
    """
    results: list[RunResult] = []
    for folder in list_folders(Path(runs_dir)):
        try:
            results.append(status(folder))
        except BulklinkError as error:
            if callbacks is None:
                raise
            callbacks.warn(f"{error.where}: {error.message}")
    return results
