"""A run keeps its options in its record, a resume and its undo."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bulklink import (
    Connection,
    Job,
    MaxFailures,
    apply,
    fetch,
    plan,
    plan_undo,
    resume,
    retry,
    run,
    undo,
)
from bulklink.engine.ratelimit.limiter import ConcurrencyLimiter
from bulklink.operations.environment import Environment, real_environment
from bulklink.operations.job_options import PER_CALL_OPTIONS, SEND_OPTIONS, serialize_job
from bulklink.operations.prepare import new_record
from bulklink.operations.seal import load_job
from bulklink.runs.folder import RunFolder
from tests.guard import off_loop
from tests.operations.local_crm import CONTACT, OTHER, LocalCrm, job

BEGUN: dict[str, Any] = {
    "batch_size": 3,
    "group_by": "contact",
    "single_endpoint": True,
    "names": False,
    "concurrency": 1,
    "edition": "standard",
    "rate": None,
    "memory": "128MB",
    "sync": False,
    "read_back": False,
    "read_pages": 50,
    "settle_after": 0.5,
    "max_failures": MaxFailures(percent=100),
    "credits_per_day": 900,
    "reserve_credits": 10,
    "outage": 90.0,
    "when_credits_out": "wait",
    "canary": 0,
}
"""A value other than the default for each option of sending that is kept."""


def test_every_kept_option_has_a_test_value_other_than_its_default() -> None:
    assert BEGUN.keys() == SEND_OPTIONS - PER_CALL_OPTIONS
    kept_job, default = Job(mappings=(), **BEGUN), Job(mappings=())
    assert not [name for name in BEGUN if getattr(kept_job, name) == getattr(default, name)]


@pytest.mark.parametrize("name", BEGUN)
def test_a_record_gives_back_each_option(name: str) -> None:
    planned_job = Job(mappings=("m.csv",), **{name: BEGUN[name]})
    record = new_record(planned_job, "2026-11-22T10:15:00.000Z", inputs=())
    saved = msgspec.json.decode(msgspec.json.encode(record), type=type(record))
    assert load_job(saved) == planned_job


class Limiters:
    """Creates limiters and records their limits."""

    def __init__(self) -> None:
        self.limits: list[tuple[int, float | None]] = []
        environment: Environment = real_environment()
        self.environment = msgspec.structs.replace(environment, limiter=self._make)

    def _make(self, **options: Any) -> ConcurrencyLimiter:
        self.limits.append((options["max_in_flight"], options["max_per_second"]))
        return ConcurrencyLimiter(**options)


LIMITS: dict[str, Any] = {"concurrency": 2, "rate": None, "canary": 0}


async def _stopped(tmp_path: Path, connection: Connection) -> RunFolder:
    await run(job(tmp_path, batch_size=10, max_credits=5, **LIMITS), connection)
    return RunFolder(tmp_path / "run")


GOING_ON: dict[str, Callable[..., Any]] = {"resume": resume, "retry": retry, "undo": undo}


@pytest.mark.parametrize("name", GOING_ON)
@pytest.mark.parametrize(
    ("given", "limits"),
    [({}, (2, None)), ({"concurrency": None}, (10, None)), ({"rate": 400.0}, (2, 400.0))],
    ids=["nothing given", "auto given", "a rate given"],
)
async def test_a_resumed_run_keeps_its_limits_unless_they_are_set_again(
    name: str,
    given: dict[str, Any],
    limits: tuple[int, float | None],
    tmp_path: Path,
    connection: Connection,
) -> None:
    folder, limiters = await _stopped(tmp_path, connection), Limiters()
    here = {"run_dir": tmp_path / "back"} if name == "undo" else {}
    await GOING_ON[name](folder, connection, environment=limiters.environment, **given, **here)
    assert limiters.limits == [limits]


async def test_an_applied_plan_keeps_its_limits(tmp_path: Path, connection: Connection) -> None:
    await off_loop(plan, job(tmp_path, **LIMITS))
    limiters = Limiters()
    await apply(tmp_path / "run", connection, environment=limiters.environment)
    assert limiters.limits == [(2, None)]


async def test_per_call_options_are_not_kept(tmp_path: Path, connection: Connection) -> None:
    folder = await _stopped(tmp_path, connection)
    assert (await resume(folder, connection)).counts["done"] == 30


async def test_an_undo_uses_the_options_of_its_run_without_its_mapping(
    tmp_path: Path, connection: Connection
) -> None:
    mapping: dict[str, Any] = {
        "only": (("message_id", None),),
        "defaults": (("deal_name", "N"),),
        "keep": (),
    }
    begun_with = BEGUN | {"names": True}  # this CRM wants them
    planned_job = job(tmp_path, **begun_with, **mapping, yes=True)
    ended = await run(planned_job, connection)
    assert ended.counts["done"] == 30, ended
    await off_loop(plan_undo, tmp_path / "run", run_dir=tmp_path / "back", rate=3.0)
    undone = serialize_job(load_job(RunFolder(tmp_path / "back").read()))
    options = serialize_job(planned_job)
    assert {name: undone[name] for name in BEGUN} == {name: options[name] for name in BEGUN} | {
        "rate": 3.0
    }
    assert not any(undone[name] for name in ("yes", "only", "defaults"))


async def test_an_unfinished_fetch_keeps_its_limits_and_file_type(
    tmp_path: Path, connection: Connection, crm: LocalCrm
) -> None:
    file = tmp_path / "emails"
    first = await fetch(
        [CONTACT, OTHER],
        file,
        connection,
        format_="csv",
        spreadsheet=True,
        concurrency=1,
        rate=None,
        max_credits=3,
    )
    assert first.stopped_by == "max-credits"
    limiters = Limiters()
    result = await fetch([CONTACT, OTHER], file, connection, environment=limiters.environment)
    assert (result.stopped_by, limiters.limits) == (None, [(1, None)])
    assert f'="{CONTACT}"' in file.read_text("utf-8").replace('""', '"')
    assert crm.linked == 0
