"""Expected deals of emails, by the ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from bulklink.ledger.checkpoint import NO_CHECKPOINT
from bulklink.ledger.records import Result, result_line, step_line
from bulklink.mapping.interrupt import PlanningStop
from bulklink.models import Op, Status
from bulklink.operations.expected_links import ExpectedLinks

A, B, NONE = "500", "600", None
NOTHING = "nothing"


def result(
    row: int = 1,
    op: Op = Op.LINK,
    status: Status = Status.DONE,
    message: str = "",
    owner: str = "22",
    contact: str = "11",
    **more: Any,
) -> Result:
    deal = None if op is Op.UNLINK else B
    return Result(row, op, contact, owner, message or f"m{row}", deal, status, **more)


def expected_deals(
    folder: Path, *results: Result, open_rows: tuple[int, ...] = (), in_doubt: bool = False
) -> dict[int, str | None]:
    """Return the expected deal of each row."""
    ledger = folder / "ledger.jsonl"
    ledger.write_bytes(
        b"".join(
            result_line(f"2026-11-22T10:00:{at:02}.000Z", ledger_result)
            for at, ledger_result in enumerate(results)
        )
        + b"".join(step_line("2026-11-22T10:01:00.000Z", row) for row in open_rows)
    )
    expected_links = ExpectedLinks(
        ledger, NO_CHECKPOINT, in_doubt=in_doubt, folder=folder, stop=PlanningStop()
    )
    try:
        deals = {
            link.row: link.deal_id
            for contact in expected_links.contacts()
            for link in contact.links.values()
        }
        assert len(deals) == expected_links.total
        return deals
    finally:
        expected_links.close()


@pytest.mark.parametrize(
    ("ledger_result", "expected"),
    [
        (result(status=Status.DONE), B),
        (result(status=Status.UNCHANGED), B),
        (result(op=Op.RELINK), B),
        (result(op=Op.UNLINK), NONE),
        (result(op=Op.UNLINK, status=Status.UNCHANGED), NONE),
        (result(status=Status.FAILED, code="ALREADY_LINKED", current_deal_id=A), A),
        (result(op=Op.RELINK, status=Status.FAILED, code="NOT_ALLOWED", current_deal_id=A), A),
        (result(status=Status.FAILED, code="put-back-failed", current_deal_id=None), NONE),
        (result(status=Status.FAILED, code="NOT_ALLOWED"), NOTHING),
        (result(op=Op.RELINK, status=Status.FAILED, previous_deal_id=A), NOTHING),
        (result(status=Status.IN_DOUBT, code="not-listed"), NOTHING),
        (result(status=Status.REJECTED, code="unknown-deal"), NOTHING),
        (result(status=Status.DUPLICATE, duplicate_of=7), NOTHING),
    ],
    ids=lambda value: (
        f"{value.op}-{value.status}-{value.code}" if isinstance(value, Result) else None
    ),
)
def test_each_result_has_its_expected_deal(
    tmp_path: Path, ledger_result: Result, expected: str | None
) -> None:
    assert expected_deals(tmp_path, ledger_result) == ({} if expected == NOTHING else {1: expected})


def test_the_last_result_of_a_row_counts(tmp_path: Path) -> None:
    first = result(status=Status.FAILED, current_deal_id=A)
    assert expected_deals(tmp_path, first, result()) == {1: B}
    assert expected_deals(tmp_path, result(), result(status=Status.IN_DOUBT)) == {}


def test_a_row_in_flight_has_no_expected_link(tmp_path: Path) -> None:
    assert expected_deals(tmp_path, result(1), result(2), open_rows=(2,)) == {1: B}


def test_the_last_row_that_may_have_moved_an_email_counts(
    tmp_path: Path,
) -> None:
    first = result(1, message="m")
    off = result(2, Op.UNLINK, message="m", owner="23")
    assert expected_deals(tmp_path, first, off) == {2: NONE}
    assert (
        expected_deals(tmp_path, first, msgspec.structs.replace(off, status=Status.IN_DOUBT)) == {}
    )
    assert expected_deals(tmp_path, first, msgspec.structs.replace(off, status=Status.FAILED)) == {
        1: B
    }


def test_the_expected_deal_of_an_email_in_doubt_is_its_target(tmp_path: Path) -> None:
    in_doubt = Status.IN_DOUBT
    results = (result(1), result(2, status=in_doubt), result(3, Op.UNLINK, in_doubt))
    assert expected_deals(tmp_path, *results, in_doubt=True) == {2: B, 3: NONE}
