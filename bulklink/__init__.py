"""bulklink links and unlinks the emails of Zoho CRM contacts to deals in bulk.

What a program needs is here, by the words of the command line; docs/library.md tells the story.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bulklink.engine.failure_limit import MaxFailures
    from bulklink.engine.metrics import LimitedBy
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
    from bulklink.ledger.records import Result
    from bulklink.mapping.interrupt import Stage, Stop
    from bulklink.models import Op, Status
    from bulklink.operations.callbacks import Gauge, Progress, Question, Reading, Watch
    from bulklink.operations.check import Proof, prove
    from bulklink.operations.export import Exported, export
    from bulklink.operations.fetch import Fetched, fetch
    from bulklink.operations.forget import forget
    from bulklink.operations.history import Event, history
    from bulklink.operations.job import (
        Edition,
        GroupBy,
        Job,
        LimitOptions,
        OnInvalid,
        PaceOptions,
        SendOptions,
        WhenCreditsOut,
    )
    from bulklink.operations.plan import PlanReport, plan
    from bulklink.operations.report.write import Reported, report
    from bulklink.operations.resume import apply, resume, retry
    from bulklink.operations.run import run
    from bulklink.operations.undo import plan_undo, undo
    from bulklink.operations.verify import verify
    from bulklink.operations.verify_run import Finding, Verification
    from bulklink.profiles.resolve import connection_of
    from bulklink.runs.record import Forgotten, State
    from bulklink.runs.status import CallCounts, RunSummary, status, statuses
    from bulklink.zoho.connection import Connection

_ROOMS = {
    "bulklink.engine.failure_limit": "MaxFailures",
    "bulklink.engine.metrics": "LimitedBy",
    "bulklink.engine.shutdown": "Stopping",
    "bulklink.errors": (
        "BadFileError BulklinkError ConfigError DigestError ExitCode InterruptedPlanningError"
        " InvalidRowsError LedgerError LockedError NotConfirmedError RefusedError RunDirError"
        " RunStoppedError StoppedBy UsageError WrongOrgError"
    ),
    "bulklink.operations.export": "Exported export",
    "bulklink.operations.fetch": "Fetched fetch",
    "bulklink.operations.forget": "forget",
    "bulklink.operations.history": "Event history",
    "bulklink.operations.job": (
        "Edition GroupBy Job LimitOptions OnInvalid PaceOptions SendOptions WhenCreditsOut"
    ),
    "bulklink.operations.plan": "PlanReport plan",
    "bulklink.operations.callbacks": "Gauge Progress Question Reading Watch",
    "bulklink.operations.check": "Proof prove",
    "bulklink.operations.report.write": "Reported report",
    "bulklink.operations.resume": "apply resume retry",
    "bulklink.operations.run": "run",
    "bulklink.operations.undo": "plan_undo undo",
    "bulklink.operations.verify_run": "Finding Verification",
    "bulklink.operations.verify": "verify",
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
