"""The queue of a runs folder, opened with the key of this machine; a run is taken out of it."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from bulklink.advice import Advice, NextCall
from bulklink.errors import ConfigError, RunDirError
from bulklink.file_names import file_name_text
from bulklink.operations.environment import Environment, real_environment
from bulklink.runs.queue import RunQueue


def cancel(run: str | PathLike[str], *, environment: Environment | None = None) -> None:
    """Take a run or job out of the queue; a worker that is sending it stops it gently.

    Args:
        run: its folder, which may be gone.
        environment: network, disk and clock; None for this machine's, others for tests.

    Raises:
        RunDirError: if it is not in the queue, or the queue cannot be written.
    """
    path = queueable_path(Path(run))
    if not open_queue(path.parent, environment or real_environment()).remove(path.name):
        raise RunDirError(
            "This run is not in the queue.",
            where=str(run),
            advice=Advice("See what is: {}.", NextCall("status", path.parent)),
        )


def open_queue(runs_dir: Path, environment: Environment) -> RunQueue:
    """Return the queue of a runs folder.

    Args:
        runs_dir: parent of the run folders.
        environment: has the key that signs approvals.

    Raises:
        ConfigError: if the key cannot be stored.
    """
    key = environment.approval_key()
    if key is None:
        raise ConfigError(
            "The key that signs approvals cannot be stored.",
            where="approval-key",
            advice="Make the state folder writable (XDG_STATE_HOME).",
        )
    return RunQueue(runs_dir.absolute(), key)


def queueable_path(run: Path) -> Path:
    """Return the absolute path of a run folder, whose name identifies it in its runs folder.

    Raises:
        RunDirError: if the queue cannot name it.
    """
    path = run.resolve() if run.name in ("", "..") else run.absolute()
    if file_name_text(path.name) != path.name:
        raise RunDirError(
            "The name of this folder is not UTF-8, so the queue cannot name it.",
            where=str(run),
            advice="Rename the folder.",
        )
    return path
