"""Program that uses every public name; type-checked, never run."""

from __future__ import annotations

import io
from pathlib import Path
from typing import assert_type

import pandas as pd
import polars as pl

import bulklink
from bulklink import (
    AnsweredQuestion,
    AuditCheck,
    AuditResult,
    BadFileError,
    BulklinkError,
    CallCounts,
    CheckResult,
    ChosenEmail,
    ConfigError,
    ConfirmationRequest,
    Connection,
    CreditRange,
    DigestError,
    Edition,
    Evidence,
    ExitCode,
    Explanation,
    ExportResult,
    FetchResult,
    ForgetResult,
    GroupBy,
    HistoryEvent,
    HoldOutResult,
    InterruptedPlanningError,
    InvalidRowsError,
    Job,
    LatencyFigures,
    LedgerError,
    LimitedBy,
    LimitOptions,
    LoadComparison,
    LoadProgress,
    LoadResult,
    LoadTarget,
    LoadTest,
    LockedError,
    MatchedShift,
    MatchResult,
    MaxFailures,
    MergedShard,
    MergeResult,
    Metrics,
    NotConfirmedError,
    OnInvalid,
    Op,
    Outage,
    PaceOptions,
    PlanningStage,
    PlanResult,
    ProbeConfirmation,
    ProbeResult,
    ReadingScore,
    ReadProgress,
    RefusedError,
    ReportResult,
    Result,
    Results,
    RunCallbacks,
    RunDirError,
    RunProgress,
    RunResult,
    RunState,
    RunStoppedError,
    SampleCheck,
    ScoredDeal,
    SecondsRange,
    SendOptions,
    Status,
    StopController,
    StoppedBy,
    TierCheck,
    UndoneBy,
    UsageError,
    VerifyFinding,
    VerifyPlan,
    VerifyResult,
    WhenCreditsOut,
    WrongOrgError,
)


class Log(RunCallbacks):
    """Overrides every callback."""

    can_ask = True

    def __init__(self) -> None:
        self.lines: list[str] = []

    def on_start(self, run_dir: str) -> None:
        self.lines.append(run_dir)

    def on_warning(self, text: str) -> None:
        self.lines.append(text)

    def on_phase(self, text: str) -> None:
        self.lines.append(text)

    def on_progress(self, progress: RunProgress) -> None:
        assert_type(progress.settled, int)
        assert_type(progress.counts[Status.DONE], int)
        assert_type(progress.failure_codes.get("NOT_ALLOWED"), int | None)
        self.log_metrics(progress.metrics)

    def log_metrics(self, metrics: Metrics) -> None:
        assert_type(metrics.rate, float | None)
        assert_type(metrics.credits_spent, int)
        assert_type(metrics.limited_by, LimitedBy | None)

    def on_load(self, progress: LoadProgress) -> None:
        assert_type((progress.calls, progress.asked), tuple[int, float | None])

    def on_cost(
        self, description: str, *, credits_at_least: int, credit_range: CreditRange | None = None
    ) -> None:
        self.lines.append(f"{description}: {credits_at_least} {credit_range}")

    def on_planning(self, stage: PlanningStage) -> None:
        assert_type(stage.name, str)
        assert_type(stage.share, float | None)

    def on_read(self, progress: ReadProgress) -> None:
        assert_type((progress.unit, progress.done, progress.total), tuple[str, int, int])
        assert_type(progress.metrics, Metrics)

    def on_wait(self, until: float | None) -> None:
        self.lines.append(str(until))

    def on_outage(self, outage: Outage | None) -> None:
        if outage is not None:
            assert_type((outage.reason, outage.until), tuple[str, float])

    def on_failure(self, result: Result) -> None:
        assert_type(result.row, int)
        assert_type(result.status, Status)
        assert_type(result.code, str | None)
        assert_type(result.message, str)

    def confirm_after_canary(self, summary: str, remaining: int) -> bool:
        return remaining < 10 and "as recorded" in summary

    def confirm(self, request: ConfirmationRequest) -> bool:
        assert_type(request.org_name, str | None)
        assert_type(request.op, str)
        assert_type(request.messages, int)
        return request.org_type == "sandbox"


