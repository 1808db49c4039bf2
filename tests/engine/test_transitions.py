"""What a read makes of an email, and what the refusal of a call makes of it."""

from __future__ import annotations

import pytest

from bulklink.engine.message_state import MessageState, NextStep, initial_state
from bulklink.engine.transitions import ON_RESULT, on_read
from bulklink.ledger.state import LedgerState
from bulklink.models import Message, Op, Status
from bulklink.zoho.email_pages import LinkedDeal
from bulklink.zoho.link_response import AnswerVerdict
from tests.engine.fakes import DEAL, OTHER_DEAL, THIRD_DEAL, email

NOT_ALLOWED = AnswerVerdict("NOT_ALLOWED", "the contact is not on the deal", 400)
SUCCESS = AnswerVerdict("SUCCESS", "done", 200)
LINK, UNLINK, RELINK = (email(1, op) for op in (Op.LINK, Op.UNLINK, Op.RELINK))


def outcome(state: MessageState) -> str:
    """Return what an email needs next, or how it ended."""
    if state.result is None:
        return state.next_step.name
    return " ".join(filter(None, (state.result.status, state.result.code)))


def read(state: MessageState, deal_id: str | None) -> str:
    """Have a page list an email on a deal, or on none."""
    on_read(state, listed=True, deal=LinkedDeal(deal_id) if deal_id else None, call=7)
    return outcome(state)


def in_doubt(
    message: Message, *, previous_deal: str | None = None, trusted: bool = True, sends: int = 1
) -> MessageState:
    """Return an email after a write call whose answer was lost, to be settled by a read."""
    state = MessageState(message, snapshot=False)
    if previous_deal:
        state.previous_deal = LinkedDeal(previous_deal)
    state.record_send(1, sends, answer_lost=True)
    state.request_read_back(await_consistency=trusted)
    return state


SNAPSHOTS: dict[str, tuple[Message, str | None, str]] = {
    "a link of what is on no deal": (LINK, None, "LINK"),
    "a link of what is on its deal": (LINK, DEAL, "unchanged"),
    "a link of what is on another": (LINK, OTHER_DEAL, "failed already-linked"),
    "an unlink of what is on no deal": (UNLINK, None, "unchanged"),
    "an unlink of what is on a deal": (UNLINK, OTHER_DEAL, "UNLINK"),
    "a relink of what is on no deal": (RELINK, None, "LINK"),
    "a relink of what is on its deal": (RELINK, DEAL, "unchanged"),
    "a relink of what is on another": (RELINK, OTHER_DEAL, "UNLINK"),
    "a guard names the deal": (email(1, Op.RELINK, guard=OTHER_DEAL), OTHER_DEAL, "UNLINK"),
    "a guard names another": (
        email(1, Op.RELINK, guard=OTHER_DEAL),
        THIRD_DEAL,
        "failed changed-since",
    ),
    "a guard names several": (
        email(1, Op.RELINK, guard=f"{OTHER_DEAL}|{THIRD_DEAL}"),
        THIRD_DEAL,
        "UNLINK",
    ),
    "a guard names no deal": (email(1, guard="none"), OTHER_DEAL, "failed changed-since"),
    "as wanted whatever its guard says": (
        email(1, Op.RELINK, guard=OTHER_DEAL),
        DEAL,
        "unchanged",
    ),
}


@pytest.mark.parametrize(("message", "deal_id", "expected"), SNAPSHOTS.values(), ids=SNAPSHOTS)
def test_the_snapshot_determines_the_next_step(
    message: Message, deal_id: str | None, expected: str
) -> None:
    assert read(MessageState(message, snapshot=True), deal_id) == expected


@pytest.mark.parametrize(
    ("message", "no_put_back", "expected"),
    [
        (LINK, False, "LINK"),
        (UNLINK, False, "UNLINK"),
        (RELINK, False, "in_doubt not-listed"),
        (RELINK, True, "UNLINK"),
        (email(1, guard="none"), False, "in_doubt not-listed"),
    ],
    ids=["a link", "an unlink", "a relink", "a relink that need not be put back", "a guard"],
)
def test_an_unlisted_email_is_sent_unless_it_needs_a_snapshot(
    message: Message, no_put_back: bool, expected: str
) -> None:
    state = MessageState(message, snapshot=True, no_put_back=no_put_back)
    on_read(state, listed=False, deal=None, call=7)
    assert outcome(state) == expected


