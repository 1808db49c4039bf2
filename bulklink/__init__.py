"""bulklink links and unlinks the emails of Zoho CRM contacts to deals in bulk.

What a program needs is here, by the words of the command line; docs/library.md tells the story.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bulklink.engine.failure_limit import MaxFailures
    from bulklink.engine.metrics import LimitedBy
    from bulklink.engine.shutdown import StopController
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
    from bulklink.mapping.interrupt import PlanningStage, PlanningStop
    from bulklink.models import Op, Status
    from bulklink.operations.callbacks import (
        ConfirmationRequest,
        Metrics,
        ReadProgress,
        RunCallbacks,
        RunProgress,
    )
    from bulklink.operations.check import CheckResult, check_run
    from bulklink.operations.export import ExportResult, export
    from bulklink.operations.fetch import FetchResult, fetch
    from bulklink.operations.forget import forget
    from bulklink.operations.history import HistoryEvent, history
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
    from bulklink.operations.plan import PlanResult, plan
    from bulklink.operations.report.write import ReportResult, report
    from bulklink.operations.resume import apply, resume, retry
    from bulklink.operations.run import run
    from bulklink.operations.undo import plan_undo, undo
    from bulklink.operations.verify import verify
    from bulklink.operations.verify_run import VerifyFinding, VerifyResult
    from bulklink.profiles.resolve import load_connection
    from bulklink.runs.record import ForgetResult, RunState
    from bulklink.runs.status import CallCounts, RunResult, status, statuses
    from bulklink.zoho.connection import Connection

_EXPORTS = {
    "bulklink.engine.failure_limit": "MaxFailures",
    "bulklink.engine.metrics": "LimitedBy",
    "bulklink.engine.shutdown": "StopController",
    "bulklink.errors": (
        "BadFileError BulklinkError ConfigError DigestError ExitCode"
        " InterruptedPlanningError InvalidRowsError LedgerError LockedError"
        " NotConfirmedError RefusedError RunDirError RunStoppedError StoppedBy UsageError"
        " WrongOrgError"
    ),
    "bulklink.ledger.records": "Result",
    "bulklink.mapping.interrupt": "PlanningStage PlanningStop",
    "bulklink.models": "Op Status",
    "bulklink.operations.callbacks": (
        "ConfirmationRequest Metrics ReadProgress RunCallbacks RunProgress"
    ),
    "bulklink.operations.check": "CheckResult check_run",
    "bulklink.operations.export": "ExportResult export",
    "bulklink.operations.fetch": "FetchResult fetch",
    "bulklink.operations.forget": "forget",
    "bulklink.operations.history": "HistoryEvent history",
    "bulklink.operations.job": (
        "Edition GroupBy Job LimitOptions OnInvalid PaceOptions SendOptions WhenCreditsOut"
    ),
    "bulklink.operations.plan": "PlanResult plan",
    "bulklink.operations.report.write": "ReportResult report",
    "bulklink.operations.resume": "apply resume retry",
    "bulklink.operations.run": "run",
    "bulklink.operations.undo": "plan_undo undo",
    "bulklink.operations.verify": "verify",
    "bulklink.operations.verify_run": "VerifyFinding VerifyResult",
    "bulklink.profiles.resolve": "load_connection",
    "bulklink.runs.record": "ForgetResult RunState",
    "bulklink.runs.status": "CallCounts RunResult status statuses",
    "bulklink.zoho.connection": "Connection",
}
_MODULE_BY_NAME = {name: room for room, names in _EXPORTS.items() for name in names.split()}

__all__ = [
    "BadFileError",
    "BulklinkError",
    "CallCounts",
    "CheckResult",
    "ConfigError",
    "ConfirmationRequest",
    "Connection",
    "DigestError",
    "Edition",
    "ExitCode",
    "ExportResult",
    "FetchResult",
    "ForgetResult",
    "GroupBy",
    "HistoryEvent",
    "InterruptedPlanningError",
    "InvalidRowsError",
    "Job",
    "LedgerError",
    "LimitOptions",
    "LimitedBy",
    "LockedError",
    "MaxFailures",
    "Metrics",
    "NotConfirmedError",
    "OnInvalid",
    "Op",
    "PaceOptions",
    "PlanResult",
    "PlanningStage",
    "PlanningStop",
    "ReadProgress",
    "RefusedError",
    "ReportResult",
    "Result",
    "RunCallbacks",
    "RunDirError",
    "RunProgress",
    "RunResult",
    "RunState",
    "RunStoppedError",
    "SendOptions",
    "Status",
    "StopController",
    "StoppedBy",
    "UsageError",
    "VerifyFinding",
    "VerifyResult",
    "WhenCreditsOut",
    "WrongOrgError",
    "apply",
    "check_run",
    "export",
    "fetch",
    "forget",
    "history",
    "load_connection",
    "plan",
    "plan_undo",
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
    if name in _MODULE_BY_NAME:
        return getattr(import_module(_MODULE_BY_NAME[name]), name)
    raise AttributeError(f"module 'bulklink' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
