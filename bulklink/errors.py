"""The errors that end a command, with the exit code each leads to.

What goes wrong with one email is a result in the ledger, never one of these.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """How a command ends; the meaning of each is in the README."""

    OK = 0
    ROWS_NOT_DONE = 1
    REFUSED = 2
    STOPPED = 3
    CREDITS = 4
    INTERRUPTED = 130
    OUTPUT_CLOSED = 141
    TERMINATED = 143


class BulklinkError(Exception):
    """Root of all errors that bulklink raises.

    Args:
        message: what is wrong, one sentence for a person.
        where: file, line, option or address that it concerns; empty if none.
        advice: what to do about it; empty if nothing helps.
    """

    code: ClassVar[str] = "internal"
    exit_code: ExitCode = ExitCode.STOPPED

    def __init__(self, message: str, *, where: str = "", advice: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.advice = advice

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text}\n{self.advice}" if self.advice else text


class RefusedError(BulklinkError):
    """Raised when a command cannot start: nothing that changes anything was sent."""

    exit_code = ExitCode.REFUSED


class UsageError(RefusedError):
    """Raised when options or arguments do not fit together."""

    code = "usage"


class ConfigError(RefusedError):
    """Raised when the connection, the environment or a job file is wrong."""

    code = "config"


class InvalidRowsError(RefusedError):
    """Raised when rows of the mapping are refused and the job stops at such rows.

    `faults` says of the first of them what is wrong, a line each.
    """

    code = "invalid-rows"

    def __init__(
        self, message: str, *, where: str = "", advice: str = "", faults: tuple[str, ...] = ()
    ) -> None:
        super().__init__(message, where=where, advice=advice)
        self.faults = faults


class BadFileError(RefusedError):
    """Raised when a mapping cannot be read as a whole."""

    code = "bad-file"


class RunDirError(RefusedError):
    """Raised when a run folder cannot be made, is in use for another run, or is no run folder."""

    code = "run-dir"


class LockedError(RefusedError):
    """Raised when another process drives the run."""

    code = "locked"


class DigestError(RefusedError):
    """Raised when a sealed plan is not the one that was expected, or not as it was sealed."""

    code = "digest"


class WrongOrgError(RefusedError):
    """Raised when a run is to go on in another org, or at another address, than it began."""

    code = "wrong-org"


class NotConfirmedError(RefusedError):
    """Raised when the question before a change was answered with no, or could not be asked."""

    code = "not-confirmed"


class InterruptedPlanningError(BulklinkError):
    """Raised when a person or the system ended bulklink while it was planning."""

    code = "interrupted"
    exit_code = ExitCode.INTERRUPTED


class OutputError(BulklinkError):
    """Raised when standard output cannot be written."""

    code = "output"


class LedgerError(BulklinkError):
    """Raised when the ledger cannot be written or does not add up."""

    code = "ledger"


class StoppedBy(StrEnum):
    """Why a run stopped before its end; `killed` is what `status` finds, nobody writes it."""

    INTERRUPTED = "interrupted"
    TERMINATED = "terminated"
    KILLED = "killed"
    FATAL = "fatal"
    NO_ANSWER = "no-answer"
    MAX_FAILURES = "max-failures"
    CREDITS = "credits"
    MAX_CREDITS = "max-credits"
    CANARY = "canary"
    LEDGER = "ledger"
    INTERNAL = "internal"


class RunStoppedError(BulklinkError):
    """Raised inside a run when it cannot go on and a person must look, or wait.

    `resume_at` is when it can go on, in seconds since 1970; None where no time helps.
    """

    code = "stopped"

    def __init__(
        self,
        stopped_by: StoppedBy,
        message: str,
        *,
        where: str = "",
        advice: str = "",
        resume_at: float | None = None,
    ) -> None:
        super().__init__(message, where=where, advice=advice)
        self.stopped_by = stopped_by
        self.resume_at = resume_at
