"""`run.json`: options and state of a run, replaced atomically."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec

from bulklink.atomic_files import write_json
from bulklink.decoding import decode_json
from bulklink.errors import RunDirError, StoppedBy
from bulklink.folder_files import read_small_file
from bulklink.ledger.checkpoint import LedgerCheckpoint
from bulklink.ledger.records import Count, parse_time
from bulklink.models import MAX_ROWS, Status
from bulklink.runs.forecast import CallForecast, RenewedForecast, SnapshotChoice
from bulklink.runs.timeline import Seconds, SignedCount

Rows = Annotated[int, msgspec.Meta(ge=0, le=MAX_ROWS)]
"""A number of rows that `run.json` may contain."""


class RunState(StrEnum):
    """State of a run."""

    PLANNED = "planned"
    RUNNING = "running"
    STOPPED = "stopped"
    FINISHED = "finished"
    REFUSED = "refused"


class InputRecord(msgspec.Struct, frozen=True):
    """A mapping that was read.

    Args:
        name: name of the file; for rows that a program passed, what they are.
        sha256: SHA-256 in hex; None for rows.
        bytes: size in bytes; None for rows.
        records: number of data records.
    """

    name: str
    sha256: str | None
    bytes: Count | None
    records: Count


class OrgRecord(msgspec.Struct, frozen=True):
    """The org that the run changes; a field is None if the CRM did not report it.

    Args:
        id: id of the org.
        name: its name.
        type: production, sandbox, ... as reported by the CRM.
    """

    id: str | None = None
    name: str | None = None
    type: str | None = None


class LimitingFactor(msgspec.Struct, frozen=True):
    """Bottleneck of the last invocation, with figures.

    Args:
        by: the bottleneck, a LimitedBy value.
        figures: measured values by name.
    """

    by: str
    figures: dict[str, Annotated[float, msgspec.Meta(ge=-1e15, le=1e15)] | SignedCount | None]


class Invocation(msgspec.Struct, frozen=True):
    """One command that ran the run.

    Args:
        started: start, RFC 3339 in UTC.
        ended: end; None while it runs, or if it was killed and not resumed yet.
        seconds: duration; None if `ended` is None.
        stopped_by: StoppedBy value, None if it finished.
        exit_code: exit code of the command, None while it runs or if it was killed.
        machine: identifier of its machine; None if unknown, as in folders of earlier versions.
    """

    started: str
    ended: str | None = None
    seconds: Seconds | None = None
    stopped_by: str | None = None
    exit_code: Annotated[int, msgspec.Meta(ge=0, le=255)] | None = None
    machine: Annotated[str, msgspec.Meta(max_length=64)] | None = None


def measured_pages_ratio(record: RunRecord) -> float:
    """Return pages read, divided by the pages that its emails alone would fill; 1 if unknown."""
    return record.renewed.pages_ratio if record.renewed is not None else 1.0


def close_last_invocation(
    invocations: Sequence[Invocation], last_timestamp: str
) -> tuple[Invocation, ...]:
    """Return the invocations; if the last was killed, it ends at the ledger's last timestamp.

    Args:
        invocations: invocations of a run, in order.
        last_timestamp: `ts` of the ledger's last line, empty if there is none.
    """
    if not invocations or invocations[-1].ended is not None:
        return tuple(invocations)
    *earlier, killed = invocations
    started = datetime.fromisoformat(killed.started)
    seconds = (
        (datetime.fromisoformat(last_timestamp) - started).total_seconds()
        if last_timestamp
        else 0.0
    )
    ended = last_timestamp if seconds > 0 else killed.started
    closed = msgspec.structs.replace(
        killed, ended=ended, seconds=max(0.0, seconds), stopped_by=StoppedBy.KILLED
    )
    return (*earlier, closed)


class CanaryState(StrEnum):
    """State of a canary; if it failed, the user continued (`confirmed`) or not (`stopped`)."""

    TRYING = "trying"
    PASSED = "passed"
    CONFIRMED = "confirmed"
    STOPPED = "stopped"


class CanaryRecord(msgspec.Struct, frozen=True):
    """The canary of a run.

    Args:
        messages: minimum number of messages that it sends.
        state: its state.
        found: its findings in words; None until it ends.
    """

    messages: Rows
    state: CanaryState = CanaryState.TRYING
    found: str | None = None


class ForgetResult(msgspec.Struct, frozen=True):
    """Time of a removal of user data, and the hashes before and after.

    Args:
        at: time, RFC 3339 in UTC.
        plan_before: SHA-256 of the plan before, in hex; None without the file.
        ledger_before: SHA-256 of the ledger before, in hex; None without the file.
        plan_after: SHA-256 of the plan after, in hex; None without the file.
        ledger_after: SHA-256 of the ledger after, in hex; None without the file.
        complete: whether all was removed; False if it was interrupted.
        digest_before: digest of the plan before; None without one.
        digest_after: digest of the plan after, which differs if it covered names; None without one.
    """

    at: str
    plan_before: str | None
    ledger_before: str | None
    plan_after: str | None = None
    ledger_after: str | None = None
    complete: bool = False
    digest_before: str | None = None
    digest_after: str | None = None


_TAKEN_BACK = (Status.DONE, Status.UNCHANGED, Status.DUPLICATE)


class UndoneRun(msgspec.Struct, frozen=True):
    """The run that an undo reverses.

    Args:
        run_dir: its folder at the time of the undo.
        org: id of its org.
        digest: digest of its plan.
        created: time of its creation, which identifies it; None in folders of earlier versions.
        invocations: number of commands that had run it; None in folders of earlier versions.
    """

    run_dir: str
    org: str | None = None
    digest: str | None = None
    created: str | None = None
    invocations: Count | None = None


class UndoneBy(msgspec.Struct, frozen=True):
    """An undo of the run, at the end of its last command.

    Args:
        run_dir: its folder at that time.
        created: time of its creation, which identifies it; RFC 3339 in UTC.
        at: time when its last command ended.
        state: its state.
        stopped_by: StoppedBy value, None unless it stopped.
        counts: its rows of each status.
        invocations: number of commands that had run the undone run when the undo was sealed; None
            if unknown.
        undone: whether the undo itself was completely undone.
    """

    run_dir: str
    created: str
    at: str
    state: RunState
    stopped_by: str | None = None
    counts: dict[str, SignedCount] = {}
    invocations: Count | None = None
    undone: bool = False

    @property
    def complete(self) -> bool:
        """Whether it reversed everything that the run had changed, and was not undone itself."""
        open_rows = sum(n for status, n in self.counts.items() if status not in _TAKEN_BACK)
        return self.state is RunState.FINISHED and not open_rows and not self.undone


class ShardRecord(msgspec.Struct, frozen=True):
    """What a run is of a job.

    Args:
        job: id of the job.
        number: number of the shard, from 1.
        shards: number of shards of the job.
        job_messages: messages of all shards, for the question before the first change.
    """

    job: str
    number: Count
    shards: Count
    job_messages: Count


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Content of `run.json`.

    Args:
        version: version of bulklink that created it.
        op: operation of the job.
        asked: options of the run.
        inputs: the mappings.
        created: time, RFC 3339 in UTC.
        state: state of the run.
        stopped_by: StoppedBy value, None unless it stopped.
        reason: why it stopped, in words; or the error code of a refusal.
        resume_at: when a run that stopped for credits, or waits for them, can continue; RFC 3339.
        forecast: forecast at planning time.
        renewed: forecast renewed after the canary; None before that, and without a canary.
        snapshot_choice: choice of `--snapshot auto`; None before that, or without it.
        limited: bottleneck of the last invocation.
        settings: options that the last invocation sent with, by name; None before the first one,
            and in folders of earlier versions.
        digest: digest of the plan's rows and of the options that belong to it.
        digest_version: version of the digest; 1 in folders that do not record it.
        plan_sha256: SHA-256 of the sealed file, in hex.
        names_sha256: SHA-256 of the looked-up names, in hex; None without them.
        ledger_sha256: SHA-256 of the ledger's whole lines when the plan was sealed or the last
            invocation ended, in hex.
        ledger_bytes: length of these lines in bytes.
        rows: rows of the run.
        left_out: rows excluded by `--only`.
        messages: rows that are sent.
        by_op: messages by op.
        least: minimum link and unlink calls for the messages, at 20 a call.
        counts: rows by status when it was written.
        org: the org that the run changes.
        api_url: address of the API.
        data_centre: data centre of the org.
        profile: stored profile that it was last sent with; None for the environment's connection,
            for the profile that is used if none is named, and in folders of earlier versions.
        canary: the canary; None without one.
        invocations: commands that ran the run, in order.
        forgotten: removals of user data, in order.
        undo_of: the run that this one reverses, None if it is not an undo.
        undone_by: undos that reversed changes of this run, in order.
        load_test: whether it is a load test: its emails may change many times, or never.
        shard: which shard of a job it is; None if it is a run of its own.
    """

    version: str
    op: str
    asked: dict[str, Any]
    inputs: tuple[InputRecord, ...]
    created: str
    state: RunState = RunState.PLANNED
    stopped_by: str | None = None
    reason: str | None = None
    resume_at: str | None = None
    forecast: CallForecast | None = None
    renewed: RenewedForecast | None = None
    snapshot_choice: SnapshotChoice | None = None
    limited: LimitingFactor | None = None
    settings: dict[str, Any] | None = None
    digest: str | None = None
    digest_version: int = 1
    plan_sha256: str | None = None
    names_sha256: str | None = None
    ledger_sha256: str | None = None
    ledger_bytes: Count | None = None
    rows: Rows = 0
    left_out: Rows = 0
    messages: Rows = 0
    by_op: dict[str, Rows] = {}
    least: Count = 0
    counts: dict[str, SignedCount] = {}
    org: OrgRecord | None = None
    api_url: str | None = None
    data_centre: str | None = None
    profile: str | None = None
    canary: CanaryRecord | None = None
    invocations: tuple[Invocation, ...] = ()
    forgotten: tuple[ForgetResult, ...] = ()
    undo_of: UndoneRun | None = None
    undone_by: tuple[UndoneBy, ...] = ()
    load_test: bool = False
    shard: ShardRecord | None = None

    def replace(self, **changes: Any) -> RunRecord:
        """Return a copy with some fields changed."""
        return msgspec.structs.replace(self, **changes)

    @property
    def shown_op(self) -> str:
        """The op for display: `undo` or `load test`, whatever the op of its rows."""
        return "load test" if self.load_test else "undo" if self.undo_of else self.op

    @property
    def last_undo(self) -> UndoneBy | None:
        """The effective undo, or the last one that was not undone itself; None if there is none."""
        if self.effective_undo is not None:
            return self.effective_undo
        return next((undo for undo in reversed(self.undone_by) if not undo.undone), None)

    @property
    def effective_undo(self) -> UndoneBy | None:
        """The undo that reversed all changes of the run; None if there is none."""
        for undo in reversed(self.undone_by):
            if undo.complete and undo.invocations in (None, len(self.invocations)):
                return undo
        return None

    @property
    def checkpoint(self) -> LedgerCheckpoint:
        """The recorded start of the ledger, and the rows that it may contain.

        While user data is being removed, the ledger may be the one before or after.
        """
        if any(not entry.complete for entry in self.forgotten):
            return LedgerCheckpoint(self.last_row)
        return LedgerCheckpoint(self.last_row, self.ledger_bytes, self.ledger_sha256)

    @property
    def was_sent(self) -> bool:
        """Whether a command got as far as sending, or may have.

        One that was refused before, such as by the lock of its org, leaves the plan as it was.
        """
        return bool(self.invocations) and self.state is not RunState.PLANNED

    @property
    def needs_accept_canary(self) -> bool:
        """Whether it continues only if the user accepts its failed canary."""
        stopped = self.canary is not None and self.canary.state is CanaryState.STOPPED
        return stopped and self.state is not RunState.FINISHED

    @property
    def last_row(self) -> int:
        """The highest row number of the run; excluded rows have numbers too."""
        return self.rows + self.left_out

    def times(self) -> Iterator[str | None]:
        """Yield all times of the record."""
        yield self.created
        yield self.resume_at
        for invocation in self.invocations:
            yield invocation.started
            yield invocation.ended
        for entry in self.forgotten:
            yield entry.at
        for undo in self.undone_by:
            yield undo.created
            yield undo.at


