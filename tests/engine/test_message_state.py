"""Where the work on an email is taken up, by what the ledger says of it."""

from __future__ import annotations

import msgspec
import pytest

from bulklink.engine.message_state import MessageState, NextStep, initial_state
from bulklink.ledger.state import LedgerState, OpenRow
from bulklink.models import Op, Status
from bulklink.zoho.email_pages import LinkedDeal
from tests.engine.fakes import OTHER_DEAL, email


def resumed(op: Op, open_row: OpenRow) -> MessageState:
    """Return an email that an earlier command left open."""
    ledger_state = LedgerState()
    ledger_state.open_rows[1] = open_row
    return initial_state(email(1, op), ledger_state, snapshot=True)


def retried(status: Status, *, attempts: int, snapshot: bool) -> MessageState:
    """Return an email that has a result and is to be sent again."""
    ledger_state = LedgerState()
    ledger_state.record_result(1, status, retry=True, attempts=attempts)
    return initial_state(email(1), ledger_state, snapshot=snapshot)


@pytest.mark.parametrize("op", Op)
def test_an_email_without_ledger_lines_is_read_first(op: Op) -> None:
    state = initial_state(email(1, op), LedgerState(), snapshot=True)
    assert state.next_step is NextStep.SNAPSHOT


@pytest.mark.parametrize(
    ("op", "step"),
    [(Op.LINK, NextStep.LINK), (Op.UNLINK, NextStep.UNLINK), (Op.RELINK, NextStep.UNLINK)],
)
def test_without_a_snapshot_an_email_is_changed_immediately(op: Op, step: NextStep) -> None:
    assert initial_state(email(1, op), LedgerState(), snapshot=False).next_step is step


@pytest.mark.parametrize(
    ("op", "last_op", "phase"),
    [
        (Op.LINK, "link", NextStep.LINK),
        (Op.UNLINK, "unlink", NextStep.UNLINK),
        (Op.RELINK, "unlink", NextStep.UNLINK),
        (Op.RELINK, "link", NextStep.LINK),
    ],
)
def test_an_email_in_flight_is_read_back_before_anything_is_sent(
    op: Op, last_op: str, phase: NextStep
) -> None:
    state = resumed(op, OpenRow(last_op=last_op, last_call=9, attempts=2))
    assert state.next_step is NextStep.READ_BACK
    assert state.phase is phase
    assert state.uncertain
    assert state.await_consistency
    assert (state.last_call, state.attempts) == (9, 2)


def test_a_half_done_relink_continues_with_its_link() -> None:
    state = resumed(Op.RELINK, OpenRow(unlinked=True, previous_deal=(OTHER_DEAL, "Old")))
    assert state.next_step is NextStep.LINK
    assert state.may_be_detached
    assert state.previous_deal == LinkedDeal(OTHER_DEAL, "Old")


def test_a_relink_with_its_unlink_in_flight_may_be_detached() -> None:
    assert resumed(Op.RELINK, OpenRow(last_op="unlink")).may_be_detached


@pytest.mark.parametrize("op", [Op.LINK, Op.UNLINK])
def test_only_a_relink_can_be_detached(op: Op) -> None:
    assert not resumed(op, OpenRow(last_op=str(op))).may_be_detached


def test_no_deal_and_an_unknown_deal_are_distinguished() -> None:
    assert resumed(Op.LINK, OpenRow(previous_deal=(None, None))).previous_deal is None
    assert resumed(Op.LINK, OpenRow()).previous_deal is msgspec.UNSET


@pytest.mark.parametrize("snapshot", [True, False])
def test_a_failed_email_is_retried_from_the_start(snapshot: bool) -> None:
    state = retried(Status.FAILED, attempts=2, snapshot=snapshot)
    assert state.next_step is (NextStep.SNAPSHOT if snapshot else NextStep.LINK)
    assert not state.uncertain
    assert state.attempts == 2


@pytest.mark.parametrize("snapshot", [True, False])
def test_an_email_in_doubt_is_read_before_it_is_retried(snapshot: bool) -> None:
    state = retried(Status.IN_DOUBT, attempts=1, snapshot=snapshot)
    assert state.next_step is (NextStep.SNAPSHOT if snapshot else NextStep.READ_BACK)
    assert state.uncertain
    assert state.await_consistency


def test_an_email_in_doubt_that_was_never_sent_is_sent_without_a_read() -> None:
    state = retried(Status.IN_DOUBT, attempts=0, snapshot=False)
    assert state.next_step is NextStep.LINK
    assert not state.uncertain


def test_a_link_in_doubt_is_retried_once_and_then_read_back() -> None:
    state = MessageState(email(1), snapshot=False)
    for expected in (NextStep.LINK, NextStep.READ_BACK):
        state.record_send(1, 1, answer_lost=True)
        state.mark_uncertain()
        assert state.next_step is expected


def test_an_unlink_in_doubt_is_read_back_before_it_is_retried() -> None:
    state = MessageState(email(1, Op.UNLINK), snapshot=False)
    state.record_send(1, 1, answer_lost=True)
    state.mark_uncertain()
    assert state.next_step is NextStep.READ_BACK
