"""bulklink links and unlinks the emails of Zoho CRM contacts to deals in bulk.

What a program needs is here, by the words of the command line; docs/library.md tells the story.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bulklink.engine.failure_limit import MaxFailures
    from bulklink.engine.limiting import LimitedBy
    from bulklink.engine.shutdown import Stopping
    from bulklink.errors import (
        BadFileError,
        BulklinkError,
        ConfigError,
        DigestError,
        ExitCode,
        InterruptedPlanningError,
        InvalidRowsError,
        LedgerError,
        LockedError,
        NotConfirmedError,
        RefusedError,
        RunDirError,
        RunStoppedError,
        StoppedBy,
        UsageError,
        WrongOrgError,
    )
    from bulklink.job.exporting import Exported, export
    from bulklink.job.fetching import Fetched, fetch
    from bulklink.job.forgetting import forget
    from bulklink.job.history import Event, history
    from bulklink.job.limits import LimitOptions, PaceOptions, SendOptions
    from bulklink.job.options import Edition, GroupBy, Job, OnInvalid, WhenCreditsOut
    from bulklink.job.planning import PlanReport, plan
    from bulklink.job.progress import Gauge, Progress, Question, Reading, Watch
    from bulklink.job.proving import Proof, prove
    from bulklink.job.reporting.writing import Reported, report
    from bulklink.job.resuming import apply, resume, retry
    from bulklink.job.running import run
    from bulklink.job.undoing import plan_undo, undo
    from bulklink.job.verification import Finding, Verification
    from bulklink.job.verifying import verify
    from bulklink.ledger.records import Result
    from bulklink.mapping.interrupt import Stage, Stop
    from bulklink.models import Op, Status
    from bulklink.profiles.resolve import connection_of
    from bulklink.runs.record import Forgotten, State
    from bulklink.runs.status import CallCounts, RunSummary, status, statuses
    from bulklink.zoho.connection import Connection

_ROOMS = {
    "bulklink.engine.failure_limit": "MaxFailures",
    "bulklink.engine.limiting": "LimitedBy",
    "bulklink.engine.shutdown": "Stopping",
    "bulklink.errors": (
        "BadFileError BulklinkError ConfigError DigestError ExitCode InterruptedPlanningError"
        " InvalidRowsError LedgerError LockedError NotConfirmedError RefusedError RunDirError"
        " RunStoppedError StoppedBy UsageError WrongOrgError"
    ),
    "bulklink.job.exporting": "Exported export",
    "bulklink.job.fetching": "Fetched fetch",
    "bulklink.job.forgetting": "forget",
    "bulklink.job.history": "Event history",
    "bulklink.job.limits": "LimitOptions PaceOptions SendOptions",
    "bulklink.job.options": "Edition GroupBy Job OnInvalid WhenCreditsOut",
    "bulklink.job.planning": "PlanReport plan",
    "bulklink.job.progress": "Gauge Progress Question Reading Watch",
    "bulklink.job.proving": "Proof prove",
    "bulklink.job.reporting.writing": "Reported report",
    "bulklink.job.resuming": "apply resume retry",
    "bulklink.job.running": "run",
    "bulklink.job.undoing": "plan_undo undo",
    "bulklink.job.verification": "Finding Verification",
    "bulklink.job.verifying": "verify",
    "bulklink.ledger.records": "Result",
    "bulklink.mapping.interrupt": "Stage Stop",
    "bulklink.models": "Op Status",
    "bulklink.profiles.resolve": "connection_of",
    "bulklink.runs.record": "Forgotten State",
    "bulklink.runs.status": "CallCounts RunSummary status statuses",
    "bulklink.zoho.connection": "Connection",
}
_HOMES = {name: room for room, names in _ROOMS.items() for name in names.split()}

__all__ = [
    "BadFileError",
    "BulklinkError",
    "CallCounts",
    "ConfigError",
    "Connection",
    "DigestError",
    "Edition",
    "Event",
    "ExitCode",
    "Exported",
    "Fetched",
    "Finding",
    "Forgotten",
    "Gauge",
    "GroupBy",
    "InterruptedPlanningError",
    "InvalidRowsError",
    "Job",
    "LedgerError",
    "LimitOptions",
    "LimitedBy",
    "LockedError",
    "MaxFailures",
    "NotConfirmedError",
    "OnInvalid",
    "Op",
    "PaceOptions",
    "PlanReport",
    "Progress",
    "Proof",
    "Question",
    "Reading",
    "RefusedError",
    "Reported",
    "Result",
    "RunDirError",
    "RunStoppedError",
    "RunSummary",
    "SendOptions",
    "Stage",
    "State",
    "Status",
    "Stop",
    "StoppedBy",
    "Stopping",
    "UsageError",
    "Verification",
    "Watch",
    "WhenCreditsOut",
    "WrongOrgError",
    "apply",
    "connection_of",
    "export",
    "fetch",
    "forget",
    "history",
    "plan",
    "plan_undo",
    "prove",
    "report",
    "resume",
    "retry",
    "run",
    "status",
    "statuses",
    "undo",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is: `bulklink --help` needs none of it."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'bulklink' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
