"""bulklink links and unlinks the emails of Zoho CRM contacts to deals in bulk.

What a program needs to run a job; the README has an example.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bulklink.engine.failures import MaxFailures
    from bulklink.engine.stopping import Stopping
    from bulklink.errors import BulklinkError, ExitCode
    from bulklink.job.options import Edition, Job, OnInvalid, WhenCreditsOut
    from bulklink.job.planning import PlanReport, plan
    from bulklink.job.progress import Gauge, Progress, Question, Watch
    from bulklink.job.running import run
    from bulklink.ledger.lines import Result
    from bulklink.models import Op, Status
    from bulklink.runs.status import RunSummary
    from bulklink.zoho.connection import Connection

_HOMES = {
    "BulklinkError": "bulklink.errors",
    "Connection": "bulklink.zoho.connection",
    "Edition": "bulklink.job.options",
    "ExitCode": "bulklink.errors",
    "Gauge": "bulklink.job.progress",
    "Job": "bulklink.job.options",
    "OnInvalid": "bulklink.job.options",
    "MaxFailures": "bulklink.engine.failures",
    "Op": "bulklink.models",
    "PlanReport": "bulklink.job.planning",
    "Progress": "bulklink.job.progress",
    "Question": "bulklink.job.progress",
    "Result": "bulklink.ledger.lines",
    "RunSummary": "bulklink.runs.status",
    "Status": "bulklink.models",
    "Stopping": "bulklink.engine.stopping",
    "Watch": "bulklink.job.progress",
    "WhenCreditsOut": "bulklink.job.options",
    "plan": "bulklink.job.planning",
    "run": "bulklink.job.running",
}

__all__ = [
    "BulklinkError",
    "Connection",
    "Edition",
    "ExitCode",
    "Gauge",
    "Job",
    "MaxFailures",
    "OnInvalid",
    "Op",
    "PlanReport",
    "Progress",
    "Question",
    "Result",
    "RunSummary",
    "Status",
    "Stopping",
    "Watch",
    "WhenCreditsOut",
    "plan",
    "run",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for when it is: `bulklink --help` needs none of it."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'bulklink' has no attribute {name!r}")