def refuse_load_test(record: RunRecord, folder: Path) -> None:
    """Refuse a load test where a run is to be continued, compared with its plan or undone.

    Raises:
        RunDirError: if it is a load test.
    """
    if record.load_test:
        raise RunDirError(
            "This is the folder of a load test, which links and unlinks emails without regard to"
            " what is right for them.",
            where=str(folder),
            advice="Start another load test, or use the folder of a run.",
        )


def read_record(path: Path) -> RunRecord:
    """Read `run.json`.

    Raises:
        RunDirError: if it is missing or not readable.
    """
    try:
        content = read_small_file(path)
    except FileNotFoundError:
        raise RunDirError(
            _missing_reason(path.parent),
            where=str(path.parent),
            advice=_missing_advice(path.parent),
        ) from None
    return parse_record(content, str(path))


def parse_record(content: bytes, where: str) -> RunRecord:
    """Parse the content of `run.json`.

    Args:
        content: the content.
        where: where it is from, for the error.

    Raises:
        RunDirError: if it is not valid.
    """
    try:
        record = decode_json(content, RunRecord)
        for time in record.times():
            if time is not None:
                parse_time(time)
        check_address(record.api_url)
    except (ValueError, RecursionError) as error:
        raise RunDirError(
            f"run.json is not valid{_place_of(error)}.",
            where=where,
            advice="Restore it from a backup.",
        ) from None
    return record


