"""`forget`: drop the user's columns and names from a run folder; ids, counts and hashes stay."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from os import PathLike
from pathlib import Path
from typing import Any

import msgspec

from bulklink.advice import Advice, Keyword
from bulklink.engine.clock import Clock, real_clock
from bulklink.errors import RunDirError
from bulklink.ledger.redact import redact_ledger
from bulklink.ledger.replay import replay
from bulklink.ledger.state import repair_torn_line
from bulklink.mapping.plan_digest import read_plan_content
from bulklink.mapping.plan_reader import forget_columns
from bulklink.operations.seal import has_former_digest, plan_digest
from bulklink.operations.wording import continue_call
from bulklink.own_files import JOB_FILES, RUN_FILES
from bulklink.runs.folder import RunFolder, folder_of
from bulklink.runs.hashes import ledger_hash, sha256_of
from bulklink.runs.job_folder import JobFolder, commanded_path, find_job, refuse_shard
from bulklink.runs.record import ForgetResult, RunRecord, RunState

_ENDED_STATES = (RunState.FINISHED, RunState.REFUSED)
_USER_OPTIONS = ("columns", "only", "keep")
"""Options whose values are the user's headers and cells."""


def forget(
    run: str | PathLike[str], *, force: bool = False, clock: Clock | None = None
) -> ForgetResult:
    """Drop the user's columns and names from a run folder.

    If interrupted, call it again to complete it; until then the run cannot be continued. A run that
    has not ended can be resumed afterwards: names are looked up again.

    Args:
        run: run folder, or the folder of a job, whose shards are all forgotten.
        force: whether to forget a run that has not ended.
        clock: clock; None for this machine's, others for tests.

    Returns:
        The hashes before and after, as in `run.json`; for a job without hashes, which those of its
        shards have.

    Raises:
        RunDirError: if this is not a run folder, or the run has not ended.
        LockedError: if another process runs or verifies it.
        LedgerError: if its ledger is damaged; nothing is dropped then.
    """
    ts = (clock or real_clock()).timestamp()
    if (job := find_job(run)) is not None:
        return _forget_job(job, ts, force=force)
    folder = folder_of(run)
    # Before a lock file is created in a folder that is not a run's.
    refuse_shard(folder.read(), folder.path, "forget")
    _check_can_forget(folder, force=force)
    return _forget_run(folder, ts, force=force)


def left_files(run: str | PathLike[str]) -> list[Path]:
    """Return what is in a run folder and is not its own, which `forget` leaves as it is.

    Args:
        run: run folder, or the folder of a job, with what is in those of its shards.
    """
    if (job := find_job(run)) is None:
        return _foreign_files(Path(run), RUN_FILES)
    shards = [folder.path for folder, _ in job.open_shards(job.read())]
    own = JOB_FILES | {path.name for path in shards}
    return [
        *_foreign_files(job.path, own),
        *(path for shard in shards for path in _foreign_files(shard, RUN_FILES)),
    ]


def _foreign_files(folder: Path, own: AbstractSet[str]) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name not in {*own, ".gitignore"})


def _forget_job(job: JobFolder, ts: str, *, force: bool) -> ForgetResult:
    """Forget each shard of a job, then what is about all of them."""
    record = job.read()
    shards = job.open_shards(record)
    was_sent = any(shard.was_sent for _, shard in shards)
    for folder, _ in shards:
        _check_can_forget(folder, force=force, was_sent=was_sent)
    with job.lock():
        for folder, _ in shards:
            _forget_run(folder, ts, force=force)
        for path in job.user_data_files:
            path.unlink(missing_ok=True)
    return ForgetResult(ts, None, None, complete=True)


def _forget_run(folder: RunFolder, ts: str, *, force: bool) -> ForgetResult:
    with folder.run_lock(), folder.verify_lock():
        _check_can_forget(folder, force=force)
        for _ in forget_in_steps(folder, ts):
            pass
        return folder.read().forgotten[-1]


