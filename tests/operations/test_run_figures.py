"""Rates, latencies, bottleneck and settings in the result of a run."""

from __future__ import annotations

import json
import time
from pathlib import Path

import msgspec
import pytest

from bulklink import Connection, LimitedBy, MaxFailures, RunCallbacks, retry, run, status
from bulklink.operations.environment import real_environment
from bulklink.runs.folder import RunFolder
from tests.guard import off_loop
from tests.operations.local_crm import EMAILS, FOREIGN, job


async def test_the_figures_of_a_run_agree_with_its_counts_and_its_status(
    tmp_path: Path, connection: Connection
) -> None:
    result = await run(job(tmp_path, batch_size=1, rate=None), connection)
    assert result.messages_per_second is not None
    assert result.calls_per_second is not None
    assert result.sending_seconds is not None
    assert result.latency is not None
    assert 0 < result.sending_seconds <= result.seconds
    assert result.messages_per_second * result.sending_seconds == pytest.approx(EMAILS, rel=0.05)
    assert result.calls_per_second == result.messages_per_second, "a link call for each email"
    figures = [getattr(result.latency, name) for name in ("p50", "p90", "p95", "p99", "p999")]
    assert figures == sorted(figures)
    assert figures[-1] == result.latency.max < result.sending_seconds + 1
    assert await off_loop(status, tmp_path / "run") == result


async def test_the_settings_are_those_of_the_last_command(
    tmp_path: Path, connection: Connection
) -> None:
    first = await run(job(tmp_path, rows=2, deal=FOREIGN, concurrency=3, rate=9), connection)
    assert first.settings is not None
    assert (first.settings["concurrency"], first.settings["rate"]) == (3, 9)
    assert (first.settings["batch_size"], first.settings["sync"]) == (20, True)
    last = await retry(tmp_path / "run", connection, concurrency=5, sync=False)
    assert last.settings == first.settings | {"concurrency": 5, "sync": False}


class SlowAnswer(RunCallbacks):
    """Answers the question after the canary, an hour later."""

    can_ask = True
    later = 0.0

    def confirm_after_canary(self, summary: str, remaining: int) -> bool:
        self.later = 3600.0
        return True


async def test_the_hour_of_a_question_is_no_part_of_the_rate(
    tmp_path: Path, connection: Connection
) -> None:
    callbacks = SlowAnswer()
    environment = real_environment()
    clock = msgspec.structs.replace(
        environment.clock, monotonic=lambda: time.monotonic() + callbacks.later
    )
    result = await run(
        job(tmp_path, deal=FOREIGN, canary=5, max_failures=MaxFailures(count=EMAILS)),
        connection,
        callbacks=callbacks,
        environment=msgspec.structs.replace(environment, clock=clock),
    )
    assert result.counts["failed"] == EMAILS
    assert result.seconds > 3600
    assert result.sending_seconds is not None
    assert result.sending_seconds < 600
    limited = (await off_loop(RunFolder(tmp_path / "run").read)).limited
    assert limited is not None
    assert 0 < (limited.figures["seconds"] or 0) < 600


async def test_credits_that_only_last_for_the_look_ups_limit_the_run(
    tmp_path: Path, connection: Connection
) -> None:
    result = await run(job(tmp_path, max_credits=4), connection)
    assert (result.state, result.credits, result.calls.lookup) == ("stopped", 4, 4)
    assert result.limited_by == LimitedBy.CREDITS
    assert (result.messages_per_second, result.latency) == (None, None)


async def test_a_folder_of_an_earlier_version_has_no_figures(
    tmp_path: Path, connection: Connection
) -> None:
    await run(job(tmp_path), connection)
    folder = RunFolder(tmp_path / "run")
    folder.timeline.unlink()
    record = json.loads(folder.record.read_text("utf-8"))
    folder.record.write_text(json.dumps(record | {"settings": None, "limited": None}), "utf-8")
    result = await off_loop(status, folder.path)
    assert result.counts["done"] == EMAILS
    for name in ("messages_per_second", "latency", "sending_seconds", "limited_by", "settings"):
        assert getattr(result, name) is None, name