def jobs() -> None:
    Job(mappings=("mapping.csv",), op=Op.LINK)
    job = Job(
        mappings=("a.csv", "-"),
        op=Op.RELINK,
        format="csv",
        columns=(("contact_id", "Contact Id"),),
        only=(("accept", "yes"), ("deal_id", None)),
        on_invalid=OnInvalid.SKIP,
        group_by=GroupBy.CONTACT,
        concurrency=None,
        edition=Edition.ENTERPRISE,
        rate=None,
        run_dir=Path("run"),
        max_failures=MaxFailures(percent=5),
        when_credits_out=WhenCreditsOut.WAIT,
        canary=0,
    )
    assert_type(job.op, Op | None)
    assert_type(job.run_dir, Path | None)
    frame = pl.DataFrame({"contact_id": ["1"]})
    Job(mappings=frame)
    Job(mappings=pd.DataFrame({"contact_id": ["1"]}))
    Job(mappings=({"contact_id": str(n), "Price": 1.5} for n in range(3)))
    Job(mappings=[{"contact_id": "1"}])
    Job(mappings=("a.csv", Path("b.csv"), frame))
    Job(mappings=bulklink.results("run", status={"failed"}))
    Job(mappings="mapping.csv")  # type: ignore[arg-type]
    Job(mappings={"contact_id": "1"})  # type: ignore[dict-item]
    Job(mappings=7)  # type: ignore[arg-type]
    Job(op=Op.LINK)  # type: ignore[call-arg]
    Job(mappings=("m.csv",), batch_sise=3)  # type: ignore[call-arg]


def connections() -> Connection:
    assert_type(Connection.from_environment(), Connection)
    assert_type(
        Connection.from_values(
            dc="eu", client_id="id", client_secret="secret", refresh_token="token"
        ),
        Connection,
    )
    assert_type(bulklink.load_connection(), Connection)
    return bulklink.load_connection("test")


def planning(job: Job, connection: Connection) -> None:
    callbacks, stop = Log(), StopController()
    forecast = bulklink.plan(job, latency=0.3, users=5, callbacks=callbacks, stop=stop)
    assert_type(forecast, PlanResult)
    assert_type(forecast.messages, int)
    assert_type(forecast.calls.link, int)
    assert_type(forecast.digest, str)
    assert_type(forecast.credits, CreditRange)
    assert_type(forecast.seconds, SecondsRange)
    assert_type(forecast.seconds.likely, float)
    assert_type(bulklink.plan_verify("run", sample=20, callbacks=callbacks), VerifyPlan)
    assert_type(bulklink.plan(job, compare_with="emails.csv", module_known=True), PlanResult)
    assert_type(bulklink.plan(job, look_up_names=connection), PlanResult)
    options = SendOptions(run_dir=Path("back"), batch_size=5)
    assert_type(bulklink.plan_undo("run", callbacks=callbacks, stop=stop, **options), PlanResult)
    assert_type(bulklink.plan_undo(Path("run"), include_settled=True), PlanResult)
    bulklink.plan(job, warn=print)  # type: ignore[call-arg]
    bulklink.plan(job, batch_size=3)  # type: ignore[call-arg]


async def sending(job: Job, connection: Connection) -> None:
    callbacks, stop = Log(), StopController()
    result = await bulklink.run(job, connection, callbacks=callbacks, stop=stop)
    assert_type(result, RunResult)
    assert_type(result.state, RunState)
    assert_type(result.counts["pending"], int)
    assert_type(result.calls, CallCounts)
    assert_type(result.undone_by, tuple[UndoneBy, ...])
    assert_type(result.messages_per_second, float | None)
    assert_type(result.latency, LatencyFigures | None)
    assert_type(result.exit_code, int | None)
    limits = LimitOptions(yes=True, max_credits=1000, rate=None, canary=50)
    assert_type(await bulklink.resume("run", connection, **limits), RunResult)
    assert_type(await bulklink.retry("run", connection, code="X", stop=stop), RunResult)
    assert_type(await bulklink.apply("run", connection, expect=None, **limits), RunResult)
    undone = await bulklink.undo("run", connection, callbacks=callbacks, stop=stop, batch_size=5)
    assert_type(undone, RunResult | None)
    await bulklink.resume("run", connection, batch_size=5)  # type: ignore[call-arg]
    await bulklink.undo("run", connection, warn=print)  # type: ignore[call-arg]


async def reading(connection: Connection) -> None:
    pace = PaceOptions(concurrency=5, rate=20.0, settle_after=1.0)
    callbacks, stop = Log(), StopController()
    check = await bulklink.verify("run", connection, sample=299, callbacks=callbacks, **pace)
    assert_type(check, VerifyResult)
    assert_type(check.exit_code, int)
    assert_type(VerifyFinding.DIFFERENT in VerifyFinding, bool)
    fetched = await bulklink.fetch(("1", "@ids.txt"), "emails.csv", connection, stop=stop, **pace)
    assert_type(fetched, FetchResult)
    assert_type(fetched.emails, int)
    await bulklink.fetch(("1",), io.BytesIO(), connection, format_="jsonl")
    await bulklink.verify("run", connection, canary=3)  # type: ignore[call-arg]


