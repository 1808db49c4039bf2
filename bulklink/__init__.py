"""Bulk linking and unlinking of the emails of Zoho CRM contacts to deals.

The public interface is the names exported here, described in docs/library.md; all modules are
private.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_EXPORTS = {
    "bulklink.engine.failure_limit": "MaxFailures",
    "bulklink.engine.metrics": "LimitedBy",
    "bulklink.engine.outage": "Outage",
    "bulklink.engine.shutdown": "StopController",
    "bulklink.errors": (
        "BadFileError BulklinkError ConfigError DigestError ExitCode InterruptedPlanningError"
        " InvalidRowsError LedgerError LockedError NotConfirmedError RefusedError RunDirError"
        " RunStoppedError StoppedBy UsageError WrongOrgError"
    ),
    "bulklink.finding.link_evidence": "ReadingScore",
    "bulklink.finding.sample_check": "SampleCheck",
    "bulklink.finding.verdicts": "Evidence",
    "bulklink.ledger.records": "Result",
    "bulklink.load_analysis.comparison": "LoadComparison compare_loads",
    "bulklink.load_analysis.merging": "merge_results",
    "bulklink.load_results": "LatencyFigures LoadResult LoadTarget",
    "bulklink.mapping.interrupt": "PlanningStage",
    "bulklink.models": "Op Status",
    "bulklink.operations.audit": "audit",
    "bulklink.operations.auditing.judging": "HoldOutResult TierCheck",
    "bulklink.operations.auditing.result": "AuditResult",
    "bulklink.operations.auditing.rows": "ScoredDeal",
    "bulklink.operations.auditing.sample": "AuditCheck",
    "bulklink.operations.callbacks": (
        "ChosenEmail ConfirmationRequest LoadProgress Metrics ProbeConfirmation ReadProgress"
        " RunCallbacks"
        " RunProgress"
    ),
    "bulklink.operations.check": "check_run",
    "bulklink.operations.check_audit": "check_audit",
    "bulklink.operations.explain": "Explanation explain",
    "bulklink.operations.export": "ExportResult export",
    "bulklink.operations.fetch": "fetch",
    "bulklink.operations.fetching.emails": "FetchResult",
    "bulklink.operations.forget": "forget",
    "bulklink.operations.history": "HistoryEvent history",
    "bulklink.operations.job": "Edition GroupBy Job OnInvalid WhenCreditsOut",
    "bulklink.operations.load_files": "read_load_result",
    "bulklink.operations.load_options": "LoadTest",
    "bulklink.operations.load_test": "load_test",
    "bulklink.operations.job_options": "LimitOptions PaceOptions SendOptions",
    "bulklink.operations.match": "match",
    "bulklink.operations.matching.result": "MatchedShift MatchResult",
    "bulklink.operations.merge": "MergedShard MergeResult merge",
    "bulklink.operations.plan": "PlanResult plan",
    "bulklink.operations.probe": "probe",
    "bulklink.operations.probing.result": "AnsweredQuestion ProbeResult",
    "bulklink.operations.report.write": "ReportResult report",
    "bulklink.operations.results": "Results results",
    "bulklink.operations.resume": "apply resume retry",
    "bulklink.operations.run": "run",
    "bulklink.operations.sample_audit": "sample_audit",
    "bulklink.operations.statuses": "statuses",
    "bulklink.operations.undo": "plan_undo undo",
    "bulklink.operations.verify": "VerifyPlan plan_verify verify",
    "bulklink.operations.verify_log": "VerifyFinding",
    "bulklink.operations.verify_run": "VerifyResult",
    "bulklink.operations.weights": "default_weights",
    "bulklink.profiles.resolve": "load_connection",
    "bulklink.runs.check_result": "CheckResult",
    "bulklink.runs.forecast": "CreditRange SecondsRange",
    "bulklink.runs.record": "ForgetResult RunState UndoneBy",
    "bulklink.runs.status": "CallCounts RunResult status",
    "bulklink.zoho.connection": "Connection",
}
"""Public names by module; each module is imported when one of its names is first used."""
_MODULE_BY_NAME = {name: module for module, names in _EXPORTS.items() for name in names.split()}
__all__ = sorted(_MODULE_BY_NAME)  # noqa: PLE0605 - the names are listed above

if TYPE_CHECKING:  # repeated for type checkers, which only read literal imports
    from bulklink.engine.failure_limit import MaxFailures as MaxFailures
    from bulklink.engine.metrics import LimitedBy as LimitedBy
    from bulklink.engine.outage import Outage as Outage
    from bulklink.engine.shutdown import StopController as StopController
    from bulklink.errors import BadFileError as BadFileError
    from bulklink.errors import BulklinkError as BulklinkError
    from bulklink.errors import ConfigError as ConfigError
    from bulklink.errors import DigestError as DigestError
    from bulklink.errors import ExitCode as ExitCode
    from bulklink.errors import InterruptedPlanningError as InterruptedPlanningError
    from bulklink.errors import InvalidRowsError as InvalidRowsError
    from bulklink.errors import LedgerError as LedgerError
    from bulklink.errors import LockedError as LockedError
    from bulklink.errors import NotConfirmedError as NotConfirmedError
    from bulklink.errors import RefusedError as RefusedError
    from bulklink.errors import RunDirError as RunDirError
    from bulklink.errors import RunStoppedError as RunStoppedError
    from bulklink.errors import StoppedBy as StoppedBy
    from bulklink.errors import UsageError as UsageError
    from bulklink.errors import WrongOrgError as WrongOrgError
    from bulklink.finding.link_evidence import ReadingScore as ReadingScore
    from bulklink.finding.sample_check import SampleCheck as SampleCheck
    from bulklink.finding.verdicts import Evidence as Evidence
    from bulklink.ledger.records import Result as Result
    from bulklink.load_analysis.comparison import LoadComparison as LoadComparison
    from bulklink.load_analysis.comparison import compare_loads as compare_loads
    from bulklink.load_analysis.merging import merge_results as merge_results
    from bulklink.load_results import LatencyFigures as LatencyFigures
    from bulklink.load_results import LoadResult as LoadResult
    from bulklink.load_results import LoadTarget as LoadTarget
    from bulklink.mapping.interrupt import PlanningStage as PlanningStage
    from bulklink.models import Op as Op
    from bulklink.models import Status as Status
    from bulklink.operations.audit import audit as audit
    from bulklink.operations.auditing.judging import HoldOutResult as HoldOutResult
    from bulklink.operations.auditing.judging import TierCheck as TierCheck
    from bulklink.operations.auditing.result import AuditResult as AuditResult
    from bulklink.operations.auditing.rows import ScoredDeal as ScoredDeal
    from bulklink.operations.auditing.sample import AuditCheck as AuditCheck
    from bulklink.operations.callbacks import ChosenEmail as ChosenEmail
    from bulklink.operations.callbacks import ConfirmationRequest as ConfirmationRequest
    from bulklink.operations.callbacks import LoadProgress as LoadProgress
    from bulklink.operations.callbacks import Metrics as Metrics
    from bulklink.operations.callbacks import ProbeConfirmation as ProbeConfirmation
    from bulklink.operations.callbacks import ReadProgress as ReadProgress
    from bulklink.operations.callbacks import RunCallbacks as RunCallbacks
    from bulklink.operations.callbacks import RunProgress as RunProgress
    from bulklink.operations.check import check_run as check_run
    from bulklink.operations.check_audit import check_audit as check_audit
    from bulklink.operations.explain import Explanation as Explanation
    from bulklink.operations.explain import explain as explain
    from bulklink.operations.export import ExportResult as ExportResult
    from bulklink.operations.export import export as export
    from bulklink.operations.fetch import fetch as fetch
    from bulklink.operations.fetching.emails import FetchResult as FetchResult
    from bulklink.operations.forget import forget as forget
    from bulklink.operations.history import HistoryEvent as HistoryEvent
    from bulklink.operations.history import history as history
    from bulklink.operations.job import Edition as Edition
    from bulklink.operations.job import GroupBy as GroupBy
    from bulklink.operations.job import Job as Job
    from bulklink.operations.job import OnInvalid as OnInvalid
    from bulklink.operations.job import WhenCreditsOut as WhenCreditsOut
    from bulklink.operations.job_options import LimitOptions as LimitOptions
    from bulklink.operations.job_options import PaceOptions as PaceOptions
    from bulklink.operations.job_options import SendOptions as SendOptions
    from bulklink.operations.load_files import read_load_result as read_load_result
    from bulklink.operations.load_options import LoadTest as LoadTest
    from bulklink.operations.load_test import load_test as load_test
    from bulklink.operations.match import match as match
    from bulklink.operations.matching.result import MatchedShift as MatchedShift
    from bulklink.operations.matching.result import MatchResult as MatchResult
    from bulklink.operations.merge import MergedShard as MergedShard
    from bulklink.operations.merge import MergeResult as MergeResult
    from bulklink.operations.merge import merge as merge
    from bulklink.operations.plan import PlanResult as PlanResult
    from bulklink.operations.plan import plan as plan
    from bulklink.operations.probe import probe as probe
    from bulklink.operations.probing.result import AnsweredQuestion as AnsweredQuestion
    from bulklink.operations.probing.result import ProbeResult as ProbeResult
    from bulklink.operations.report.write import ReportResult as ReportResult
    from bulklink.operations.report.write import report as report
    from bulklink.operations.results import Results as Results
    from bulklink.operations.results import results as results
    from bulklink.operations.resume import apply as apply
    from bulklink.operations.resume import resume as resume
    from bulklink.operations.resume import retry as retry
    from bulklink.operations.run import run as run
    from bulklink.operations.sample_audit import sample_audit as sample_audit
    from bulklink.operations.statuses import statuses as statuses
    from bulklink.operations.undo import plan_undo as plan_undo
    from bulklink.operations.undo import undo as undo
    from bulklink.operations.verify import VerifyPlan as VerifyPlan
    from bulklink.operations.verify import plan_verify as plan_verify
    from bulklink.operations.verify import verify as verify
    from bulklink.operations.verify_log import VerifyFinding as VerifyFinding
    from bulklink.operations.verify_run import VerifyResult as VerifyResult
    from bulklink.operations.weights import default_weights as default_weights
    from bulklink.profiles.resolve import load_connection as load_connection
    from bulklink.runs.check_result import CheckResult as CheckResult
    from bulklink.runs.forecast import CreditRange as CreditRange
    from bulklink.runs.forecast import SecondsRange as SecondsRange
    from bulklink.runs.record import ForgetResult as ForgetResult
    from bulklink.runs.record import RunState as RunState
    from bulklink.runs.record import UndoneBy as UndoneBy
    from bulklink.runs.status import CallCounts as CallCounts
    from bulklink.runs.status import RunResult as RunResult
    from bulklink.runs.status import status as status
    from bulklink.zoho.connection import Connection as Connection
else:

    def __getattr__(name: str) -> Any:
        """Import a public name on first use: `bulklink --help` needs none of them."""
        if name in _MODULE_BY_NAME:
            return getattr(import_module(_MODULE_BY_NAME[name]), name)
        raise AttributeError(f"module 'bulklink' has no attribute {name!r}")

    def __dir__() -> list[str]:
        return __all__