def check_address(url: str | None) -> None:
    """Check that an address can be parsed.

    Raises:
        ValueError: if it cannot.
    """
    if url is not None:
        _ = urlsplit(url).port


def _place_of(error: Exception) -> str:
    """Return the location and kind of an error in the file, as far as known."""
    match error:
        case msgspec.ValidationError():
            _, _, place = str(error).partition(" - at `$.")
            return f": {place.removesuffix('`')} has a wrong type or value" if place else ""
        case msgspec.DecodeError():
            return ": it is not JSON"
        case _:
            return (
                ": a time or an address is wrong"
                if isinstance(error, ValueError)
                else ": nested too deeply"
            )


JOB_RECORD = "job.json"
"""Record of a job, whose shards are run folders."""


def _missing_advice(folder: Path) -> str:
    if (folder / JOB_RECORD).exists():
        return f"Use one of its shards, which are runs: the folders in {folder}."
    return "Use the folder of a run; `bulklink status` lists those below runs."


def _missing_reason(folder: Path) -> str:
    if (folder / JOB_RECORD).exists():
        return "This is the folder of a job, and a run is needed here."
    if folder.is_dir():
        return "This is not a run folder: it has no run.json."
    return "This is a file, not a run folder." if folder.exists() else "There is no such folder."


def write_record(path: Path, record: RunRecord) -> None:
    """Replace `run.json` atomically.

    Raises:
        RunDirError: if it cannot be written.
    """
    write_json(path, record)
