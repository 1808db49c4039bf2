"""Failure limit: when a run stops, and its stop reason."""

from __future__ import annotations

import pytest

from bulklink.engine.failure_limit import FailureCounter, MaxFailures, exceeds_max_failures
from bulklink.ledger.records import Result
from bulklink.models import Op, Status


@pytest.mark.parametrize(
    ("max_failures", "failures", "settled", "stops"),
    [
        (None, 19, 19, False),
        (None, 20, 20, True),
        (None, 20, 21, False),
        (None, 49, 199, False),
        (None, 49, 200, False),
        (None, 50, 200, True),
        (None, 249, 1000, False),
        (None, 250, 1000, True),
        (MaxFailures(count=0), 0, 900, False),
        (MaxFailures(count=0), 1, 900, True),
        (MaxFailures(count=50), 50, 50, False),
        (MaxFailures(count=50), 51, 51, True),
        (MaxFailures(percent=5), 199, 199, False),
        (MaxFailures(percent=5), 10, 200, False),
        (MaxFailures(percent=5), 11, 200, True),
        (MaxFailures(percent=0.5), 5, 1000, False),
        (MaxFailures(percent=0.5), 6, 1000, True),
        (MaxFailures(percent=0), 1, 199, False),
        (MaxFailures(percent=0), 1, 200, True),
        (MaxFailures(percent=100), 5000, 5000, False),
    ],
)
def test_a_run_stops_if_failures_exceed_the_limit(
    max_failures: MaxFailures | None, failures: int, settled: int, *, stops: bool
) -> None:
    assert exceeds_max_failures(max_failures, failures, settled) is stops


def result(row: int, status: Status, code: str | None = None, text: str = "") -> Result:
    return Result(row, Op.LINK, "11", "22", f"m{row}", "33", status, code, message=text)


def count_failures(*results: Result, max_failures: MaxFailures | None = None) -> FailureCounter:
    failures = FailureCounter(max_failures)
    for item in results:
        failures.add(item)
    return failures


@pytest.mark.parametrize("status", [Status.FAILED, Status.IN_DOUBT])
def test_failed_and_in_doubt_results_count_as_failures(status: Status) -> None:
    failures = count_failures(*(result(n, status, "X") for n in range(20)))
    assert failures.limit_exceeded


@pytest.mark.parametrize("status", [Status.DONE, Status.UNCHANGED])
def test_done_and_unchanged_results_count_only_as_settled(status: Status) -> None:
    failures = count_failures(
        *(result(n, Status.FAILED, "X") for n in range(19)), result(19, status)
    )
    assert (failures.failed, failures.settled) == (19, 20)
    assert not count_failures(
        *(result(n, Status.FAILED) for n in range(19)), max_failures=None
    ).limit_exceeded


@pytest.mark.parametrize("status", [Status.REJECTED, Status.DUPLICATE])
def test_rows_never_sent_do_not_count(status: Status) -> None:
    failures = count_failures(
        *(result(n, status, "bad-id") for n in range(30)), max_failures=MaxFailures(count=0)
    )
    assert (failures.settled, failures.limit_exceeded) == (0, False)


def test_the_stop_reason_has_count_share_codes_advice_and_an_example() -> None:
    failures = count_failures(
        result(1, Status.IN_DOUBT, "not-listed", "No page lists it."),
        *(result(n, Status.FAILED, "NOT_ALLOWED", "no") for n in (2, 3, 4)),
        result(5, Status.DONE),
    )
    reason = failures.stop_reason("runs/x")
    assert reason.message == (
        "Too many emails failed or are in doubt: 4 of 5 (80.0%: 3 NOT_ALLOWED, 1 not-listed)."
    )
    assert reason.advice.splitlines() == [
        "3 NOT_ALLOWED: The contact is not on that deal: add it to the deal first, or give it a"
        " contact role there.",
        "1 not-listed: No page that was read lists the email: check contact, owner and message id.",
        "For example row 2: contact 11, message m2, deal 33.",
        "Fix the cause, then run `resume('runs/x')`. To continue despite the failures, raise"
        " the limit: `resume('runs/x', max_failures='50%')`, or off.",
    ]


def test_the_number_of_counted_codes_is_bounded() -> None:
    failures = count_failures(*(result(n, Status.FAILED, f"CODE_{n}") for n in range(1000)))
    assert "950 other codes" in failures.summary


def test_early_failures_count_in_percent_only_once_the_contact_is_done() -> None:
    failures = FailureCounter()
    for row in range(200):
        failures.add(result(row, Status.FAILED, "already-linked"), early=True)
    assert not failures.limit_exceeded
    for row in range(200, 1_000):
        failures.add(result(row, Status.DONE))
    failures.end_contact("11")
    assert not failures.limit_exceeded, "a fifth"


def test_early_failures_can_stop_the_run_once_the_contact_is_done() -> None:
    failures = FailureCounter()
    for row in range(200):
        failures.add(result(row, Status.FAILED, "already-linked"), early=True)
    failures.end_contact("another")
    assert not failures.limit_exceeded
    failures.end_contact("11")
    assert failures.limit_exceeded


def test_early_failures_count_immediately_against_an_absolute_limit() -> None:
    failures = FailureCounter(MaxFailures(count=3))
    for row in range(4):
        failures.add(result(row, Status.FAILED, "already-linked"), early=True)
    assert failures.limit_exceeded
