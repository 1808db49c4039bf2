"""Result of a load test, from what was recorded while it ran."""

from __future__ import annotations

import os
import platform
import sys
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec

from bulklink.engine.load.driver import LoadDriver
from bulklink.engine.load.recorder import IntervalRecord, LoadRecorder, PhaseRecord
from bulklink.engine.load.schedule import SchedulePhase
from bulklink.engine.metrics import LimitedBy
from bulklink.errors import ExitCode, StoppedBy
from bulklink.load_analysis.figures import bins_of_histogram, latency_figures
from bulklink.load_results import (
    VERSION,
    BothHistograms,
    BothLatencies,
    ClientLoad,
    LoadInterval,
    LoadPhase,
    LoadResult,
    LoadTarget,
)
from bulklink.operations.job import Job
from bulklink.operations.load_options import LoadTest
from bulklink.operations.load_run import LoadRun
from bulklink.runs.record import RunRecord
from bulklink.runs.status import RunResult

_PACKAGES = ("bulklink", "aiohttp", "anyio", "aiolimiter", "orjson", "msgspec", "uvloop")
TOO_FEW_EMAILS = "too few emails to fill the calls in flight"
_MAX_BATCH_WAITS = 0.05
"""Share of the calls that may wait because all emails are in other calls."""
_REACHED = 0.99
"""Share of the asked calls that leave in time where the schedule is what limits the rate."""
_SEND_OPTIONS = ("batch_size", "rate", "sync", "names")


def make_load_result(
    run: LoadRun,
    driver: LoadDriver,
    job: Job,
    target: LoadTarget,
    seed: int | None,
    record: RunRecord,
    end: RunResult,
) -> LoadResult:
    """Return the result of a load test that has ended.

    Args:
        run: what drove its calls, and measured this machine.
        driver: what made its calls.
        job: options of sending.
        target: what was measured.
        seed: seed of the generated world; None for another server.
        record: record of the run.
        end: state of the run.
    """
    recorder, schedule = driver.recorder, driver.schedule
    whole = recorder.total()
    begin = schedule.warm_up
    seconds = max(0.0, driver.seconds - schedule.warm_up)
    asked = schedule.asked_between(begin, begin + seconds) if schedule.is_open else None
    asked_rate = None if asked is None else asked / seconds if seconds else 0.0
    service = latency_figures(whole.service)
    calls_per_second = whole.calls / seconds if seconds else 0.0
    cut_short = end.stopped_by is not None
    client = ClientLoad(
        cpu=run.machine.cpu_share,
        loop_lag_p99=run.machine.loop_lag.quantile(0.99) or 0.0,
        flush_seconds=run.flush_seconds,
        gc_seconds=run.machine.gc_seconds,
        bottleneck=run.machine.is_bottleneck(service.p50 if service else None),
    )
    result = LoadResult(
        version=VERSION,
        versions=_versions(),
        settings=_settings(run.options, job, driver.max_in_flight),
        seed=seed,
        plan_digest=record.digest or "",
        machine=_machine(),
        target=target,
        started=driver.started,
        phases=_phases(driver),
        series=_series(recorder),
        seconds=seconds,
        messages=whole.messages,
        calls=whole.calls,
        retried=end.calls.retried,
        asked_calls_per_second=asked_rate,
        calls_per_second=calls_per_second,
        messages_per_second=whole.messages / seconds if seconds else 0.0,
        late=whole.late,
        dropped=whole.dropped,
        errors=dict(whole.errors.most_common()),
        answered_429=whole.answered_429,
        latency=_both_latencies(whole),
        client=client,
        limited_by=_limited_by(whole, asked, client, record, end, driver.batches.waits),
        thresholds=[],
        cut_short=cut_short,
        stopped_by=end.stopped_by,
        histogram=BothHistograms(
            service=bins_of_histogram(whole.service), intended=bins_of_histogram(whole.intended)
        ),
        run_dir=end.run_dir,
        exit_code=0,
    )
    return _with_thresholds(result, run.options, end)


