"""Error tree: the errors that end a command, and their exit codes.

The failure of a single email is a result in the ledger, never an exception.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import ClassVar

from bulklink.advice import Advice


class ExitCode(IntEnum):
    """Exit code of a command; docs/reference.md explains each."""

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
        message: what is wrong, one sentence for the user.
        where: file, line, setting or address that it concerns; empty if none.
        advice: what to do about it; empty if there is nothing to do.

    Attributes:
        message: see above.
        place: `where`, to be formatted by an interface.
        guidance: `advice`, to be formatted by an interface.
    """

    code: ClassVar[str] = "internal"
    exit_code: ExitCode = ExitCode.STOPPED

    def __init__(
        self, message: str, *, where: str | Advice = "", advice: str | Advice = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.place = where if isinstance(where, Advice) else Advice.of(where)
        self.guidance = advice if isinstance(advice, Advice) else Advice.of(advice)

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return f"{text}\n{self.advice}" if self.advice else text

    @property
    def where(self) -> str:
        """The subject of the error, with settings as Python keywords."""
        return str(self.place)

    @property
    def advice(self) -> str:
        """Advice for the user, with settings and calls in Python."""
        return str(self.guidance)


class RefusedError(BulklinkError):
    """Raised when a command cannot start: no change was sent."""

    exit_code = ExitCode.REFUSED


class UsageError(RefusedError):
    """Raised when options or arguments do not fit together."""

    code = "usage"


class ConfigError(RefusedError):
    """Raised when the connection, the environment or a job file is wrong."""

    code = "config"


class InvalidRowsError(RefusedError):
    """Raised when rows of the mapping are refused and the job does not skip them.

    Args:
        message: what is wrong.
        where: the file.
        advice: what to do about it.
        faults: faults of the first refused rows, one line each.
    """

    code = "invalid-rows"

    def __init__(
        self,
        message: str,
        *,
        where: str | Advice = "",
        advice: str | Advice = "",
        faults: tuple[str, ...] = (),
    ) -> None:
        super().__init__(message, where=where, advice=advice)
        self.faults = faults


class BadFileError(RefusedError):
    """Raised when a mapping cannot be read as a whole."""

    code = "bad-file"


class RunDirError(RefusedError):
    """Raised when a run folder cannot be created, holds another run, or is not a run folder."""

    code = "run-dir"


class LockedError(RefusedError):
    """Raised when another process has locked the run, or another run the org."""

    code = "locked"


class DigestError(RefusedError):
    """Raised when a sealed plan is not the expected one, or has changed since it was sealed."""

    code = "digest"


class WrongOrgError(RefusedError):
    """Raised when a run would continue in another org or at another address."""

    code = "wrong-org"


class NotConfirmedError(RefusedError):
    """Raised when a change was not confirmed, or confirmation could not be requested."""

    code = "not-confirmed"


class InterruptedPlanningError(BulklinkError):
    """Raised when planning was interrupted by the user or the system."""

    code = "interrupted"
    exit_code = ExitCode.INTERRUPTED


class OutputError(BulklinkError):
    """Raised when standard output cannot be written."""

    code = "output"


class LedgerError(BulklinkError):
    """Raised when the ledger cannot be written, is damaged or contradicts itself."""

    code = "ledger"


class StoppedBy(StrEnum):
    """Why a run stopped early; `killed` is never written, only derived by `status`."""

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
    LEASE = "lease"
    INTERNAL = "internal"


class RunStoppedError(BulklinkError):
    """Raised inside a run when it cannot continue now, or not without the user.

    Args:
        stopped_by: why it stops.
        message: what is wrong, one sentence for the user.
        where: file, option or address that it concerns; empty if none.
        advice: what to do about it.
        resume_at: when it can continue, seconds since 1970; None if time alone does not help.
        reading: what to do about it where a command only reads, and has no run to resume.
        has_answer: whether the CRM's answer is in the file of answers; `advice` says so, `reading`
            does not.
    """

    code = "stopped"

    def __init__(
        self,
        stopped_by: StoppedBy,
        message: str,
        *,
        where: str | Advice = "",
        advice: str | Advice = "",
        resume_at: float | None = None,
        reading: str | Advice = "",
        has_answer: bool = False,
    ) -> None:
        super().__init__(message, where=where, advice=advice)
        self.stopped_by = stopped_by
        self.resume_at = resume_at
        self._reading = reading
        self._has_answer = has_answer

    def advise_reading(self, answers: str) -> None:
        """Replace the advice by that for a command that only reads.

        Args:
            answers: the file of answers; empty if none is kept.
        """
        if self._reading or self._has_answer:
            kept = f"The whole answer is in {answers}." if self._has_answer and answers else ""
            self.guidance = Advice.join(" ", (kept, self._reading))


class TooLateError(Exception):
    """Raised when a call of a load test would start after the end of the test.

    It only unwinds a task, and is never raised to the library's caller.
    """


class StoppedError(Exception):
    """Raised when a call would start after the run was stopped.

    It only unwinds a task, and is never raised to the library's caller.
    """
