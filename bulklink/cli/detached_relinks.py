"""Emails that relinks left off their deals, which every summary names first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from bulklink.cli.suggested_commands import suggested_command
from bulklink.models import Status
from bulklink.operations.wording import RELINK_OPS, continue_arguments, list_relinks
from bulklink.runs.folder import RunFolder
from bulklink.runs.job_folder import commanded_path
from bulklink.runs.status import PENDING, RunResult, load_detached_relinks

_MAY_BE_DETACHED = (Status.FAILED, Status.IN_DOUBT, PENDING)
"""Statuses of rows whose relink may be half done."""


def detached_relink_lines(result: RunResult) -> Iterator[str]:
    """Yield the relinks that left an email off its deal, with advice; none once they are undone.

    Args:
        result: state of the run or job.
    """
    for part in result.shards or (result,):
        has_any = any(part.counts[status] for status in _MAY_BE_DETACHED)
        if (
            part.op in RELINK_OPS and has_any and not part.undone
        ):  # else without a pass over the ledger
            yield from _lines(RunFolder(Path(part.run_dir)), is_shard=bool(result.shards))


def _lines(folder: RunFolder, *, is_shard: bool) -> Iterator[str]:
    record, detached = folder.read(), load_detached_relinks(folder)
    run, place = commanded_path(folder, record), f"{folder.path.name}, " if is_shard else ""
    if detached.not_put_back:
        words = continue_arguments(record, "retry", run, "--code", "put-back-failed")
        retry = suggested_command(*words, recorded=record.profile)
        yield (
            "Off its deal, and putting it back failed:"
            f" {place}{list_relinks(detached.not_put_back)}."
            f" Link it by hand, or `{retry}`."
        )
    if detached.unfinished:
        words = continue_arguments(record, "resume", run)
        resume = suggested_command(*words, recorded=record.profile)
        yield (
            f"Between the halves of a relink: {place}{list_relinks(detached.unfinished)}."
            f" `{resume}` finishes these first."
        )
