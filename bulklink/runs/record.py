"""`run.json`: what was asked of a run and where it stands, replaced as a whole at each change."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import msgspec

from bulklink.atomic_files import atomic_replace
from bulklink.errors import RunDirError, StoppedBy


class RunState(StrEnum):
    """Where a run stands."""

    PLANNED = "planned"
    RUNNING = "running"
    STOPPED = "stopped"
    FINISHED = "finished"
    REFUSED = "refused"


class InputRecord(msgspec.Struct, frozen=True):
    """A mapping as it was read: its name, SHA-256 in hex, bytes and data records."""

    name: str
    sha256: str
    bytes: int
    records: int


class OrgRecord(msgspec.Struct, frozen=True):
    """The org that the run changes, as far as the CRM told."""

    id: str | None = None
    name: str | None = None
    type: str | None = None


class CallForecast(msgspec.Struct, frozen=True):
    """What the run was to take at least, when it was planned: calls by kind, seconds."""

    link: int
    unlink: int
    read: int
    lookup: int
    seconds: float

    @property
    def credits(self) -> int:
        """Credits: one a call."""
        return self.link + self.unlink + self.read + self.lookup


class LimitingFactor(msgspec.Struct, frozen=True):
    """What limited the last invocation in words, and the figures that say so."""

    by: str
    figures: dict[str, float | int | None]


class Invocation(msgspec.Struct, frozen=True):
    """One command that drove the run: times as the ledger writes them, how it ended."""

    started: str
    ended: str | None = None
    seconds: float | None = None
    stopped_by: str | None = None
    exit_code: int | None = None


def close_last_invocation(
    invocations: Sequence[Invocation], last_timestamp: str
) -> tuple[Invocation, ...]:
    """Return the invocations of a run, the last of them ended where it was killed.

    Args:
        invocations: in their order.
        last_timestamp: `ts` of the last line of the ledger, which is the last that is known of a
            killed one; empty if there is none.
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
    stopped_by = StoppedBy.KILLED
    return (*earlier, Invocation(killed.started, ended, max(0.0, seconds), stopped_by))


class CanaryState(StrEnum):
    """How a canary went: trying it, or it passed, or a person went on all the same, or not."""

    TRYING = "trying"
    PASSED = "passed"
    CONFIRMED = "confirmed"
    STOPPED = "stopped"


class CanaryRecord(msgspec.Struct, frozen=True):
    """The canary of a run: how many messages it tries at least, how it went, what it found."""

    messages: int
    state: CanaryState = CanaryState.TRYING
    found: str | None = None


class ForgetResult(msgspec.Struct, frozen=True):
    """When the user's columns and names were dropped, and the SHA-256 before and after.

    `complete` is False while that goes on, and after it was ended in the middle.
    """

    at: str
    plan_before: str | None
    ledger_before: str | None
    plan_after: str | None = None
    ledger_after: str | None = None
    complete: bool = False


class UndoneRun(msgspec.Struct, frozen=True):
    """The run that an undo takes back: its folder then, its org's id, the digest of its plan."""

    run_dir: str
    org: str | None = None
    digest: str | None = None


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """All that `run.json` holds.

    `asked` has the options of the run. `digest` is that of the plan's content and settings,
    `plan_sha256` that of the sealed file. `rows` counts the rows of the run, `left_out` those that
    `--only` left out, `messages` those that are sent and `by_op` how many of each op. `least` is
    the fewest link and unlink calls that the messages need at 20 a call. `counts` has the rows of
    each status as far as they were known when it was written. `ledger_sha256` and `ledger_bytes`
    are of the ledger's whole lines when the plan was sealed, or the last invocation ended.
    `undo_of` is the run that this one takes back, if it does.
    `resume_at` is when a run can go on that stopped for credits, or waits for them.
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
    limited: LimitingFactor | None = None
    digest: str | None = None
    plan_sha256: str | None = None
    ledger_sha256: str | None = None
    ledger_bytes: int | None = None
    rows: int = 0
    left_out: int = 0
    messages: int = 0
    by_op: dict[str, int] = {}
    least: int = 0
    counts: dict[str, int] = {}
    org: OrgRecord | None = None
    api_url: str | None = None
    data_centre: str | None = None
    canary: CanaryRecord | None = None
    invocations: tuple[Invocation, ...] = ()
    forgotten: tuple[ForgetResult, ...] = ()
    undo_of: UndoneRun | None = None

    def replace(self, **changes: Any) -> RunRecord:
        """Return a copy with some fields changed."""
        return msgspec.structs.replace(self, **changes)


def read_record(path: Path) -> RunRecord:
    """Read `run.json`.

    Raises:
        RunDirError: if it is not there or not readable.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=RunRecord)
    except (FileNotFoundError, NotADirectoryError):
        raise RunDirError(
            _missing_reason(path.parent),
            where=str(path.parent),
            advice="Give a folder that a run made; `bulklink status` lists those under runs.",
        ) from None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RunDirError(
            f"run.json cannot be read: {error}.",
            where=str(path),
            advice="Put it back from a copy, and check that you may read it.",
        ) from None


def _missing_reason(folder: Path) -> str:
    if folder.is_dir():
        return "This is no run folder: it holds no run.json."
    return "This is a file, not a run folder." if folder.exists() else "There is no such folder."


def write_record(path: Path, record: RunRecord) -> None:
    """Replace `run.json` atomically: readers see the old one or the new one, never a part.

    Raises:
        RunDirError: if it cannot be written.
    """
    with atomic_replace(path) as temporary:
        temporary.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")