def test_a_read_that_does_not_list_an_email_settles_nothing() -> None:
    state = in_doubt(UNLINK)
    on_read(state, listed=False, deal=None, call=7)
    assert outcome(state) == "in_doubt not-listed"


READ_BACKS: dict[str, tuple[Message, str | None, str]] = {
    "an unlink that was applied": (UNLINK, None, "done settled-by-read"),
    "an unlink that was not applied": (UNLINK, OTHER_DEAL, "UNLINK"),
    "the unlink of a relink that was applied": (RELINK, None, "LINK"),
    "the unlink of a relink that was not applied": (RELINK, OTHER_DEAL, "UNLINK"),
    "the unlink of a relink that is on its deal": (RELINK, DEAL, "done settled-by-read"),
    "the unlink of what somebody moved since": (
        email(1, Op.RELINK, guard=OTHER_DEAL),
        THIRD_DEAL,
        "failed changed-since",
    ),
    "a link that was applied": (LINK, DEAL, "done settled-by-read"),
    "a link that was not applied": (LINK, None, "LINK"),
    "a link of what is on another deal": (LINK, OTHER_DEAL, "failed ALREADY_LINKED"),
}


@pytest.mark.parametrize(("message", "deal_id", "expected"), READ_BACKS.values(), ids=READ_BACKS)
def test_a_read_back_settles_an_email_in_doubt(
    message: Message, deal_id: str | None, expected: str
) -> None:
    assert read(in_doubt(message), deal_id) == expected


@pytest.mark.parametrize(("message", "deal_id"), [(UNLINK, OTHER_DEAL), (LINK, None)])
def test_a_change_that_is_not_applied_is_sent_at_most_six_times(
    message: Message, deal_id: str | None
) -> None:
    assert read(in_doubt(message, sends=5), deal_id) == message.op.name
    assert read(in_doubt(message, sends=6), deal_id) == "failed no-answer"


@pytest.mark.parametrize(("message", "deal_id"), [(UNLINK, OTHER_DEAL), (LINK, None)])
def test_an_early_read_that_shows_no_change_is_repeated(
    message: Message, deal_id: str | None
) -> None:
    state = in_doubt(message, trusted=False)
    assert read(state, deal_id) == "READ_BACK"
    assert state.await_consistency
    assert read(state, deal_id) == message.op.name


@pytest.mark.parametrize(("message", "deal_id"), [(UNLINK, None), (LINK, DEAL)])
def test_an_early_read_that_shows_the_change_is_trusted(
    message: Message, deal_id: str | None
) -> None:
    assert read(in_doubt(message, trusted=False), deal_id) == "done settled-by-read"


def test_a_relink_found_on_its_previous_deal_is_unlinked_again_only_once() -> None:
    state = MessageState(RELINK, snapshot=True)
    read(state, OTHER_DEAL)
    for expected in ("UNLINK", "failed ALREADY_LINKED"):
        ON_RESULT[NextStep.UNLINK](state, SUCCESS)
        ON_RESULT[NextStep.LINK](state, AnswerVerdict("ALREADY_LINKED", "", 400))
        assert read(state, OTHER_DEAL) == expected


def test_a_link_refused_alone_after_a_refused_batch_is_in_doubt_if_unlisted() -> None:
    """One of those calls may have linked it."""
    state = MessageState(LINK, snapshot=False)
    state.record_send(1, 1, answer_lost=False)
    state.uncertain = True  # it was in a call that was refused without a name
    ON_RESULT[NextStep.LINK](state, NOT_ALLOWED)
    assert outcome(state) == "READ_BACK"
    on_read(state, listed=False, deal=None, call=7)
    assert outcome(state) == "in_doubt not-listed"
    assert state.result is not None
    assert "the contact is not on the deal" in state.result.message


def test_a_link_refused_after_a_lost_answer_is_in_doubt_if_unlisted() -> None:
    state = MessageState(LINK, snapshot=False)
    state.record_send(1, 2, answer_lost=True)
    ON_RESULT[NextStep.LINK](state, NOT_ALLOWED)
    assert outcome(state) == "READ_BACK"
    on_read(state, listed=False, deal=None, call=7)
    assert outcome(state) == "in_doubt not-listed"


def test_the_guard_allows_a_relink_that_this_run_may_have_unlinked() -> None:
    state = MessageState(email(1, Op.RELINK, guard=OTHER_DEAL), snapshot=True)
    state.uncertain = True  # in doubt since an earlier command
    assert read(state, None) == "LINK"


