"""Estimates of a plan's cost and bottleneck."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from bulklink import Edition, Job, Op, plan
from bulklink.errors import InvalidRowsError
from bulklink.operations.credit_limits import edition_credits
from bulklink.operations.estimate import EstimatedBottleneck
from bulklink.operations.job import GroupBy, OnInvalid, parse_edition
from bulklink.operations.plan import PlanResult

HEADER = ["contact_id", "owner_id", "message_id", "deal_id"]


def write_mapping(
    tmp_path: Path, groups: list[tuple[int, int, int]], length: int = 64, name: str = "m.csv"
) -> str:
    """Write n rows for each (contact, owner, n); return the path."""
    path = tmp_path / name
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HEADER)
        number = 0
        for contact, owner, rows in groups:
            for _ in range(rows):
                number += 1
                writer.writerow([contact, owner, f"{number:0{length}x}", 9])
    return str(path)


def plan_mapping(path: str, op: Op = Op.LINK, **options: Any) -> PlanResult:
    assumptions = {"users": options.pop("users", 1), "latency": options.pop("latency", 0.5)}
    job = Job(mappings=(path,), op=op, **options)
    return plan(job, **assumptions)


def test_calls_are_counted_by_kind_with_their_minimum(tmp_path: Path) -> None:
    path = write_mapping(tmp_path, [(1, 1, 21), (1, 2, 5), (2, 1, 40)])
    plan_result = plan_mapping(path, batch_size=10)
    assert (plan_result.calls.link, plan_result.calls.least) == (3 + 1 + 4, 2 + 1 + 2)
    # The org, the module, one look-up of deals, one of users.
    assert plan_result.calls.lookup_at_least == 4
    assert plan_result.credits.least == 8 + 4


def test_a_relink_needs_reads_and_both_halves(tmp_path: Path) -> None:
    plan_result = plan_mapping(write_mapping(tmp_path, [(1, 1, 21), (1, 2, 5)]), Op.RELINK)
    assert (plan_result.calls.unlink, plan_result.calls.link) == (3, 3)
    assert plan_result.calls.read_at_least == 3  # 26 emails of one contact, 10 a page


def test_unlinks_of_long_ids_take_more_calls(tmp_path: Path) -> None:
    plan_result = plan_mapping(write_mapping(tmp_path, [(1, 1, 20)], length=500), Op.UNLINK)
    assert plan_result.calls.unlink == plan_result.calls.least == 7
    assert plan_result.calls.lookup_at_least == 1


def test_grouping_by_contact_saves_the_estimated_calls(tmp_path: Path) -> None:
    path = write_mapping(tmp_path, [(c, o, 5) for c in range(10) for o in (1, 2, 3)])
    apart = plan_mapping(path)
    together = plan_mapping(path, group_by=GroupBy.CONTACT)
    assert apart.estimate.saved_by_contact == apart.calls.link - together.calls.link == 20
    assert together.estimate.saved_by_contact == 0
    assert together.calls.least == 10
    assert apart.digest != together.digest


@pytest.mark.parametrize(
    ("changed", "seconds", "limit"),
    [
        ({"concurrency": 10, "rate": None}, 5.0, EstimatedBottleneck.IN_FLIGHT),
        ({"concurrency": 100, "rate": 10.0}, 10.0, EstimatedBottleneck.RATE),
        ({"concurrency": 1000, "rate": None}, 0.5, EstimatedBottleneck.LATENCY),
        ({"concurrency": 10, "rate": None, "latency": 2.0}, 20.0, EstimatedBottleneck.IN_FLIGHT),
    ],
    ids=["calls in flight", "rate", "one call after another", "a slow CRM"],
)
def test_the_bottleneck_of_a_run_is_named(
    tmp_path: Path, changed: dict[str, Any], seconds: float, limit: EstimatedBottleneck
) -> None:
    path = write_mapping(tmp_path, [(c, 1, 20) for c in range(96)])  # and 4 look-ups
    plan_result = plan_mapping(path, canary=0, **changed)
    assert plan_result.seconds.likely == pytest.approx(seconds)
    assert plan_result.estimate.bottleneck is limit


def test_credits_are_estimated_in_24_hour_windows(tmp_path: Path) -> None:
    path = write_mapping(tmp_path, [(c, 1, 1) for c in range(1, 1000)])
    plan_result = plan_mapping(path, edition=Edition.STANDARD, users=4)
    assert plan_result.estimate.daily_credits == 51_000
    assert plan_result.estimate.days == 1
    assert plan_mapping(path).estimate.daily_credits is None


@pytest.mark.parametrize(
    ("edition", "users", "expected"),
    [
        (Edition.STANDARD, 10, 52_500),
        (Edition.STANDARD, 10_000, 100_000),
        (Edition.PROFESSIONAL, 10, 55_000),
        (Edition.ENTERPRISE, 10, 60_000),
        (Edition.ENTERPRISE, 100_000, 5_000_000),
        (Edition.ZOHO_ONE, 1, 51_000),
        (Edition.ULTIMATE, 100_000, 200_050_000),
        (Edition.CRM_PLUS, 1, 52_000),
        (None, 10, None),
    ],
)
def test_credits_of_24_hours_by_edition_and_users(
    edition: Edition | None, users: int, expected: int | None
) -> None:
    assert edition_credits(edition, users) == expected


@pytest.mark.parametrize(
    ("paid_type", "in_flight"),
    [("enterprise", 20), ("Zoho One", 20), ("ULTIMATE", 25), ("free", 10), (None, 10)],
)
def test_calls_in_flight_follow_the_licence(paid_type: str | None, in_flight: int) -> None:
    assert Job(mappings=("m.csv",)).max_in_flight(paid_type) == in_flight
    assert Job(mappings=("m.csv",), edition=Edition.PROFESSIONAL).max_in_flight(paid_type) == 15
    assert Job(mappings=("m.csv",), concurrency=3).max_in_flight(paid_type) == 3


def test_an_unknown_licence_names_no_edition() -> None:
    assert parse_edition("bigin") is None


def test_the_digest_depends_on_content_and_options_alone(tmp_path: Path) -> None:
    rows = [(1, 1, 3)]
    first, same = write_mapping(tmp_path, rows), write_mapping(tmp_path, rows, name="other.csv")
    assert plan_mapping(first).digest == plan_mapping(same, concurrency=5, rate=None).digest
    assert plan_mapping(first).digest != plan_mapping(first, batch_size=5).digest
    assert (
        plan_mapping(first).digest
        != plan_mapping(write_mapping(tmp_path, [(1, 1, 4)], name="x.csv")).digest
    )


def test_a_plan_without_a_run_folder_leaves_no_file(tmp_path: Path) -> None:
    path = write_mapping(tmp_path, [(1, 1, 3)])
    before = set(tmp_path.rglob("*"))
    plan_mapping(path, runs_dir=tmp_path / "runs")
    assert set(tmp_path.rglob("*")) == before


def test_refused_rows_seal_nothing_unless_they_are_skipped(tmp_path: Path) -> None:
    path = Path(write_mapping(tmp_path, [(1, 1, 3)]))
    path.write_text(path.read_text() + "x,1,a,9\n")
    with pytest.raises(InvalidRowsError) as caught:
        plan_mapping(str(path), run_dir=tmp_path / "run")
    assert not (tmp_path / "run" / "plan.parquet").exists()
    assert (tmp_path / "run" / "rejects.csv").exists()
    assert "bad-id" in caught.value.faults[0]
    plan_result = plan_mapping(str(path), run_dir=tmp_path / "again", on_invalid=OnInvalid.SKIP)
    assert (plan_result.messages, plan_result.rejected) == (3, 1)
    assert (tmp_path / "again" / "plan.parquet").exists()
