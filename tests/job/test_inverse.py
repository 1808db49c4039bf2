"""What takes a row of a run back, for each way in which the run can have left it."""

from __future__ import annotations

from typing import Any

import pytest

from bulklink.models import Op, Status
from bulklink.operations.undo_plan import Done, Inverse, Kept, Why, inverse_of

A, B = "11", "22"
DONE, FAILED, DOUBT = Status.DONE, Status.FAILED, Status.IN_DOUBT
SEEN: dict[str, Any] = {"seen": True, "written": True}


def of(op: Op, **known: Any) -> Inverse | Kept | None:
    deal = None if op is Op.UNLINK else B
    return inverse_of(Done(1, op, "1", "2", "m", deal, **known), settled=False)


@pytest.mark.parametrize(
    ("op", "known", "back"),
    [
        (Op.LINK, {"status": DONE}, Inverse(Op.UNLINK, B)),
        (Op.UNLINK, {"status": DONE, "was_on": A}, Inverse(Op.LINK, "none", A)),
        (Op.RELINK, {"status": DONE, "was_on": A}, Inverse(Op.RELINK, B, A)),
        (Op.RELINK, {"status": DONE}, Inverse(Op.UNLINK, B)),
        (Op.LINK, {"status": DOUBT}, Inverse(Op.UNLINK, B)),
        (Op.UNLINK, {"status": DOUBT, "was_on": A}, Inverse(Op.LINK, "none", A)),
        (Op.RELINK, {"status": DOUBT, "was_on": A}, Inverse(Op.RELINK, f"{B}|none", A)),
        (Op.RELINK, {"status": None, "was_on": A}, Inverse(Op.RELINK, f"{B}|none", A)),
        (Op.RELINK, {"status": None}, Inverse(Op.UNLINK, B)),
    ],
)
def test_what_a_snapshot_was_taken_of_goes_back_to_where_it_was(
    op: Op, known: dict[str, Any], back: Inverse
) -> None:
    assert of(op, **SEEN, **known) == back


@pytest.mark.parametrize(
    ("known", "back"),
    [
        ({"code": "put-back-failed", "was_on": A}, Inverse(Op.LINK, "none", A)),
        ({"code": "put-back-failed", "was_on": A, "current": "33"}, Inverse(Op.LINK, "none", A)),
        ({"code": "NOT_ALLOWED", "was_on": A, "current": A, "later_on": A}, None),
        ({"code": "NOT_ALLOWED", "was_on": A, "later_on": A}, None),
        ({"code": "NOT_ALLOWED"}, None),
    ],
)
def test_a_failed_relink_goes_back_where_it_is_off_its_deal(
    known: dict[str, Any], back: Inverse | None
) -> None:
    assert of(Op.RELINK, status=FAILED, **SEEN, **known) == back


def test_the_first_snapshot_counts_where_a_retry_took_another() -> None:
    torn = {"was_on": A, "later_on": None}
    assert of(Op.RELINK, status=DONE, **SEEN, **torn) == Inverse(Op.RELINK, B, A)
    failed = of(Op.RELINK, status=FAILED, code="NOT_ALLOWED", **SEEN, **torn)
    assert failed == Inverse(Op.LINK, "none", A)


@pytest.mark.parametrize(
    "known",
    [
        {"status": Status.UNCHANGED, "seen": True},
        {"status": DOUBT},
        {"status": None},
        {"status": FAILED, "code": "changed-since", "seen": True, "current": "33"},
    ],
)
@pytest.mark.parametrize("op", list(Op))
def test_what_the_run_did_not_change_is_no_part_of_the_undo(op: Op, known: dict[str, Any]) -> None:
    assert of(op, **known) is None


@pytest.mark.parametrize(
    ("op", "known", "why", "back"),
    [
        (Op.UNLINK, {"status": DONE}, Why.NO_SNAPSHOT, Inverse(Op.RELINK, "none")),
        (Op.RELINK, {"status": DONE}, Why.NO_SNAPSHOT, Inverse(Op.RELINK, B)),
        (
            Op.LINK,
            {"status": DONE, "code": "settled-by-read"},
            Why.SETTLED_BY_READ,
            Inverse(Op.UNLINK, B),
        ),
        (Op.LINK, {"status": DOUBT}, Why.IN_DOUBT, Inverse(Op.UNLINK, B)),
        (Op.LINK, {"status": None}, Why.IN_DOUBT, Inverse(Op.UNLINK, B)),
    ],
)
def test_without_a_snapshot_what_might_be_wrong_is_left(
    op: Op, known: dict[str, Any], why: Why, back: Inverse
) -> None:
    assert of(op, written=True, **known) == Kept(why, back)
    if op is Op.LINK:
        done = Done(1, op, "1", "2", "m", B, written=True, **known)
        assert inverse_of(done, settled=True) == back
