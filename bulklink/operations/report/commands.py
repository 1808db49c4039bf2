"""Commands shown in the report, ready to be typed."""

from __future__ import annotations

from functools import partial

from bulklink.html_pages.report.model import NextCommands
from bulklink.models import Status
from bulklink.operations.wording import can_be_undone, continue_arguments
from bulklink.runs.record import RunRecord, RunState
from bulklink.runs.status import RunResult
from bulklink.shell import format_command, path_word, profile_words


def next_commands(record: RunRecord, summary: RunResult, run: str, *, full: bool) -> NextCommands:
    """Return the commands that continue a run.

    Args:
        record: record of the run.
        summary: state of the run.
        run: folder of the run, or of the job of a shard, as it is typed.
        full: whether to include the name of its profile.
    """
    command = partial(_command, record.profile if full else None)
    failed = summary.counts[Status.FAILED] + summary.counts[Status.IN_DOUBT]
    can_resume = summary.state is RunState.STOPPED
    can_retry = summary.state is RunState.FINISHED and failed
    failed_canary = can_resume and record.needs_accept_canary
    can_undo = failed_canary and summary.counts[Status.DONE] and can_be_undone(record)
    folder = path_word(run)
    # The digest of a shard is not that of its job, which is sent as a whole.
    expect = ["--expect", record.digest] if record.digest and record.shard is None else []
    return NextCommands(
        apply=command("apply", folder, *expect),
        verify=command("verify", folder) if failed_canary else "",
        undo=command("undo", folder) if can_undo else "",
        resume=command(*continue_arguments(record, "resume", run)) if can_resume else "",
        retry=command("retry", folder) if can_retry else "",
    )


def _command(profile: str | None, *words: str) -> str:
    """Return a command to type, with a profile if there is one."""
    return format_command("bulklink", *words, *profile_words(words[0], profile))


def export_command(
    run: str, rows: int, in_doubt: int, *, refused: bool, code: str | None = None
) -> str:
    """Return the command that exports rows as a mapping; empty if nothing can be exported.

    Args:
        run: run folder, as it is typed; empty if nothing can be exported.
        rows: rows to export.
        in_doubt: rows among these that are in doubt.
        refused: whether the rows were refused.
        code: code that the rows have in common, if any.
    """
    if not run:
        return ""
    statuses = [
        *(["rejected"] if refused else ["failed"] if rows > in_doubt else []),
        *(["in_doubt"] if in_doubt else []),
    ]
    words = [word for status in statuses for word in ("--status", status)]
    words += ["--code", code] if code is not None else []
    return format_command("bulklink", "export", path_word(run), *words, "-o", "again.csv")