def relink_with_refused_link() -> MessageState:
    """Return a relink that is off its deal and whose link was refused."""
    state = MessageState(RELINK, snapshot=True)
    read(state, OTHER_DEAL)
    ON_RESULT[NextStep.UNLINK](state, SUCCESS)
    ON_RESULT[NextStep.LINK](state, NOT_ALLOWED)
    return state


def test_a_relink_is_put_back_on_the_deal_of_its_snapshot() -> None:
    state = relink_with_refused_link()
    assert outcome(state) == "PUT_BACK"
    assert state.link_target[0] == OTHER_DEAL


@pytest.mark.parametrize(
    ("deal_id", "expected"),
    [
        (OTHER_DEAL, "failed NOT_ALLOWED"),
        (DEAL, "done settled-by-read"),
        (THIRD_DEAL, "failed put-back-failed"),
        (None, "PUT_BACK"),
    ],
    ids=["put back", "on the wanted deal after all", "moved by somebody", "not put back yet"],
)
def test_a_put_back_in_doubt_is_settled_by_the_current_deal(
    deal_id: str | None, expected: str
) -> None:
    state = relink_with_refused_link()
    state.record_send(4, 1, answer_lost=True)
    state.request_read_back()
    assert read(state, deal_id) == expected


def test_a_put_back_is_sent_at_most_six_times() -> None:
    state = relink_with_refused_link()
    state.record_send(4, 6, answer_lost=True)
    state.request_read_back()
    assert read(state, None) == "failed put-back-failed"


def test_a_result_has_the_deals_before_and_after_and_the_call_that_read_them() -> None:
    state = MessageState(email(1, Op.RELINK, guard=OTHER_DEAL), snapshot=True)
    read(state, THIRD_DEAL)
    assert state.result is not None
    assert (state.result.previous_deal_id, state.result.current_deal_id) == (THIRD_DEAL, THIRD_DEAL)
    assert (state.result.call, state.result.attempts) == (7, 0)
    assert OTHER_DEAL in state.result.message
    assert THIRD_DEAL in state.result.message


@pytest.mark.parametrize(
    ("deal_id", "expected"), [(None, "done settled-by-read"), (OTHER_DEAL, "failed NOT_ALLOWED")]
)
def test_an_unlink_refused_after_a_lost_answer_is_read_back(
    deal_id: str | None, expected: str
) -> None:
    state = MessageState(UNLINK, snapshot=False)
    state.record_send(1, 2, answer_lost=True)
    ON_RESULT[NextStep.UNLINK](state, NOT_ALLOWED)
    assert outcome(state) == "READ_BACK"
    assert read(state, deal_id) == expected


def test_a_retried_unlink_that_is_refused_fails_immediately() -> None:
    state = in_doubt(UNLINK)
    assert read(state, OTHER_DEAL) == "UNLINK"
    ON_RESULT[NextStep.UNLINK](state, NOT_ALLOWED)
    assert outcome(state) == "failed NOT_ALLOWED"


@pytest.mark.parametrize("message", [LINK, UNLINK], ids=["link", "unlink"])
def test_an_unlisted_email_in_doubt_stays_in_doubt_after_a_refused_retry(
    message: Message,
) -> None:
    ledger_state = LedgerState()
    ledger_state.record_result(1, Status.IN_DOUBT, retry=True, attempts=1)
    state = initial_state(message, ledger_state, snapshot=True)
    on_read(state, listed=False, deal=None, call=7)
    assert outcome(state) == message.op.name
    state.record_send(8, 1, answer_lost=False)
    ON_RESULT[state.next_step](state, NOT_ALLOWED)
    assert outcome(state) == "READ_BACK"
    on_read(state, listed=False, deal=None, call=9)
    assert outcome(state) == "in_doubt not-listed"


@pytest.mark.parametrize(
    ("complete", "answer_lost", "expected"),
    [
        (True, False, "failed INVALID_DATA"),
        (False, False, "in_doubt not-listed"),
        (True, True, "in_doubt not-listed"),
    ],
)
def test_a_link_refused_as_invalid_fails_if_no_page_lists_it(
    complete: bool, answer_lost: bool, expected: str
) -> None:
    """The email does not exist, unless a call whose answer was lost linked it."""
    state = MessageState(LINK, snapshot=False)
    state.record_send(1, 1, answer_lost=answer_lost)
    state.uncertain = True
    ON_RESULT[NextStep.LINK](state, AnswerVerdict("INVALID_DATA", "invalid data", 400))
    on_read(state, listed=False, deal=None, call=7, complete=complete)
    assert outcome(state) == expected