def _with_thresholds(result: LoadResult, options: LoadTest, end: RunResult) -> LoadResult:
    """Return the result with its thresholds checked, and the exit code that follows from them."""
    checked = [threshold.check(result) for threshold in options.parsed_thresholds()]
    missed = any(not threshold.met for threshold in checked)
    exit_code = ExitCode.ROWS_NOT_DONE if missed else ExitCode.OK
    if result.cut_short and end.exit_code is not None:
        exit_code = ExitCode(end.exit_code)
    return msgspec.structs.replace(result, thresholds=checked, exit_code=int(exit_code))


def _both_latencies(record: PhaseRecord | IntervalRecord) -> BothLatencies:
    return BothLatencies(
        service=latency_figures(record.service), intended=latency_figures(record.intended)
    )


def _phases(driver: LoadDriver) -> list[LoadPhase]:
    schedule, recorder = driver.schedule, driver.recorder
    ended = driver.seconds
    phases = []
    for phase, start, record in zip(schedule.phases, schedule.starts, recorder.phases, strict=True):
        seconds = max(0.0, min(phase.seconds, ended - start))
        if start < ended or record.calls:
            phases.append(_phase(phase, start, seconds, record))
    return phases


def _phase(phase: SchedulePhase, start: float, seconds: float, record: PhaseRecord) -> LoadPhase:
    return LoadPhase(
        name=phase.name,
        at=start,
        seconds=seconds,
        asked_first=phase.first,
        asked_last=phase.rate_at(seconds),
        calls=record.calls,
        messages=record.messages,
        calls_per_second=record.calls / seconds if seconds else 0.0,
        errors=record.errors.total(),
        late=record.late,
        latency=_both_latencies(record),
    )


def _series(recorder: LoadRecorder) -> list[LoadInterval]:
    schedule, length = recorder.schedule, recorder.interval_seconds
    intervals = []
    for index, interval in enumerate(recorder.intervals):
        at = index * length
        begin = schedule.warm_up + at
        asked = schedule.asked_between(begin, begin + length) if schedule.is_open else None
        intervals.append(
            LoadInterval(
                at=at,
                seconds=length,
                asked=asked,
                calls=interval.started,
                answered=interval.answered,
                messages=interval.messages,
                errors=interval.errors,
                late=interval.late,
                in_flight=interval.busy_seconds / length,
                latency=_both_latencies(interval),
            )
        )
    return intervals


def _limited_by(
    whole: PhaseRecord,
    asked: float | None,
    client: ClientLoad,
    record: RunRecord,
    end: RunResult,
    batch_waits: int,
) -> str:
    """Return what limited the rate: the schedule, if it was kept, else what limits any run."""
    if end.stopped_by == StoppedBy.NO_ANSWER:
        return "the server, which stopped answering"
    if batch_waits > _MAX_BATCH_WAITS * whole.calls:
        return TOO_FEW_EMAILS
    if asked is not None and whole.calls - whole.late >= _REACHED * asked:
        return "the schedule"
    if client.bottleneck:
        return "this machine"
    if asked is not None:
        return LimitedBy.IN_FLIGHT  # a call leaves late because it waits for a place
    return record.limited.by if record.limited is not None else "nothing for long"


def _settings(options: LoadTest, job: Job, in_flight: int) -> dict[str, Any]:
    """Return the options that change what is measured; those of the schedule where they are set."""
    load = {
        name: value
        for name, value in msgspec.to_builtins(options).items()
        if value not in (None, [], (), 0.0)
    }
    sending = {name: getattr(job, name) for name in _SEND_OPTIONS}
    return load | sending | {"op": str(options.effective_op), "concurrency": in_flight}


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return versions


def _machine() -> dict[str, Any]:
    return {
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "memory": _memory_bytes(),
    }


def _memory_bytes() -> int | None:
    """Return the memory of this machine; None where the system does not tell it."""
    if sys.platform != "win32":
        with suppress(ValueError, OSError):
            return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return None