def folders() -> None:
    callbacks = Log()
    assert_type(bulklink.status("run"), RunResult)
    assert_type(bulklink.statuses("runs", callbacks=callbacks), list[RunResult])
    check = bulklink.check_run(Path("run"))
    assert_type(check, CheckResult)
    assert_type(check.ok, bool)
    merged = bulklink.merge("job")
    assert_type(merged, MergeResult)
    assert_type(merged.shards, tuple[MergedShard, ...])
    assert_type(bulklink.status("job").shards, tuple[RunResult, ...])
    found = bulklink.results("run", status={Status.FAILED}, code=["INVALID_DATA"])
    assert_type(found, Results)
    assert_type(found.columns, tuple[str, ...])
    assert_type([row["bulklink_row"] for row in found], list[str | int | None])
    exported = bulklink.export("run", "results.xlsx", status=(Status.FAILED, "in_doubt"))
    assert_type(exported, ExportResult)
    assert_type(exported.counts, dict[str, int])
    assert_type(bulklink.report("run", counts_only=True), ReportResult)
    events = bulklink.history("8937fb4a", "runs", contact_id="1", callbacks=callbacks)
    assert_type(events, list[HistoryEvent])
    assert_type(bulklink.forget("run", force=True), ForgetResult)
    bulklink.statuses(warn=print)  # type: ignore[call-arg]


async def auditing(connection: Connection) -> None:
    result = await bulklink.audit(["1"], "mapping.csv", connection, since="2026-01-01", rate=None)
    assert_type(result, AuditResult)
    assert_type(result.proposed["sure"]["move"], int)
    assert_type(result.readings, tuple[ReadingScore, ...])
    assert_type(result.hold_out, HoldOutResult)
    assert_type(result.hold_out.tiers, tuple[TierCheck, ...])
    assert_type(await bulklink.audit([], Path("m.csv"), None, fetched="emails.csv"), AuditResult)
    for explanation in bulklink.explain("mapping.csv", "8937fb4a"):
        assert_type(explanation, Explanation)
        assert_type(explanation.candidates, tuple[ScoredDeal, ...])
        assert_type(explanation.candidates[0].evidence, tuple[Evidence, ...])
    assert_type(bulklink.default_weights(), str)
    assert_type(bulklink.sample_audit("mapping.csv", 60, force=True), AuditCheck)
    checked = bulklink.check_audit(Path("mapping.csv"), "mapping.check.csv")
    assert_type(checked, AuditCheck)
    assert_type(checked.check, tuple[SampleCheck, ...])


async def matching() -> None:
    result = await bulklink.match("list.csv", Path("emails.csv"), "mapping.csv", tz="UTC")
    assert_type(result, MatchResult)
    assert_type(result.shift, MatchedShift | None)


async def measuring(job: Job, connection: Connection) -> None:
    options = LoadTest(arrival_rate=50, duration=20, thresholds=("p99 < 400ms",))
    target = LoadTarget(url="http://127.0.0.1:8080", world_digest=None)
    result = await bulklink.load_test(job, options, connection, target=target, callbacks=Log())
    assert_type(result, LoadResult)
    assert_type(bulklink.read_load_result("run"), LoadResult)
    assert_type(bulklink.compare_loads([(result, result)], "p99"), LoadComparison)
    assert_type(bulklink.merge_results([result, result]), LoadResult)


class Asker(RunCallbacks):
    """Confirms a probe that is cheap and changes nothing that is linked."""

    can_ask = True

    def on_probe(self, request: ProbeConfirmation) -> None:
        assert_type(request.emails, tuple[ChosenEmail, ...])

    def confirm_probe(self, request: ProbeConfirmation) -> bool:
        linked = any(email.deal_name for email in request.emails)
        return request.credits < 100 and not linked

    def confirm_experiment(self, title: str, sends: str) -> bool:
        return "owner" not in title


async def probing(connection: Connection) -> None:
    result = await bulklink.probe(
        "1", Path("probe.json"), connection, emails=["8937fb4a"], callbacks=Asker(), rate=None
    )
    assert_type(result, ProbeResult)
    assert_type(result.answers, tuple[AnsweredQuestion, ...])
    assert_type(await bulklink.probe(None, "p.json", connection, put_back=True), ProbeResult)


def stopping() -> None:
    stop = StopController()
    stop.interrupt()
    stop.interrupt(StoppedBy.TERMINATED)
    assert_type(stop.reason, RunStoppedError | None)
    if stop.reason is not None:
        assert_type(stop.reason.stopped_by, StoppedBy)


def errors(job: Job) -> int:
    try:
        bulklink.plan(job)
    except InvalidRowsError as error:
        assert_type(error.faults, tuple[str, ...])
    except (
        BadFileError,
        ConfigError,
        DigestError,
        LockedError,
        UsageError,
        WrongOrgError,
    ) as error:
        assert_type(error.where, str)
    except (InterruptedPlanningError, NotConfirmedError, RunDirError, RefusedError) as error:
        assert_type(error.advice, str)
    except LedgerError as error:
        assert_type(error.message, str)
    except BulklinkError as error:
        assert_type(error.code, str)
        assert_type(error.exit_code, ExitCode)
        return error.exit_code
    return ExitCode.OK
