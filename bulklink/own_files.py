"""Files that only bulklink itself writes: those of runs, jobs and unfinished commands."""

from __future__ import annotations

import os
from pathlib import Path

from bulklink.errors import UsageError

RUN_FILES = frozenset(
    {
        *("run.json", "plan.parquet", "names.parquet", "ledger.jsonl", "ledger.torn"),
        *("answers.jsonl", "timeline.jsonl", "rejects.csv", "verify.jsonl", "verify.torn"),
        *("verify-answers.jsonl", "lock", "verify.lock", "loadtest.json", "percentiles.hgrm"),
    }
)
"""Names of the files of a run folder, but for the page, which can be written again."""
JOB_FILES = frozenset({"job.json", "rejects.csv", "merge.json", "lock"})
"""Names of the files of a job's folder, but for the page."""
UNFINISHED_FOLDERS = {
    ".fetching": ("fetch.json", "fetch"),
    ".auditing": ("audit.json", "audit"),
    ".probing": ("before.json", "probe"),
}
"""Record of a working folder and what is unfinished, by suffix; all its files belong to it."""


def refuse_own_file(
    path: str | os.PathLike[str],
    where: str | None = None,
    *,
    run_dir: str | os.PathLike[str] | None = None,
) -> None:
    """Refuse to write a file that only bulklink itself writes, also under the name of a link.

    Args:
        path: the file, which may be missing.
        where: place of the error; None for the path.
        run_dir: folder of a run or job that the command is about to create; None for none.

    Raises:
        UsageError: if it belongs to a run, a job or an unfinished command.
    """
    new_folder = None if run_dir is None else Path(os.path.realpath(run_dir))
    owner = _owner(Path(os.path.realpath(path)), new_folder)
    if owner is not None:
        raise UsageError(
            f"This is a file of {owner}, which only bulklink itself writes.",
            where=where or os.fspath(path),
            advice="Use the name of another file, for example outside this folder.",
        )


def _owner(path: Path, new_folder: Path | None) -> str | None:
    """Return what a file belongs to; None for a file of the user."""
    if path.parent == new_folder and path.name.lower() in RUN_FILES | JOB_FILES:
        return "the run to be created"
    if path.name.lower() in RUN_FILES and _is_run(path.parent):
        return "a run"
    if path.name.lower() in JOB_FILES and _is_job(path.parent):
        return "a job"
    record, unfinished = UNFINISHED_FOLDERS.get(path.parent.suffix.lower(), (None, ""))
    if record is not None and os.path.lexists(path.parent / record):
        return f"an unfinished {unfinished}"
    return None


def _is_run(folder: Path) -> bool:
    """Return whether a folder is that of a run: a user may name other files run.json."""
    others = ("plan.parquet", "ledger.jsonl")
    return os.path.lexists(folder / "run.json") and any(
        os.path.lexists(folder / name) for name in others
    )


def _is_job(folder: Path) -> bool:
    """Return whether a folder is that of a job: it has a record, and those of its shards below."""
    return os.path.lexists(folder / "job.json") and any(folder.glob("*/run.json"))
