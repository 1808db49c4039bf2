"""The undo step of a row, for each state that a run can leave it in."""

from __future__ import annotations

from typing import Any

import pytest

from bulklink.models import Op, Status
from bulklink.operations.undo_steps import (
    AppliedChange,
    NotUndone,
    NotUndoneReason,
    UndoStep,
    undo_step_for,
)

A, B = "11", "22"
DONE, FAILED, IN_DOUBT = Status.DONE, Status.FAILED, Status.IN_DOUBT
SEEN: dict[str, Any] = {"has_snapshot": True, "may_have_changed": True}


def undo_step(op: Op, **fields: Any) -> UndoStep | NotUndone | None:
    deal = None if op is Op.UNLINK else B
    return undo_step_for(AppliedChange(1, op, "1", "2", "m", deal, **fields), include_settled=False)


@pytest.mark.parametrize(
    ("op", "known", "back"),
    [
        (Op.LINK, {"status": DONE}, UndoStep(Op.UNLINK, B)),
        (Op.UNLINK, {"status": DONE, "original_deal_id": A}, UndoStep(Op.LINK, "none", A)),
        (Op.RELINK, {"status": DONE, "original_deal_id": A}, UndoStep(Op.RELINK, B, A)),
        (Op.RELINK, {"status": DONE}, UndoStep(Op.UNLINK, B)),
        (Op.LINK, {"status": IN_DOUBT}, UndoStep(Op.UNLINK, B)),
        (Op.UNLINK, {"status": IN_DOUBT, "original_deal_id": A}, UndoStep(Op.LINK, "none", A)),
        (
            Op.RELINK,
            {"status": IN_DOUBT, "original_deal_id": A},
            UndoStep(Op.RELINK, f"{B}|none", A),
        ),
        (Op.RELINK, {"status": None, "original_deal_id": A}, UndoStep(Op.RELINK, f"{B}|none", A)),
        (Op.RELINK, {"status": None}, UndoStep(Op.UNLINK, B)),
    ],
)
def test_an_email_with_a_snapshot_returns_to_its_previous_deal(
    op: Op, known: dict[str, Any], back: UndoStep
) -> None:
    assert undo_step(op, **SEEN, **known) == back


@pytest.mark.parametrize(
    ("known", "back"),
    [
        ({"code": "put-back-failed", "original_deal_id": A}, UndoStep(Op.LINK, "none", A)),
        (
            {
                "code": "not-applied",
                "original_deal_id": A,
                "last_snapshot_deal_id": A,
                "current_deal_id": None,
            },
            UndoStep(Op.LINK, "none", A),
        ),
        (
            {
                "code": "not-applied",
                "original_deal_id": A,
                "last_snapshot_deal_id": A,
                "current_deal_id": A,
            },
            None,
        ),
        (
            {"code": "put-back-failed", "original_deal_id": A, "current_deal_id": "33"},
            UndoStep(Op.LINK, "none", A),
        ),
        (
            {
                "code": "NOT_ALLOWED",
                "original_deal_id": A,
                "current_deal_id": A,
                "last_snapshot_deal_id": A,
            },
            None,
        ),
        ({"code": "NOT_ALLOWED", "original_deal_id": A, "last_snapshot_deal_id": A}, None),
        ({"code": "NOT_ALLOWED"}, None),
    ],
)
def test_a_failed_relink_that_is_off_its_deal_is_restored(
    known: dict[str, Any], back: UndoStep | None
) -> None:
    assert undo_step(Op.RELINK, status=FAILED, **SEEN, **known) == back


def test_the_first_snapshot_counts_if_a_retry_took_another() -> None:
    torn = {"original_deal_id": A, "last_snapshot_deal_id": None}
    assert undo_step(Op.RELINK, status=DONE, **SEEN, **torn) == UndoStep(Op.RELINK, B, A)
    failed = undo_step(Op.RELINK, status=FAILED, code="NOT_ALLOWED", **SEEN, **torn)
    assert failed == UndoStep(Op.LINK, "none", A)


@pytest.mark.parametrize(
    "known",
    [
        {"status": Status.UNCHANGED, "has_snapshot": True},
        {"status": IN_DOUBT},
        {"status": None},
        {"status": FAILED, "code": "changed-since", "has_snapshot": True, "current_deal_id": "33"},
    ],
)
@pytest.mark.parametrize("op", list(Op))
def test_emails_that_the_run_did_not_change_are_not_undone(op: Op, known: dict[str, Any]) -> None:
    assert undo_step(op, **known) is None


@pytest.mark.parametrize(
    ("op", "known", "why", "back"),
    [
        (Op.UNLINK, {"status": DONE}, NotUndoneReason.NO_SNAPSHOT, UndoStep(Op.RELINK, "none")),
        (Op.RELINK, {"status": DONE}, NotUndoneReason.NO_SNAPSHOT, UndoStep(Op.RELINK, B)),
        (
            Op.RELINK,
            {"status": FAILED, "code": "not-applied", "current_deal_id": None},
            NotUndoneReason.NO_SNAPSHOT,
            UndoStep(Op.RELINK, "none"),
        ),
        (
            Op.LINK,
            {"status": DONE, "code": "settled-by-read"},
            NotUndoneReason.SETTLED_BY_READ,
            UndoStep(Op.UNLINK, B),
        ),
        (Op.LINK, {"status": IN_DOUBT}, NotUndoneReason.IN_DOUBT, UndoStep(Op.UNLINK, B)),
        (Op.LINK, {"status": None}, NotUndoneReason.IN_DOUBT, UndoStep(Op.UNLINK, B)),
    ],
)
def test_uncertain_changes_without_a_snapshot_are_not_undone(
    op: Op, known: dict[str, Any], why: NotUndoneReason, back: UndoStep
) -> None:
    assert undo_step(op, may_have_changed=True, **known) == NotUndone(why, back)
    if op is Op.LINK:
        done = AppliedChange(1, op, "1", "2", "m", B, may_have_changed=True, **known)
        assert undo_step_for(done, include_settled=True) == back