def _check_can_forget(folder: RunFolder, *, force: bool, was_sent: bool = False) -> None:
    """Refuse a run that has not ended.

    Args:
        folder: its folder.
        force: whether to forget it nevertheless.
        was_sent: whether another shard of its job was sent.
    """
    record = folder.read()
    in_progress = bool(record.forgotten) and not record.forgotten[-1].complete
    if record.state not in _ENDED_STATES and not force and not in_progress:
        raise RunDirError(
            "This run has not finished.",
            where=str(folder.path),
            advice=Advice(
                "Finish it: {}. Or forget it now with {}: what is left then needs its names looked"
                " up again.",
                continue_call(
                    record,
                    "resume" if was_sent or record.was_sent else "apply",
                    commanded_path(folder, record),
                ),
                Keyword("force", value=True),
            ),
        )


def forget_in_steps(folder: RunFolder, ts: str) -> Iterator[str]:
    """Forget step by step; yield each step's name once it is on disk.

    Tests use the steps to end the process between them.

    Args:
        folder: run folder, locked by this process.
        ts: time, as the ledger writes it.

    Raises:
        LedgerError: if the ledger is damaged; nothing is dropped then.
    """
    replay(folder.ledger, checkpoint=folder.read().checkpoint)  # leave a damaged ledger unchanged
    repair_torn_line(folder.ledger, folder.ledger_torn)
    record = _record_start(folder, ts)
    yield "begun"
    redact_ledger(folder.ledger)
    yield "ledger"
    if folder.plan.is_file():
        forget_columns(folder.plan)
    yield "plan"
    for path in folder.user_data_files:
        path.unlink(missing_ok=True)
        yield path.name
    folder.clear_scratch()
    folder.clear_spill()
    _record_end(folder, record)
    yield "ended"


def _record_start(folder: RunFolder, ts: str) -> RunRecord:
    """Record that forgetting has started, with the hashes before it."""
    record = folder.read()
    if record.forgotten and not record.forgotten[-1].complete:
        return record  # started before, with the hashes of that time
    started = ForgetResult(
        ts,
        sha256_of(folder.plan) if folder.plan.is_file() else None,
        str(ledger_hash(folder.ledger)["ledger_sha256"]) if folder.ledger.exists() else None,
        digest_before=record.digest,
    )
    record = record.replace(forgotten=(*record.forgotten, started))
    folder.write(record)
    return record


def _record_end(folder: RunFolder, record: RunRecord) -> None:
    plan_sha256 = sha256_of(folder.plan) if folder.plan.is_file() else None
    ledger_fields: dict[str, Any] = (
        dict(ledger_hash(folder.ledger)) if folder.ledger.exists() else {}
    )
    *earlier, last = record.forgotten
    was_sealed = last.plan_before in (None, record.plan_sha256)
    plan_fields = _plan_fields(folder, record) if was_sealed else {}
    completed = msgspec.structs.replace(
        last,
        plan_after=plan_sha256,
        ledger_after=ledger_fields.get("ledger_sha256"),
        complete=True,
        digest_after=plan_fields.get("digest", record.digest),
    )
    folder.write(
        record.replace(
            asked=_redact_options(record.asked),
            names_sha256=None,
            forgotten=(*earlier, completed),
            **plan_fields,
            **ledger_fields,
        )
    )


def _plan_fields(folder: RunFolder, record: RunRecord) -> dict[str, str]:
    """Return the hashes of the redacted plan; none if the plan was not as sealed before."""
    if not folder.plan.is_file():
        return {}
    fields = {"plan_sha256": sha256_of(folder.plan)}
    if not has_former_digest(record):
        fields["digest"] = plan_digest(record, read_plan_content(folder.plan))
    return fields


def _redact_options(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options without the user's headers, cells and default names."""
    redacted = {name: [] if name in _USER_OPTIONS else value for name, value in options.items()}
    if "defaults" in redacted:
        redacted["defaults"] = [
            pair for pair in redacted["defaults"] if not pair[0].endswith("_name")
        ]
    return redacted
