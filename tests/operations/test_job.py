"""A job accepts the same values as the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec
import pytest

from bulklink import Edition, Job, MaxFailures, OnInvalid, Op, UsageError
from bulklink.operations.job import MAX_RATE
from bulklink.operations.job_options import LIMIT_OPTIONS, PACE_OPTIONS, SEND_OPTIONS
from tests.cli.command_tree import ALL


def test_texts_are_converted_to_enums_and_paths() -> None:
    values: dict[str, Any] = {"op": "relink", "edition": "zoho-one", "on_invalid": "skip"}
    job = Job(mappings=(Path("m.csv"), "n.csv"), run_dir="here", **values)  # type: ignore[arg-type]
    assert (job.op, job.edition, job.on_invalid) == (Op.RELINK, Edition.ZOHO_ONE, OnInvalid.SKIP)
    assert (job.mappings, job.run_dir) == (("m.csv", "n.csv"), Path("here"))


def test_values_of_other_types_are_stored_in_their_own() -> None:
    values: dict[str, Any] = {"rate": 50, "expect_org": 5843104000000020005, "keep": ["Subject"]}
    job = Job(mappings=("m.csv",), only=[["kind", "move"]], **values)  # type: ignore[arg-type]
    assert (job.rate, job.expect_org, job.keep) == (50.0, "5843104000000020005", ("Subject",))
    assert job.only == (("kind", "move"),)


@pytest.mark.parametrize("limits", [{"count": -1}, {"percent": 101.0}, {"percent": float("nan")}])
def test_a_limit_of_failures_that_is_none_is_refused(limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="from 0 to 100"):
        MaxFailures(**limits)


@pytest.mark.parametrize(
    ("options", "expected_text"),
    [
        ({"op": "lnk"}, "'lnk' is not a valid value for op.\nUse one of: link, unlink, relink."),
        ({"mappings": "m.csv"}, 'Pass a tuple of paths, such as \\("mapping.csv",\\).'),
        ({"mappings": 7}, "An int is not a mapping"),
        (
            {"batch_size": 21},
            "21 is not a valid value for batch_size.\nUse a number from 1 to",
        ),
        ({"batch_size": 0}, "0 is not a valid value"),
        ({"concurrency": 0}, "0 is not a valid value"),
        ({"rate": 0}, "0 is not a valid value for rate.\nUse a number above 0, 100,000 at most"),
        ({"rate": MAX_RATE + 1}, "is not a valid value for rate"),
        ({"canary": True}, "True is not a valid value for canary.\nExpected `int | None`"),
        ({"max_credits": 1e5}, "100000.0 is not a valid value for max_credits"),
        ({"batch_size": "20"}, "'20' is not a valid value for batch_size"),
        ({"rate": "50"}, "'50' is not a valid value for rate"),
        ({"yes": "no"}, "'no' is not a valid value for yes"),
        ({"read_back": 1}, "1 is not a valid value for read_back"),
        ({"max_failures": "5%"}, "Use MaxFailures.count=50. or MaxFailures.percent=5."),
        ({"only": "subject=x"}, "'subject=x' is not a valid value for only"),
        ({"memory": 100_000_000}, "100000000 is not a size such as 512MB"),
        ({"run_dir": 5}, "5 is not a valid value for run_dir"),
        ({"settle_after": -0.1}, "settle_after"),
        ({"read_pages": 0}, "read_pages"),
        ({"max_credits": 0}, "max_credits"),
        ({"canary": -1}, "canary"),
        ({"memory": "1MB"}, "memory: '1MB' is not a size such as 512MB, of at least 64MB"),
        ({"credits_per_day": 5, "reserve_credits": 5}, "none can be spent"),
    ],
    ids=str,
)
def test_an_invalid_value_is_refused(options: dict[str, Any], expected_text: str) -> None:
    with pytest.raises(UsageError, match=expected_text):
        Job(**({"mappings": ("m.csv",)} | options))
    with pytest.raises(UsageError, match=expected_text):
        msgspec.structs.replace(Job(mappings=("m.csv",)), **options)


@pytest.mark.parametrize("name", ["batch_size", "concurrency", "read_pages", "canary", "rate"])
def test_the_command_line_accepts_the_same_numbers(name: str) -> None:
    run = ALL["bulklink run"]
    (param,) = (p for p in run.params if p.name == name)
    context = click.Context(run)
    for number in (-1, 0, 1, 20, 21, 1000, 1001, 10_000, 10_001, 100_000, 100_001):
        assert _accepted_by_cli(param, number, context) is _accepted_by_job(name, number), number


def _accepted_by_cli(param: click.Parameter, number: int, context: click.Context) -> bool:
    try:
        param.type_cast_value(context, str(number))
    except click.BadParameter:
        return False
    return True


def _accepted_by_job(name: str, number: int) -> bool:
    options: dict[str, Any] = {name: number}
    try:
        Job(mappings=(), **options)
    except UsageError:
        return False
    return True


def test_the_options_of_functions_are_those_of_jobs() -> None:
    assert PACE_OPTIONS < LIMIT_OPTIONS < SEND_OPTIONS < set(Job.__struct_fields__)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(0, 0), (90, 90), (1.5, 1.5), ("0", 0), ("30s", 30), (" 5M ", 300), ("1.5h", 5400), ("7", 7)],
)
def test_an_outage_is_seconds_or_a_text_with_its_unit(value: Any, seconds: float) -> None:
    assert Job(mappings=(), outage=value).outage == seconds


@pytest.mark.parametrize(
    "value",
    ["", "m", "5 days", "-1", -1, "1e3", float("nan"), float("inf"), True, "1000h", "\u0665m"],
)
def test_an_invalid_duration_is_refused(value: Any) -> None:
    with pytest.raises(UsageError):
        Job(mappings=(), outage=value)
